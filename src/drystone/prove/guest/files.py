"""Opening file systems of the clone: the journal is replayed, then they are checked, then mounted."""

import os
import re
from pathlib import Path

from drystone.prove.guest.trial import Trials, damaged, first_of, last_line, lines_with, not_proven

COMMON = "nosuid,nodev,noexec"
OPTIONS = {
    # What a snapshot asks for at an error may be a panic, which would end the proof without a word.
    "ext2": f"{COMMON},errors=remount-ro", "ext3": f"{COMMON},errors=remount-ro", "ext4": f"{COMMON},errors=remount-ro",
    # A disk may hold several copies of one, as logical volumes.
    "xfs": f"{COMMON},nouuid",
    "btrfs": COMMON,
}  # fmt: skip
EXT = ("ext2", "ext3", "ext4")
E2FSCK_LEFT, E2FSCK_FAILED = 4, 8
"""Bits of e2fsck's exit code: errors are left; it could not do its work. Source: e2fsck(8)."""
BLANK_BYTES_MAX = 64 << 20
PIECE_BYTES = 1 << 20
SECOND_SUPERBLOCK = 32768 * 4096
EXT_MAGIC_AT, EXT_MAGIC = 56, b"\x53\xef"
BLKID_NOTHING, BLKID_AMBIVALENT = 2, 8
UNREADABLE = re.compile(r"Input/output error|short read|read error", re.IGNORECASE)
WRONG = re.compile(r"superblock|bad magic|corrupt|checksum|invalid", re.IGNORECASE)
COMPLAINT = re.compile(r"error|corrupt|invalid|wrong|bad|mismatch|illegal|differ|would|damaged", re.IGNORECASE)


def look(trials: Trials, device: str) -> str:
    """Return the kind of what is on a device, by its bytes alone; empty if nothing is known there.

    Raises:
        TrialError: It cannot be told, or a file system's own superblock is gone.
    """
    code, text = trials.run(trials.program("blkid", "util-linux"), "-p", "-o", "export", device)
    if code == BLKID_AMBIVALENT:
        raise not_proven("it looks like several file systems at once")
    if code not in {0, BLKID_NOTHING}:
        raise not_proven(f"blkid: {last_line(text)}")
    found = dict(line.partition("=")[::2] for line in text.splitlines())
    if "TYPE" not in found and _has_second_superblock(device):
        raise damaged("the first superblock of an ext file system is gone; its copy at block 32768 is there")
    return found.get("TYPE", "")


def is_blank(device: str) -> bool:
    """Return whether nothing but zeros is on a device, as far as it is read: a large one is not, and is none."""
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if os.lseek(descriptor, 0, os.SEEK_END) > BLANK_BYTES_MAX:
            return False
        return not any(
            os.pread(descriptor, PIECE_BYTES, at).strip(b"\0") for at in range(0, BLANK_BYTES_MAX, PIECE_BYTES)
        )
    finally:
        os.close(descriptor)


def _has_second_superblock(device: str) -> bool:
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, len(EXT_MAGIC), SECOND_SUPERBLOCK + EXT_MAGIC_AT) == EXT_MAGIC
    finally:
        os.close(descriptor)


def mount(trials: Trials, device: str, kind: str, where: Path) -> str:
    """Mount the clone, writable, so that its journal is replayed: nothing but the clone is written.

    Raises:
        TrialError: The kernel does not take it.
    """
    where.mkdir(parents=True, exist_ok=True)
    code, text = trials.run(
        trials.program("mount", "mount"), "-i", "-t", kind, "-o", OPTIONS[kind], device, str(where)
    )  # fmt: skip
    if code != 0:
        said = last_line(text)
        if "unknown filesystem" in text:
            raise not_proven(said)
        raise not_proven(said) if UNREADABLE.search(text) and not WRONG.search(text) else damaged(said)
    return ""


def unmount(trials: Trials, where: Path) -> None:
    """Unmount it again.

    Raises:
        TrialError: It does not let go.
    """
    code, text = trials.run(trials.program("umount", "mount"), "-i", str(where))
    if code != 0:
        raise not_proven(last_line(text))


def check(trials: Trials, device: str, kind: str) -> str:
    """Have the file system's own checker read its metadata, changing nothing.

    Raises:
        TrialError: It complains, or could not look.
    """
    if kind in EXT:
        return _check_ext(trials, device)
    if kind == "xfs":
        code, text = trials.run(trials.program("xfs_repair", "xfsprogs"), "-n", device)
    else:
        code, text = trials.run(trials.program("btrfs", "btrfs-progs"), "check", "--readonly", device)
    if code != 0:
        said = first_of(lines_with(text, COMPLAINT), text)
        raise not_proven(said) if UNREADABLE.search(text) else damaged(said)
    return "clean"


def _check_ext(trials: Trials, device: str) -> str:
    code, text = trials.run(trials.program("e2fsck", "e2fsprogs"), "-fn", device)
    complaints = [line for line in lines_with(text, COMPLAINT) if not line.startswith("Pass ")]
    if code & E2FSCK_LEFT:
        raise damaged(f"e2fsck: {first_of(complaints, text)}")
    if code != 0:
        said = f"e2fsck ended with {code}: {first_of(complaints, text)}"
        wrong = code & E2FSCK_FAILED and WRONG.search(text) and not UNREADABLE.search(text)
        raise damaged(said) if wrong else not_proven(said)
    return "clean"

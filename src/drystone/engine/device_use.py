"""Who uses a block device of this host: the kernel is asked whether anybody does, then it is found out who, for people.

What is mounted, swapped to, or held by dm, md or LVM has claimed the device, or a partition of it, whatever mount
namespace it is in and whatever number its files show (those of btrfs show one of no device): the kernel then refuses to
open the whole device exclusively. A program that reads or writes the bare device has an open descriptor.
"""

import contextlib
import errno
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from drystone.engine import loop

PROC = Path("/proc")
BTRFS = Path("/sys/fs/btrfs")
GLANCE_SECONDS_MAX = 0.3
"""udev and `lsblk` open a device to look at it, for milliseconds: who only has it open is waited for so long."""
GLANCE_SECONDS = 0.02
_ESCAPED = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One line of a `mountinfo`: the device's `major:minor`, where it is mounted, of what type, from what."""

    number: str
    place: str
    kind: str
    source: str


def mounts(process: str = "self") -> Iterator[Mount]:
    """Return what is mounted where a process is. Source: proc_pid_mountinfo(5)."""
    with contextlib.suppress(OSError):
        for line in (PROC / process / "mountinfo").read_text(errors="surrogateescape").split("\n"):
            fields, _, rest = line.partition(" - ")
            words, kinds = fields.split(" "), rest.split(" ")
            if len(words) >= 6 and len(kinds) >= 2:
                yield Mount(number=words[2], place=unescaped(words[4]), kind=kinds[0], source=unescaped(kinds[1]))


def unescaped(text: str) -> str:
    r"""Undo the kernel's `\040` for a space, and the like, in the tables of /proc."""
    return os.fsdecode(_ESCAPED.sub(lambda found: chr(int(found[1], 8)), text).encode(errors="surrogateescape"))


def numbers(device: Path) -> dict[str, str]:
    """Return `major:minor` of a device and of its partitions, with their names; nothing if it is not there."""
    block = loop.BLOCK_DEVICES / device.name
    found = {}
    for entry in (block / "dev", *sorted(block.glob(f"{device.name}p*/dev"))):
        with contextlib.suppress(OSError):
            found[entry.read_text().strip()] = entry.parent.name
    return found


def user_of(device: Path) -> str | None:
    """Say who uses the device or a partition of it, in words that follow "it is"; None if nobody does.

    Nothing is changed by it. May take `GLANCE_SECONDS_MAX`; not for an event loop's thread.
    """
    wanted = numbers(device)
    if not wanted:
        return None
    if _claimed(device):
        return _claimant(device, wanted) or "claimed by something that this host's /proc and /sys do not show"
    end = time.monotonic() + GLANCE_SECONDS_MAX
    while (found := _stands_on(wanted) or _opener(wanted)) is not None and time.monotonic() < end:
        time.sleep(GLANCE_SECONDS)
    return found


def _claimed(device: Path) -> bool:
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as error:
        return error.errno == errno.EBUSY
    return False


def _claimant(device: Path, wanted: dict[str, str]) -> str | None:
    return _mounted(wanted) or _swap(wanted) or _holder(device) or _stands_on(wanted) or _opener(wanted)


def _mounted(wanted: dict[str, str]) -> str | None:
    pools = [members for pool in BTRFS.glob("*/devices") if not (members := _of_pool(pool)).isdisjoint(wanted)]
    sources = frozenset(wanted).union(*pools)
    for process, where in _namespaces():
        for mount in mounts(process):
            # The files of btrfs have a number of their own: the source says which device it is, or another of the pool.
            if mount.number in wanted or _number(mount.source) in sources:
                place = mount.place if mount.place.isprintable() else repr(mount.place)
                return f"mounted at {place}{where}"
    return "part of a btrfs file system that is mounted" if pools else None


def _of_pool(devices: Path) -> set[str]:
    found = set()
    for entry in devices.glob("*/dev"):
        with contextlib.suppress(OSError):
            found.add(entry.read_text().strip())
    return found


def _namespaces() -> Iterator[tuple[str, str]]:
    """Return a process of every mount namespace, ours first, with words for the others."""
    seen = set()
    with contextlib.suppress(OSError):
        seen.add((PROC / "self/ns/mnt").readlink())
    yield "self", ""
    for process in _processes():
        with contextlib.suppress(OSError):
            namespace = (PROC / process / "ns/mnt").readlink()
            if namespace not in seen:
                seen.add(namespace)
                yield process, f" where {_named(process)} is (another mount namespace)"


def _swap(wanted: dict[str, str]) -> str | None:
    with contextlib.suppress(OSError):
        for line in (PROC / "swaps").read_text().splitlines()[1:]:
            place = unescaped(line.split()[0])
            if _number(place) in wanted:
                return f"swap ({place})"
    return None


def _holder(device: Path) -> str | None:
    """A device of dm (LVM, LUKS), md, bcache or the like that stands on it, or on a partition."""
    block = loop.BLOCK_DEVICES / device.name
    for holder in (*block.glob("holders/*"), *block.glob(f"{device.name}p*/holders/*")):
        with contextlib.suppress(OSError):
            return f"held by /dev/{holder.name} ({(holder / 'dm/name').read_text().strip()})"
        return f"held by /dev/{holder.name}"
    return None


def _stands_on(wanted: dict[str, str]) -> str | None:
    for other, file in loop.standing():
        if _number(str(file)) in wanted:
            return f"held by {other}"
    return None


def _opener(wanted: dict[str, str]) -> str | None:
    for process in _processes():
        if int(process) == os.getpid():
            continue  # We flush it.
        with contextlib.suppress(OSError):
            for entry in (PROC / process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    # By name first: to look at any file of anybody's may hang.
                    if str(entry.readlink()).startswith("/dev/") and _number(str(entry)) in wanted:
                        return f"open in {_named(process)}"
    return None


def _processes() -> Iterator[str]:
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            yield entry.name


def _named(process: str) -> str:
    try:
        name = (PROC / process / "comm").read_text(errors="replace").strip()
    except OSError:
        name = "ended meanwhile"
    return f"process {process} ({name})"


def _number(path: str) -> str | None:
    """Return `major:minor` of a device file; None for anything else."""
    if not path.startswith(("/dev/", "/proc/")):
        return None
    with contextlib.suppress(OSError):
        found = Path(path).stat()
        if found.st_rdev:
            return f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
    return None

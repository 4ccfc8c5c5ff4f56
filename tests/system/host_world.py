"""What programs of a host do with block devices, for tests; everything is undone at the end of each `with`."""

import contextlib
import fcntl
import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

SECONDS = 30.0
SLEEP = "import os, sys, time; os.open(sys.argv[1], int(sys.argv[2])); print('ready', flush=True); time.sleep(3600)"


def run(*words: str) -> str:
    """Run a program; return what it prints."""
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def standing(device: str | Path) -> str | None:
    """Return what a loop device stands on by the kernel's word, None if nothing; not by the code under test."""
    name = Path(device).name
    with contextlib.suppress(OSError):
        return Path(f"/sys/block/{name}/loop/backing_file").read_text().strip()
    return None


def loops() -> Iterator[tuple[Path, str]]:
    """Return every loop device that stands on something, and on what."""
    for entry in Path("/sys/block").glob("loop*"):
        file = standing(entry)
        if file is not None:
            yield Path("/dev") / entry.name, file.removesuffix(" (deleted)")


def is_of(device: str | Path, disk_id: str) -> bool:
    """Tell whether a device stands on this disk's export."""
    return Path(standing(device) or "/").name.removesuffix(" (deleted)") == f"{disk_id}.raw"


def autoclear(device: str | Path) -> bool:
    """Tell whether a loop device goes when its last user closes it."""
    return Path(f"/sys/block/{Path(device).name}/loop/autoclear").read_text().strip() != "0"


@contextlib.contextmanager
def opened(device: str | Path, flags: int = os.O_RDONLY, *, namespace: bool = False) -> Iterator[int]:
    """Have another process open a device; with O_EXCL it claims it, as a mount, swap or dm does. Yields its pid."""
    prefix = ("unshare", "-m", "--propagation", "private") if namespace else ()
    child = subprocess.Popen(
        [*prefix, sys.executable, "-c", SLEEP, str(device), str(flags)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        yield child.pid
    finally:
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()


@contextlib.contextmanager
def mounted(device: str | Path, where: Path) -> Iterator[Path]:
    """Mount it here."""
    where.mkdir(exist_ok=True)
    run("mount", str(device), str(where))
    try:
        assert where.stat().st_dev != where.parent.stat().st_dev
        yield where
    finally:
        run("umount", str(where))


@contextlib.contextmanager
def mounted_elsewhere(device: str | Path, where: Path) -> Iterator[None]:
    """Mount it in another mount namespace, as a container has."""
    where.mkdir(exist_ok=True)
    script = 'mount "$0" "$1" && echo ready && exec sleep 3600'
    child = subprocess.Popen(
        ["unshare", "-m", "--propagation", "private", "sh", "-c", script, str(device), str(where)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        yield
    finally:
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()


@contextlib.contextmanager
def swapped(device: str | Path) -> Iterator[None]:
    """Swap to it."""
    run("mkswap", str(device))
    run("swapon", str(device))
    try:
        yield
    finally:
        run("swapoff", str(device))


@contextlib.contextmanager
def looped(file: str | Path) -> Iterator[str]:
    """Put a loop device of somebody else's over a file or a device; yields its name."""
    device = run("losetup", "--find", "--show", str(file)).strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=False, capture_output=True)


@contextlib.contextmanager
def mapped(device: str | Path) -> Iterator[None]:
    """Have the device mapper hold it, as LVM and LUKS do."""
    name = f"drystone-test-{os.getpid()}"
    sectors = int(run("blockdev", "--getsz", str(device)))
    run("dmsetup", "create", name, "--table", f"0 {sectors} linear {device} 0")
    try:
        yield
    finally:
        run("dmsetup", "remove", name)


def has_device_mapper() -> bool:
    """Tell whether the kernel has it."""
    return subprocess.run(["dmsetup", "targets"], check=False, capture_output=True).returncode == 0


def until(condition: object, what: str) -> None:
    """Wait until a condition holds."""
    assert callable(condition)
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, f"waited {SECONDS:g} s for {what}"
        time.sleep(0.02)


def mbr(*partitions: tuple[int, int]) -> bytes:
    """Return a boot sector with up to four partitions: (first sector, sectors)."""
    entries = b"".join(struct.pack("<4xB3xII", 0x83, start, count) for start, count in partitions)
    return (bytes(446) + entries).ljust(510, b"\0") + b"\x55\xaa"


def write_through(path: str | Path, at: int, data: bytes) -> None:
    """Write through a link, as whoever trusts it does, past the page cache of the device."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        assert os.pwrite(descriptor, data, at) == len(data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_past_cache(path: str | Path, at: int, length: int) -> bytes:
    """Read what the device has, not what its page cache has."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.ioctl(descriptor, 0x1261)  # BLKFLSBUF
        return os.pread(descriptor, length, at)
    finally:
        os.close(descriptor)


def take_down(device: str | Path) -> None:
    """`losetup --detach`, by somebody."""
    subprocess.run(["losetup", "--detach", str(device)], check=False, capture_output=True)


def free_number() -> Path:
    """Return the loop device that whoever asks next is given."""
    return Path(run("losetup", "--find").strip())

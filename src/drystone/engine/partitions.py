"""Partitions of a disk that is a block device of this host.

The kernel looks for them, as on any disk. One that was built without the code for it (some cloud kernels are) is told
them: then the table is read by a process of its own that runs as nobody, has that one descriptor to read from, and
whose answer is a list of numbers. Drystone itself reads nothing of a guest's disk (P16).

Source: UEFI 2.10 section 5.3 (GPT); linux/include/uapi/linux/blkpg.h.
"""

import asyncio
import contextlib
import ctypes
import fcntl
import gzip
import os
import platform
import struct
import sys
from functools import cache
from pathlib import Path

import structlog

from drystone.engine import loop

log = structlog.get_logger()
PARTITIONS_MAX = 128
READ_SECONDS_MAX = 5.0
"""A table is 17 KiB; a disk that is filled from a slow store may not give it in time, and has no partitions then."""
ANSWER_BYTES_MAX = 1 << 14
BLKPG, ADD = 0x1269, 1
PARTITION = struct.Struct("qqi64s64s4x")
ARGUMENT = struct.Struct("iiiP")


def of(device: Path) -> dict[int, Path]:
    """Return the partitions that the kernel has of a device, by their numbers."""
    found = {}
    block = f"{loop.BLOCK_DEVICES}/{device.name}"
    with contextlib.suppress(OSError):
        for name in os.listdir(block):  # noqa: PTH208 - often, for many
            if name.startswith(f"{device.name}p"):
                with contextlib.suppress(OSError, ValueError):
                    found[int(Path(block, name, "partition").read_text())] = loop.DEVICES / name
    return found


@cache
def kernel_reads_tables() -> bool:
    """Tell whether the kernel knows partition tables; what cannot be found out is taken for yes."""
    texts = []
    with contextlib.suppress(OSError):
        texts.append(gzip.decompress(Path("/proc/config.gz").read_bytes()).decode(errors="replace"))
    with contextlib.suppress(OSError):
        texts.append(Path(f"/boot/config-{platform.release()}").read_text(errors="replace"))
    return not texts or "CONFIG_EFI_PARTITION=y" in texts[0] or "CONFIG_MSDOS_PARTITION=y" in texts[0]


async def find(device: Path) -> None:
    """Have the partitions of a new loop device appear. Logs what it cannot: the device is there without them.

    What waits for the disk to be read is a process of its own with a time limit: a disk may be filled from a store that
    does not answer, and who waits for it in the kernel cannot be ended.
    """
    try:
        if kernel_reads_tables():
            await _run("drystone.engine.loop", str(device))
            return
        # Nothing is read by this here; partitions of a device that has the flag go with it.
        await asyncio.to_thread(loop.scan, device)
        answer = await _run("drystone.engine.partition_table", device=device)
        lines = [[int(word) for word in line.split()] for line in answer.splitlines()[:PARTITIONS_MAX]]
        await asyncio.to_thread(_add, device, [(number, start, count) for number, start, count in lines])
    except (OSError, ValueError) as error:
        log.warning("partitions.not_found", device=str(device), error=str(error))


async def _run(module: str, *arguments: str, device: Path = Path("/dev/null")) -> bytes:
    """Run a program of ours with `device` as its standard input; return the beginning of what it prints.

    Raises:
        OSError: It cannot be run, fails, or takes too long (`TimeoutError`).
    """
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", module, *arguments,
            stdin=descriptor, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, env={},
        )  # fmt: skip
    finally:
        os.close(descriptor)
    assert child.stdout is not None
    try:
        async with asyncio.timeout(READ_SECONDS_MAX):
            answer = await child.stdout.read(ANSWER_BYTES_MAX)
            status = await child.wait()
    finally:
        if child.returncode is None:
            child.kill()  # Not waited for: it may be held in the kernel.
    if status != 0:
        raise OSError(f"{module} ended with {status}")
    return answer


def _add(device: Path, table: list[tuple[int, int, int]]) -> None:
    size = int((loop.BLOCK_DEVICES / device.name / "size").read_text())
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for number, start, count in table:
            if not (0 < number <= PARTITIONS_MAX and 0 < start < start + count <= size):
                continue
            told = ctypes.create_string_buffer(
                PARTITION.pack(start * loop.SECTOR_BYTES, count * loop.SECTOR_BYTES, number, b"", b"")
            )
            argument = bytearray(ARGUMENT.pack(ADD, 0, len(told), ctypes.addressof(told)))
            with contextlib.suppress(OSError):  # It overlaps one that is there: as the kernel does, the first counts.
                fcntl.ioctl(descriptor, BLKPG, argument)
    finally:
        os.close(descriptor)

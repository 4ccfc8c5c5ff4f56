"""Foreign image files, through QEMU's own tool: looked at with care, and copied.

A file that somebody brings may lie: a guest can write the header of another format into its raw disk, and a header can
name other files of this host as its backing or its data. So nothing is opened by a guessed format, headers are read
here first, those that refer to any other file are refused, and `qemu-img` runs within limits of memory and time.
"""

import asyncio
import json
import os
import re
import shutil
import stat
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drystone.domain.errors import ProtocolError, SpaceError, UnavailableError

SECTOR_BYTES = 512
IMPORTED = ("qcow2", "raw", "vmdk", "vhdx")
EXPORTED = ("qcow2", "raw")
LOOK_SECONDS_MAX = 60.0
LOOK_MEMORY_BYTES = 2 << 30
"""Address space of a look at a header; a table that a header claims may be as large as it likes."""
CHECK_SECONDS_MAX = 86_400.0
CONVERT_SECONDS_MAX = 7 * 86_400.0
_DESCRIPTOR_BYTES_MAX = 1 << 20
_PERCENT = re.compile(rb"\((\d+(?:\.\d+)?)/100%\)")
_DESCRIPTOR_BYTES_MIN = 20 * SECTOR_BYTES
_DESCRIPTOR_SECTOR_MAX = 1 << 32
_VMDK_KINDS = (b"monolithicsparse", b"streamoptimized")
_QCOW2_DATA_FILE = 1 << 2
"""Bit of `incompatible_features`. Source: QEMU docs/interop/qcow2.rst."""
_CHECK_LEAKS, _CHECK_UNSUPPORTED = 3, 63
"""Exit codes of `qemu-img check`: only space is leaked; the format has no check."""

OnPercent = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignImage:
    """A file that may be imported."""

    format: str
    size_bytes: int
    """Of the disk in it."""
    allocated_bytes: int
    """That an image of it may take, at most."""


def format_of(path: Path) -> str | None:
    """Return the format that a file's first bytes claim, None if it is of none that is known here.

    Raises:
        ProtocolError: It is no regular file.
        UnavailableError: It cannot be read.
    """
    head = _head(path, 64)
    for magic, name in ((b"QFI\xfb", "qcow2"), (b"KDMV", "vmdk"), (b"COWD", "vmdk"), (b"vhdxfile", "vhdx")):
        if head.startswith(magic):
            return name
    return "vmdk" if head.lstrip().lower().startswith(b"# disk descriptorfile") else None


def chosen_format(path: Path, wanted: str | None) -> str:
    """Return the format to open a file with: what was asked for, or what name and first bytes agree on.

    Raises:
        ProtocolError: They do not agree, or the file is not what was asked for.
    """
    claimed = format_of(path)
    suffix = path.suffix.lower().removeprefix(".")
    if wanted is not None:
        if wanted not in {"raw", claimed}:
            raise ProtocolError(f"{path} is not a {wanted} image")
        return wanted
    named = "raw" if suffix in {"raw", "img"} else suffix
    if named not in IMPORTED or (claimed or "raw") != named:
        # A guest that wrote a header into its raw disk must not choose how it is read.
        raise ProtocolError(f"{path} looks like {claimed or 'raw'}, which its name does not say: give the format")
    return named


def refuse_references(path: Path, image_format: str) -> None:
    """Refuse a header that makes QEMU open any other file, or that needs a secret.

    Raises:
        ProtocolError: It does, or it is cut off.
    """
    if image_format == "qcow2":
        head = _head(path, 104)
        if len(head) < 72 or head[:4] != b"QFI\xfb":
            raise ProtocolError(f"{path} is not a qcow2 image")
        version, backing, _length, _bits, _size, crypt = struct.unpack(">IQIIQI", head[4:36])
        features = struct.unpack(">Q", head[72:80])[0] if version >= 3 and len(head) >= 80 else 0
        if version not in (2, 3):
            raise ProtocolError(f"{path} is qcow2 of version {version}; 2 and 3 are known")
        if backing:
            raise ProtocolError(f"{path} has a backing file; merge it first, with `qemu-img convert`")
        if features & _QCOW2_DATA_FILE:
            raise ProtocolError(f"{path} keeps its data in another file; merge it first, with `qemu-img convert`")
        if crypt:
            raise ProtocolError(f"{path} is encrypted; decrypt it first, with `qemu-img convert`")
    if image_format == "vmdk":
        _refuse_vmdk(path)


def _refuse_vmdk(path: Path) -> None:
    head = _head(path, SECTOR_BYTES)
    if head[:4] != b"KDMV" or len(head) < SECTOR_BYTES:
        raise ProtocolError(f"{path} is a vmdk of several files; make it one, with `qemu-img convert -O vmdk`")
    # Source: VMware's Virtual Disk Format 1.1, SparseExtentHeader. Without a capacity the header only leads to a
    # descriptor, which may name any file.
    capacity, _grain, offset, length = struct.unpack("<QQQQ", head[12:44])
    if capacity == 0 or offset == 0 or offset > _DESCRIPTOR_SECTOR_MAX:
        raise ProtocolError(f"{path} is a vmdk without a disk of its own; make it one, with `qemu-img convert -O vmdk`")
    # QEMU looks at 20 sectors, whatever the length says; what stands in them twice is nobody's honest work.
    wanted = max(_DESCRIPTOR_BYTES_MIN, min(length * SECTOR_BYTES, _DESCRIPTOR_BYTES_MAX))
    text = _part(path, offset * SECTOR_BYTES, wanted).lower()
    kinds = re.findall(rb'createtype\s*=\s*"?([a-z0-9]+)', text)
    if len(kinds) != 1 or text.count(b"createtype") != 1 or kinds[0] not in _VMDK_KINDS:
        told = b", ".join(kinds).decode() or "unknown"
        raise ProtocolError(f"{path} is a vmdk of kind {told}, not of one file")
    if b"parentfilenamehint" in text or set(re.findall(rb"parentcid\s*=\s*([0-9a-f]+)", text)) - {b"ffffffff"}:
        raise ProtocolError(f"{path} has a parent file; merge it first, with `qemu-img convert`")
    if len(re.findall(rb"^(?:rw|rdonly|noaccess)\s", text, re.MULTILINE)) > 1:
        raise ProtocolError(f"{path} is a vmdk of several files; make it one, with `qemu-img convert -O vmdk`")


async def examine(path: Path, image_format: str) -> ForeignImage:
    """Look at an image file, in a process with limits.

    Raises:
        ProtocolError: It is no such image, or one that may not be imported.
        UnavailableError: It cannot be read, or the look took too long.
    """
    await asyncio.to_thread(refuse_references, path, image_format)
    limited = ("prlimit", f"--as={LOOK_MEMORY_BYTES}", "--")
    text = await _look(limited, "info", "-f", image_format, "--output=json", str(path))
    told = _object(text, path)
    data = told.get("format-specific", {}).get("data", {})
    others = [told.get("backing-filename"), told.get("full-backing-filename"), data.get("data-file")]
    if told.get("format") != image_format or any(others) or told.get("encrypted"):
        raise ProtocolError(f"{path} refers to other files, or is not a plain {image_format} image")
    size = told.get("virtual-size")
    if not isinstance(size, int) or size <= 0:
        raise ProtocolError(f"{path} holds no disk")
    if image_format == "raw" and (await asyncio.to_thread(path.stat)).st_size % SECTOR_BYTES:
        raise ProtocolError(f"{path} is no number of sectors of 512 bytes: it was cut off, or is no disk")
    needed = _object(
        await _look(limited, "measure", "-f", image_format, "-O", "qcow2", "--output=json", str(path)), path
    )
    required = needed.get("required")
    return ForeignImage(
        format=image_format, size_bytes=size, allocated_bytes=required if isinstance(required, int) else size
    )


async def check(path: Path, image_format: str) -> None:
    """Read an image's tables and refuse it if they are damaged or reach beyond its end: it would read as zeros there.

    Raises:
        ProtocolError: They are.
        UnavailableError: They could not be read.
    """
    if image_format == "raw":
        return  # It has no tables.
    code, output = await _run(
        ("qemu-img", "check", "-q", "-f", image_format, str(path)), seconds=CHECK_SECONDS_MAX, on_percent=None
    )
    if code not in {0, _CHECK_LEAKS, _CHECK_UNSUPPORTED}:
        raise ProtocolError(f"{path} is damaged or cut off: {_last(output)}")


async def convert(
    source: str,
    source_format: str,
    target: Path,
    target_format: str,
    *,
    on_percent: OnPercent,
    guard: Callable[[], Awaitable[None]],
    prepared: bool = False,
) -> None:
    """Copy a disk into a file; zeros stay holes, and what was copied is durable when this returns.

    Args:
        source: A path that begins with `/`, or an NBD URI.
        source_format: Its format; nothing is guessed.
        target: The file; new unless `prepared`.
        target_format: Its format.
        on_percent: Told how far it is.
        guard: Awaited several times a second; what it raises ends the copying.
        prepared: The target is there already, reads as zeros, and is at least as large.

    Raises:
        ProtocolError: The source could not be read as what it claims to be.
        SpaceError: The target's file system is full.
        UnavailableError: It failed for another reason, or took too long. The target is not complete.
    """
    options = ("-n", "--target-is-zero") if prepared else ()
    formats = ("-f", source_format, "-O", target_format)
    command = (*_orderly(), "qemu-img", "convert", "-p", *options, *formats, source, str(target))
    if not prepared:
        os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    code, output = await _run(command, seconds=CONVERT_SECONDS_MAX, on_percent=on_percent, guard=guard)
    if code != 0:
        last = _last(output)
        if "No space left" in last:
            raise SpaceError(f"{target}: {last}")
        raise UnavailableError(f"copying {source} failed: {last}")
    await asyncio.to_thread(_flush, target)


def _orderly() -> Sequence[str]:
    """Return what the copying is started by: it ends when we do, and guests come first."""
    death = ("setpriv", "--pdeathsig", "KILL", "--") if shutil.which("setpriv") else ()
    return (*death, "nice", "-n", "10")


async def _look(limited: Sequence[str], verb: str, *arguments: str) -> bytes:
    prefix = tuple(limited) if shutil.which("prlimit") else ()
    code, output = await _run((*prefix, "qemu-img", verb, *arguments), seconds=LOOK_SECONDS_MAX, on_percent=None)
    if code != 0:
        raise ProtocolError(f"{arguments[-1]} cannot be read as {arguments[1]}: {_last(output)}")
    return output


async def _run(
    command: Sequence[str],
    *,
    seconds: float,
    on_percent: OnPercent | None,
    guard: Callable[[], Awaitable[None]] | None = None,
) -> tuple[int, bytes]:
    """Run a command to its end; return its status and the end of what it printed. It has ended when this returns."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    assert process.stdout is not None
    kept = b""
    try:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    async with asyncio.timeout(0.5):
                        part = await process.stdout.read(1 << 16)
                except TimeoutError:
                    part = None
                if guard is not None:
                    await guard()
                if part is None:
                    continue
                if not part:
                    break
                kept = (kept + part)[-(1 << 20) :]
                found = _PERCENT.findall(part)
                if found and on_percent is not None:
                    on_percent(min(99, int(float(found[-1]))))
            code = await process.wait()
    except TimeoutError as error:
        raise UnavailableError(f"{command[0]} took over {seconds:g} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return code, kept


def _last(output: bytes) -> str:
    lines = [line.strip() for line in re.split(r"[\r\n]+", output.decode(errors="replace")) if line.strip()]
    return ([line for line in lines if not _PERCENT.search(line.encode())] or ["no message"])[-1][:300]


def _object(text: bytes, path: Path) -> dict[str, Any]:
    try:
        told = json.loads(text)
    except ValueError as error:
        raise ProtocolError(f"{path}: qemu-img does not say what it is") from error
    return told if isinstance(told, dict) else {}


def _head(path: Path, length: int) -> bytes:
    return _part(path, 0, length)


def _part(path: Path, start: int, length: int) -> bytes:
    """Return bytes of a regular file; a pipe or a device is not waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ProtocolError(f"{path} is not a regular file")
            return os.pread(descriptor, length, start)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UnavailableError(f"{path} cannot be read: {error.strerror}") from error


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Image files, through QEMU's own tool: looked at with care, and copied, by descriptor.

What somebody brought is read by programs without rights (`engine/unprivileged.py`) that are given no name of any file:
the file is opened once, `qemu-nbd` serves its bytes as they are, and `qemu-img`, which takes them for an image, has one
connection to that. Whatever a header says, and however it changes meanwhile, there is nothing else that it could open.
"""

import asyncio
import contextlib
import json
import os
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drystone.domain.errors import ProtocolError, SpaceError, UnavailableError
from drystone.engine import image_formats, luks, unprivileged
from drystone.engine.graph import Backing
from drystone.engine.image_formats import SECTOR_BYTES
from drystone.engine.luks import LuksKey

EXPORTED = ("qcow2", "raw")
LOOK_SECONDS_MAX = 60.0
LOOK_MEMORY_BYTES = 2 << 30
"""Address space of a look at a header; a table that a header claims may be as large as it likes."""
CHECK_SECONDS_MAX = 86_400.0
CONVERT_SECONDS_MAX = 7 * 86_400.0
SERVE_SECONDS_MAX = 10.0
POLL_SECONDS = 0.005
_PERCENT = re.compile(rb"\((\d+(?:\.\d+)?)/100%\)")
_CHECK_LEAKS, _CHECK_UNSUPPORTED = 3, 63
"""Exit codes of `qemu-img check`: only space is leaked; the format has no check."""

_DIFFERENT = 1
"""Exit code of `qemu-img compare` for images that differ."""

OnPercent = Callable[[int], None]
Guard = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFile:
    """A file that somebody brought, open."""

    name: str
    descriptor: int
    format: str
    """What it is taken for, one of those that are imported."""
    scratch: Path
    """A directory of ours, for sockets."""
    key: LuksKey | None = None
    """What opens it, if it is an encrypted image of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What an image file holds."""

    size_bytes: int
    """Of the disk in it."""
    allocated_bytes: int
    """That an image of it may take, at most."""


def bytes_of(name: str, descriptor: int) -> image_formats.Bytes:
    """Return the bytes of an open file."""

    def read(offset: int, length: int) -> bytes:
        try:
            return os.pread(descriptor, length, offset)
        except OSError as error:
            raise UnavailableError(f"{name} cannot be read: {error.strerror}") from error

    return image_formats.Bytes(name=name, size=os.fstat(descriptor).st_size, read=read)


async def examine(file: ImageFile) -> Found:
    """Look at an image file.

    Raises:
        ProtocolError: It is no such image, or one that may not be imported.
        UnavailableError: It cannot be read, or the look took too long.
    """
    content = bytes_of(file.name, file.descriptor)
    await asyncio.to_thread(image_formats.refuse_references, content, file.format)
    if file.format == "raw" and content.size % SECTOR_BYTES:
        raise ProtocolError(f"{file.name} is no number of sectors of 512 bytes: it was cut off, or is no disk")
    told = await _look(file, "info")
    data = told.get("format-specific", {}).get("data", {})
    others = [told.get("backing-filename"), told.get("full-backing-filename"), data.get("data-file")]
    if told.get("format") != image_formats.IMPORTED[file.format] or any(others) or told.get("encrypted"):
        raise ProtocolError(f"{file.name} refers to other files, or is not a plain {file.format} image")
    size = told.get("virtual-size")
    if not isinstance(size, int) or size <= 0:
        raise ProtocolError(f"{file.name} holds no disk")
    required = (await _look(file, "measure", "-O", "qcow2")).get("required")
    return Found(size_bytes=size, allocated_bytes=required if isinstance(required, int) else size)


async def check(file: ImageFile) -> None:
    """Read an image's tables and refuse it if they are damaged or reach beyond its end: it would read as zeros there.

    Raises:
        ProtocolError: They are.
        UnavailableError: They could not be read.
    """
    if file.format == "raw":
        return  # It has no tables.
    with unprivileged.user() as uid:
        async with _served(file) as (node, connection):
            command = (*unprivileged.prefix(uid), "qemu-img", "check", "-q", node)
            code, output = await _run(command, descriptors=(connection,), seconds=CHECK_SECONDS_MAX)
    if code not in {0, _CHECK_LEAKS, _CHECK_UNSUPPORTED}:
        raise ProtocolError(f"{file.name} is damaged or cut off: {_last(output)}")


async def import_into(
    file: ImageFile, target: Path, *, key: LuksKey | None = None, on_percent: OnPercent, guard: Guard
) -> None:
    """Copy the disk in an image file into a qcow2 of ours; zeros stay holes, and it is durable when this returns.

    Args:
        file: The file.
        target: The qcow2, which reads as zeros and is at least as large as the disk.
        key: What opens it, if it is encrypted.
        on_percent: Told how far it is.
        guard: Awaited several times a second; what it raises ends the copying.

    Raises:
        SpaceError: The target's file system is full.
        UnavailableError: It failed for another reason, or took too long. The target is not complete.
    """
    descriptor = os.open(target, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        async with _served(file) as (node, connection):
            await _convert(
                file.name, ("-n", "--target-is-zero"), node, descriptor, connection, target_format="qcow2",
                keys=(file.key, key), on_percent=on_percent, guard=guard,
            )  # fmt: skip
    finally:
        os.close(descriptor)


async def same_content(
    file: ImageFile, target: Path, *, key: LuksKey | None = None, on_percent: OnPercent, guard: Guard
) -> bool:
    """Tell whether a qcow2 of ours reads, byte for byte, as what is in an image file.

    Raises:
        UnavailableError: They could not be compared.
    """
    descriptor = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    copied = {
        "driver": "qcow2", "backing": None, "file": {"driver": "file", "filename": f"/dev/fd/{descriptor}"},
        **luks.encryption(key),
    }  # fmt: skip
    try:
        with luks.given(_one(file.key, key)) as given, unprivileged.lent(descriptor, *given.descriptors) as uid:
            async with _served(file) as (node, connection):
                command = (
                    *unprivileged.prefix(uid), "nice", "-n", "10", "qemu-img", "compare", "-p", *given.words, node,
                    f"json:{json.dumps(copied)}",
                )  # fmt: skip
                code, output = await _run(
                    command, descriptors=(descriptor, connection, *given.descriptors), seconds=CONVERT_SECONDS_MAX,
                    on_percent=on_percent, guard=guard,
                )  # fmt: skip
    finally:
        os.close(descriptor)
    if code not in {0, _DIFFERENT}:
        raise UnavailableError(f"{file.name} could not be compared with its copy: {_last(output)}")
    return code == 0


async def export_into(
    source: Backing, descriptor: int, image_format: str, *, on_percent: OnPercent, guard: Guard
) -> None:
    """Copy what an NBD export holds into an open, empty file; zeros stay holes, and it is durable when this returns.

    Raises:
        SpaceError: The file's file system is full.
        UnavailableError: It failed for another reason, or took too long. The file is not complete.
    """
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as connection:
        try:
            connection.connect(str(source.socket))
        except OSError as error:
            raise UnavailableError(f"the snapshot cannot be read: {error.strerror}") from error
        node = _node("raw", connection.fileno(), export=source.export)
        await _convert(
            source.export, (), node, descriptor, connection.fileno(), target_format=image_format,
            on_percent=on_percent, guard=guard,
        )  # fmt: skip


def _one(source: LuksKey | None, target: LuksKey | None) -> LuksKey | None:
    """Return the key that a program is given: it copies within one disk, or from what is plain."""
    assert source is None or source == target
    return target


async def _convert(
    name: str,
    options: Sequence[str],
    node: str,
    target: int,
    connection: int,
    *,
    target_format: str,
    keys: tuple[LuksKey | None, LuksKey | None] = (None, None),
    on_percent: OnPercent,
    guard: Guard,
) -> None:
    """Copy `node` into an open file; `keys` are those of the two, if they are encrypted."""
    key, file = _one(*keys), f"/dev/fd/{target}"
    into: tuple[str, ...] = ("-O", target_format, node, file)
    if key is not None:
        told = f"driver={target_format},encrypt.key-secret={luks.SECRET},file.driver=file,file.filename={file}"
        into = ("--target-image-opts", node, told)
    with luks.given(key) as given, unprivileged.lent(target, *given.descriptors) as uid:
        command = (
            *unprivileged.prefix(uid), "nice", "-n", "10", "qemu-img", "convert", "-p", *options, *given.words, *into
        )  # fmt: skip
        code, output = await _run(
            command, descriptors=(target, connection, *given.descriptors), seconds=CONVERT_SECONDS_MAX,
            on_percent=on_percent, guard=guard,
        )  # fmt: skip
    if code != 0:
        last = _last(output)
        if "No space left" in last:
            raise SpaceError(f"copying {name} failed: {last}")
        raise UnavailableError(f"copying {name} failed: {last}")
    await asyncio.to_thread(os.fsync, target)


async def _look(file: ImageFile, verb: str, *options: str) -> Mapping[str, Any]:
    with unprivileged.user() as uid:
        async with _served(file) as (node, connection):
            prefix = unprivileged.prefix(uid, memory_bytes=LOOK_MEMORY_BYTES)
            command = (*prefix, "qemu-img", verb, *options, "--output=json", node)
            code, output = await _run(command, descriptors=(connection,), seconds=LOOK_SECONDS_MAX)
    if code != 0:
        raise ProtocolError(f"{file.name} cannot be read as {file.format}: {_last(output)}")
    try:
        told = json.loads(output)
    except ValueError as error:
        raise ProtocolError(f"{file.name}: qemu-img does not say what it is") from error
    return told if isinstance(told, dict) else {}


def _node(driver: str, connection: int, *, export: str = "", key: LuksKey | None = None) -> str:
    """Return the name by which QEMU's tools open an image of which they have only a connection to its bytes."""
    nbd = {"driver": "nbd", "server": {"type": "fd", "str": str(connection)}, "export": export}
    node: dict[str, Any] = {"driver": driver, "file": nbd, **luks.encryption(key)}
    if driver in {"qcow2", "qed"}:
        node["backing"] = None
    return "json:" + json.dumps(node)


@contextlib.asynccontextmanager
async def _served(file: ImageFile) -> AsyncIterator[tuple[str, int]]:
    """Serve the bytes of a file, as they are, to one connection; give QEMU's name for it, and the connection."""
    directory = os.open(file.scratch, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    # By descriptor: the path of the directory may be too long for the address of a socket.
    name = f"image-{directory}.sock"
    path = f"/proc/self/fd/{directory}/{name}"
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)
        server = await asyncio.create_subprocess_exec(
            *unprivileged.mortal(), "qemu-nbd", "--read-only", "--format=raw", f"--socket={path}",
            f"/dev/fd/{file.descriptor}", stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT, pass_fds=(file.descriptor, directory),
        )  # fmt: skip
        try:
            with contextlib.closing(socket.socket(socket.AF_UNIX)) as connection:
                await _connect(connection, path, server, file.name)
                os.unlink(name, dir_fd=directory)
                driver = image_formats.IMPORTED[file.format]
                yield _node(driver, connection.fileno(), key=file.key), connection.fileno()
        finally:
            if server.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    server.kill()
                await server.wait()
    finally:
        os.close(directory)


async def _connect(connection: socket.socket, path: str, server: asyncio.subprocess.Process, name: str) -> None:
    try:
        async with asyncio.timeout(SERVE_SECONDS_MAX):
            while True:
                try:
                    connection.connect(path)
                except (FileNotFoundError, ConnectionRefusedError):
                    if server.returncode is not None:
                        assert server.stdout is not None
                        raise UnavailableError(
                            f"{name} cannot be read: {_last(await server.stdout.read(1 << 16))}"
                        ) from None
                    await asyncio.sleep(POLL_SECONDS)
                else:
                    return
    except TimeoutError as error:
        raise UnavailableError(f"{name} cannot be read: qemu-nbd does not answer") from error


async def _run(
    command: Sequence[str],
    *,
    descriptors: Sequence[int],
    seconds: float,
    on_percent: OnPercent | None = None,
    guard: Guard | None = None,
) -> tuple[int, bytes]:
    """Run a command to its end; return its status and the end of what it printed. It has ended when this returns."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        pass_fds=tuple(descriptors),
    )  # fmt: skip
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
        raise UnavailableError(f"qemu-img took over {seconds:g} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return code, kept


def _last(output: bytes) -> str:
    lines = [line.strip() for line in re.split(r"[\r\n]+", output.decode(errors="replace")) if line.strip()]
    return ([line for line in lines if not _PERCENT.search(line.encode())] or ["no message"])[-1][:300]

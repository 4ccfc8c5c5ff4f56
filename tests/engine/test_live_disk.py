"""Disks in a real storage daemon: what an earlier process of ours has left is no obstacle."""

import asyncio
import contextlib
import itertools
import os
import random
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drystone.domain.blocks import normalize
from drystone.domain.errors import ProtocolError, SnapshotBrokenError
from drystone.domain.ids import DiskId
from drystone.engine import freezing, graph
from drystone.engine.daemon import Daemon
from drystone.engine.layout import node
from drystone.engine.live_disk import LiveDisk, OpenDisk
from drystone.engine.qmp import QmpRefusedError
from drystone.engine.volume import Qcow2Volume
from drystone.nbd.client import NbdClient
from drystone.nbd.server import NbdServer
from drystone.nbd.vhost_user import Discarder
from drystone.transfer.hydrate import hydrate
from tests.nbd.test_nbd_server import MemoryExport, Provider

DISK = DiskId("disk-00000001")
BLOCK = 4096
MIB = 1 << 20


@contextlib.contextmanager
def cut_off(daemon: Daemon, *, allowed: int | None) -> Iterator[list[tuple[str, Any]]]:
    """Cancel what is run within this after so many commands, or never; yield those that were sent."""
    execute = daemon.execute
    done: list[tuple[str, Any]] = []

    async def limited(command: str, arguments: dict[str, Any] | None = None) -> object:
        if len(done) == allowed:
            raise asyncio.CancelledError
        done.append((command, arguments))
        return await execute(command, arguments)

    daemon.execute = limited  # type: ignore[method-assign]
    try:
        with contextlib.suppress(asyncio.CancelledError):
            yield done
    finally:
        daemon.execute = execute  # type: ignore[method-assign]


def test_a_bitmap_is_read_although_somebody_was_killed_at_reading_it(tmp_path: Path) -> None:
    image = tmp_path / "disk.qcow2"
    volume = Qcow2Volume(id=DISK, image=image)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "64M"], check=True)

    async def read() -> None:
        (tmp_path / "run").mkdir()
        daemon = await Daemon.start("test", tmp_path / "run", tmp_path / "log", os.environ)
        try:
            opened = OpenDisk(volume=volume, limits=None, bitmap="b0", backing=None)
            await LiveDisk(daemon=daemon, id=DISK).open(opened)
            socket = await LiveDisk(daemon=daemon, id=DISK).export_nbd()
            with NbdClient(socket, DISK) as client:
                client.pwrite(5 * BLOCK, b"x" * 2 * BLOCK)
                client.flush()
            await LiveDisk(daemon=daemon, id=DISK).unexport()
            # What the killed one had done.
            await daemon.execute("block-export-add", graph.bitmap_export(DISK, "b0"))
            for _ in range(2):
                assert (await LiveDisk(daemon=daemon, id=DISK).read_bitmap("b0")).tolist() == [[5, 7]]
            assert await daemon.exports() == {}
        finally:
            await daemon.kill()

    asyncio.run(read())


def test_a_disk_whose_opening_was_cut_off_anywhere_is_not_open_unless_its_bitmap_records(tmp_path: Path) -> None:
    """S4: whoever finds the disk open exports it; a write that no bitmap records would miss in the next snapshot."""
    image = tmp_path / "disk.qcow2"
    volume = Qcow2Volume(id=DISK, image=image)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "64M"], check=True)
    opened = OpenDisk(volume=volume, limits=None, bitmap="b0", backing=None)

    async def story() -> None:
        (tmp_path / "run").mkdir()
        daemon = await Daemon.start("test", tmp_path / "run", tmp_path / "log", os.environ)
        try:
            found: list[bool] = []
            whole = False
            while not whole:
                with cut_off(daemon, allowed=len(found)):
                    await LiveDisk(daemon=daemon, id=DISK).open(opened)
                    whole = True
                held = (await LiveDisk(daemon=daemon, id=DISK).look()).bitmaps
                recording = "b0" in held and held["b0"].recording
                is_open = (await LiveDisk(daemon=daemon, id=DISK).look()).whole
                assert recording or not is_open, len(found)
                found.append(is_open)
                if not whole:
                    await LiveDisk(daemon=daemon, id=DISK).close()
            assert found == [False] * 5 + [True]
        finally:
            await daemon.kill()

    asyncio.run(story())


def test_who_has_a_disk_over_nbd_can_discard_nothing_of_its_frozen_view(tmp_path: Path) -> None:
    """S128: it would break the snapshot. Drystone can, on a socket of its own, and only there."""
    image = tmp_path / "disk.qcow2"
    volume = Qcow2Volume(id=DISK, image=image)
    size = 64 * MIB
    opened = OpenDisk(volume=volume, limits=None, bitmap="b0", backing=None)
    target = freezing.FreezeTarget(
        disk_id=DISK, size_bytes=size, frozen="b0", live="b1", scratch=tmp_path / "scratch" / "disk.raw"
    )

    def guest(daemon: Daemon) -> None:
        with NbdClient(daemon.nbd_socket, DISK) as disk:
            for at in range(0, size, 16 * MIB):
                disk.pwrite(at, b"b" * 16 * MIB)
        view = graph.view_export_name(DISK)
        for spoil in ("trim", "pwrite", "zero"):
            with NbdClient(daemon.nbd_socket, view) as client, pytest.raises(ProtocolError):
                getattr(client, spoil)(0, b"c" * MIB if spoil == "pwrite" else MIB)
        with NbdClient(daemon.nbd_socket, view) as client:
            assert client.pread(0, MIB) == b"a" * MIB

    def trim(daemon: Daemon) -> None:
        socket = LiveDisk(daemon=daemon, id=DISK).trim_socket
        for _ in range(2):
            with Discarder(socket) as discarder:
                assert discarder.discard([(0, 16 * MIB), (20 * MIB, 44 * MIB)], stop=lambda: False) == 60 * MIB
        with NbdClient(daemon.nbd_socket, graph.view_export_name(DISK)) as client:
            assert client.pread(16 * MIB, 4 * MIB) == b"a" * 4 * MIB
            with pytest.raises(SnapshotBrokenError):
                client.pread(0, MIB)

    async def story() -> None:
        (tmp_path / "run").mkdir()
        await volume.create(size)
        daemon = await Daemon.start("test", tmp_path / "run", tmp_path / "log", os.environ)
        try:
            await LiveDisk(daemon=daemon, id=DISK).open(opened)
            socket = await LiveDisk(daemon=daemon, id=DISK).export_nbd()
            await asyncio.to_thread(write, socket, b"a" * size)
            await freezing.freeze(daemon, [target])
            await asyncio.to_thread(guest, daemon)
            await asyncio.to_thread(trim, daemon)
            # Whoever discards does not keep the view.
            with Discarder(LiveDisk(daemon=daemon, id=DISK).trim_socket):
                await LiveDisk(daemon=daemon, id=DISK).unfreeze(scratch=target.scratch)
            assert set(await daemon.exports()) == {node("disk", DISK)}
            assert not LiveDisk(daemon=daemon, id=DISK).trim_socket.exists()
        finally:
            await daemon.kill()

    def write(socket: Path, data: bytes) -> None:
        with NbdClient(socket, DISK) as disk:
            for at in range(0, len(data), 16 * MIB):
                disk.pwrite(at, data[at : at + 16 * MIB])

    asyncio.run(story())


def test_a_freeze_that_is_refused_half_way_leaves_everything_as_before(tmp_path: Path) -> None:
    """Its commands are sent at once: what follows the refused one is run, and taken back."""
    image = tmp_path / "disk.qcow2"
    volume = Qcow2Volume(id=DISK, image=image)
    opened = OpenDisk(volume=volume, limits=None, bitmap="b0", backing=None)
    scratch = tmp_path / "scratch" / "disk.raw"
    target = freezing.FreezeTarget(disk_id=DISK, size_bytes=64 * MIB, frozen="b0", live="b1", scratch=scratch)

    async def story() -> None:
        (tmp_path / "run").mkdir()
        await volume.create(64 * MIB)
        daemon = await Daemon.start("test", tmp_path / "run", tmp_path / "log", os.environ)
        try:
            disk = LiveDisk(daemon=daemon, id=DISK)
            await disk.open(opened)
            nodes, bitmaps = set(await daemon.nodes()), (await disk.look()).bitmaps
            for command in ("blockdev-add", "block-dirty-bitmap-add"):
                with refusing(daemon, command), pytest.raises(QmpRefusedError, match="refused by the test"):
                    await freezing.freeze(daemon, [target])
                assert set(await daemon.nodes()) == nodes
                assert (await disk.look()).bitmaps == bitmaps
                assert not scratch.exists()
            # A view that cannot be exported is a failure of the snapshot; trimming alone can be done without.
            with refusing(daemon, "block-export-add", number=1):
                await freezing.freeze(daemon, [target])
            assert set(await daemon.exports()) == {node("view", DISK)}
            await disk.unfreeze(scratch=scratch)
            await disk.drop_bitmap("b0")
            again = replace(target, frozen="b1", live="b2")
            with refusing(daemon, "block-export-add"), pytest.raises(QmpRefusedError):
                await freezing.freeze(daemon, [again])
            await freezing.finish_freeze(daemon, [again])
            assert node("view", DISK) in await daemon.exports()
            found = (await disk.look()).bitmaps
            assert {name: one.recording for name, one in found.items()} == {"b1": False, "b2": True}
        finally:
            await daemon.kill()

    asyncio.run(story())


@contextlib.contextmanager
def refusing(daemon: Daemon, command: str, *, number: int = 0) -> Iterator[None]:
    """Have one command of a name be refused, and run the others."""
    execute, seen = daemon.execute, itertools.count()

    async def refuse(name: str, arguments: dict[str, Any] | None = None) -> object:
        if name == command and next(seen) == number:
            raise QmpRefusedError("refused by the test")
        return await execute(name, arguments)

    daemon.execute = refuse  # type: ignore[assignment,method-assign]
    try:
        yield
    finally:
        daemon.execute = execute  # type: ignore[method-assign]


def test_a_disk_lets_go_of_its_source_while_clients_come_and_go(tmp_path: Path) -> None:
    """Cut off before any of its commands and begun again; the image is never reopened in use (S92)."""
    rng = random.Random(5)
    content = bytearray(64 * MIB)
    for at in range(0, 64 * MIB, 8 * MIB):
        content[at : at + MIB] = rng.randbytes(MIB)
    source = MemoryExport(bytes(content))
    backing = graph.Backing(socket=tmp_path / "source.sock", export="source")
    image = tmp_path / "disk.qcow2"
    volume = Qcow2Volume(id=DISK, image=image)

    def read_on(socket: Path, stop: threading.Event, wrong: list[int]) -> None:
        while not stop.is_set():
            with NbdClient(socket, DISK) as client:
                at = rng.randrange(0, 64 * MIB, 8 * MIB)
                if client.pread(at, 2 * MIB) != content[at : at + 2 * MIB]:
                    wrong.append(at)

    async def let_go(daemon: Daemon, allowed: int) -> tuple[bool, set[str]]:
        """Let go, cut off before some command, and again; return whether it was, and the drivers of reopened nodes."""
        cut = True
        with cut_off(daemon, allowed=allowed) as first:
            await LiveDisk(daemon=daemon, id=DISK).drop_backing()
            cut = False
        with cut_off(daemon, allowed=None) as again:
            await LiveDisk(daemon=daemon, id=DISK).drop_backing()
        reopened = {
            one["driver"]
            for command, given in (*first, *again)
            if command == "blockdev-reopen"
            for one in given["options"]
        }
        return cut, reopened

    async def one(daemon: Daemon, allowed: int) -> bool:
        image.unlink(missing_ok=True)
        await volume.create(len(content), backing)
        await LiveDisk(daemon=daemon, id=DISK).open(OpenDisk(volume=volume, limits=None, bitmap="b0", backing=backing))
        assert await LiveDisk(daemon=daemon, id=DISK).export_hydration() is None
        blocks = [(at // BLOCK, (at + MIB) // BLOCK) for at in range(0, 64 * MIB, 8 * MIB)]

        def fill() -> None:
            with NbdClient(daemon.nbd_socket, graph.hydration_export_name(DISK)) as client:
                hydrate(
                    client, normalize(blocks), rate_bytes_per_s=0, stop=threading.Event(),
                    on_progress=lambda _done, _all: None,
                )  # fmt: skip

        await asyncio.to_thread(fill)
        socket = await LiveDisk(daemon=daemon, id=DISK).export_nbd()
        stop, wrong = threading.Event(), list[int]()
        reader = threading.Thread(target=read_on, args=(socket, stop, wrong))
        reader.start()
        try:
            cut, reopened = await let_go(daemon, allowed)
            assert not (await LiveDisk(daemon=daemon, id=DISK).look()).hydrates
            assert not volume.has_backing()
        finally:
            stop.set()
            await asyncio.to_thread(reader.join)
        assert not wrong
        with NbdClient(socket, DISK) as client:
            client.trim(0, MIB)
            assert client.pread(0, 16 * MIB) == bytes(MIB) + content[MIB : 16 * MIB]
        await LiveDisk(daemon=daemon, id=DISK).close()
        assert not await daemon.nodes()
        assert reopened == {"throttle"}
        return cut

    async def story() -> None:
        (tmp_path / "run").mkdir()
        daemon = await Daemon.start("test", tmp_path / "run", tmp_path / "log", os.environ)
        try:
            with NbdServer(backing.socket, Provider({"source": source})):
                allowed = 0
                while await one(daemon, allowed):
                    allowed += 1
                assert allowed > 6
        finally:
            await daemon.kill()
        assert "corrupt" not in (tmp_path / "log").read_text()

    asyncio.run(story())

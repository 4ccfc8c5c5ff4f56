"""No client holds up a storage daemon: not by reading nothing, nor by half a request, whoever it is (S125)."""

import asyncio
import contextlib
import errno
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from drystone.domain.errors import UnavailableError
from drystone.domain.ids import DiskId
from drystone.engine import clients, graph, images, live, peers, qmp
from drystone.engine.clients import Connection, Cut, Raise, plan_relief
from drystone.engine.daemon import Daemon
from drystone.engine.layout import node
from drystone.engine.peers import Debt
from drystone.nbd.client import NbdClient
from tests.engine.stuck_clients import client

STUCK, NEIGHBOUR = DiskId("disk-00000001"), DiskId("disk-00000002")
MIB = 1 << 20
SIZE = 256 * MIB
FREEZE_S_MAX = 5.0
"""Far above what a freeze takes here, far below the time limits of the daemon's commands."""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="others may raise a send buffer to wmem_max only")


@contextlib.asynccontextmanager
async def two_disks(tmp_path: Path) -> AsyncIterator[Daemon]:
    """A daemon with two disks that are served; the first holds 64 MiB."""
    (tmp_path / "run").mkdir()
    daemon = await Daemon.start("test", tmp_path / "run", tmp_path / "log", os.environ)
    try:
        for disk_id in (STUCK, NEIGHBOUR):
            image = tmp_path / f"{disk_id}.qcow2"
            await images.create(image, SIZE, None)
            await live.open_disk(
                daemon, live.OpenDisk(disk_id=disk_id, image=image, limits=None, bitmap="b0", backing=None)
            )
            await live.export_nbd(daemon, disk_id)
        await asyncio.to_thread(fill, daemon.nbd_socket)
        yield daemon
    finally:
        await daemon.kill()


def fill(socket: Path) -> None:
    with NbdClient(socket, STUCK) as guest:
        for at in range(0, 64 * MIB, 16 * MIB):
            guest.pwrite(at, os.urandom(MIB) * 16)
        guest.flush()


async def snapshot(daemon: Daemon, scratch: Path, *disks: DiskId) -> float:
    """Freeze, and take the views away again; return how long the freeze took, in seconds.

    None of it takes `FREEZE_S_MAX`.
    """
    targets = [
        live.FreezeTarget(disk_id=disk_id, size_bytes=SIZE, frozen="b0", live="b1", scratch=scratch / disk_id)
        for disk_id in disks
    ]
    began = time.monotonic()
    async with asyncio.timeout(FREEZE_S_MAX):
        await live.freeze(daemon, targets)
    took_s = time.monotonic() - began
    for target in targets:
        async with asyncio.timeout(FREEZE_S_MAX):
            await live.unfreeze(daemon, target.disk_id, scratch=target.scratch)
            await live.merge_back(daemon, target.disk_id, frozen="b1", live="b0")
            await live.drop_bitmap(daemon, target.disk_id, "b1")
            await daemon.execute("block-dirty-bitmap-enable", {"node": node("qcow", target.disk_id), "name": "b0"})
    return took_s


def reader(queued: int, **more: Any) -> Connection:
    return Connection(**{"inode": 1, "queued_bytes": queued, "buffer_bytes": 1 << 18, "reads_late": True, **more})


@pytest.mark.parametrize(
    ("connection", "since_s", "unread_s", "raisable", "done"),
    [
        # Whoever reads late gets room, stopped or not, and is left alone while it has some.
        (reader(1 << 18, stopped=True), 0.1, 0.0, True, Raise),
        (reader(1 << 18), 0.1, 0.0, True, Raise),
        (reader(1 << 18, buffer_bytes=1 << 28), 60.0, 60.0, True, None),
        # Where there is no more room, or this user may not make any: those that are stopped, or take nothing for long.
        (reader(1 << 30, stopped=True), 0.1, 0.0, True, Cut),
        (reader(1 << 18, stopped=True), 0.1, 0.0, False, Cut),
        (reader(1 << 30), 60.0, 9.9, True, None),
        (reader(1 << 30), 60.0, 10.0, True, Cut),
        # Answers that the daemon does not wait for are nobody's business.
        (reader(1 << 30, stopped=True, reads_late=False), 60.0, 60.0, True, None),
        # Half a request.
        (reader(0, reads_late=False, asked_for=True, debt=Debt.SENDING), 1.9, 0.0, True, None),
        (reader(768, reads_late=False, asked_for=True, debt=Debt.SENDING), 2.0, 0.0, True, Cut),
        (reader(0, reads_late=False, asked_for=True, debt=Debt.SENDING), 2.0, 0.0, True, Cut),
        (reader(0, reads_late=False, asked_for=True, debt=Debt.WAITING, stopped=True), 0.5, 0.0, True, Cut),
        (reader(0, reads_late=False, asked_for=True, debt=None, stopped=True), 9.9, 0.0, True, None),
        (reader(0, reads_late=False, asked_for=True, debt=None), 10.0, 0.0, True, Cut),
        # Idle, for ever.
        (reader(0, reads_late=False, asked_for=True, debt=Debt.NONE, stopped=True), 1000.0, 0.0, True, None),
        (reader(0, reads_late=False), 1000.0, 0.0, True, None),
    ],
)
def test_who_is_helped_and_who_is_cut(
    connection: Connection, since_s: float, unread_s: float, done: type | None, *, raisable: bool
) -> None:
    plan = plan_relief([connection], since_s=since_s, unread_s={1: unread_s}, raisable=raisable)
    assert [type(step) for step in plan] == ([] if done is None else [done])
    if done is Raise:
        assert isinstance(plan[0], Raise)
        assert plan[0].buffer_bytes > 4 * connection.queued_bytes


def test_room_is_made_for_clients_until_they_have_left_a_gigabyte_unread() -> None:
    found = [reader(clients.QUEUED_BYTES_MAX // 32, inode=inode) for inode in range(40)]
    plan = plan_relief(found, since_s=1.0, unread_s={}, raisable=True)
    assert not plan
    plan = plan_relief(found[:20], since_s=1.0, unread_s={}, raisable=True)
    assert len(plan) == (clients.QUEUED_BYTES_MAX * 12 // 32) // clients.ROOM_BYTES


def test_of_those_that_may_have_sent_half_a_request_the_likeliest_is_cut_alone() -> None:
    found = [
        reader(0, inode=1, reads_late=False, asked_for=True, stopped=True),
        reader(0, inode=2, reads_late=False, asked_for=True, debt=Debt.NONE, stopped=True),
        reader(0, inode=3, reads_late=False, asked_for=True),
        reader(0, inode=4, reads_late=False, asked_for=True, debt=Debt.SENDING, stopped=True),
        reader(0, inode=5, reads_late=False, asked_for=True, debt=Debt.WAITING),
    ]
    cut = []
    while plan := plan_relief(found, since_s=60.0, unread_s={}, raisable=True):
        (step,) = plan
        cut.append(step.connection.inode)
        found.remove(step.connection)
    assert cut == [5, 4, 1, 3]


@needs_root
def test_a_reader_that_is_stopped_holds_up_nobody_and_keeps_its_connection(tmp_path: Path) -> None:
    async def story() -> None:
        async with two_disks(tmp_path) as daemon:
            socket = daemon.nbd_socket
            with (
                client(socket, STUCK, "read", count=60) as reader,
                client(socket, NEIGHBOUR, "read", count=60) as other,
                client(socket, STUCK, "idle") as idle,
            ):
                reader.stop()
                idle.stop()
                # The other takes nothing either, and runs.
                for _ in range(3):
                    await snapshot(daemon, tmp_path, STUCK, NEIGHBOUR)
                for stuck in (reader, other, idle):
                    assert await asyncio.to_thread(stuck.goes_on)

    asyncio.run(story())


def test_a_writer_that_is_stopped_in_mid_request_is_cut_and_nobody_else(tmp_path: Path) -> None:
    async def story() -> None:
        async with two_disks(tmp_path) as daemon:
            socket = daemon.nbd_socket
            with (
                client(socket, STUCK, "idle") as first,
                client(socket, STUCK, "write", length=8 * MIB) as writer,
                client(socket, STUCK, "idle") as idle,
                client(socket, STUCK, "idle") as suspended,
                client(socket, NEIGHBOUR, "idle") as other,
            ):
                suspended.stop()
                await asyncio.to_thread(writer.stop_in_mid_write, daemon.pid)
                await snapshot(daemon, tmp_path, STUCK)
                await snapshot(daemon, tmp_path, STUCK, NEIGHBOUR)
                writer.resume()
                assert not await asyncio.to_thread(writer.is_well)
                for healthy in (first, idle, suspended, other):
                    assert await asyncio.to_thread(healthy.goes_on)

    asyncio.run(story())


def test_who_may_raise_no_buffer_cuts_a_reader_that_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "_raise", lambda *_: False)

    async def story() -> None:
        async with two_disks(tmp_path) as daemon:
            with client(daemon.nbd_socket, STUCK, "read", count=60) as late:
                late.stop()
                await snapshot(daemon, tmp_path, STUCK)
                assert not await asyncio.to_thread(late.goes_on)

    asyncio.run(story())


def test_who_may_not_look_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S126: the command's own time limit ends the wait, and the client holds up the daemon no longer than it likes."""
    monkeypatch.setattr(qmp, "COMMAND_SECONDS_MAX", 0.5)

    def refused(_pid: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    async def story() -> None:
        async with two_disks(tmp_path) as daemon:
            with client(daemon.nbd_socket, STUCK, "read", count=60) as late:
                late.stop()
                with monkeypatch.context() as patch:
                    patch.setattr(peers, "waits", refused)
                    with pytest.raises(UnavailableError, match="Operation not permitted"):
                        await snapshot(daemon, tmp_path, STUCK)
                assert await asyncio.to_thread(late.goes_on)
                assert await live.is_open(daemon, STUCK)

    asyncio.run(story())


def test_half_a_request_of_a_program_that_hangs_holds_up_nobody_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "UNREAD_S", 1.0)

    async def story() -> None:
        async with two_disks(tmp_path) as daemon:
            socket = daemon.nbd_socket
            with client(socket, STUCK, "half") as writer, client(socket, STUCK, "idle") as idle:
                assert await snapshot(daemon, tmp_path, STUCK) > clients.UNREAD_S
                assert not await asyncio.to_thread(writer.goes_on)
                assert await asyncio.to_thread(idle.goes_on)

    asyncio.run(story())


def test_a_client_that_is_stopped_does_not_keep_its_export_or_its_daemon(tmp_path: Path) -> None:
    """QEMU shuts its connection and waits for it to be writable, which a full queue is not."""

    async def story() -> None:
        async with two_disks(tmp_path) as daemon:
            with (
                client(daemon.nbd_socket, STUCK, "read", count=60) as reader,
                client(daemon.nbd_socket, NEIGHBOUR, "read", count=60) as other,
            ):
                reader.stop()
                other.stop()
                began = time.monotonic()
                await live.unexport(daemon, STUCK)
                await live.resize(daemon, STUCK, 2 * SIZE)
                await live.export_nbd(daemon, STUCK)
                await live.close_disk(daemon, STUCK)
                await daemon.quit()
                assert time.monotonic() - began < FREEZE_S_MAX

    asyncio.run(story())


def test_a_daemon_that_is_held_up_is_taken_over(tmp_path: Path) -> None:
    """Whoever drove it was killed while it waited for a client."""

    async def story() -> None:
        async with two_disks(tmp_path) as daemon:
            with client(daemon.nbd_socket, STUCK, "read", count=60) as reader:
                reader.stop()
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(clients.PATIENCE_S / 2):
                        await daemon.execute("blockdev-reopen", {"options": [graph.top_node(STUCK)]})
                await daemon.disconnect()
                found = await Daemon.adopt("test", daemon.directory)
                assert found is not None
                assert await live.is_open(found, STUCK)
                await found.disconnect()
                assert await asyncio.to_thread(reader.goes_on) is (os.geteuid() == 0)

    asyncio.run(story())

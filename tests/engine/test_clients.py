"""No client that stands holds up a storage daemon, and none that does not is cut (S125)."""

import asyncio
import contextlib
import errno
import os
import random
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drystone.domain.errors import UnavailableError
from drystone.domain.ids import DiskId
from drystone.engine import clients, freezing, graph, peers, qmp
from drystone.engine.clients import Connection, Cut, Raise, Still, follow, plan_relief
from drystone.engine.daemon import Daemon
from drystone.engine.layout import node
from drystone.engine.live_disk import LiveDisk, OpenDisk
from drystone.engine.peers import Debt
from drystone.engine.volume import Qcow2Volume
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
            volume = Qcow2Volume(id=disk_id, image=tmp_path / f"{disk_id}.qcow2")
            await volume.create(SIZE)
            await LiveDisk(daemon=daemon, id=disk_id).open(
                OpenDisk(volume=volume, limits=None, bitmap="b0", backing=None)
            )
            await LiveDisk(daemon=daemon, id=disk_id).export_nbd()
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
        freezing.FreezeTarget(disk_id=disk_id, size_bytes=SIZE, frozen="b0", live="b1", scratch=scratch / disk_id)
        for disk_id in disks
    ]
    began = time.monotonic()
    async with asyncio.timeout(FREEZE_S_MAX):
        await freezing.freeze(daemon, targets)
    took_s = time.monotonic() - began
    for target in targets:
        async with asyncio.timeout(FREEZE_S_MAX):
            await LiveDisk(daemon=daemon, id=target.disk_id).unfreeze(scratch=target.scratch)
            await LiveDisk(daemon=daemon, id=target.disk_id).merge_back(frozen="b1", live="b0")
            await daemon.execute("block-dirty-bitmap-enable", {"node": node("qcow", target.disk_id), "name": "b0"})
    return took_s


def reader(queued: int, **more: Any) -> Connection:
    return Connection(**{"inode": 1, "queued_bytes": queued, "buffer_bytes": 1 << 18, "reads_late": True, **more})


def standing(*found: Connection, looks: int = 100) -> dict[int, Still]:
    """All of them have stood since second 0."""
    return {one.inode: Still(seen=one, since_s=0.0, looks=looks) for one in found}


def idle(**more: Any) -> Connection:
    """The daemon waits for it to send something."""
    return reader(0, **{"reads_late": False, "asked_for": True, **more})


@pytest.mark.parametrize(
    ("connection", "now_s", "raisable", "done"),
    [
        # Whoever reads late gets room, stopped or not, and is left alone while it has some.
        (reader(1 << 18, stopped=True), 0.1, True, Raise),
        (reader(1 << 18), 0.1, True, Raise),
        (reader(1 << 18, buffer_bytes=1 << 28), 60.0, True, None),
        # Where there is no more room, or this user may not make any: those that are stopped, or take nothing for long.
        (reader(1 << 30, stopped=True), 0.4, True, None),
        (reader(1 << 30, stopped=True), 0.5, True, Cut),
        (reader(1 << 18, stopped=True), 0.5, False, Cut),
        (reader(1 << 30), 9.9, True, None),
        (reader(1 << 30), 10.0, True, Cut),
        # Answers that the daemon does not wait for are nobody's business.
        (reader(1 << 30, stopped=True, reads_late=False), 60.0, True, None),
        # Half a request of a client that is stopped.
        (idle(debt=Debt.WAITING, stopped=True), 0.4, True, None),
        (idle(debt=Debt.WAITING, stopped=True), 0.5, True, Cut),
        (idle(debt=Debt.SENDING, stopped=True), 0.5, True, Cut),
        (idle(queued_bytes=768, debt=Debt.SENDING, stopped=True), 0.5, True, Cut),
        (idle(stopped=True), 9.9, True, None),
        (idle(stopped=True), 10.0, True, Cut),
        # The daemon has not taken all that it has sent.
        (idle(debt=Debt.WAITING, stopped=True, arrived_bytes=1), 1000.0, True, None),
        # It runs, and is about to send the rest, or nobody knows what it does.
        (idle(debt=Debt.WAITING), 1000.0, True, None),
        (idle(debt=Debt.SENDING), 1000.0, True, None),
        (idle(), 1000.0, True, None),
        # Idle, for ever.
        (idle(debt=Debt.NONE, stopped=True), 1000.0, True, None),
        (idle(asked_for=False), 1000.0, True, None),
    ],
)
def test_who_is_helped_and_who_is_cut(
    connection: Connection, now_s: float, done: type | None, *, raisable: bool
) -> None:
    plan = plan_relief([connection], still=standing(connection), now_s=now_s, raisable=raisable)
    assert [type(step) for step in plan] == ([] if done is None else [done])
    if done is Raise:
        assert isinstance(plan[0], Raise)
        assert plan[0].buffer_bytes > 4 * connection.queued_bytes
    few = plan_relief([connection], still=standing(connection, looks=4), now_s=now_s, raisable=raisable)
    busy = plan_relief([connection], still=standing(connection), now_s=now_s, raisable=raisable, may_cut=False)
    for harmless in (few, busy):
        assert [type(step) for step in harmless] == ([Raise] if done is Raise else [])


def test_a_connection_that_the_daemon_has_shut_may_be_cut_while_it_serves() -> None:
    gone = reader(1 << 18, stopped=True, shut=True)
    plan = plan_relief([gone], still=standing(gone), now_s=0.5, raisable=False, may_cut=False)
    assert [type(step) for step in plan] == [Cut]


def cut_at(looks: Iterable[Connection]) -> int | None:
    """Return at which of these looks, one in 20 ms, a client would be cut."""
    still: dict[int, Still] = {}
    for number, found in enumerate(looks):
        now_s = number * clients.LOOK_EVERY_S
        still = follow(still, [found], now_s)
        plan = plan_relief([found], still=still, now_s=now_s, raisable=True)
        if any(isinstance(step, Cut) for step in plan):
            return number
    return None


LOOKS = 3000


def test_only_a_client_that_stands_for_all_of_its_patience_is_cut() -> None:
    half = idle(debt=Debt.WAITING, stopped=True, calls=("9 7 0x1",))
    assert cut_at([half] * LOOKS) == 25
    # Patience begins with the first look at which it owes something, not with the command.
    assert cut_at([idle(debt=Debt.NONE)] * 1000 + [half] * 1000) == 1025
    # A slow system, that looks seldom.
    seldom = [Still(seen=half, since_s=0.0, looks=looks) for looks in (clients.LOOKS_MIN - 1, clients.LOOKS_MIN)]
    assert [len(plan_relief([half], still={1: one}, now_s=60.0, raisable=True)) for one in seldom] == [0, 1]
    # It is resumed now and then, or the daemon takes something, or answers, or does something else.
    for change in (
        {"calls": ("9 7 0x2",)}, {"stopped": False}, {"arrived_bytes": 512}, {"queued_bytes": 768},
        {"asked_for": False}, {"debt": Debt.SENDING},
    ):  # fmt: skip
        assert cut_at(replace(half, **change) if number % 24 == 23 else half for number in range(LOOKS)) is None


@pytest.mark.parametrize("seed", range(5))
def test_a_client_that_writes_is_never_cut(seed: int) -> None:
    rng = random.Random(seed)
    looks = [
        idle(
            asked_for=rng.random() < 0.9, arrived_bytes=rng.choice((0, 0, 768)), queued_bytes=rng.choice((0, 768)),
            debt=rng.choice((Debt.SENDING, Debt.SENDING, Debt.WAITING, Debt.NONE, None)),
        )
        for _ in range(LOOKS)
    ]  # fmt: skip
    assert cut_at(looks) is None


def test_who_does_what_nobody_knows_is_never_cut_while_it_runs() -> None:
    assert cut_at([idle()] * LOOKS) is None
    assert cut_at([idle(peer=0)] * LOOKS) is None
    assert cut_at([idle(stopped=True)] * LOOKS) == 500


def test_room_is_made_for_clients_until_they_have_left_a_gigabyte_unread() -> None:
    found = [reader(clients.QUEUED_BYTES_MAX // 32, inode=inode) for inode in range(40)]
    plan = plan_relief(found, still=standing(*found), now_s=1.0, raisable=True)
    assert not plan
    plan = plan_relief(found[:20], still=standing(*found), now_s=1.0, raisable=True)
    assert len(plan) == (clients.QUEUED_BYTES_MAX * 12 // 32) // clients.ROOM_BYTES


def test_of_those_that_may_have_sent_half_a_request_the_likeliest_is_cut_alone() -> None:
    found = [
        idle(inode=1, stopped=True),
        idle(inode=2, debt=Debt.NONE, stopped=True),
        idle(inode=3),
        idle(inode=4, debt=Debt.SENDING, stopped=True),
        idle(inode=5, debt=Debt.WAITING, stopped=True),
        idle(inode=6, debt=Debt.WAITING),
    ]
    cut = []
    while plan := plan_relief(found, still=standing(*found), now_s=60.0, raisable=True):
        (step,) = plan
        cut.append(step.connection.inode)
        found.remove(step.connection)
    assert cut == [5, 4, 1]


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


def test_a_neighbour_that_writes_all_the_time_does_not_keep_who_stands_from_being_cut(tmp_path: Path) -> None:
    async def story() -> None:
        async with two_disks(tmp_path) as daemon:
            with (
                stream(daemon.nbd_socket) as vm,
                client(daemon.nbd_socket, STUCK, "write", length=8 * MIB) as writer,
            ):
                await asyncio.to_thread(writer.stop_in_mid_write, daemon.pid)
                await snapshot(daemon, tmp_path, STUCK)
                writer.resume()
                assert not await asyncio.to_thread(writer.is_well)
                assert vm.poll() is None

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
                assert (await LiveDisk(daemon=daemon, id=STUCK).look()).whole

    asyncio.run(story())


def test_half_a_request_of_a_program_that_runs_is_named_and_not_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks like an idle one: the command ends in its time and says so; all is well once the rest came (S125)."""
    monkeypatch.setattr(qmp, "COMMAND_SECONDS_MAX", 1.5)
    monkeypatch.setattr(clients, "UNTOLD_S", 0.5)

    async def story() -> None:
        async with two_disks(tmp_path) as daemon:
            socket = daemon.nbd_socket
            with client(socket, STUCK, "half") as writer, client(socket, STUCK, "idle") as idler:
                with pytest.raises(UnavailableError, match=rf"NBD client .*\(pid {writer.process.pid}\)"):
                    await daemon.execute("blockdev-reopen", {"options": [graph.top_node(STUCK)]})
                assert await asyncio.to_thread(writer.goes_on)
                assert await asyncio.to_thread(idler.goes_on)
                await snapshot(daemon, tmp_path, STUCK)

    asyncio.run(story())


@contextlib.asynccontextmanager
async def slow_disk(tmp_path: Path) -> AsyncIterator[Path]:
    """A file that answers one request a second: a drive that is slow, in a daemon of its own."""
    (tmp_path / "drive").mkdir()
    file = tmp_path / "slow.raw"
    file.touch()
    drive = await Daemon.start("drive", tmp_path / "drive", tmp_path / "drive.log", os.environ)
    try:
        await drive.execute("object-add", {"qom-type": "throttle-group", "id": "slow"})
        null = {"driver": "null-co", "size": SIZE, "read-zeroes": True}
        options = {"driver": "throttle", "node-name": "slow", "throttle-group": "slow", "file": null}
        await drive.execute("blockdev-add", options)
        await drive.execute(
            "block-export-add",
            {"type": "fuse", "id": "slow", "node-name": "slow", "mountpoint": str(file), "writable": True},
        )
        yield file
    finally:
        await drive.kill()
        await asyncio.to_thread(subprocess.run, ["umount", "-l", str(file)], check=False, capture_output=True)


@contextlib.asynccontextmanager
async def slow_drain(daemon: Daemon, tmp_path: Path) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Yield what takes some 5 s, as the drive of its disk does: a change of the graph such as that of a snapshot."""
    async with slow_disk(tmp_path) as file:
        disk: dict[str, Any] = {"driver": "file", "filename": str(file), "node-name": "slow-file", "aio": "io_uring"}
        disk["cache"] = {"direct": True}
        top = {"driver": "raw", "node-name": "slow", "file": "slow-file"}
        await daemon.execute("blockdev-add", disk)
        await daemon.execute("blockdev-add", top)
        await daemon.execute("block-export-add", {"type": "nbd", "id": "slow", "node-name": "slow", "name": "slow"})
        drive = await Daemon.adopt("drive", tmp_path / "drive")
        assert drive is not None
        await drive.execute("qom-set", {"path": "/objects/slow", "property": "limits", "value": {"iops-total": 1}})
        await drive.disconnect()

        async def change() -> None:
            with client(daemon.nbd_socket, "slow", "read", count=5, length=4096):
                await asyncio.sleep(0.1)
                began = time.monotonic()
                await daemon.execute("blockdev-reopen", {"options": [top]})
                assert time.monotonic() - began > 3.0

        yield change


@contextlib.contextmanager
def stream(socket: Path) -> Iterator[subprocess.Popen[str]]:
    """A VM that writes to the neighbour's disk, by QEMU's own client."""
    uri = f"nbd+unix:///{NEIGHBOUR}?socket={socket}"
    words = ["qemu-img", "bench", "-w", "-q", "-f", "raw", "-c", "10000000", "-d", "8", "-s", "1M", uri]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@needs_root
def test_a_disk_that_is_slow_cuts_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not who writes, is idle, does what nobody knows, or is suspended in the middle of a write to another disk."""
    monkeypatch.setattr(clients, "UNTOLD_S", 1.0)

    async def story() -> None:
        async with two_disks(tmp_path) as daemon, slow_drain(daemon, tmp_path) as change:
            socket = daemon.nbd_socket
            with (
                stream(socket) as vm,
                client(socket, NEIGHBOUR, "idle") as idler,
                client(socket, NEIGHBOUR, "sleep") as sleeper,
                client(socket, NEIGHBOUR, "write", length=8 * MIB) as writer,
            ):
                await asyncio.to_thread(writer.stop_in_mid_write, daemon.pid)
                await change()
                assert vm.poll() is None
                for healthy in (idler, sleeper):
                    assert await asyncio.to_thread(healthy.goes_on)
                writer.resume()
                assert await asyncio.to_thread(writer.is_well)

    asyncio.run(story())


def test_who_writes_is_not_cut_however_long_it_is_watched(tmp_path: Path) -> None:
    async def story() -> None:
        async with two_disks(tmp_path) as daemon:
            with stream(daemon.nbd_socket) as vm, client(daemon.nbd_socket, STUCK, "sleep") as sleeper:
                with daemon._clients.relieved():
                    await asyncio.sleep(4.0)
                assert vm.poll() is None
                assert await asyncio.to_thread(sleeper.goes_on)

    asyncio.run(story())


@needs_root
def test_an_export_that_goes_slowly_cuts_nobody(tmp_path: Path) -> None:
    """The daemon serves meanwhile."""

    async def story() -> None:
        async with two_disks(tmp_path) as daemon, slow_drain(daemon, tmp_path):
            socket = daemon.nbd_socket
            with (
                stream(socket) as vm,
                client(socket, "slow", "read", count=4, length=4096),
                client(socket, NEIGHBOUR, "write", length=8 * MIB) as writer,
            ):
                await asyncio.to_thread(writer.stop_in_mid_write, daemon.pid)
                began = time.monotonic()
                await daemon.remove_exports("slow")
                assert time.monotonic() - began > 2.0
                assert vm.poll() is None
                writer.resume()
                assert await asyncio.to_thread(writer.is_well)

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
                await LiveDisk(daemon=daemon, id=STUCK).unexport()
                await LiveDisk(daemon=daemon, id=STUCK).resize(2 * SIZE)
                await LiveDisk(daemon=daemon, id=STUCK).export_nbd()
                await LiveDisk(daemon=daemon, id=STUCK).close()
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
                assert (await LiveDisk(daemon=found, id=STUCK).look()).whole
                await found.disconnect()
                assert await asyncio.to_thread(reader.goes_on) is (os.geteuid() == 0)

    asyncio.run(story())

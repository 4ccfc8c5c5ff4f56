"""Snapshots whose view was let go: what lies in the spool is sent, or the snapshot fails and all of it goes (S270)."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from drystone.api.drystone.operations import operation_answer
from drystone.catalog import disks, operations, sessions, snapshots
from drystone.domain.errors import IntegrityError, Refusal, RefusalError, SnapshotBrokenError, StoreUnavailableError
from drystone.domain.ids import OperationId
from drystone.domain.operation import Operation, OperationKind, check_cancellable
from drystone.domain.payloads import SnapshotPayload
from drystone.domain.session import SessionState
from drystone.domain.settling import Phase
from drystone.domain.snapshot import SnapshotState
from drystone.service.cancelling import asked
from drystone.service.host.scratch_guard import ScratchGuard
from drystone.service.jobs import sending, store_wait
from drystone.service.jobs.snapshot import TakeSnapshot
from tests.service import parts
from tests.service.crash_points import DISK, NEW, Daemons, Scene, built, freeze, outside, quick_directory, spooled


@pytest.fixture(scope="module")
def begin() -> Iterator[Scene]:
    with quick_directory() as place, built(place) as scene:
        yield scene


@pytest.fixture
def scene(begin: Scene, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    made = begin.copy(begin.content)
    made.spool_bytes_max = 1 << 30
    made.open()
    spooled(freeze)(made)
    monkeypatch.setattr(sending, "WATCH_SECONDS", 0.01)
    with outside(made):
        yield made


def snapshot_of(scene: Scene) -> Operation:
    row = scene.db.read_sync(lambda conn: operations.get(conn, OperationId("op-1")))
    assert row is not None
    assert row.kind is OperationKind.SNAPSHOT
    return row


def taking(scene: Scene) -> TakeSnapshot:
    return parts.take_snapshot(scene.made, Daemons(scene))


def read(scene: Scene) -> Any:
    return asyncio.run(taking(scene).read(snapshot_of(scene)))


def test_it_is_said_how_much_was_sent(scene: Scene) -> None:
    read(scene)
    row = snapshot_of(scene)
    assert row.phase == Phase.SPOOLED
    shown = operation_answer(row)
    assert shown["ToSendBytes"] is not None
    assert shown["ToSendBytes"] > 6 * 4096
    assert shown["SentBytes"] == 0
    assert scene.made.spool.in_use()
    assert not any(row.payload_as(SnapshotPayload).session in name for name in scene.objects.content())
    asyncio.run(taking(scene)._upload_and_commit(row))
    assert scene.row(NEW).state is SnapshotState.NORMAL
    assert operation_answer(snapshot_of(scene))["ToSendBytes"] is None
    assert not scene.made.spool.in_use()
    scene.check()


def test_a_wrong_byte_fails_the_snapshot_and_nothing_of_it_stays(scene: Scene) -> None:
    uploaded = read(scene)
    name = uploaded.result.spooled[0].name
    path = scene.made.spool.directory(uploaded.session) / name
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)

    async def end() -> None:
        job = taking(scene)
        with pytest.raises(IntegrityError, match="not what was written"):
            await job._upload_and_commit(snapshot_of(scene))
        scene.daemon = False  # So that the host really settles.
        await job.fail(snapshot_of(scene), "InternalError", "the spool is damaged")

    asyncio.run(end())
    assert scene.db.read_sync(lambda conn: snapshots.get(conn, NEW)) is None
    session = scene.db.read_sync(lambda conn: sessions.get(conn, uploaded.session))
    assert session is not None
    assert session.state is SessionState.FENCED
    assert not scene.made.spool.in_use()
    del scene.truth[NEW]


def test_what_is_kept_of_it_is_proven(scene: Scene) -> None:
    uploaded = read(scene)
    note = scene.made.spool.directory(uploaded.session) / "written.json"
    note.write_bytes(note.read_bytes().replace(b"delta", b"delt4"))
    with pytest.raises(IntegrityError, match="not what was written"):
        read(scene)


async def wait_for_store(scene: Scene) -> None:
    """Wait as a snapshot does after its first failure."""
    job = taking(scene)
    why = StoreUnavailableError("it hangs")
    await job.sending.store_wait.until_it_answers(snapshot_of(scene), why, 0, job.sending.check)


def test_a_snapshot_that_waits_is_not_given_up_for_what_it_waits_for(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S34: only what gives it up is an error."""
    read(scene)
    said: list[str] = []
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        said.append(operation_answer(snapshot_of(scene))["ErrorMessage"])

    answers = iter([StoreUnavailableError("the bucket is away"), StoreUnavailableError("still away")])

    def mark(_store: object) -> str:
        for error in answers:
            raise error
        return ""

    monkeypatch.setattr(store_wait, "read_mark", mark)
    monkeypatch.setattr("drystone.service.jobs.store_wait.asyncio.sleep", pause)

    asyncio.run(wait_for_store(scene))
    assert said == [f"waits for the snapshot store: {why}" for why in ("it hangs", "the bucket is away", "still away")]
    assert snapshot_of(scene).error == ""
    assert operation_answer(snapshot_of(scene))["ErrorMessage"] == ""


def test_history_5_a_store_that_was_emptied_is_waited_for(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """S213: that its mark is not found is no end of a snapshot."""
    read(scene)
    store, said = scene.made.store, list[str]()
    name = store.name("owner")
    mark = store.objects.get(name)
    store.objects.delete(name)

    async def pause(_seconds: float) -> None:
        said.append(operation_answer(snapshot_of(scene))["ErrorMessage"])
        if len(said) == 3:
            store.objects.put(name, mark)

    monkeypatch.setattr("drystone.service.jobs.store_wait.asyncio.sleep", pause)

    asyncio.run(wait_for_store(scene))
    assert "does not have the snapshot store" in said[1] == said[2]
    assert snapshot_of(scene).error == ""


def test_at_the_floor_the_spool_goes_and_the_snapshot_says_why(scene: Scene) -> None:
    """F15: while a request to the bucket hangs."""
    uploaded = read(scene)
    guard = ScratchGuard(
        transactions=scene.made.transactions, locks=scene.made.locks, host=Daemons(scene),
        room=scene.made.room, spool=scene.made.spool, bugs=scene.made.operations.bugs, bytes_max=1 << 40,
    )  # fmt: skip
    scene.daemon = False

    class Hangs:
        async def run(self, *_given: object, **_named: object) -> None:
            assert await guard.break_snapshot(DISK, "free space reached the floor")
            assert not await guard.break_snapshot(DISK, "free space reached the floor")
            await asyncio.Event().wait()

    async def send() -> None:
        job = taking(scene).sending
        object.__setattr__(job, "senders", Hangs())
        with pytest.raises(SnapshotBrokenError, match="free space reached the floor"):
            async with asyncio.timeout(10):
                await job.send(uploaded)

    asyncio.run(send())
    assert not scene.made.spool.in_use()


def test_a_disk_that_was_closed_meanwhile_goes_on_from_the_snapshot(scene: Scene) -> None:
    """A13: its delta is carried over, so that what was written since is not missed."""
    read(scene)
    scene.db.write_sync(
        lambda conn: disks.compare_and_set(
            conn, DISK, expected={}, values={"tracking": "STOPPED", "bitmap": None, "daemon": None}
        )
    )
    asyncio.run(taking(scene)._upload_and_commit(snapshot_of(scene)))
    disk = scene.db.read_sync(lambda conn: disks.get(conn, DISK))
    assert disk is not None
    assert disk.base_snapshot_id == NEW
    assert disk.tracking == "STOPPED"
    assert disk.carry == {scene.row(NEW).delta_map}


def test_a_snapshot_that_is_sent_can_be_cancelled(scene: Scene) -> None:
    """S260: also while a request to the bucket hangs; nothing of it stays."""
    uploaded = read(scene)
    check_cancellable(snapshot_of(scene))

    class Hangs:
        async def run(self, *_given: object, **_named: object) -> None:
            cancelled.set()
            await asyncio.Event().wait()

    async def send() -> None:
        asked.set(cancelled)
        job = taking(scene)
        object.__setattr__(job.sending, "senders", Hangs())
        with pytest.raises(RefusalError) as caught:
            async with asyncio.timeout(10):
                await job.sending.send(uploaded)
        assert caught.value.kind is Refusal.CANCELLED
        scene.daemon = False  # So that the host really settles.
        await job.fail(snapshot_of(scene), Refusal.CANCELLED, "It was cancelled.")

    cancelled = asyncio.Event()
    asyncio.run(send())
    assert scene.db.read_sync(lambda conn: snapshots.get(conn, NEW)) is None
    assert not scene.made.spool.in_use()

"""Prepaid disks: what their first and their last end do to their snapshots."""

import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from drystone.domain.disk import PREPAID, DiskState
from drystone.domain.ids import DiskId, IdSource
from drystone.domain.snapshot import SnapshotState
from drystone.service.disk_lifecycle import RECYCLE_SECONDS, DiskLifecycle
from drystone.service.watch import Watch
from tests.service.records_world import ZONE, World, caller, run

HOURLY = 10
"""Snapshots that may expire in an hour."""


class Bin:
    """The calls that end disks, and the loop that empties the recycle bin; nothing goes on with what they begin."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.woken: list[str] = []
        nothing: Any = None
        parts = {"db": world.db, "clock": lambda: world.now, "ids": IdSource(random.Random(1))}
        installation = cast("Any", SimpleNamespace(operations=SimpleNamespace(wake=self.woken.append), **parts))
        self.calls = DiskLifecycle(
            installation=installation,
            host=nothing,
            zone=ZONE,
            disks_per_call=50,
            disks_per_instance=20,
            root=False,
        )
        self.watch = Watch(
            installation=installation, host=nothing, expiry_percent_per_hour=1, backups=nothing, healing=nothing,
            scrub=nothing, proving=nothing, history=nothing, sessions=nothing,
        )  # fmt: skip

    def end(self, delete_snapshot: int | None) -> None:
        run(self.calls.terminate(caller(), ["disk-a"], delete_snapshot))

    def wait(self, seconds: float) -> None:
        self.world.now += seconds
        run(self.watch.expire())

    def states(self) -> tuple[DiskState, SnapshotState, SnapshotState]:
        """Return the states of the disk, of a snapshot with a deadline, and of a permanent one."""
        snapshots = self.world.stored_snapshot("snap-1").state, self.world.stored_snapshot("snap-2").state
        return self.world.stored_disk("disk-a").state, *snapshots


@pytest.fixture
def recycling(tmp_path: Path) -> Iterator[Bin]:
    world = World.open(tmp_path / "catalog.db")
    world.add_accounts()
    yield Bin(world)
    world.db.close()


IN_THE_BIN = (DiskState.TORECYCLE, SnapshotState.NORMAL, SnapshotState.NORMAL)


@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize(
    ("chosen", "first", "gone"), [(False, 1, True), (True, None, True), (True, 0, False), (False, None, False)]
)
def test_what_is_asked_at_the_first_end_holds_at_the_last(
    recycling: Bin, *, chosen: bool, first: int | None, gone: bool, again: bool
) -> None:
    recycling.world.disk("disk-a", charge_type=PREPAID, delete_snapshot=chosen)
    recycling.world.snapshot("snap-1", permanent=False)
    recycling.world.snapshot("snap-2", permanent=True)
    recycling.end(first)
    recycling.wait(RECYCLE_SECONDS - 1)
    assert recycling.states() == IN_THE_BIN
    assert recycling.woken == []
    if again:
        recycling.end(None)
    else:
        recycling.wait(1)
    deleted = SnapshotState.DELETING if gone else SnapshotState.NORMAL
    assert recycling.states() == (DiskState.TERMINATING, deleted, SnapshotState.NORMAL)
    assert len(recycling.woken) == 1 + gone


def test_the_last_word_counts(recycling: Bin) -> None:
    recycling.world.disk("disk-a", charge_type=PREPAID)
    recycling.world.snapshot("snap-1", permanent=False)
    recycling.world.snapshot("snap-2", permanent=True)
    recycling.end(1)
    recycling.end(0)
    assert recycling.states() == (DiskState.TERMINATING, SnapshotState.NORMAL, SnapshotState.NORMAL)


def test_a_clock_that_leaps_takes_the_snapshots_of_one_disk_an_hour(recycling: Bin) -> None:
    for disk in "ab":
        where = {"state": DiskState.TORECYCLE, "deadline_at": 0.0, "delete_snapshot": True}
        recycling.world.disk(f"disk-{disk}", charge_type=PREPAID, **where)
        for number in range(HOURLY // 2 + 1):
            recycling.world.snapshot(f"snap-{disk}{number}", disk_id=DiskId(f"disk-{disk}"), permanent=False)

    def left() -> list[str]:
        rows = [recycling.world.stored_disk(f"disk-{disk}") for disk in "ab"]
        return [row.id for row in rows if row.state is DiskState.TORECYCLE]

    recycling.wait(0)
    assert len(left()) == 1
    recycling.wait(3599)
    assert len(left()) == 1
    recycling.wait(1)
    assert left() == []

"""Prepaid disks: what their first and their last end do to their snapshots."""

import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from drystone.domain.disk import PREPAID, DiskState
from drystone.domain.errors import Refusal
from drystone.domain.ids import DiskId, IdSource
from drystone.domain.snapshot import SnapshotState
from drystone.service.calls.disk_lifecycle import RECYCLE_SECONDS, DiskLifecycle
from drystone.service.calls.snapshot_groups import SnapshotGroups
from drystone.service.calls.snapshot_lifecycle import SnapshotLifecycle
from drystone.service.operations import Operations
from drystone.service.requests import NewSnapshot, NewSnapshotGroup
from drystone.service.rows.quotas import SnapshotLimits
from drystone.service.transactions import Transactions
from drystone.service.upkeep.expiry import Expiry
from tests.service.machine import Machine
from tests.service.parts import transactions
from tests.service.records_world import ZONE, World, caller, refused, run

pytestmark = pytest.mark.usefixtures("both_catalogs")

HOURLY = 10
"""Snapshots that may expire in an hour."""


class Bin:
    """The calls that end disks, and the loop that empties the recycle bin; nothing goes on with what they begin."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.woken: list[str] = []
        nothing: Any = None
        self.machine = Machine(world)
        made = Transactions(db=world.db, clock=lambda: world.now, steady=self.machine.steady.now, rng=random.Random(1))
        operations = Operations(made)
        operations.wake = self.woken.append  # type: ignore[method-assign, assignment]
        self.calls = DiskLifecycle(
            transactions=made, operations=operations, host=nothing, layout=nothing, devices=nothing, room=nothing,
            zone=ZONE, disks_per_call=50, disks_per_instance=20, root=False,
        )  # fmt: skip
        self.expiry = Expiry(
            transactions=made, operations=operations, clock=self.machine.steady, percent_per_hour=1,
            quota=SnapshotLimits(),
        )  # fmt: skip

    def make(self, disk_id: str, *, delete_snapshot: bool) -> None:
        """Make a prepaid disk with a snapshot that has a deadline, and a permanent one."""
        self.world.disk(disk_id, charge_type=PREPAID, delete_snapshot=delete_snapshot)
        for permanent in (False, True):
            self.world.snapshot(f"{disk_id}-{permanent}", disk_id=DiskId(disk_id), permanent=permanent)

    def end(self, disk_id: str, delete_snapshot: int | None) -> None:
        run(self.calls.terminate(caller(), [disk_id], delete_snapshot))

    def wait(self, seconds: float) -> None:
        self.machine.passes(seconds)
        run(self.expiry.begin_due())

    def states(self, disk_id: str) -> tuple[DiskState, SnapshotState, SnapshotState]:
        """Return the states of the disk, of its snapshot with a deadline, and of its permanent one."""
        first, second = (self.world.stored_snapshot(f"{disk_id}-{permanent}").state for permanent in (False, True))
        return self.world.stored_disk(disk_id).state, first, second


IN_THE_BIN = (DiskState.TORECYCLE, SnapshotState.NORMAL, SnapshotState.NORMAL)


@pytest.fixture
def recycling(tmp_path: Path) -> Iterator[Bin]:
    world = World.open(tmp_path / "catalog.db")
    world.add_accounts()
    yield Bin(world)
    world.db.close()


CASES = [(False, 1, True), (True, None, True), (True, 0, False), (False, None, False)]
"""What was chosen at creation, what is said at the first end, and whether snapshots go along at the last."""


def test_what_is_said_at_the_first_end_holds_at_the_last(recycling: Bin) -> None:
    disks = {f"disk-{number}": case for number, case in enumerate([*CASES, *CASES])}
    for disk_id, (chosen, first, _) in disks.items():
        recycling.make(disk_id, delete_snapshot=chosen)
        recycling.end(disk_id, first)
    recycling.wait(RECYCLE_SECONDS - 1)
    assert {recycling.states(disk_id) for disk_id in disks} == {IN_THE_BIN}
    assert recycling.woken == []
    by_hand = list(disks)[: len(CASES)]
    for disk_id in by_hand:
        recycling.end(disk_id, None)
    assert {recycling.states(disk_id) for disk_id in disks if disk_id not in by_hand} == {IN_THE_BIN}
    recycling.wait(1)
    for disk_id, (*_, gone) in disks.items():
        deleted = SnapshotState.DELETING if gone else SnapshotState.NORMAL
        assert recycling.states(disk_id) == (DiskState.TERMINATING, deleted, SnapshotState.NORMAL)
    assert len(recycling.woken) == len(disks) + sum(gone for *_, gone in disks.values())


def test_the_last_word_counts(recycling: Bin) -> None:
    recycling.make("disk-1", delete_snapshot=False)
    recycling.end("disk-1", 1)
    recycling.end("disk-1", 0)
    assert recycling.states("disk-1") == (DiskState.TERMINATING, SnapshotState.NORMAL, SnapshotState.NORMAL)


def test_the_snapshots_of_one_disk_an_hour_go_with_it(recycling: Bin) -> None:
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


def test_nothing_but_its_end_is_done_with_a_disk_in_the_bin(recycling: Bin) -> None:
    recycling.make("disk-a", delete_snapshot=False)
    recycling.end("disk-a", None)
    nothing: Any = None
    made = transactions(recycling.world.db)
    store: Any = SimpleNamespace(check_proven=lambda: None)
    common: dict[str, Any] = {
        "transactions": made, "operations": nothing, "ids": IdSource(random.Random(1)), "host": nothing,
        "locks": nothing, "layout": nothing, "devices": nothing, "room": nothing, "kept": store,
        "limits": SnapshotLimits(), "quiescing": nothing,
    }  # fmt: skip
    taking = SnapshotLifecycle(**common).create(caller(), NewSnapshot(disk_id="disk-a"))
    grouping = SnapshotGroups(**common, disks_max=20).create(caller(), NewSnapshotGroup(disk_ids=("disk-a",)))
    for work in (taking, grouping):
        refusal = refused(work)
        assert (refusal.kind, refusal.message) == (Refusal.DISK_UNFIT, "Disk disk-a is in the recycle bin.")

"""Sharing: what is kept of it, what a receiver is shown, what the owner cannot do meanwhile (S341)."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Connection

from drystone.catalog import accounts, operations, sessions, shares, snapshots
from drystone.domain.account import Account
from drystone.domain.disk import DiskState
from drystone.domain.errors import Refusal
from drystone.domain.ids import AccountId, DiskId, SessionId, SnapshotId
from drystone.domain.operation import Operation, OperationKind, OperationState
from drystone.domain.payloads import CreateDiskPayload, InitializePayload
from drystone.domain.session import Session
from drystone.domain.snapshot import Snapshot, SnapshotState
from drystone.domain.tracking import Tracking, TrackingState
from drystone.service.calls.sharing import ACCOUNTS_MAX, CANCEL, SHARE, Sharing
from drystone.service.calls.snapshot_lifecycle import SnapshotLifecycle
from drystone.service.disk_locks import DiskLocks
from drystone.service.jobs import initialize
from drystone.service.jobs.create_disk import CreateDisk
from drystone.service.operations import Operations
from drystone.service.requests import SnapshotChanges, SnapshotQuery
from drystone.service.rows.deletions import going_along, mark_deleting
from drystone.service.rows.quotas import SnapshotLimits
from drystone.service.rows.sharing import revoked, tracking_of_content, usable
from drystone.service.upkeep import recovered_disks
from drystone.service.upkeep.expiry import Expiry
from tests.service.machine import Machine
from tests.service.parts import changed, of_parts, transactions
from tests.service.records_world import NOW, OTHER, OWNER, World, caller, refusal, run, with_accounts

pytestmark = pytest.mark.usefixtures("both_catalogs")
THIRD = AccountId("100000000003")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with with_accounts(tmp_path / "catalog.db") as world:
        third = Account(id=THIRD, name="third", admin=False, created_at=0.0)
        world.db.write_sync(lambda conn: accounts.insert(conn, third))
        world.disk("disk-a")
        world.snapshot("snap-a", name="monday", tags=(("team", "secret"),), project_id=7, stored_bytes=5)
        world.snapshot("snap-b", created_at=NOW - 900)
        world.snapshot("snap-o", account_id=OTHER, disk_id=DiskId("disk-o"), created_at=NOW - 800)
        yield world


@pytest.fixture
def sharing(world: World) -> Sharing:
    return Sharing(transactions=transactions(world.db, clock=lambda: world.now))


def share(sharing: Sharing, *to: str, of: str = "snap-a", permission: str = SHARE) -> None:
    run(sharing.modify(caller(), [of], to, permission))


def seen(world: World, account: AccountId, **query: Any) -> list[str]:
    page = run(world.snapshots.describe(caller(account), SnapshotQuery(**query)))
    assert page.total == len(page.items)
    return [view.snapshot.id for view in page.items]


def test_a_share_is_kept_once_and_taken_back(world: World, sharing: Sharing) -> None:
    share(sharing, OTHER)
    world.now += 5
    share(sharing, OTHER, THIRD)
    kept = run(sharing.describe(caller(), "snap-a"))
    assert [(one.account_id, one.created_at) for one in kept] == [(OTHER, NOW), (THIRD, NOW + 5)]
    (view,) = run(world.snapshots.describe(caller(), SnapshotQuery(snapshot_ids=("snap-a",)))).items
    assert (view.shares, view.shared_at, view.received) == (2, NOW, False)
    share(sharing, OTHER, permission=CANCEL)
    share(sharing, OTHER, "nobody", permission=CANCEL)
    assert [one.account_id for one in run(sharing.describe(caller(), "snap-a"))] == [THIRD]


def test_a_receiver_sees_it_where_it_asks_for_it_and_nothing_of_its_owners(world: World, sharing: Sharing) -> None:
    """S341."""
    share(sharing, OTHER, THIRD)
    received, own = ("snapshot-type", ("SHARED_SNAPSHOT",)), ("snapshot-type", ("PRIVATE_SNAPSHOT",))
    both = ("snapshot-type", ("SHARED_SNAPSHOT", "PRIVATE_SNAPSHOT"))
    cases: Mapping[tuple[Any, ...], list[str]] = {
        (): ["snap-o"],
        (received,): ["snap-a"],
        (own,): ["snap-o"],
        (both,): ["snap-o", "snap-a"],
        (received, own): [],
        (("snapshot-id", ("snap-a", "snap-b", "snap-o")),): ["snap-o", "snap-a"],
        (("snapshot-id", ("snap-a",)), own): [],
        (("snapshot-name", ("monday",)),): [],
        (("snapshot-name", ("monday",)), received): ["snap-a"],
        (("snapshot-name", ("tuesday",)), received): [],
        (("disk-id", ("disk-a",)), received): ["snap-a"],
        (("snapshot-state", ("NORMAL",)), received): ["snap-a"],
        (("tag:team", ("secret",)), received): [],
        (("tag-key", ("team",)), received): [],
        (("tag-value", ("secret",)), ("snapshot-id", ("snap-a",))): [],
        (("project-id", ("7",)), received): [],
    }
    for filters, expected in cases.items():
        assert seen(world, OTHER, filters=filters) == expected, filters
    assert seen(world, OTHER, snapshot_ids=("snap-a", "snap-b", "snap-o")) == ["snap-o", "snap-a"]
    (view,) = run(world.snapshots.describe(caller(OTHER), SnapshotQuery(snapshot_ids=("snap-a",)))).items
    assert view.received
    assert (view.shares, view.shared_at) == (0, NOW)
    shown = view.snapshot
    assert (shown.name, shown.size_gib, shown.state) == ("monday", 10, SnapshotState.NORMAL)
    assert (shown.tags, shown.project_id, shown.stored_bytes) == ((), 0, 0)
    # No other question has it.
    for filters in ((), (received,), (("snapshot-id", ("snap-a",)),)):
        page = run(world.snapshots.records(caller(OTHER), SnapshotQuery(filters=filters)))
        assert [one.snapshot.id for one in page.items] in ([], ["snap-o"])
    assert refusal(sharing.describe(caller(OTHER), "snap-a")) == Refusal.NO_SUCH_SNAPSHOT
    share(sharing, OTHER, permission=CANCEL)
    assert seen(world, OTHER, filters=(received,)) == []
    assert seen(world, THIRD, filters=(received,)) == ["snap-a"]


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"permission": "LEND"}, Refusal.BAD_VALUE),
        ({"snapshots": ()}, Refusal.MISSING),
        ({"to": ()}, Refusal.MISSING),
        ({"to": (OWNER,)}, Refusal.BAD_VALUE),
        ({"to": (OTHER, "100000000009")}, Refusal.BAD_VALUE),
        ({"to": tuple(str(number) for number in range(ACCOUNTS_MAX + 1))}, Refusal.TOO_MANY),
        ({"snapshots": ("snap-a", "snap-o")}, Refusal.NO_SUCH_SNAPSHOT),
        ({"snapshots": ("snap-a", "snap-none")}, Refusal.NO_SUCH_SNAPSHOT),
        ({"snapshots": ("snap-a", "snap-c")}, Refusal.SNAPSHOT_CREATING),
        ({"snapshots": ("snap-a", "snap-s")}, Refusal.SNAPSHOT_UNFIT),
    ],
)
def test_what_cannot_be_shared_changes_nothing(
    world: World, sharing: Sharing, given: dict[str, Any], kind: Refusal
) -> None:
    world.snapshot("snap-c", state=SnapshotState.CREATING)
    world.snapshot("snap-s", usage="SYSTEM_DISK")
    wanted = {"snapshots": ("snap-a",), "to": (OTHER,), "permission": SHARE} | given
    call = sharing.modify(caller(), wanted["snapshots"], wanted["to"], wanted["permission"])
    assert refusal(call) == kind
    assert run(sharing.describe(caller(), "snap-a")) == ()


def test_fifty_accounts_have_it_at_most(world: World, sharing: Sharing) -> None:
    for number in range(ACCOUNTS_MAX):
        one = Account(id=AccountId(f"2000000000{number:02}"), name=f"n{number}", admin=False, created_at=0.0)
        world.db.write_sync(lambda conn, one=one: accounts.insert(conn, one))  # type: ignore[misc]
    share(sharing, *(f"2000000000{number:02}" for number in range(ACCOUNTS_MAX)))
    share(sharing, "200000000000")
    assert refusal(sharing.modify(caller(), ["snap-a"], [OTHER], SHARE)) == Refusal.SHARE_QUOTA


def test_what_is_shared_is_not_deleted_by_anybody(world: World, sharing: Sharing) -> None:
    """S341: not by its owner, not by a deadline, not with its disk."""
    share(sharing, OTHER)
    made = transactions(world.db)
    nothing: Any = None
    calls = of_parts(
        SnapshotLifecycle, transactions=made, operations=Operations(made), ids=world.ids, host=nothing, kept=nothing,
        locks=nothing, layout=nothing, devices=nothing, room=nothing, limits=SnapshotLimits(), quiescing=nothing,
    )  # fmt: skip
    assert refusal(calls.delete(caller(), ["snap-b", "snap-a"], delete_bind_images=True)) == Refusal.SHARED
    assert refusal(calls.delete(caller(OTHER), ["snap-a"], delete_bind_images=True)) == Refusal.NO_SUCH_SNAPSHOT
    later = SnapshotChanges(snapshot_id="snap-a", deadline="2030-01-01T00:00:00+00:00")
    assert refusal(world.snapshots.modify(caller(), later)) == Refusal.SHARED
    run(world.snapshots.modify(caller(), SnapshotChanges(snapshot_id="snap-a", name="renamed")))
    # One that had its deadline before waits, and so does one that was to go with its disk.
    world.snapshot("snap-d", permanent=False, deadline_at=NOW - 1)
    share(sharing, OTHER, of="snap-d")
    machine = Machine(world)
    expiry = Expiry(
        transactions=made, operations=Operations(made), clock=machine.steady, percent_per_hour=100,
        quota=SnapshotLimits(),
    )  # fmt: skip
    run(expiry.begin_due())
    assert changed(world.db, lambda change: going_along(change.conn, DiskId("disk-a"))) == []
    assert not changed(
        world.db, lambda change: mark_deleting(change, world_snapshot(change.conn, "snap-d"), request_id="r")
    )
    assert world.stored_snapshot("snap-d").state is SnapshotState.NORMAL
    share(sharing, OTHER, of="snap-d", permission=CANCEL)
    run(expiry.begin_due())
    assert world.stored_snapshot("snap-d").state is SnapshotState.DELETING


def world_snapshot(conn: Connection, snapshot_id: str) -> Snapshot:
    found = snapshots.get(conn, SnapshotId(snapshot_id))
    assert found is not None
    return found


def test_what_may_be_made_of_it(world: World, sharing: Sharing) -> None:
    share(sharing, OTHER)

    def look(snapshot_id: str, account: AccountId) -> bool:
        return world.db.read_sync(lambda conn: usable(conn, account, world_snapshot(conn, snapshot_id)))

    assert look("snap-a", OWNER)
    assert look("snap-a", OTHER)
    assert not look("snap-a", THIRD)
    assert not look("snap-b", OTHER)
    disk = world.disk("disk-r", account_id=OTHER, source_snapshot_id=SnapshotId("snap-a"), state=DiskState.CREATING)
    assert not world.db.read_sync(lambda conn: revoked(conn, disk))
    share(sharing, OTHER, permission=CANCEL)
    assert not look("snap-a", OTHER)
    assert world.db.read_sync(lambda conn: revoked(conn, disk))


def test_shares_go_with_the_row_of_their_snapshot(world: World, sharing: Sharing) -> None:
    share(sharing, OTHER)
    assert world.db.write_sync(shares.remove_all) == 1
    assert run(sharing.describe(caller(), "snap-a")) == ()


def waiting_disk(world: World, kind: OperationKind, state: DiskState, payload: Any) -> Operation:
    """Make a disk of the shared snapshot whose operation waits for its turn."""
    world.disk("disk-r", account_id=OTHER, source_snapshot_id=SnapshotId("snap-a"), state=state)
    session = Session(id=payload.session, kind="hydrate", created_at=NOW)
    world.db.write_sync(lambda conn: sessions.open(conn, session, [SnapshotId("snap-a")]))
    return world.operation("op-r", kind=kind, account_id=OTHER, disk_id=DiskId("disk-r"), payload=payload)


def test_a_disk_whose_making_has_not_begun_is_not_made_when_sharing_ends(world: World, sharing: Sharing) -> None:
    """S341."""
    share(sharing, OTHER)
    payload = CreateDiskPayload(disk_ids=(DiskId("disk-r"),), session=SessionId("5e" * 16))
    operation = waiting_disk(world, OperationKind.CREATE_DISK, DiskState.CREATING, payload)
    share(sharing, OTHER, permission=CANCEL)
    made = transactions(world.db)

    async def row(_disk_id: DiskId) -> Any:
        return world.stored_disk("disk-r")

    nothing: Any = SimpleNamespace(row=row)
    job = CreateDisk(
        transactions=made, operations=Operations(made), locks=DiskLocks(), layout=nothing, host=nothing
    )  # fmt: skip
    assert refusal(job.run(operation)) == Refusal.NO_SUCH_SNAPSHOT
    run(job.fail(operation, Refusal.NO_SUCH_SNAPSHOT, "there is none"))
    assert world.stored_disk("disk-r").state is DiskState.TERMINATING


def test_a_disk_is_not_initialized_when_sharing_has_ended_before_its_turn(world: World, sharing: Sharing) -> None:
    """S341: before its content goes it is left as it is; after that it goes forward."""
    share(sharing, OTHER)
    payload = InitializePayload(session=SessionId("5e" * 16))
    operation = waiting_disk(world, OperationKind.INITIALIZE, DiskState.DUMPING, payload)
    assert changed(world.db, lambda change: initialize._begin(change, operation))
    share(sharing, OTHER, permission=CANCEL)
    assert changed(world.db, lambda change: initialize._begin(change, operation))
    world.db.write_sync(lambda conn: operations.update(conn, operation.id, updated_at=NOW, phase=""))
    assert not changed(world.db, lambda change: initialize._begin(change, operation))
    left = world.stored_disk("disk-r")
    assert left.state is DiskState.UNATTACHED
    assert "not shared" in left.error_prompt
    ended = world.db.read_sync(lambda conn: operations.get(conn, operation.id))
    assert ended is not None
    assert ended.state is OperationState.FAILED


def test_a_disk_of_anothers_snapshot_has_no_base(world: World) -> None:
    """S342: nor has one that is initialized, or found again by a recovery."""

    def base(account: AccountId) -> Any:
        tracking = Tracking(base=SnapshotId("snap-a"), carry=frozenset(), epoch=3, state=TrackingState.STOPPED)
        return world.db.read_sync(lambda conn: tracking_of_content(conn, account, tracking))

    assert base(OWNER).base == "snap-a"
    assert (base(OTHER).base, base(OTHER).state) == (None, TrackingState.LOST)
    for account, expected in ((OWNER, "snap-a"), (OTHER, None)):
        disk = world.disk(f"disk-{account}", account_id=account, source_snapshot_id=SnapshotId("snap-a"))
        found = world.db.read_sync(lambda conn, disk=disk: recovered_disks._newest(conn, disk, hydrating=True))  # type: ignore[misc]
        assert found == expected

"""Policies, their disks and their runs as rows."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from drystone.catalog import policies, policy_runs, snapshots
from drystone.catalog.database import Database
from drystone.catalog.policies import PolicySelection
from drystone.catalog.policy_runs import RunSelection
from drystone.domain.ids import AccountId, DiskId, PolicyId, SnapshotId
from drystone.domain.policy import Policy, Retention, Run, RunReason, RunState, Spread, Trigger
from tests.catalog.catalog_values import OTHER, OWNER, snapshot

WEEKLY = Trigger(hours=(23, 0), days_of_week=(6, 0))
A, B, C = (DiskId(f"disk-{name}") for name in "abc")


def policy(identity: str = "asp-00000001", **fields: Any) -> Policy:
    value = Policy(
        id=PolicyId(identity), account_id=OWNER, zone="+08:00", triggers=(WEEKLY,), created_at=1.0, modified_at=2.0,
        anchored_at=3.0,
    )  # fmt: skip
    return replace(value, **fields)


def full_policy() -> Policy:
    """A policy with no column at its default."""
    return policy(
        "asp-0000000f", name="nightly", zone="Europe/Berlin",
        triggers=(WEEKLY, Trigger(hours=(0,), days_of_month=(31, 1)), Trigger(hours=(5,), interval_days=3)),
        retention=Retention(spread=Spread(days=1, weeks=2, months=3, years=4)), active=False, group=True,
        skip_unchanged=True, tags=(("k", "v"),), copied_from=AccountId("100000000002"),
    )  # fmt: skip


def run(slot: int = 3600, disk_id: DiskId = A, **fields: Any) -> Run:
    return replace(Run(policy_id=PolicyId("asp-00000001"), slot=slot, disk_id=disk_id, account_id=OWNER), **fields)


def test_a_policy_comes_back_as_it_was(db: Database) -> None:
    for value in (policy(), full_policy(), policy("asp-2", retention=Retention(permanent=True))):
        db.write_sync(lambda conn, value=value: policies.insert(conn, value, cursor=7.5))  # type: ignore[misc]
        assert db.read_sync(lambda conn, value=value: policies.get(conn, value.id)) == value  # type: ignore[misc]
    assert db.read_sync(policies.cursors) == {"asp-00000001": 7.5, "asp-0000000f": 7.5, "asp-2": 7.5}
    assert db.read_sync(policies.active) == [policy(), policy("asp-2", retention=Retention(permanent=True))]


def test_policies_are_found_by_account_name_and_id(db: Database) -> None:
    for number in range(3):
        value = policy(f"asp-{number}", name=f"n{number}", created_at=float(number))
        db.write_sync(lambda conn, value=value: policies.insert(conn, value, cursor=0.0))  # type: ignore[misc]
    other = policy("asp-x", account_id=OTHER)
    db.write_sync(lambda conn: policies.insert(conn, other, cursor=0.0))

    def found(**wanted: Any) -> tuple[list[str], int]:
        selection = PolicySelection(account_id=OWNER, **wanted)
        rows, total = db.read_sync(lambda conn: policies.find(conn, selection))
        return [row.id for row in rows], total

    assert found() == (["asp-2", "asp-1", "asp-0"], 3)
    assert found(ascending=True, offset=1, limit=1) == (["asp-1"], 3)
    assert found(ids=(("asp-1", "asp-x"),)) == (["asp-1"], 1)
    assert found(names=(("n0", "n2"),)) == (["asp-2", "asp-0"], 2)
    assert db.read_sync(lambda conn: policies.count(conn, OWNER)) == 3


def test_bindings_go_with_their_policy(db: Database) -> None:
    first, second = PolicyId("asp-00000001"), PolicyId("asp-2")
    for value in (policy(), policy("asp-2")):
        db.write_sync(lambda conn, value=value: policies.insert(conn, value, cursor=0.0))  # type: ignore[misc]
    for number, (name, disk) in enumerate([(first, B), (first, A), (second, A)]):
        db.write_sync(
            lambda conn, name=name, disk=disk, at=float(number): policies.bind(conn, name, disk, at)  # type: ignore[misc]
        )
    with pytest.raises(IntegrityError):
        db.write_sync(lambda conn: policies.bind(conn, first, A, 9.0))
    assert db.read_sync(lambda conn: policies.disks_of(conn, ["asp-00000001"])) == {"asp-00000001": [B, A]}
    assert db.read_sync(lambda conn: policies.of_disks(conn, [A, C])) == {A: ["asp-00000001", "asp-2"], C: []}
    assert db.read_sync(policies.bindings) == {A: {"asp-00000001": 1.0, "asp-2": 2.0}, B: {"asp-00000001": 0.0}}
    db.write_sync(lambda conn: policies.unbind(conn, first, [B, C]))
    assert db.read_sync(lambda conn: policies.disks_of(conn, ["asp-00000001"])) == {"asp-00000001": [A]}
    assert db.write_sync(lambda conn: policies.remove(conn, first))
    assert db.read_sync(policies.bindings) == {A: {"asp-2": 2.0}}
    db.write_sync(lambda conn: policies.unbind_everywhere(conn, A))
    assert db.read_sync(lambda conn: policies.bindings(conn, OWNER)) == {}


def test_there_is_one_run_of_a_policy_a_slot_and_a_disk(db: Database) -> None:
    """S302."""
    value = run(
        reason=RunReason.BUSY, detail="It is.", late_by_s=2.5, missed=3, attempts=4, try_at=5.5,
        snapshot_id=SnapshotId("snap-1"), ended_at=6.5,
    )  # fmt: skip
    db.write_sync(lambda conn: policy_runs.insert(conn, value))
    assert db.read_sync(lambda conn: policy_runs.get(conn, value.policy_id, 3600, A)) == value
    with pytest.raises(IntegrityError):
        db.write_sync(lambda conn: policy_runs.insert(conn, run()))


def test_a_run_is_changed_only_from_where_it_stands(db: Database) -> None:
    db.write_sync(lambda conn: policy_runs.insert(conn, run()))
    taking = {"state": RunState.RUNNING, "snapshot_id": "snap-1"}
    assert db.write_sync(lambda conn: policy_runs.compare_and_set(conn, run(), taking))
    assert not db.write_sync(lambda conn: policy_runs.compare_and_set(conn, run(), taking))
    other = run(state=RunState.RUNNING, snapshot_id=SnapshotId("snap-2"))
    assert not db.write_sync(lambda conn: policy_runs.compare_and_set(conn, other, {"state": RunState.DONE}))


def test_runs_are_found(db: Database) -> None:
    rows = [
        run(1, A, state=RunState.DONE, ended_at=1.0, snapshot_id=SnapshotId("snap-1")),
        run(2, A, state=RunState.SKIPPED, reason=RunReason.UNCHANGED, snapshot_id=SnapshotId("snap-1"), ended_at=2.0),
        run(3, A, state=RunState.SKIPPED, reason=RunReason.OVERLAP, ended_at=3.0),
        run(3, B), run(2, C, state=RunState.RUNNING, policy_id=PolicyId("asp-2"), account_id=OTHER),
    ]  # fmt: skip
    for value in rows:
        db.write_sync(lambda conn, value=value: policy_runs.insert(conn, value))  # type: ignore[misc]

    def found(**wanted: Any) -> list[Run]:
        return db.read_sync(lambda conn: policy_runs.find(conn, RunSelection(account_id=OWNER, **wanted)))[0]

    assert found() == [rows[2], rows[3], rows[1], rows[0]]
    assert found(disks=((A, C),), states=((RunState.SKIPPED,),), limit=1) == [rows[2]]
    assert found(policies=(("asp-2",),)) == []
    assert db.read_sync(policy_runs.under_way) == [rows[4], rows[3]]
    assert db.read_sync(lambda conn: policy_runs.under_way(conn, disk_ids=[C])) == [rows[4]]
    assert db.read_sync(lambda conn: policy_runs.under_way(conn, policy_id=PolicyId("asp-9"))) == []
    names = [PolicyId("asp-00000001"), PolicyId("asp-9")]
    assert db.read_sync(lambda conn: policy_runs.newest(conn, names)) == {
        names[0]: [rows[2], rows[3]],
        names[1]: [],
    }
    assert db.read_sync(policy_runs.answered_until) == {A: 2}
    assert db.read_sync(lambda conn: policy_runs.answers(conn, names[0])) == {"snap-1": 2}
    assert db.write_sync(lambda conn: policy_runs.prune(conn, 2.5, 1)) == 1
    assert db.write_sync(lambda conn: policy_runs.prune(conn, 2.5, 9)) == 1
    assert found() == [rows[2], rows[3]]


def test_a_snapshot_says_which_policy_had_it_taken(db: Database) -> None:
    made = snapshot(policy_id=PolicyId("asp-gone"), slot=1_700_000_000, policy_order=2)
    db.write_sync(lambda conn: snapshots.insert(conn, made))
    assert db.read_sync(lambda conn: snapshots.get(conn, made.id)) == made

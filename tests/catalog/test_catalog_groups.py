"""Groups and profiles as rows."""

import functools
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from drystone.catalog import quiesce_profiles, snapshot_groups, snapshots
from drystone.catalog.database import Database
from drystone.catalog.snapshot_groups import SnapshotGroupSelection
from drystone.domain.ids import InstanceId, OperationId, SnapshotGroupId
from drystone.domain.quiesce import QuiesceMode, QuiesceProfile, Step, StepKind
from drystone.domain.snapshot import SnapshotState
from drystone.domain.snapshot_group import SnapshotGroup, SnapshotGroupState
from tests.catalog.catalog_values import OTHER, OWNER, snapshot


def group(group_id: str, /, **fields: Any) -> SnapshotGroup:
    value = SnapshotGroup(
        id=SnapshotGroupId(group_id), account_id=OWNER, instance_id=InstanceId("ins-00000001"), created_at=1.0,
        modified_at=1.0, operation_id=OperationId("op-00000001"),
    )  # fmt: skip
    return replace(value, **fields)


def found(db: Database, **wanted: Any) -> list[str]:
    selection = SnapshotGroupSelection(account_id=OWNER, **wanted)
    rows, total = db.read_sync(lambda conn: snapshot_groups.find(conn, selection))
    assert total == len(rows) or "limit" in wanted
    return [row.id for row in rows]


def test_groups_are_found_by_their_members_and_go_with_the_last(db: Database) -> None:
    full = group(
        "csnap-1", name="n", state=SnapshotGroupState.NORMAL, tags=(("a", "b"),), pause_ms=1.5, taken_at=2.0,
    )  # fmt: skip
    rows = [full, group("csnap-2", created_at=2.0), group("csnap-3", created_at=3.0, account_id=OTHER)]
    members = [
        snapshot("snap-1", group_id=full.id, state=SnapshotState.NORMAL),
        snapshot("snap-2", group_id=full.id, state=SnapshotState.NORMAL),
        snapshot("snap-3", group_id="csnap-2", state=SnapshotState.CREATING),
        snapshot("snap-4", group_id=full.id, state=SnapshotState.GHOST),
        snapshot("snap-5", state=SnapshotState.NORMAL),
    ]

    def fill(conn: Connection) -> None:
        for row in rows:
            snapshot_groups.insert(conn, row)
        for member in members:
            snapshots.insert(conn, member)

    db.write_sync(fill)
    assert db.read_sync(lambda conn: snapshot_groups.get(conn, full.id)) == full
    assert found(db) == ["csnap-2", "csnap-1"]
    assert found(db, limit=1, offset=1) == ["csnap-1"]
    assert found(db, names=(("n", "m"),)) == ["csnap-1"]
    assert found(db, ids=(("csnap-1", "csnap-3"),)) == ["csnap-1"]
    assert found(db, snapshot_ids=(("snap-3",),)) == ["csnap-2"]
    # What clients do not see does not count as a member.
    assert found(db, snapshot_ids=(("snap-4",),)) == []
    normal, rolling = (SnapshotGroupState.NORMAL, False), (SnapshotGroupState.NORMAL, True)
    assert found(db, states=((normal,),)) == ["csnap-1"]
    assert found(db, states=((rolling,),)) == []
    roll = {"rolling_back": True}
    db.write_sync(lambda conn: snapshots.compare_and_set(conn, "snap-2", expected={}, values=roll))
    assert found(db, states=((rolling,),)) == ["csnap-1"]
    assert found(db, states=((normal,),)) == []
    assert found(db, states=((rolling, (SnapshotGroupState.CREATING, False)),)) == ["csnap-2", "csnap-1"]
    inside = db.read_sync(lambda conn: snapshots.of_groups(conn, [full.id, SnapshotGroupId("csnap-2")]))
    assert {key: [member.id for member in value] for key, value in inside.items()} == {
        "csnap-1": ["snap-1", "snap-2"], "csnap-2": ["snap-3"],
    }  # fmt: skip

    def forget(conn: Connection) -> bool:
        return snapshot_groups.forget_if_empty(conn, full.id)

    def delete(conn: Connection, snapshot_id: str) -> None:
        snapshots.compare_and_set(conn, snapshot_id, expected={}, values={"state": SnapshotState.DELETING})

    for last in ("snap-1", "snap-2"):
        assert not db.write_sync(forget)
        db.write_sync(functools.partial(delete, snapshot_id=last))
    assert db.write_sync(forget)
    assert found(db) == ["csnap-2"]


def test_profiles_are_kept_one_for_each_resource(db: Database) -> None:
    steps = (
        Step(kind=StepKind.COMMAND, freeze=("/a", "b"), thaw=("/c",), seconds_max=2.5),
        Step(kind=StepKind.MARIADB, option_file="/o"),
        Step(kind=StepKind.POSTGRESQL, connection="service=x"),
        Step(kind=StepKind.FILESYSTEM, mount="/srv"),
    )
    first = QuiesceProfile(resource_id="disk-1", account_id=OWNER, steps=steps, modified_at=1.0)
    second = replace(first, mode=QuiesceMode.PREFER, freeze_seconds_max=3.0, steps=steps[:1], modified_at=2.0)
    db.write_sync(lambda conn: quiesce_profiles.put(conn, first))
    assert db.read_sync(lambda conn: quiesce_profiles.get(conn, "disk-1")) == first
    db.write_sync(lambda conn: quiesce_profiles.put(conn, second))
    assert db.read_sync(lambda conn: quiesce_profiles.find(conn, OWNER, offset=0, limit=5)) == ([second], 1)
    assert db.read_sync(lambda conn: quiesce_profiles.find(conn, OTHER, offset=0, limit=5)) == ([], 0)

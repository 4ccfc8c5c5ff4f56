from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from sqlalchemy import Connection, select, text
from sqlalchemy.exc import IntegrityError, StatementError

from drystone.catalog import (
    accounts,
    disks,
    extent_maps,
    instances,
    meta,
    operations,
    packs,
    sessions,
    snapshots,
    tokens,
    trail,
)
from drystone.catalog.database import Database
from drystone.catalog.extent_maps import ExtentMap
from drystone.catalog.operations import OperationSelection
from drystone.catalog.rows import HOST_ID
from drystone.catalog.schema import disk as disk_table
from drystone.catalog.schema import instance as instance_table
from drystone.catalog.schema import operation as operation_table
from drystone.catalog.selection import Selection
from drystone.catalog.tokens import ClientToken
from drystone.domain.blocks import normalize
from drystone.domain.disk import Disk, DiskState
from drystone.domain.errors import Refusal
from drystone.domain.ids import DiskId, InstanceId, OperationId, PackId, SnapshotId
from drystone.domain.operation import OperationState
from drystone.domain.payloads import Payload, SnapshotPayload
from drystone.domain.session import PackState
from drystone.domain.snapshot import SnapshotRecord, SnapshotState
from drystone.domain.tracking import TrackingState
from drystone.domain.trail import TrailEntry
from tests.catalog.catalog_values import (
    OTHER,
    OWNER,
    disk,
    full_disk,
    full_snapshot,
    instance,
    key,
    operation,
    pack,
    session,
    snapshot,
)


def test_every_column_survives(db: Database) -> None:
    def write(conn: Connection) -> None:
        instances.insert(conn, instance())
        accounts.insert_key(conn, key())
        for value in (disk(), full_disk()):
            disks.insert(conn, value)
        for row in (snapshot(), full_snapshot()):
            snapshots.insert(conn, row)
        operations.insert(conn, operation())
        sessions.open(conn, session(), [])
        packs.insert(conn, pack())

    db.write_sync(write)

    def read(conn: Connection) -> None:
        assert instances.get(conn, "ins-00000001") == instance()
        assert accounts.get_key(conn, "AKIDx") == key()
        assert disks.get(conn, "disk-00000001") == disk()
        assert disks.get(conn, "disk-0000000f") == full_disk()
        assert snapshots.get(conn, "snap-00000001") == snapshot()
        assert snapshots.get(conn, "snap-0000000f") == full_snapshot()
        assert operations.get(conn, "op-00000001") == operation()
        assert sessions.get(conn, "a" * 32) == session()
        assert packs.get(conn, "b" * 32) == pack()
        assert disks.get(conn, "disk-none") is None

    db.read_sync(read)


def test_defaults_are_not_what_the_full_values_have() -> None:
    for plain, full in ((disk(), full_disk()), (snapshot(), full_snapshot())):
        same = {name for name in plain.__dataclass_fields__ if getattr(plain, name) == getattr(full, name)}
        assert same <= {"account_id", "size_gib", "type", "zone", "created_at", "disk_id", "state", "name"}


def test_get_many_keeps_the_order_and_leaves_out_the_unknown(db: Database) -> None:
    names = [f"disk-{n:08}" for n in range(700)]
    db.write_sync(lambda conn: [disks.insert(conn, disk(name)) for name in names])
    wanted = [*reversed(names), "disk-none", names[3]]
    found = db.read_sync(lambda conn: disks.get_many(conn, wanted))
    assert list(found) == list(reversed(names))
    assert all(found[name].id == name for name in names)
    assert db.read_sync(lambda conn: disks.get_many(conn, [])) == {}


CARRY = frozenset({"maps/a", "maps/b"})
MATCHING: list[tuple[str, Mapping[str, Any]]] = [
    ("nothing expected", {}),
    ("a state", {"state": DiskState.ATTACHED}),
    ("any of some states", {"state": frozenset({DiskState.ATTACHED, DiskState.UNATTACHED})}),
    ("null", {"bitmap": None}),
    ("a set as a value, in another order", {"carry": frozenset(["maps/b", "maps/a"])}),
    ("tags", {"tags": (("k", "v"),)}),
    ("all at once", {"state": DiskState.ATTACHED, "epoch": 3, "carry": CARRY, "daemon": "d"}),
]
DIFFERING: list[tuple[str, Mapping[str, Any]]] = [
    ("another state", {"state": DiskState.UNATTACHED}),
    ("none of some states", {"state": {DiskState.UNATTACHED, DiskState.EXPANDING}}),
    ("no state at all", {"state": frozenset()}),
    ("null where there is a value", {"daemon": None}),
    ("a value where there is null", {"bitmap": "b1"}),
    ("a part of a set", {"carry": frozenset({"maps/a"})}),
    ("one of two", {"state": DiskState.ATTACHED, "epoch": 4}),
]


@pytest.fixture
def row(db: Database) -> Disk:
    value = disk(state=DiskState.ATTACHED, epoch=3, carry=CARRY, daemon="d", tags=(("k", "v"),))
    db.write_sync(lambda conn: disks.insert(conn, value))
    db.write_sync(lambda conn: disks.insert(conn, disk("disk-00000002")))
    return value


@pytest.mark.parametrize("expected", [case[1] for case in MATCHING], ids=[case[0] for case in MATCHING])
def test_compare_and_set_of_a_row_that_is_as_expected(db: Database, row: Disk, expected: Mapping[str, Any]) -> None:
    values = {"state": DiskState.DETACHING, "carry": frozenset({"z"}), "tracking": TrackingState.LIVE}
    assert db.write_sync(lambda conn: disks.compare_and_set(conn, row.id, expected=expected, values=values))
    changed = db.read_sync(lambda conn: disks.get(conn, row.id))
    assert changed is not None
    assert (changed.state, changed.carry, changed.tracking) == tuple(values.values())
    assert (changed.epoch, changed.tags, changed.daemon) == (3, row.tags, "d")
    assert db.read_sync(lambda conn: disks.get(conn, "disk-00000002")) == disk("disk-00000002")


@pytest.mark.parametrize("expected", [case[1] for case in DIFFERING], ids=[case[0] for case in DIFFERING])
def test_compare_and_set_of_a_row_that_is_not(db: Database, row: Disk, expected: Mapping[str, Any]) -> None:
    values = {"state": DiskState.DETACHING}
    assert not db.write_sync(lambda conn: disks.compare_and_set(conn, row.id, expected=expected, values=values))
    assert db.read_sync(lambda conn: disks.get(conn, row.id)) == row


def test_compare_and_set_of_no_row(db: Database) -> None:
    assert not db.write_sync(lambda conn: disks.compare_and_set(conn, "disk-none", expected={}, values={"epoch": 1}))


def test_what_has_no_value_is_less_than_any(db: Database) -> None:
    dates = {"disk-a": 2.0, "disk-b": None, "disk-c": 1.0}
    db.write_sync(lambda conn: [disks.insert(conn, disk(name, deadline_at=at)) for name, at in dates.items()])

    def order(*, descending: bool) -> list[str]:
        wanted = Selection(account_id=OWNER, order_by="deadline_at", descending=descending)
        return [row.id[-1] for row in db.read_sync(lambda conn: disks.find(conn, wanted))[0]]

    assert order(descending=False) == ["b", "c", "a"]
    assert order(descending=True) == ["a", "c", "b"]


def test_rows_belong_to_the_host(db: Database) -> None:
    def write(conn: Connection) -> None:
        instances.insert(conn, instance())
        disks.insert(conn, disk())
        operations.insert(conn, operation())

    db.write_sync(write)
    host = db.read_sync(lambda conn: meta.get(conn, HOST_ID))
    assert host
    for table in (instance_table, disk_table, operation_table):
        query = select(table.c.host_id)
        assert db.read_sync(lambda conn, query=query: conn.execute(query).scalars().all()) == [host]  # type: ignore[misc]


def test_of_two_compare_and_sets_one_wins(db: Database, row: Disk) -> None:
    def attach(conn: Connection) -> bool:
        return disks.compare_and_set(
            conn, row.id, expected={"state": DiskState.ATTACHED}, values={"state": DiskState.DETACHING}
        )

    assert [db.write_sync(attach), db.write_sync(attach)] == [True, False]


def test_words_that_are_no_state_are_refused(db: Database, row: Disk) -> None:
    with pytest.raises(StatementError, match="GONE"):
        db.write_sync(lambda conn: disks.compare_and_set(conn, row.id, expected={}, values={"state": "GONE"}))
    assert db.read_sync(lambda conn: disks.get(conn, row.id)) == row


def test_rows_need_their_owner_and_a_size(db: Database) -> None:
    for wrong in (disk(account_id="nobody"), disk(size_gib=0), disk(instance_id="ins-none")):
        with pytest.raises(IntegrityError):
            db.write_sync(lambda conn, wrong=wrong: disks.insert(conn, wrong))  # type: ignore[misc]


def test_delete_says_whether_there_was_one(db: Database, row: Disk) -> None:
    assert [db.write_sync(lambda conn: disks.delete(conn, row.id)) for _ in range(2)] == [True, False]


def test_secrets_are_not_in_the_text_of_a_key() -> None:
    assert "topsecret" not in f"{key()} {key()!r}"


def test_disks_by_what_they_name(db: Database) -> None:
    a = disk("disk-0000000a", base_snapshot_id=SnapshotId("snap-1"), carry=frozenset({"m"}), created_at=1.0)
    b = disk(
        "disk-0000000b",
        account_id=OTHER,
        base_snapshot_id=SnapshotId("snap-1"),
        source_snapshot_id=SnapshotId("snap-1"),
        state=DiskState.TERMINATING,
        instance_id=InstanceId("ins-00000001"),
        created_at=0.5,
    )

    def write(conn: Connection) -> None:
        instances.insert(conn, instance())
        disks.insert(conn, a)
        disks.insert(conn, b)

    db.write_sync(write)

    def read(conn: Connection) -> None:
        # A5 moves the base of every row: of any account, in any state.
        assert disks.with_base(conn, SnapshotId("snap-1")) == [a, b]
        assert disks.of_instance(conn, InstanceId("ins-00000001")) == [b]
        assert disks.carried(conn) == {a.id: frozenset({"m"})}
        assert disks.everything(conn) == [b, a]
        assert disks.in_states(conn, [DiskState.TERMINATING, DiskState.CREATING]) == [b]
        assert (disks.count(conn, OWNER), disks.count(conn, OTHER), disks.count_all(conn)) == (1, 0, 1)
        assert instances.disk_counts(conn, [InstanceId("ins-00000001"), InstanceId("ins-x")]) == {
            "ins-00000001": 1,
            "ins-x": 0,
        }

    db.read_sync(read)


def test_operations_change_only_while_they_run(db: Database) -> None:
    db.write_sync(lambda conn: operations.insert(conn, operation()))
    db.write_sync(lambda conn: operations.insert(conn, operation("op-00000002", created_at=1.0)))
    name = OperationId("op-00000001")

    def update(**values: object) -> bool:
        return db.write_sync(lambda conn: operations.update(conn, name, updated_at=20.0, **values))

    frozen = msgspec.structs.replace(operation().payload_as(SnapshotPayload), taken_at=3.5)
    assert update(phase="upload", percent=40, payload=frozen)
    assert [o.id for o in db.read_sync(operations.unfinished)] == ["op-00000002", "op-00000001"]
    assert update(state=OperationState.FAILED, error_code=Refusal.INTERNAL, error="no")
    assert not update(state=OperationState.DONE)
    found = db.read_sync(lambda conn: operations.get(conn, name))
    assert found == operation(
        phase="upload",
        percent=40,
        payload=frozen,
        state=OperationState.FAILED,
        error_code=Refusal.INTERNAL,
        error="no",
        updated_at=20.0,
    )
    assert [o.id for o in db.read_sync(operations.unfinished)] == ["op-00000002"]
    assert [o.id for o in db.read_sync(lambda c: operations.running_on_disk(c, DiskId("disk-00000001")))] == [
        "op-00000002"
    ]
    assert db.write_sync(lambda conn: operations.prune(conn, 20.0, 10)) == 0
    assert db.write_sync(lambda conn: operations.prune(conn, 20.5, 10)) == 1
    assert [o.id for o in db.read_sync(operations.unfinished)] == ["op-00000002"]


def test_operations_are_found_by_any_resource(db: Database) -> None:
    rows = [
        operation("op-00000001", created_at=1.0),
        operation("op-00000002", created_at=2.0, disk_id=None, snapshot_id=SnapshotId("snap-1")),
        operation("op-00000003", created_at=3.0, disk_id=None, instance_id=InstanceId("ins-1")),
        operation("op-00000004", created_at=4.0, account_id=OTHER),
    ]
    db.write_sync(lambda conn: [operations.insert(conn, row) for row in rows])

    def ids(**fields: Any) -> list[str]:
        selection = OperationSelection(account_id=OWNER, **fields)
        found, total = db.read_sync(lambda conn: operations.find(conn, selection))
        assert total == len(found)
        return [operation.id[-1] for operation in found]

    assert ids() == ["3", "2", "1"]
    assert ids(resources=(("disk-00000001", "snap-1"),)) == ["2", "1"]
    assert ids(resources=(("ins-1",),)) == ["3"]
    assert ids(resources=(("ins-1",), ("snap-1",))) == []
    assert ids(ids=((OperationId("op-00000001"), OperationId("op-00000004")),)) == ["1"]


def test_packs(db: Database) -> None:
    def write(conn: Connection) -> None:
        sessions.open(conn, session(), [])
        packs.insert(conn, pack("1" * 32))
        packs.insert(conn, pack("2" * 32))
        packs.insert(conn, pack("3" * 32, state=PackState.DELETING, dead_blocks=10))
        assert packs.add_dead(conn, PackId("1" * 32), 4, 40)
        assert packs.add_dead(conn, PackId("2" * 32), 6, 1)
        assert packs.add_dead(conn, PackId("2" * 32), 100, 1000)
        assert not packs.add_dead(conn, PackId("9" * 32), 1, 1)

    db.write_sync(write)
    dying = db.read_sync(lambda conn: packs.dying(conn, 0.4, 10))
    # A count never passes the number of blocks, whatever was counted twice.
    assert [(p.id[0], p.dead_blocks) for p in dying] == [("2", 10), ("1", 4)]
    assert [p.id[0] for p in db.read_sync(lambda conn: packs.dying(conn, 0.5, 10))] == ["2"]
    assert len(db.read_sync(lambda conn: packs.of_session(conn, session().id))) == 3
    with pytest.raises(IntegrityError):  # Two packs in one object
        db.write_sync(lambda conn: packs.insert(conn, pack("4" * 32, object="packs/" + "1" * 32)))
    with pytest.raises(IntegrityError):  # A session that wrote packs is not forgotten before them
        db.write_sync(lambda conn: sessions.delete(conn, session().id))


def test_extent_maps(db: Database) -> None:
    ranges = normalize([(5, 9), (2**40, 2**40 + 1)])
    values = [ExtentMap(id=f"extents:{n}", disk_id=DiskId("disk-1"), ranges=ranges, blocks=5) for n in "ab"]
    empty = ExtentMap(id="extents:c", disk_id=DiskId("disk-2"), ranges=normalize([]), blocks=0)
    db.write_sync(lambda conn: [extent_maps.insert(conn, value) for value in (*values, empty)])
    found = db.read_sync(lambda conn: extent_maps.get(conn, "extents:a"))
    assert found is not None
    assert np.array_equal(found.ranges, ranges)
    assert found.ranges.dtype == np.int64
    nothing = db.read_sync(lambda conn: extent_maps.get(conn, "extents:c"))
    assert nothing is not None
    assert nothing.ranges.shape == (0, 2)
    assert db.write_sync(lambda conn: extent_maps.keep_only(conn, DiskId("disk-1"), {"extents:b"})) == 1
    assert db.read_sync(lambda conn: extent_maps.ids_of(conn, DiskId("disk-1"))) == {"extents:b"}
    assert db.read_sync(lambda conn: extent_maps.ids_of(conn, DiskId("disk-2"))) == {"extents:c"}


def test_audit_trail(db: Database) -> None:
    def entry(at: float, account_id: str = OWNER) -> TrailEntry:
        return TrailEntry(
            at=at,
            account_id=OWNER if account_id == OWNER else OTHER,
            secret_id="AKID",
            action="CreateDisks",
            request_id="r",
            resource="disk-1 disk-2",
            code="OK",
            source="127.0.0.1",
        )

    entries = [entry(1.0), entry(2.0, OTHER), entry(3.0)]
    db.write_sync(lambda conn: trail.append(conn, *entries))
    entries = [replace(each, id=number) for number, each in enumerate(entries, start=1)]

    def find(**arguments: Any) -> tuple[list[TrailEntry], int]:
        return db.read_sync(lambda conn: trail.find(conn, trail.TrailSelection(**arguments)))

    assert find(account_id=None, offset=0, limit=2) == ([entries[2], entries[1]], 3)
    assert find(account_id=OWNER, offset=1, limit=5) == ([entries[0]], 2)
    assert db.write_sync(lambda conn: trail.prune(conn, 3.0, 1)) == 1
    assert find(account_id=None, offset=0, limit=5) == ([entries[2], entries[1]], 2)


def test_client_tokens(db: Database) -> None:
    def value(token: str, at: float) -> ClientToken:
        return ClientToken(
            account_id=OWNER,
            token=token,
            action="CreateDisks",
            request_hash="h",
            response={"DiskIdSet": ["disk-1"]},
            created_at=at,
        )

    for at in range(5):
        db.write_sync(lambda conn, at=at: tokens.insert(conn, value(f"t{at}", float(at))))  # type: ignore[misc]
    assert db.read_sync(lambda conn: tokens.get(conn, OWNER, "t3")) == value("t3", 3.0)
    assert db.read_sync(lambda conn: tokens.get(conn, OTHER, "t3")) is None
    with pytest.raises(IntegrityError):
        db.write_sync(lambda conn: tokens.insert(conn, value("t3", 9.0)))
    assert db.write_sync(lambda conn: tokens.prune(conn, 3.0, 2)) == 2
    assert db.read_sync(lambda conn: tokens.get(conn, OWNER, "t2")) is not None
    assert db.write_sync(lambda conn: tokens.prune(conn, 3.0, 2)) == 1


def test_records_keep_only_what_is_known(db: Database) -> None:
    value = snapshot(record=SnapshotRecord(tracking="full"), state=SnapshotState.CREATING)
    db.write_sync(lambda conn: snapshots.insert(conn, value))
    assert db.read_sync(lambda conn: snapshots.get(conn, value.id)) == value
    text = db.read_sync(lambda conn: conn.exec_driver_sql("SELECT record FROM snapshot").scalar_one())
    assert text == '{"tracking":"full"}'


def test_an_ended_operation_of_an_old_version_is_shown_and_a_running_one_is_not_guessed(db: Database) -> None:
    db.write_sync(lambda conn: operations.insert(conn, operation()))
    db.write_sync(lambda conn: conn.execute(text("UPDATE operation SET payload = '{}'")))
    name = OperationId("op-00000001")
    with pytest.raises(msgspec.ValidationError):
        db.read_sync(lambda conn: operations.get(conn, name))
    db.write_sync(lambda conn: conn.execute(text("UPDATE operation SET state = 'DONE'")))
    found = db.read_sync(lambda conn: operations.get(conn, name))
    assert found is not None
    assert found.payload == Payload()

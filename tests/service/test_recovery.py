"""The bucket is enough: catalogs made from a store alone, and catalogs from before its last changes."""

import asyncio
import contextlib
import random
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from unittest.mock import AsyncMock

import msgspec
import pytest
from sqlalchemy import Connection, update

from drystone.catalog import (
    accounts,
    disks,
    meta,
    operations,
    packs,
    quiesce_profiles,
    sessions,
    shares,
    snapshot_groups,
    snapshots,
)
from drystone.catalog.database import Database
from drystone.catalog.schema import snapshot as snapshot_table
from drystone.catalog.sqlite import SqliteDatabase
from drystone.codec.manifest import ANCESTRY_MAX, Manifest
from drystone.domain.account import Account
from drystone.domain.blocks import BLOCK_BYTES
from drystone.domain.disk import Disk, DiskState
from drystone.domain.errors import DrystoneError, RefusalError
from drystone.domain.ids import (
    AccountId,
    DiskBackupId,
    DiskId,
    IdSource,
    InstanceId,
    PolicyId,
    SessionId,
    SnapshotGroupId,
    SnapshotId,
)
from drystone.domain.operation import Operation, OperationKind, OperationState
from drystone.domain.quiesce import QuiesceProfile, Step, StepKind
from drystone.domain.session import Session, SessionState
from drystone.domain.share import Share
from drystone.domain.snapshot import Snapshot, SnapshotState
from drystone.domain.snapshot_group import SnapshotGroupState
from drystone.engine.descriptions import write_disk, write_quiesce
from drystone.engine.layout import Layout
from drystone.objects.address import DirectoryAddress
from drystone.objects.local import LocalStore
from drystone.objects.measured import Tally
from drystone.offline import maintenance
from drystone.server.store_opening import StartError, open_kept
from drystone.service.room import Room
from drystone.service.rows import troubles
from drystone.service.rows.quotas import SnapshotLimits
from drystone.service.transactions import Change
from drystone.service.upkeep import confirmation, epoch, late_writes, recovered_snapshots, recovery
from drystone.service.upkeep.evidence import Report
from drystone.service.upkeep.expiry import Expiry
from drystone.service.upkeep.maps import collect_maps
from drystone.snapstore.account_names import AccountName, write_accounts
from drystone.snapstore.claims import claimed_epoch
from drystone.snapstore.deletion import delete_manifest
from drystone.snapstore.inventory import list_objects, take_inventory
from drystone.snapstore.manifests import Attributes, GroupAttributes, list_manifests, write_attributes, write_manifest
from drystone.snapstore.reader import SnapshotReader
from drystone.snapstore.store import Store
from tests.claims import claim_on, owner_of
from tests.domain.payloads import payload
from tests.engine.volumes import image_of
from tests.service import parts
from tests.service.parts import ServerParts, changed, server_parts
from tests.service.records_world import caller
from tests.service.store_world import InlinePool
from tests.snapstore.model_snapshots import STORE_ID, new_store, take

OWNER = AccountId("100000000001")
DISK = DiskId("disk-aaaaaaaa")
BLOCKS = 80
NOW = 1_800_000_000.0
GIB = 1 << 30


@dataclass
class World:
    """A data directory with a store of three snapshots of one disk, and the disk; no catalog."""

    data: Path
    rng: random.Random = field(default_factory=lambda: random.Random(9))
    disks: dict[str, bytes] = field(default_factory=dict)
    last: SnapshotReader | None = None

    def __post_init__(self) -> None:
        self.data.mkdir()
        self.layout = Layout(self.data)
        self.store: Store = new_store(LocalStore(self.layout.store, 0))
        self.content = bytearray(BLOCKS * BLOCK_BYTES)
        claim_on(self.store, 41)
        for _ in range(3):
            self.take()
        self.describe(DISK, source=None)
        write_attributes(self.store, self.name(2), Attributes(name="second", permanent=False,
                         deadline="2027-01-01T00:00:00+00:00", tags=(("k", "v"),),
                         policy=PolicyId("asp-00000001"), slot=1_700_000_000, policy_order=3),
                         AccountId("100000000001"))  # fmt: skip

    def name(self, number: int) -> SnapshotId:
        return SnapshotId(f"snap-{number:08d}")

    def take(self) -> str:
        """Take a snapshot; the epoch rises with it, as a server would have it."""
        number = len(self.disks) + 1
        blocks = [(0, BLOCKS)] if number == 1 else [(number, number + 3)]
        for start, stop in blocks:
            self.content[start * BLOCK_BYTES : stop * BLOCK_BYTES] = self.rng.randbytes((stop - start) * BLOCK_BYTES)
        name = self.name(number)
        self.last = take(self.store, self.rng, name, self.content, blocks, self.last)
        self.disks[name] = bytes(self.content)
        claim_on(self.store)
        return name

    def describe(self, disk_id: DiskId, *, source: SnapshotId | None, backing: bool = False) -> None:
        row = Disk(
            id=disk_id, account_id=OWNER, name="db", state=DiskState.UNATTACHED, size_gib=10, type="CLOUD_SSD",
            zone="ap-local-1", created_at=NOW - 1000, tags=(("team", "web"),), source_snapshot_id=source,
        )  # fmt: skip
        write_disk(self.layout, row, self.store.store_id)
        header = struct.pack(">IIQIIQ", 0x514649FB, 3, 1000 if backing else 0, 20 if backing else 0, 16, 10 * GIB)
        image_of(self.layout, disk_id).write_bytes(header + bytes(1000))

    @property
    def clock(self) -> Any:
        return lambda: NOW

    def on_progress(self, done: int, total: int) -> None:
        assert 0 <= done <= total

    def recover(self) -> Report:
        return maintenance.recover(self.data, None, None, self)

    def reconcile(self) -> Report:
        report = maintenance.reconcile_catalog(self.data, self)
        assert report is not None
        return report

    def open(self) -> Database:
        return SqliteDatabase.open(self.layout.catalog)

    def row(self, name: str) -> Snapshot | None:
        db = self.open()
        try:
            return db.read_sync(lambda conn: snapshots.get(conn, SnapshotId(name)))
        finally:
            db.close()

    def objects(self) -> dict[str, bytes]:
        """Everything in the store but claims, and the mark of which store it is."""
        listed = self.store.objects.list("")
        return {
            entry.name: self.store.objects.get(entry.name)
            for entry in listed
            if "/epochs/" not in entry.name and not entry.name.endswith("/owner")
        }


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "data")


def test_everything_comes_back_from_the_store_alone(world: World) -> None:
    """P10, L11, F11."""
    write_accounts(world.store, [AccountName(id=OWNER, name="ops", admin=True)])
    before = world.objects()
    report = world.recover()
    assert world.objects() == before, "nothing is written but a claim"
    assert (report.snapshots_imported, report.left_alone, report.disks_adopted) == (list(world.disks), [], [DISK])
    db = world.open()
    rows = db.read_sync(snapshots.everything)
    assert [(row.id, row.state, row.parent_id) for row in rows] == [
        (world.name(1), SnapshotState.NORMAL, None), (world.name(2), SnapshotState.NORMAL, world.name(1)),
        (world.name(3), SnapshotState.NORMAL, world.name(2)),
    ]  # fmt: skip
    second = rows[1]
    assert (second.name, second.permanent, second.tags) == ("second", False, (("k", "v"),))
    assert (second.policy_id, second.slot, second.policy_order) == ("asp-00000001", 1_700_000_000, 3)
    assert second.deadline_at == 1_798_761_600.0
    for row in rows:
        assert row.manifest is not None
        reader = SnapshotReader.open(world.store, row.manifest)
        assert bytes(reader.read(0, reader.size_bytes)) == world.disks[row.id]
        assert row.delta_map == row.maps[0]
        assert row.session_id is not None
        session = db.read_sync(lambda conn, row=row: sessions.get(conn, cast("SessionId", row.session_id)))  # type: ignore[misc]
        assert session is not None
        assert session.state is SessionState.ADOPTED
    assert len(db.read_sync(packs.everything)) == 3
    disk = db.read_sync(lambda conn: disks.get(conn, DISK))
    assert disk is not None
    assert (disk.state, disk.size_gib, disk.name, disk.tags) == (DiskState.UNATTACHED, 10, "db", (("team", "web"),))
    assert (disk.tracking, disk.base_snapshot_id) == ("LOST", world.name(3))
    assert disk.tracking_reason.startswith("recovered from its store")
    known = db.read_sync(lambda conn: accounts.get(conn, OWNER))
    assert known is not None
    assert (known.name, known.admin) == ("ops", True)
    assert [key.account_id for key in report.keys] == [OWNER]
    facts = db.read_sync(meta.everything)
    assert facts["owner"] == owner_of(world.store) != "0" * 32
    assert int(facts[epoch.KEY]) == claimed_epoch(world.store) == 45
    assert "recovered" in facts[troubles.HELD]
    # One that was killed at its very end has shown no key: it is said where there are some. That passes.
    with pytest.raises(StartError, match=r"already and was recovered .* `drystone account key create"):
        world.recover()
    db.write_sync(lambda conn: meta.remove(conn, troubles.HELD))
    db.close()
    with pytest.raises(StartError, match="store reconcile --data"):
        world.recover()
    world.layout.catalog.write_bytes(b"no catalog")
    with pytest.raises(StartError, match="store reconcile --data"):
        world.recover()


def test_groups_and_quiesce_profiles_come_back(world: World) -> None:
    told = GroupAttributes(
        id=SnapshotGroupId("snapg-00000001"), name="nightly", instance=InstanceId("ins-00000001"), pause_ms=3.5,
        taken_at=NOW, created_at=NOW - 5, tags=(("k", "v"),),
    )  # fmt: skip
    for number in (2, 3):
        write_attributes(world.store, world.name(number), Attributes(name="x", group=told), AccountId("100000000001"))
    profile = QuiesceProfile(
        resource_id=DISK, account_id=OWNER, steps=(Step(kind=StepKind.FILESYSTEM, mount="/srv"),), modified_at=NOW
    )
    write_quiesce(world.layout, DISK, profile)
    world.recover()
    db = world.open()
    group = db.read_sync(lambda conn: snapshot_groups.get(conn, told.id))
    assert group is not None
    assert (group.name, group.instance_id, group.pause_ms, group.taken_at, group.tags, group.state) == (
        "nightly", told.instance, 3.5, NOW, told.tags, SnapshotGroupState.NORMAL,
    )  # fmt: skip
    members = {row.id for row in db.read_sync(snapshots.everything) if row.group_id == group.id}
    assert members == {world.name(2), world.name(3)}
    assert db.read_sync(lambda conn: quiesce_profiles.get(conn, DISK)) == profile
    assert db.read_sync(lambda conn: packs.held(conn, [DISK, OWNER]))[DISK] > BLOCKS * BLOCK_BYTES
    db.close()


def test_a_second_manifest_is_discarded_and_collection_goes_on(world: World) -> None:
    assert world.last is not None
    world.recover()
    assert maintenance.stray_manifests(world.data, world) == []
    double = world.last.manifest
    double = msgspec.structs.replace(double, session=SessionId("d0" * 16))
    name = write_manifest(world.store, double)
    (told,) = maintenance.stray_manifests(world.data, world)
    assert (told.object, told.lost) == (name, "nothing: another manifest of the same snapshot is in force")
    living = [entry.object for entry in list_manifests(world.store) if entry.object != name]
    for wrong in (living[0], "nonsense"):
        with pytest.raises(StartError, match="is no manifest that stops"):
            maintenance.discard_manifest(world.data, wrong, world)
    kept = world.store.objects.get(name)
    assert maintenance.discard_manifest(world.data, name, world).kept_as.read_bytes() == kept
    assert [entry.object for entry in list_manifests(world.store)] == living
    assert maintenance.stray_manifests(world.data, world) == []


def test_a_profile_that_cannot_be_read_keeps_no_disk_back(world: World) -> None:
    world.layout.quiesce(DISK).write_bytes(b'{"format":1,"profile":{}}')
    assert world.recover().disks_adopted == [DISK]
    write_quiesce(world.layout, DISK, None)
    assert not world.layout.quiesce(DISK).exists()


def test_a_snapshot_that_is_not_whole_is_named_and_left_alone(world: World) -> None:
    """S52."""
    third = world.last
    assert third is not None
    third_pack = third.manifest.packs[0].object
    world.store.objects.delete(third_pack)
    report = world.recover()
    assert report.snapshots_imported == [world.name(1), world.name(2)]
    (told,) = report.left_alone
    assert world.name(3) in told
    assert "is not there" in told
    row = world.row(world.name(3))
    assert row is not None
    assert row.state is SnapshotState.GHOST, "its place in the tree is known"
    assert third.manifest.snapshot in {entry.snapshot for entry in list_manifests(world.store)}


@pytest.mark.parametrize("kind", ["map", "frame"])
def test_a_missing_map_or_a_foreign_pack_is_not_whole(world: World, kind: str) -> None:
    last = world.last
    assert last is not None
    if kind == "map":
        world.store.objects.delete(last.manifest.maps[0].object)
    else:
        # Another pack under this one's name: its index does not repeat the name.
        other = world.store.objects.get(next(iter(world.store.objects.list(world.store.name("packs", "")))).name)
        name = last.manifest.packs[0].object
        world.store.objects.replace(name, other + b"" if other != world.store.objects.get(name) else b"x")
    found = take_inventory(world.store)
    assert [one.snapshot for one in found.left_alone] == [world.name(3)]


def test_dead_blocks_that_are_shown_are_not_whole(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    from drystone.snapstore import inventory

    assert take_inventory(world.store).left_alone == ()
    whole = inventory._living_slots
    monkeypatch.setattr(inventory, "_living_slots", lambda *given: whole(*given) & ~np.uint64(2))
    assert {one.snapshot for one in take_inventory(world.store).left_alone} == set(world.disks)


def test_recovery_is_all_or_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = owner_of(world.store)

    class KilledError(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise KilledError

    steps = ("take_inventory", "reconcile", "list_manifests", "hold", "sync_file")
    for step in steps:
        with monkeypatch.context() as patch:
            patch.setattr(maintenance, step, killed)
            with pytest.raises(KilledError):
                world.recover()
        assert not world.layout.catalog.exists(), step
        if steps.index(step) <= steps.index("hold"):
            assert owner_of(world.store) == owner, step
    assert world.recover().snapshots_imported == list(world.disks)


def test_a_store_that_changes_meanwhile_is_not_taken_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = owner_of(world.store)
    real = recovery.reconcile

    def late(*given: Any, **named: Any) -> Report:
        world.take()
        return real(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(maintenance, "reconcile", late)
        with pytest.raises(StartError, match="still uses it"):
            world.recover()
    assert owner_of(world.store) == owner
    assert not world.layout.catalog.exists()


def start(world: World) -> Store:
    """What a server's start does with the store."""
    db = world.open()
    rng = random.Random(1)
    try:
        room = Room(layout=world.layout, floor_bytes_max=0, floor_percent=0)
        place = DirectoryAddress(root=str(world.layout.store))
        return open_kept(db, room, place, rng, at=0.0, dead_percent=20, tally=Tally()).store
    finally:
        db.close()


def test_two_catalogs_on_one_store_are_told_apart(world: World, tmp_path: Path) -> None:
    world.recover()
    start(world)
    other = tmp_path / "other"
    report = maintenance.recover(other, world.layout.store, None, world)
    assert report.snapshots_imported == list(world.disks)
    assert report.disks_adopted == [], "the disks are not there"
    assert (other / "store").resolve() == world.layout.store.resolve()
    with pytest.raises(StartError, match="owned by another catalog"):
        start(world)
    with pytest.raises(StartError, match="owned by another catalog"):
        maintenance.reconcile_catalog(world.data, world, force=True)


def test_where_there_is_no_store_nothing_is_made(world: World, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for place, words in ((empty, "there is no store"), (world.layout.store / STORE_ID, "give the directory above")):
        with pytest.raises(StartError, match=words):
            maintenance.recover(tmp_path / "new", place, None, world)
    assert list(empty.iterdir()) == []
    assert not (tmp_path / "new" / "catalog.db").exists()


def add_running(world: World, kind: OperationKind, **fields: Any) -> None:
    row = Operation(
        id=IdSource(world.rng).operation(), kind=kind, account_id=OWNER, created_at=NOW, updated_at=NOW,
        payload=payload(kind), **fields,
    )  # fmt: skip
    db = world.open()
    db.write_sync(lambda conn: operations.insert(conn, row))
    db.close()


def know_versions(conn: Connection) -> dict[str, str]:
    """Have all rows know versions; return those of packs."""
    rows = packs.everything(conn)
    for row in rows:
        packs.compare_and_set(conn, row.id, expected={}, values={"version": f"of {row.object}"})
    for snapshot in snapshots.everything(conn):
        values = {"versions": {name: f"of {name}" for name in snapshot.maps}}
        snapshots.compare_and_set(conn, snapshot.id, expected={}, values=values)
    return {row.object: f"of {row.object}" for row in rows}


def test_a_catalog_from_before_the_last_snapshots_is_noticed_and_reconciled(world: World) -> None:
    world.recover()
    start(world)
    # The copy is of a moment at which a snapshot was being made and a disk rolled back.
    db = world.open()
    at_copy = Session(id=SessionId("e" * 32), kind="snapshot", created_at=NOW)
    idle = Session(id=SessionId("d" * 32), kind="hydrate", created_at=NOW)
    db.write_sync(lambda conn: sessions.open(conn, at_copy, []))
    db.write_sync(lambda conn: sessions.open(conn, idle, [world.name(1)]))
    values = {"state": DiskState.ROLLBACKING, "name": "old name"}
    db.write_sync(lambda conn: disks.compare_and_set(conn, DISK, expected={}, values=values))
    db.write_sync(lambda conn: meta.remove(conn, troubles.HELD))
    versions = db.write_sync(know_versions)
    db.close()
    add_running(world, OperationKind.ROLLBACK, disk_id=DISK, snapshot_id=world.name(1), phase="WRITING")
    shutil.copy(world.layout.catalog, world.data / "copy.db")
    # Afterwards: that session committed, two more snapshots, the first one deleted, the second kept for ever.
    assert world.last is not None
    world.store.objects.put(world.store.map_name(SessionId("e" * 32), "f" * 32), b"what a session wrote before")
    for _ in range(2):
        world.take()
    first = SnapshotReader.open(world.store, world.name(1)).manifest
    delete_manifest(world.store, first.snapshot, first.session)
    write_attributes(world.store, world.name(2), Attributes(name="kept"), AccountId("100000000001"))
    shutil.copy(world.data / "copy.db", world.layout.catalog)
    with pytest.raises(StartError, match=r"older than its snapshot store .* `drystone store reconcile --data "):
        start(world)
    before = world.objects()
    report = world.reconcile()
    assert world.objects() == before, "nothing in the store was changed or deleted"
    assert report.snapshots_imported == [world.name(4), world.name(5)]
    assert report.snapshots_gone == [world.name(1)]
    assert len(report.operations_given_up) == 1
    db = world.open()
    states = {row.id: row.state.value for row in db.read_sync(snapshots.everything)}
    assert states == {
        world.name(1): "GHOST", **{world.name(number): "NORMAL" for number in (2, 3, 4, 5)},
    }  # fmt: skip
    second = db.read_sync(lambda conn: snapshots.get(conn, world.name(2)))
    assert second is not None
    assert (second.name, second.permanent, second.deadline_at) == ("kept", True, None), "its deadline was of the copy"
    # S274: of an object that both know the version is what the catalog says; of what the store alone has it is unknown.
    written = {pack.object: pack.version for pack in db.read_sync(packs.everything)}
    assert written == {name: versions.get(name) for name in written}
    assert set(written.values()) > {None}
    told = {row.id: row.versions for row in db.read_sync(snapshots.everything)}
    assert told[world.name(2)] == {name: f"of {name}" for name in second.maps}
    assert [told[world.name(number)] for number in (1, 4, 5)] == [{}, {}, {}]
    disk = db.read_sync(lambda conn: disks.get(conn, DISK))
    assert disk is not None
    assert (disk.state, disk.tracking, disk.base_snapshot_id, disk.name) == (
        DiskState.UNATTACHED, "LOST", world.name(5), "db",
    )  # fmt: skip
    assert "was being replaced" in disk.error_prompt
    assert db.read_sync(operations.unfinished) == []
    # What a session wrote may be in use by now, or come back: it is never swept. It holds nothing any more.
    adopted = db.read_sync(lambda conn: sessions.get(conn, SessionId("e" * 32)))
    ended = db.read_sync(lambda conn: sessions.get(conn, SessionId("d" * 32)))
    assert adopted is not None
    assert ended is not None
    assert adopted.state is ended.state is SessionState.ADOPTED
    assert db.read_sync(sessions.pinned) == set()
    assert db.read_sync(confirmation.held) is not None
    db.close()
    start(world)
    assert maintenance.reconcile_catalog(world.data, world) is None, "it is up to date now"
    assert [path.name.startswith("before-reconcile-") for path in world.layout.backups.iterdir()] == [True]


def test_reconciling_is_one_transaction(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """S51."""
    world.recover()
    world.take()
    before = world.row(world.name(3))

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    steps = (
        (recovery, "_sessions"), (recovered_snapshots, "_ghosts"), (recovery, "_packs"),
        (recovery, "restore_disks"), (recovery, "hold"),
    )  # fmt: skip
    for module, step in steps:
        with monkeypatch.context() as patch:
            patch.setattr(module, step, fail)
            with pytest.raises(ZeroDivisionError):
                world.reconcile()
        assert world.row(world.name(4)) is None
        assert world.row(world.name(3)) == before
    assert world.reconcile().snapshots_imported == [world.name(4)]


def test_a_row_whose_snapshot_is_damaged_stays_and_is_suspect(world: World) -> None:
    """S52."""
    world.recover()
    assert world.last is not None
    world.store.objects.delete(world.last.manifest.packs[0].object)
    world.take()
    report = world.reconcile()
    assert report.snapshots_suspect == [world.name(3)]
    row = world.row(world.name(3))
    assert row is not None
    assert (row.state, row.suspect) == (SnapshotState.NORMAL, True)


def test_what_an_earlier_recovery_missed_comes_back_with_its_objects(world: World) -> None:
    assert world.last is not None
    name = world.last.manifest.packs[0].object
    data = world.store.objects.get(name)
    world.store.objects.delete(name)
    world.recover()
    world.store.objects.put(name, data)
    report = maintenance.reconcile_catalog(world.data, world, force=True)
    assert report is not None
    assert report.snapshots_imported == [world.name(3)]
    row = world.row(world.name(3))
    assert row is not None
    assert row.state is SnapshotState.NORMAL


def test_hydrating_disks_go_on_and_unfit_ones_are_named(world: World) -> None:
    """S8."""
    filling, lost, damaged = DiskId("disk-bbbbbbbb"), DiskId("disk-cccccccc"), DiskId("disk-dddddddd")
    world.describe(filling, source=world.name(2), backing=True)
    world.describe(lost, source=SnapshotId("snap-99999999"), backing=True)
    world.describe(damaged, source=None)
    image_of(world.layout, damaged).write_bytes(b"not an image at all, but long enough for a header")
    report = world.recover()
    assert report.disks_adopted == [DISK, filling, lost]
    assert len(report.disks_unfit) == 1
    assert damaged in report.disks_unfit[0]
    db = world.open()
    one, two = (db.read_sync(lambda conn, name=name: disks.get(conn, name)) for name in (filling, lost))  # type: ignore[misc]
    assert one is not None
    assert two is not None
    assert (one.hydrating, one.hydration_percent, one.base_snapshot_id) == (True, 0, world.name(2))
    assert (two.hydrating, two.base_snapshot_id) == (False, None)
    assert "lost" in two.error_prompt
    (operation,) = db.read_sync(operations.unfinished)
    assert (operation.kind, operation.disk_id, operation.state) == (
        OperationKind.HYDRATE, filling, OperationState.RUNNING,
    )  # fmt: skip
    assert db.read_sync(sessions.pinned) == {world.name(2)}
    db.close()


def test_of_two_manifests_the_one_that_was_built_upon_is_taken(world: World) -> None:
    # A failed attempt left a manifest: equal content, another session, and nothing was ever made of its objects.
    base = SnapshotReader.open(world.store, world.name(1))
    attempt = take(world.store, world.rng, "snap-77777777", world.disks[world.name(2)], [(2, 5)], base)
    manifest = attempt.manifest
    forged = type(manifest)(**{
        **{name: getattr(manifest, name) for name in manifest.__struct_fields__}, "snapshot": world.name(2)
    })  # fmt: skip
    write_manifest(world.store, forged)
    world.store.objects.delete(world.store.manifest_name(SnapshotId("snap-77777777"), manifest.session))
    found = take_inventory(world.store)
    chosen = {one.manifest.snapshot: one.manifest.session for one in found.snapshots}
    assert chosen[world.name(2)] != manifest.session
    assert [one.session for one in found.left_alone] == [manifest.session]


def renamed(world: World, reader: SnapshotReader, name: SnapshotId, *, disk: DiskId = DISK) -> Manifest:
    """Have a snapshot's manifest say another snapshot or disk."""
    manifest = msgspec.structs.replace(reader.manifest, snapshot=name, disk=disk)
    world.store.objects.delete(world.store.manifest_name(reader.manifest.snapshot, reader.manifest.session))
    write_manifest(world.store, manifest)
    return manifest


def fence(world: World, session: SessionId, *, state: SessionState = SessionState.FENCED, swept: bool = True) -> None:
    """Let the catalog know how the session of an attempt ended; it was swept once, if it was fenced."""

    def add(conn: Connection) -> None:
        sessions.open(conn, Session(id=session, kind="snapshot", created_at=NOW), [])
        sessions.end(conn, session, state, at=NOW)
        if state is SessionState.FENCED and swept:
            sessions.note_deleted(conn, session, None, at=NOW)

    with contextlib.closing(world.open()) as db:
        db.write_sync(add)


def reconciled(world: World) -> Report:
    report = maintenance.reconcile_catalog(world.data, world, force=True)
    assert report is not None
    return report


@contextlib.contextmanager
def confirmed(world: World) -> Iterator[ServerParts]:
    """Confirm, as `drystone store confirm` does, and start."""
    start(world)
    with contextlib.closing(world.open()) as db:
        db.write_sync(lambda conn: meta.remove(conn, troubles.HELD))
        rng = random.Random(1)
        pool: Any = InlinePool(world.store, rng)
        yield server_parts(db, world.layout, clock=lambda: NOW, rng=rng, store=world.store, pool=pool)


def shown(world: World, name: str) -> bytes:
    """Read a snapshot through the manifest that its row names."""
    row = world.row(name)
    assert row is not None
    assert row.manifest is not None
    reader = SnapshotReader.open(world.store, row.manifest)
    return bytes(reader.read(0, reader.size_bytes))


def test_what_a_fenced_session_wrote_is_no_snapshot_and_nothing_is_built_on_it(world: World) -> None:
    """S61: the snapshot failed after its manifest was written; what is taken after the reconciliation outlives it."""
    world.recover()
    third, before = world.last, dict(world.disks)
    world.take()
    assert world.last is not None
    fence(world, world.last.manifest.session)
    report = reconciled(world)
    assert report.snapshots_imported == []
    (told,) = report.left_alone
    assert world.last.manifest.session in told
    assert world.row(world.name(4)) is None
    with contextlib.closing(world.open()) as db:
        disk = db.read_sync(lambda conn: disks.get(conn, DISK))
    assert disk is not None
    assert disk.base_snapshot_id == world.name(3), "what may go at any time is the base of nothing"
    content = bytearray(before[world.name(3)])
    content[:BLOCK_BYTES] = world.rng.randbytes(BLOCK_BYTES)
    take(world.store, world.rng, world.name(5), content, [(0, 1)], third)
    with confirmed(world) as made:
        asyncio.run(parts.sweep(made).sweep())
        left = {entry.snapshot for entry in list_manifests(world.store)}
    assert left == {world.name(number) for number in (1, 2, 3, 5)}
    for name, kept in before.items():
        assert shown(world, name) == kept
    assert bytes(SnapshotReader.open(world.store, world.name(5)).read(0, len(content))) == content


def test_what_was_fenced_by_a_catalog_that_may_not_have_had_the_store_is_a_snapshot(world: World) -> None:
    """S61: a copy from the middle of an upload, started without the store, gives up what the other has committed."""
    world.recover()
    world.take()
    assert world.last is not None
    fence(world, world.last.manifest.session, swept=False)
    assert reconciled(world).snapshots_imported == [world.name(4)]
    with confirmed(world) as made:
        asyncio.run(parts.sweep(made).sweep())
    assert shown(world, world.name(4)) == world.disks[world.name(4)]


@pytest.mark.parametrize("first", [True, False])
def test_of_two_attempts_the_fenced_one_never_wins(world: World, *, first: bool) -> None:
    """Both are whole, nothing is made of either: names decide nothing."""
    world.recover()
    readers = [
        take(world.store, world.rng, name, world.content, [(0, 1)], world.last)
        for name in ("snap-66666666", "snap-77777777")
    ]
    attempts = [renamed(world, reader, world.name(4)) for reader in readers]
    attempts.sort(key=lambda manifest: manifest.session, reverse=not first)
    fenced, good = attempts
    fence(world, fenced.session)
    fence(world, good.session, state=SessionState.COMMITTED)  # or unknown, if the catalog is older
    assert reconciled(world).snapshots_imported == [world.name(4)]
    with confirmed(world) as made:
        asyncio.run(parts.sweep(made).sweep())
        assert [entry.session for entry in list_manifests(world.store, world.name(4))] == [good.session]
    assert shown(world, world.name(4)) == world.content


def test_what_other_snapshots_are_made_of_is_adopted_whatever_a_catalog_says(world: World) -> None:
    """Two catalogs of one store, one after the other: the one put back last had given up what the other committed."""
    world.recover()
    world.take()
    assert world.last is not None
    fourth = world.last.manifest
    world.take()
    fence(world, fourth.session)
    assert reconciled(world).snapshots_imported == [world.name(4), world.name(5)]
    with confirmed(world) as made:
        session = made.db.read_sync(lambda conn: sessions.get(conn, fourth.session))
        assert session is not None
        assert session.state is SessionState.ADOPTED
        asyncio.run(parts.sweep(made).sweep())
    for name, content in world.disks.items():
        assert shown(world, name) == content


def test_the_manifest_that_a_row_names_is_taken_before_another(world: World) -> None:
    world.recover()
    third = world.last
    assert third is not None
    row = world.row(world.name(3))
    assert row is not None
    double = msgspec.structs.replace(third.manifest, session=SessionId("0" * 32))
    other = write_manifest(world.store, double)
    assert row.manifest is not None
    assert other < row.manifest
    report = reconciled(world)
    assert report.snapshots_imported == []
    assert [told.partition(":")[0] for told in report.left_alone] == [other]
    now = world.row(world.name(3))
    assert now is not None
    assert (now.manifest, now.session_id) == (row.manifest, row.session_id)


def test_while_something_is_left_alone_its_maps_stay(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """S56: a pack is not there for now; somebody confirms, the server runs on; then it is found (L7)."""
    assert world.last is not None
    name = world.last.manifest.packs[0].object
    data = world.store.objects.get(name)
    world.store.objects.delete(name)
    assert [world.name(3) in told for told in world.recover().left_alone] == [True]
    with confirmed(world) as made:
        before = world.objects()
        packs_round = parts.compaction(made)
        assert asyncio.run(collect_maps(made.transactions, made.kept, list_objects(made.store).maps)) is False
        asyncio.run(packs_round.once())
        left = packs_round._maps_at
        assert left is None, "it is looked at again when nothing keeps them any more"
        assert world.objects() == before
        monkeypatch.setattr(late_writes, "unknown_manifests", AsyncMock(return_value=([], True)))
        asyncio.run(packs_round.once())
        assert packs_round._maps_at is not None
        lost = world.last.manifest.maps[0].object
        assert set(before) - set(world.objects()) == {lost}, "what is not asked goes"
    world.store.objects.put(lost, before[lost])
    world.store.objects.put(name, data)
    assert reconciled(world).snapshots_imported == [world.name(3)]
    assert shown(world, world.name(3)) == world.disks[world.name(3)]


def test_a_disk_that_hydrates_is_compared_with_its_source(world: World) -> None:
    """S55: a disk was made from a snapshot, written, kept by a snapshot of its own, and then initialized.

    Its image begins anew: what it lacks is the source's, and not what its own snapshot shows.
    """
    disk, own = DiskId("disk-bbbbbbbb"), SnapshotId("snap-00000009")
    source = SnapshotReader.open(world.store, world.name(1))
    content = bytearray(world.disks[world.name(1)])
    content[:BLOCK_BYTES] = b"\7" * BLOCK_BYTES
    taken = take(world.store, world.rng, "snap-88888888", content, [(0, 1)], source)
    renamed(world, taken, own, disk=disk)
    world.describe(disk, source=world.name(1), backing=True)
    report = world.recover()
    assert own in report.snapshots_imported
    with contextlib.closing(world.open()) as db:
        row = db.read_sync(lambda conn: disks.get(conn, disk))
    assert row is not None
    assert (row.tracking, row.hydrating, row.base_snapshot_id) == ("LOST", True, world.name(1))
    # The image is whole: all of it is compared, and its own newest is nearest.
    world.describe(disk, source=world.name(1))
    reconciled(world)
    with contextlib.closing(world.open()) as db:
        row = db.read_sync(lambda conn: disks.get(conn, disk))
    assert row is not None
    assert (row.tracking, row.hydrating, row.base_snapshot_id) == ("LOST", False, own)


def test_an_ancestry_that_was_cut_off_has_an_unknown_root(world: World) -> None:
    assert world.last is not None
    plain = world.last.manifest
    fields = {name: getattr(plain, name) for name in plain.__struct_fields__}
    ancestry = tuple(SnapshotId(f"snap-{number:08x}") for number in range(ANCESTRY_MAX))
    cut = type(plain)(**{**fields, "ancestry": ancestry, "base": ancestry[0]})
    edges = list(recovered_snapshots._edges(cut))
    assert edges[0] == (plain.snapshot, ancestry[0])
    assert edges[-1] == (ancestry[-1], recovered_snapshots.UNKNOWN)
    assert list(recovered_snapshots._edges(plain))[-1] == (world.name(1), None)


def test_nothing_expires_or_is_collected_until_somebody_confirms(world: World) -> None:
    """S50."""
    world.recover()
    db = world.open()
    try:
        installation = parts.server_parts(db, world.layout, clock=lambda: NOW * 2, rng=world.rng, store=world.store)
        nothing: Any = None
        expiry = Expiry(
            transactions=nothing, operations=nothing, clock=nothing, percent_per_hour=100, quota=SnapshotLimits()
        )

        def due() -> list[SnapshotId | None]:
            def begin(change: Change) -> list[SnapshotId | None]:
                expiry._due(change, NOW * 2, [])
                return [operation.snapshot_id for operation in change.begun]

            return changed(db, begin, at=NOW * 2)

        # As if somebody had taken it by hand: the newest good one of a policy stays (S307).
        by_hand = update(snapshot_table).where(snapshot_table.c.id == world.name(2)).values(policy_id=None)
        db.write_sync(lambda conn: conn.execute(by_hand))
        assert not asyncio.run(confirmation.may_delete(installation.transactions, installation.kept))
        assert due() == []
        confirming = confirmation.Confirmation(transactions=installation.transactions)
        with pytest.raises(RefusalError):
            asyncio.run(confirming.confirm(caller()))
        assert not asyncio.run(confirmation.may_delete(installation.transactions, installation.kept))
        assert asyncio.run(confirming.confirm(caller(admin=True))) is not None
        assert asyncio.run(confirming.confirm(caller(admin=True))) is None
        assert asyncio.run(confirmation.may_delete(installation.transactions, installation.kept))
        assert due() == [world.name(2)]
        # Another catalog took the store meanwhile.
        claim_on(world.store)
        assert not asyncio.run(confirmation.may_delete(installation.transactions, installation.kept))
    finally:
        db.close()


def test_a_store_that_does_not_answer_stops_deletion(world: World, tmp_path: Path) -> None:
    world.recover()
    db = world.open()
    try:
        gone = parts.server_parts(db, world.layout, clock=lambda: NOW, store=world.store)
        db.write_sync(lambda conn: meta.remove(conn, troubles.HELD))
        shutil.rmtree(world.layout.store)
        with pytest.raises(DrystoneError):
            asyncio.run(confirmation.may_delete(gone.transactions, gone.kept))
    finally:
        db.close()


def test_sharing_ends_with_a_reconciliation_and_backup_points_stay_what_they_are(world: World) -> None:
    """S341: an old catalog would bring back what was taken away. S343: of a disk that is gone they are snapshots."""
    for number, disk in ((1, "dbp-11111111"), (3, "dbp-33333333")):
        told = Attributes(name="point", backup=DiskBackupId(disk))
        write_attributes(world.store, world.name(number), told, OWNER)
    world.recover()
    start(world)
    other = Account(id=AccountId("100000000002"), name="other", admin=False, created_at=NOW)
    share = Share(snapshot_id=world.name(2), account_id=other.id, created_at=NOW)
    with contextlib.closing(world.open()) as db:
        seen = {row.id: row.backup_id for row in db.read_sync(snapshots.everything)}
        assert seen == {world.name(1): "dbp-11111111", world.name(2): None, world.name(3): "dbp-33333333"}
        db.write_sync(lambda conn: accounts.insert(conn, other))
        db.write_sync(lambda conn: shares.add(conn, share))
        lost = {"disk_id": DiskId("disk-gone0000")}
        db.write_sync(lambda conn: snapshots.compare_and_set(conn, world.name(3), expected={}, values=lost))
    reconciled(world)
    with contextlib.closing(world.open()) as db:
        assert db.read_sync(lambda conn: shares.of_snapshot(conn, world.name(2))) == ()
        seen = {row.id: row.backup_id for row in db.read_sync(snapshots.everything)}
        assert seen == {world.name(1): "dbp-11111111", world.name(2): None, world.name(3): None}

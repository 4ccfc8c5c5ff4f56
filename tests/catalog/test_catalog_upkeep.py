"""What triggers keep for the upkeep of the store: living bytes by owner, and notes of what a recovery reads."""

from dataclasses import replace

from sqlalchemy import Connection

from drystone.catalog import disks, packs, quiesce_profiles, sessions, snapshot_groups, snapshots, unpublished
from drystone.catalog.database import Database
from drystone.domain.ids import DiskId, InstanceId, OperationId, PackId, SnapshotGroupId
from drystone.domain.quiesce import QuiesceProfile, Step, StepKind
from drystone.domain.snapshot_group import SnapshotGroup, SnapshotGroupState
from tests.catalog.catalog_values import OWNER, disk, pack, session, snapshot

DISK = DiskId("disk-00000001")
GROUP = SnapshotGroup(
    id=SnapshotGroupId("snapg-00000001"), account_id=OWNER, instance_id=InstanceId("ins-00000001"),
    state=SnapshotGroupState.NORMAL, operation_id=OperationId("op-1"), created_at=1.0, modified_at=1.0,
)  # fmt: skip


def held(db: Database) -> tuple[int, int]:
    found = db.read_sync(lambda conn: packs.held(conn, [DISK, OWNER, "disk-none"]))
    assert found["disk-none"] == 0
    return found[DISK], found[OWNER]


def notes(db: Database) -> set[tuple[str, str]]:
    return {(note.kind, note.resource_id) for note in db.read_sync(lambda conn: unpublished.waiting(conn, 100, 0))}


def clear(conn: Connection) -> None:
    for note in unpublished.waiting(conn, 100, 0):
        unpublished.drop(conn, note)


def test_living_bytes_follow_every_change_of_packs(db: Database) -> None:
    one, other = PackId("1" * 32), PackId("2" * 32)

    def fill(conn: Connection) -> None:
        sessions.open(conn, session(), [])
        packs.insert(conn, pack(one, disk_id=DISK, account_id=OWNER))
        packs.insert(conn, pack(other, bytes=50, account_id=OWNER))
        packs.insert(conn, pack("3" * 32, bytes=7))

    db.write_sync(fill)
    assert held(db) == (100, 150)
    db.write_sync(lambda conn: packs.add_dead(conn, one, 3, 30))
    assert held(db) == (70, 120)
    values: dict[str, object] = {"bytes": 72, "dead_bytes": 0, "object": "packs/again"}
    db.write_sync(lambda conn: packs.compare_and_set(conn, one, expected={}, values=values))
    assert held(db) == (72, 122)
    db.write_sync(lambda conn: packs.delete(conn, one))
    assert held(db) == (0, 50)


def test_what_a_recovery_reads_of_groups_and_profiles_is_noted(db: Database) -> None:

    def fill(conn: Connection) -> None:
        disks.insert(conn, disk(DISK))
        snapshot_groups.insert(conn, GROUP)
        snapshots.insert(conn, snapshot("snap-00000001", group_id=GROUP.id))
        snapshots.insert(conn, snapshot("snap-00000002"))
        clear(conn)

    db.write_sync(fill)
    db.write_sync(lambda conn: snapshot_groups.compare_and_set(conn, GROUP.id, expected={}, values={"name": "new"}))
    assert notes(db) == {("snapshot", "snap-00000001")}
    db.write_sync(clear)
    profile = QuiesceProfile(
        resource_id=DISK, account_id=OWNER, steps=(Step(kind=StepKind.FILESYSTEM, mount="/srv"),), modified_at=1.0
    )
    db.write_sync(lambda conn: quiesce_profiles.put(conn, replace(profile, resource_id="ins-00000001")))
    assert notes(db) == set()
    for change in (
        lambda conn: quiesce_profiles.put(conn, profile),
        lambda conn: quiesce_profiles.delete(conn, DISK),
    ):
        db.write_sync(change)
        assert notes(db) == {("disk", DISK)}
        db.write_sync(clear)

"""Proofs of opening as rows: the newest of each snapshot, when the next is due, and how they go."""

from dataclasses import replace

from sqlalchemy import Connection

from drystone.catalog import operations, proofs, quiesce_profiles, snapshots
from drystone.catalog.database import Database
from drystone.domain.ids import DiskId
from drystone.domain.operation import OperationKind, OperationState
from drystone.domain.proof import Finding, Proof, ProofStep
from drystone.domain.quiesce import QuiesceProfile, Step, StepKind
from drystone.domain.snapshot import SnapshotState
from tests.catalog.catalog_values import OWNER, operation, snapshot

FIRST = snapshot("snap-1", state=SnapshotState.NORMAL, created_at=1.0)
NEWEST = snapshot("snap-2", state=SnapshotState.NORMAL, created_at=2.0)
DISK = DiskId(FIRST.disk_id)
PROOF = Proof(
    snapshot_id=FIRST.id, account_id=OWNER, finding=Finding.DAMAGED, reason="disk: wrong",
    steps=(ProofStep(title="disk", finding=Finding.DAMAGED, seconds=1.5, detail="wrong"),), began_at=10.0,
    ended_at=20.0,
)  # fmt: skip


def fill(conn: Connection) -> None:
    for row in (FIRST, NEWEST, snapshot("snap-3", state=SnapshotState.CREATING, created_at=3.0)):
        snapshots.insert(conn, row)


def test_the_newest_proof_takes_the_older_ones_place(db: Database) -> None:
    db.write_sync(fill)
    assert db.write_sync(lambda conn: proofs.put(conn, PROOF))
    again = replace(PROOF, finding=Finding.OPENS, reason="", ended_at=30.0)
    assert db.write_sync(lambda conn: proofs.put(conn, again))
    assert db.read_sync(lambda conn: proofs.get_many(conn, [FIRST.id, NEWEST.id])) == {FIRST.id: again}
    assert db.read_sync(proofs.count) == {Finding.OPENS: 1}
    # One that was deleted meanwhile gets none.
    gone = {"state": SnapshotState.DELETING}
    db.write_sync(lambda conn: snapshots.compare_and_set(conn, NEWEST.id, expected={}, values=gone))
    assert not db.write_sync(lambda conn: proofs.put(conn, replace(PROOF, snapshot_id=NEWEST.id)))
    assert db.read_sync(proofs.count) == {Finding.OPENS: 1}


def test_when_a_proof_is_due(db: Database) -> None:
    def due(every_s: float, now: float = 30.0) -> str | None:
        found = db.read_sync(lambda conn: proofs.due(conn, DISK, now, every_s))
        return None if found is None else found.id

    assert due(0.0) is None
    db.write_sync(fill)
    assert due(0.0) == NEWEST.id
    db.write_sync(lambda conn: proofs.put(conn, PROOF))
    assert due(10.1) is None, "another of the disk's was opened since"
    assert due(10.0) == NEWEST.id
    assert due(10.0, now=-1000.0) == NEWEST.id, "a clock that was wrong has dated the proof ahead"
    row = operation("op-1", kind=OperationKind.PROVE, snapshot_id=FIRST.id, state=OperationState.RUNNING)
    db.write_sync(lambda conn: operations.insert(conn, row))
    assert due(10.0) is None, "one is being opened"
    assert db.read_sync(lambda conn: proofs.due(conn, DiskId("disk-x"), 30.0, 30.0)) is None


def test_profiles_that_prove(db: Database) -> None:
    steps = (Step(kind=StepKind.GUEST_AGENT, socket="/run/x"), Step(kind=StepKind.LIBVIRT, domain="d"))
    plain = QuiesceProfile(resource_id="disk-1", account_id=OWNER, steps=steps, modified_at=1.0)
    proving = replace(plain, resource_id="disk-2", prove_every_h=24.0)
    for profile in (plain, proving):
        db.write_sync(lambda conn, profile=profile: quiesce_profiles.put(conn, profile))  # type: ignore[misc]
    assert db.read_sync(quiesce_profiles.with_proofs) == [proving]

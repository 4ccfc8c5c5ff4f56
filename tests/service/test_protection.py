"""Which disks are protected: there is a good snapshot, and none failed after it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drystone.catalog import proofs
from drystone.domain.disk import DiskState
from drystone.domain.errors import Refusal
from drystone.domain.ids import DiskId, SnapshotId
from drystone.domain.operation import OperationKind, OperationState
from drystone.domain.proof import Finding, Proof
from drystone.domain.snapshot import SnapshotState
from drystone.service.calls.protection import Protection
from drystone.service.requests import ProtectionQuery
from drystone.service.views import ProtectionView
from tests.service.parts import transactions
from tests.service.records_world import NOW, OTHER, OWNER, World, caller, refusal, run, with_accounts

pytestmark = pytest.mark.usefixtures("both_catalogs")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with with_accounts(tmp_path / "catalog.db") as made:
        yield made


def told(world: World, **query: Any) -> dict[str, ProtectionView]:
    made = Protection(transactions=transactions(world.db))
    return {one.disk.id: one for one in run(made.describe(caller(OWNER), ProtectionQuery(**query))).items}


def fail(world: World, operation_id: str, disk_id: str, at: float, **fields: Any) -> None:
    world.operation(
        operation_id, **{"kind": OperationKind.SNAPSHOT, "error": operation_id, **fields},
        disk_id=DiskId(disk_id), state=OperationState.FAILED, created_at=at,
    )  # fmt: skip


def test_the_last_good_snapshot_counts_and_what_failed_after_it(world: World) -> None:
    for disk_id in ("disk-good", "disk-none", "disk-bad", "disk-fails"):
        world.disk(disk_id)
    world.disk("disk-gone", state=DiskState.TERMINATING)
    world.disk("disk-theirs", account_id=OTHER)
    for number in range(3):
        world.snapshot(f"snap-{number}", disk_id="disk-good", created_at=NOW - 100 + number)
        world.snapshot(f"snap-f{number}", disk_id="disk-fails", created_at=NOW - 100 + number)
    world.snapshot("snap-theirs", disk_id="disk-theirs", account_id=OTHER)
    world.snapshot("snap-creating", disk_id="disk-none", state=SnapshotState.CREATING)
    world.snapshot("snap-damaged", disk_id="disk-bad", damaged=True)
    world.snapshot("snap-suspect", disk_id="disk-bad", suspect=True)
    # A later one that is damaged does not hide the good one.
    world.snapshot("snap-newer", disk_id="disk-good", created_at=NOW - 1, damaged=True)
    fail(world, "op-before", "disk-good", NOW - 200)
    fail(world, "op-cancelled", "disk-good", NOW - 5, error_code=Refusal.CANCELLED)
    fail(world, "op-resize", "disk-good", NOW - 5, kind=OperationKind.RESIZE)
    fail(world, "op-1", "disk-fails", NOW - 9)
    fail(world, "op-2", "disk-fails", NOW - 8)
    found = told(world)
    assert {name: one.protected for name, one in found.items()} == {
        "disk-good": True, "disk-none": False, "disk-bad": False, "disk-fails": False
    }  # fmt: skip
    last = {name: None if one.last is None else one.last.id for name, one in found.items()}
    assert last == {"disk-good": "snap-2", "disk-none": None, "disk-bad": None, "disk-fails": "snap-f2"}
    assert [one.error for one in found["disk-fails"].failed] == ["op-1", "op-2"]
    assert (found["disk-good"].snapshot_count, found["disk-none"].snapshot_count) == (4, 1)
    assert set(told(world, filters=(("protected", ("false",)),))) == {"disk-none", "disk-bad", "disk-fails"}
    assert set(told(world, filters=(("protected", ("true",)),))) == {"disk-good"}
    assert set(told(world, disk_ids=("disk-bad", "disk-theirs"))) == {"disk-bad"}
    made = Protection(transactions=transactions(world.db))
    page = run(made.describe(caller(OWNER), ProtectionQuery(offset=3, limit=2)))
    assert (len(page.items), page.total) == (1, 4)
    for filters in ((("protected", ("maybe",)),), (("state", ("x",)),)):
        assert refusal(made.describe(caller(OWNER), ProtectionQuery(filters=filters))) in {
            Refusal.BAD_VALUE, Refusal.BAD_FILTER
        }  # fmt: skip


def test_the_newest_proof_of_any_snapshot_of_the_disk_is_told(world: World) -> None:
    world.disk("disk-a")
    for number, finding in enumerate((Finding.OPENS, Finding.DAMAGED)):
        snapshot = world.snapshot(f"snap-{number}", disk_id="disk-a")
        proof = Proof(
            snapshot_id=SnapshotId(snapshot.id), account_id=OWNER, finding=finding, reason="", steps=(),
            began_at=NOW, ended_at=NOW - number,
        )  # fmt: skip
        world.db.write_sync(lambda conn, proof=proof: proofs.put(conn, proof))  # type: ignore[misc]
    proved = told(world)["disk-a"].proof
    assert proved is not None
    assert (proved.snapshot_id, proved.finding) == ("snap-0", Finding.OPENS)

"""What becomes suspect, on a tree with a proven snapshot, a branch, a ghost and a clone."""

from collections.abc import Iterable

from drystone.domain.ids import DiskId, SnapshotId
from drystone.domain.suspicion import Taken, suspects

DISK, CLONE = DiskId("disk-1"), DiskId("disk-2")


def tree(*rows: tuple[str, str, bool, DiskId]) -> list[Taken]:
    return [
        Taken(id=SnapshotId(name), parent=SnapshotId(parent) if parent else None, disk=disk, sure=sure)
        for name, parent, sure, disk in rows
    ]


ROWS = tree(
    ("full", "", True, DISK),
    ("before", "full", False, DISK),
    ("audited", "before", True, DISK),
    ("aside", "audited", False, DISK),
    ("one", "audited", False, DISK),
    ("ghost", "one", False, DISK),
    ("two", "ghost", False, DISK),
    ("branch", "one", False, DISK),
    ("rescan below", "branch", True, DISK),
    ("after rescan", "rescan below", False, DISK),
    ("of the clone", "one", False, CLONE),
)


def found(base: str | None, rows: Iterable[Taken] = ROWS, disk: DiskId = DISK) -> set[str]:
    return set(suspects(rows, disk, None if base is None else SnapshotId(base)))


def test_all_since_the_last_proof_and_what_grew_from_it() -> None:
    assert found("two") == {"one", "ghost", "two", "branch"}


def test_a_proven_base_means_that_only_the_new_delta_was_wrong() -> None:
    assert found("audited") == set()
    assert found(None) == set()


def test_a_clones_lie_is_not_its_sources() -> None:
    assert found("of the clone", disk=CLONE) == {"of the clone"}
    assert found("one", disk=CLONE) == set()


def test_without_a_known_proof_everything_up_to_the_top_is_suspect() -> None:
    rows = [row for row in ROWS if row.id not in {"full", "audited"}]
    assert found("two", rows) == {"one", "ghost", "two", "branch"}
    assert found("before", rows) == {"before"}

"""What a listing of manifests means: a write that was given up may land late (S209, S210)."""

from collections.abc import Collection
from dataclasses import dataclass

from drystone.domain.ids import SessionId, SnapshotId

Made = tuple[SnapshotId, SessionId]
"""A snapshot, and the session that wrote it: what its manifest and its tombstone are named after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a catalog's rows say, as far as a listing asks for it.

    Attributes:
        living: Snapshots that are NORMAL or being deleted.
        deleting: Those of them that are being deleted.
        writing: Sessions that may have a manifest that no row names: open and fenced ones.
        deleted: What this catalog has deleted, as far as the session's row is still there.
    """

    living: frozenset[Made]
    deleting: frozenset[Made]
    writing: frozenset[SessionId]
    deleted: frozenset[Made]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What is to be done about a listing.

    Attributes:
        unknown: Manifests that nothing explains: while there are some, nothing is collected (S56).
        late: Manifests that landed after their snapshot was deleted: they go again.
        undone: Tombstones of snapshots that live: another state of the catalog was deleting them. They go.
        orphaned: Tombstones of which no row says that the snapshot was deleted, which they need to go in their time.
        bare: Snapshots of which attributes are there and nothing else: they landed after the manifest had gone.
    """

    unknown: frozenset[Made]
    late: frozenset[Made]
    undone: frozenset[Made]
    orphaned: frozenset[Made]
    bare: frozenset[SnapshotId]


def judge(
    manifests: Collection[Made], tombstones: Collection[Made], attributes: Collection[SnapshotId], known: Known
) -> Judged:
    """Return what manifests, tombstones and attributes are, of which one listing tells."""
    unexplained = {one for one in manifests if one not in known.living and one[1] not in known.writing}
    buried = frozenset(tombstones)
    late = frozenset(one for one in unexplained if one in buried or one in known.deleted)
    return Judged(
        unknown=frozenset(unexplained - late),
        late=late,
        undone=buried & (known.living - known.deleting),
        orphaned=frozenset(one for one in buried - known.living - known.deleted if one[1] not in known.writing),
        bare=frozenset(attributes) - {one[0] for one in known.living} - {one[0] for one in manifests},
    )

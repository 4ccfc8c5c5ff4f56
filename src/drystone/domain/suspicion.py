"""Which snapshots may have inherited a block that tracking missed (A12, P8). Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from drystone.domain.ids import DiskId, SnapshotId

SURE = frozenset({"full", "rescan"})
"""Ways to take a snapshot that look at all content: what tracking missed before is in it as it is on the disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A snapshot of any state, as far as suspicion goes."""

    id: SnapshotId
    parent: SnapshotId | None
    disk: DiskId
    sure: bool
    """Whether all content was looked at when it was taken: full, rescan, or audited whole."""


def suspects(taken: Iterable[Taken], disk: DiskId, base: SnapshotId | None) -> frozenset[SnapshotId]:
    """Return what becomes suspect when an audit finds that tracking missed a change of `disk` since `base`.

    The bit may have been lost at any time since all content was last looked at. So these are the deltas from `base`
    up to the nearest snapshot that is sure, and the deltas of this disk below them. A disk that was made from one of
    them is exact: its content is what the snapshot shows, not what the first disk held.

    Args:
        taken: The tree that `base` is in, ghosts included; more does no harm.
        disk: The disk whose tracker lied.
        base: The base of the delta in which the lie was found.
    """
    rows = {one.id: one for one in taken}
    found: set[SnapshotId] = set()
    at = base
    while at is not None and at not in found:
        row = rows.get(at)
        if row is None or row.sure or row.disk != disk:
            break
        found.add(at)
        at = row.parent
    children: dict[SnapshotId, list[Taken]] = {}
    for row in rows.values():
        if row.parent is not None and row.disk == disk and not row.sure:
            children.setdefault(row.parent, []).append(row)
    ahead = list(found)
    while ahead:
        for row in children.get(ahead.pop(), ()):
            if row.id not in found:
                found.add(row.id)
                ahead.append(row.id)
    return frozenset(found)

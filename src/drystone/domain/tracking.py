"""What a disk's tracker knows: base, carry-over, epoch, state (the algebra of change, A1-A12).

The invariant that every function here keeps (A1): while tracking is not LOST, each address at which the disk
differs from its base snapshot is in the carry-over or in one of the daemon's bitmaps that no NORMAL snapshot
owns (in the accepted checkpoint, while the disk is stopped). Beyond its size, and for no base at all, content
is zeros.

Every function is pure. The caller stores the result in the same transaction as what goes with it, by
compare-and-set on `(base, epoch)`; preconditions that only a program's mistake can break are asserted.
`tests/domain/` holds the model that must be changed before a rule here is.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from drystone.domain.ids import DiskId, SnapshotId

CHECKPOINT_FORMAT = 1
"""Version of the checkpoint file that this code writes and accepts."""
_EXTENTS_PREFIX = "extents:"


class TrackingState(StrEnum):
    """How much is known about where a disk differs from its base."""

    LIVE = "LIVE"
    """A daemon records every write in the bitmap that the row names."""
    STOPPED = "STOPPED"
    """No daemon; the checkpoint of this epoch holds what the bitmaps held."""
    LOST = "LOST"
    """Unknown: the carry-over is everything. The next snapshot is a rescan, or full without a base."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """The tracking columns of a disk's row."""

    base: SnapshotId | None
    """The snapshot that the tracked differences refer to; None is a disk of zeros. Always NORMAL."""
    carry: frozenset[str]
    """Names of address maps: delta map objects, and `extents:<sha256>` for extent maps. The carry-over is the union of
    their addresses. Empty and without meaning while LOST.
    """
    epoch: int
    """Counts openings for writing; names of bitmaps and the checkpoint are bound to it."""
    state: TrackingState
    bitmap: str | None = None
    """The bitmap that records in the running daemon; None while none does. It is kept by name because its name holds
    the base at its birth, and the base may move meanwhile (A5). Always set while LIVE, never while STOPPED; while LOST
    it tells whether a rescan can begin.
    """

    def __post_init__(self) -> None:
        assert self.epoch >= 0
        assert self.state is not TrackingState.LOST or not self.carry, "the carry-over of LOST is everything"
        assert self.state is not TrackingState.LIVE or self.bitmap is not None, "LIVE without a bitmap"
        assert self.state is not TrackingState.STOPPED or self.bitmap is None, "STOPPED with a bitmap"


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenBase:
    """What a snapshot's operation records before the reopen that freezes the disk (A2).

    It stays whatever the row does meanwhile.
    """

    base: SnapshotId | None
    """Base at the freeze: the parent of the snapshot, even if it is deleted meanwhile."""
    carry: frozenset[str]
    """Carry-over at the freeze. The operation pins these maps: rows may drop them before it ends."""
    epoch: int
    """The opening that the freeze belongs to; in another epoch the operation cannot commit."""
    lost: bool
    """Tracking was LOST: the snapshot is a rescan against `base`, or full when that is None."""
    old_bitmap: str | None
    """b0, which records up to the instant; None if no bitmap recorded (only when `lost`)."""
    new_bitmap: str
    """b1, which records from before the instant on."""


def bitmap_name(epoch: int, base: SnapshotId | None, snapshot: SnapshotId | None = None, attempt: int = 1) -> str:
    """Return the name of the bitmap that starts at an opening, or at an attempt to take `snapshot`.

    The base is in the name so that a catalog from an old backup, whose row has another base in the same
    epoch, does not take the bitmap for its own (A11); the attempt, because the live bitmap after a failed
    attempt has its name.
    """
    assert epoch >= 0
    assert attempt >= 1
    return f"e{epoch}.{base or '-'}.{snapshot or '-'}.{attempt}"


def extents_id(sha256_hex: str) -> str:
    """Return the carry-over id of an extent map (consumed checkpoint, rescan result, merged addresses)."""
    assert len(sha256_hex) == 64
    return _EXTENTS_PREFIX + sha256_hex


def is_extents_id(carry_id: str) -> bool:
    """Tell whether a carry-over id names an extent map of this host, rather than a delta map object."""
    return carry_id.startswith(_EXTENTS_PREFIX)


def carried_maps(carry: Iterable[str]) -> frozenset[str]:
    """Return the delta map objects that a carry-over names."""
    return frozenset(name for name in carry if not is_extents_id(name))


# --- birth --------------------------------------------------------------------------------------------------


def created(source: SnapshotId | None = None) -> Tracking:
    """Return the row of a new disk: zeros, or the content of `source`, hydrated or not (A7).

    As for every STOPPED row, the caller writes the checkpoint (of epoch 0, without extents) before the
    transaction; without one, the first opening finds tracking LOST.
    """
    return Tracking(base=source, carry=frozenset(), epoch=0, state=TrackingState.STOPPED)


def initialized(tracking: Tracking, source: SnapshotId | None = None) -> Tracking:
    """Return the row of a detached disk whose content was replaced by zeros, or by that of `source`.

    The new content is durable, and a checkpoint of the new epoch written, before the transaction (A8);
    `rollback_begun` comes before the first byte is replaced. The source was pinned but may be DELETING by now: then the
    caller applies `base_deleted` to the result, in the same transaction, for a base is always NORMAL.
    """
    assert tracking.state is TrackingState.LOST, "replacing content begins with rollback_begun"
    assert tracking.bitmap is None, "a daemon has the disk open"
    return Tracking(base=source, carry=frozenset(), epoch=tracking.epoch + 1, state=TrackingState.STOPPED)


# --- snapshot (A2, A3, A4) ----------------------------------------------------------------------------------


def frozen(tracking: Tracking, *, new_bitmap: str) -> FrozenBase:
    """Return what the operation records, durably, before it adds `new_bitmap` and reopens (A2).

    The delta is `carry` and the old bitmap's bits, relative to `base`; of the frozen view nothing of these
    (nor of the audit's sample) may be trimmed.
    """
    assert tracking.state is not TrackingState.STOPPED, "a freeze needs a daemon"
    assert new_bitmap != tracking.bitmap, "each attempt has a name of its own"
    return FrozenBase(
        base=tracking.base,
        carry=tracking.carry,
        epoch=tracking.epoch,
        lost=tracking.state is TrackingState.LOST,
        old_bitmap=tracking.bitmap,
        new_bitmap=new_bitmap,
    )


def may_commit(tracking: Tracking, freeze: FrozenBase) -> bool:
    """Tell whether the freeze still belongs to the disk's present opening; if not, the snapshot fails."""
    return tracking.epoch == freeze.epoch and tracking.state is not TrackingState.STOPPED


def committed(tracking: Tracking, freeze: FrozenBase, snapshot: SnapshotId, *, live: bool = True) -> Tracking:
    """Return the row in the one transaction that makes `snapshot` NORMAL (A3).

    The base becomes the snapshot, whatever happened to the old one meanwhile; nothing is carried over: all
    that changed since the instant is in the new bitmap.

    Args:
        tracking: The row now.
        freeze: What the operation recorded.
        snapshot: The snapshot.
        live: Whether the new bitmap is known to have recorded every write since the instant.

    Returns:
        LIVE, if the snapshot is sound and the new bitmap good. A rescan (or full) heals LOST; a delta whose
        disk became LOST under way (A12) does not, for what was missed before the instant is missing in the
        snapshot too.
    """
    assert may_commit(tracking, freeze)
    healthy = live and (freeze.lost or tracking.state is TrackingState.LIVE)
    return Tracking(
        base=snapshot,
        carry=frozenset(),
        epoch=tracking.epoch,
        state=TrackingState.LIVE if healthy else TrackingState.LOST,
        bitmap=freeze.new_bitmap,
    )


def records_still(tracking: Tracking, freeze: FrozenBase) -> bool:
    """Tell whether what records is still what recorded at the freeze, so that `committed` may follow (A13)."""
    return may_commit(tracking, freeze) and tracking.bitmap in {freeze.new_bitmap, freeze.old_bitmap} - {None}


def committed_late(tracking: Tracking, freeze: FrozenBase, snapshot: SnapshotId, delta_map: str | None) -> Tracking:
    """Return the row in the transaction that makes a snapshot NORMAL whose opening has ended (A13).

    Where the disk differs from the snapshot, it differs from the base, or the base from the snapshot. So the snapshot
    becomes the base where that is still the freeze's, and its delta is carried over. Another base stays as it is.

    Args:
        tracking: The row now.
        freeze: What the operation recorded.
        snapshot: The snapshot.
        delta_map: Its delta map relative to the freeze's base; None if it has a full one, which cannot say that.
    """
    if tracking.base != freeze.base:
        return tracking
    if delta_map is None or tracking.state is TrackingState.LOST:
        return replace(lost(tracking, tracking.bitmap), base=snapshot)
    return replace(tracking, base=snapshot, carry=tracking.carry | {delta_map})


def failed(tracking: Tracking, bitmap: str | None) -> Tracking:
    """Return the row after a failed snapshot (A4); the carry-over stays, it grew if the base moved.

    Args:
        tracking: The row now.
        bitmap: The bitmap that now holds all of the old and the new one's bits and records
            (`DaemonPlan.bitmap`);
            None if none does: tracking is LOST.
    """
    assert tracking.state is not TrackingState.STOPPED
    if tracking.state is TrackingState.LOST or bitmap is None:
        return lost(tracking, bitmap)
    return replace(tracking, bitmap=bitmap)


# --- the base moves (A5), the carry-over is merged ----------------------------------------------------------


def base_deleted(
    tracking: Tracking, deleted: SnapshotId, new_base: SnapshotId | None, delta_maps: Iterable[str] | None
) -> Tracking:
    """Return the row in the transaction that makes its base `deleted` DELETING (A5).

    It applies to every row with this base, in whatever state; the maps stay pinned while a row carries them.

    Args:
        tracking: The row now.
        deleted: The snapshot that goes; the row's base.
        new_base: Its nearest NORMAL ancestor, or None (`lineage.base_after`).
        delta_maps: The delta maps from `deleted` up to, not including, `new_base`; None if one is unknown.
    """
    assert tracking.base == deleted
    assert new_base != deleted
    if tracking.state is TrackingState.LOST:
        return replace(tracking, base=new_base)
    if delta_maps is None:
        return lost(replace(tracking, base=new_base), tracking.bitmap)
    return replace(tracking, base=new_base, carry=tracking.carry | frozenset(delta_maps))


def base_refused(tracking: Tracking) -> Tracking:
    """Return the row when its base is gone (S11): the next snapshot is full and inherits nothing."""
    return replace(lost(tracking, tracking.bitmap), base=None)


def carry_to_merge(carry: frozenset[str]) -> tuple[str, ...]:
    """Return the extent maps, sorted, of which an opening makes one; empty while there is one at most.

    Each stop adds one. Delta maps stay: there are no more of them than snapshots above the base when it was set.
    """
    found = tuple(sorted(name for name in carry if is_extents_id(name)))
    return found if len(found) > 1 else ()


def carry_merged(tracking: Tracking, merged: Iterable[str], extents: str) -> Tracking:
    """Return the row with `merged` replaced by the extent map that holds all of their addresses.

    A row that no longer carries one of them (a snapshot was committed, tracking was lost) is returned as it
    is.
    """
    assert is_extents_id(extents)
    parts = frozenset(merged)
    if tracking.state is TrackingState.LOST or not parts or not parts <= tracking.carry:
        return tracking
    return replace(tracking, carry=(tracking.carry - parts) | {extents})


# --- LOST, and the way back (A6) ----------------------------------------------------------------------------


def lost(tracking: Tracking, bitmap: str | None = None) -> Tracking:
    """Return the row with tracking LOST; `bitmap` is one that records in the running daemon, if any."""
    return replace(tracking, state=TrackingState.LOST, carry=frozenset(), bitmap=bitmap)


def rescanned(tracking: Tracking, *, base: SnapshotId | None, bitmap: str, extents: str | None) -> Tracking | None:
    """Return the row after all content was compared with the base, without a freeze (A6).

    Args:
        tracking: The row now.
        base: The base that was compared with (None: with zeros).
        bitmap: The bitmap that recorded from before the first read on.
        extents: The extent map of the addresses that differ; None if none does.

    Returns:
        LIVE; or None if base or bitmap are no longer the row's: the comparison is worth nothing, start again.
    """
    if tracking.state is not TrackingState.LOST or tracking.base != base or tracking.bitmap != bitmap:
        return None
    carry = frozenset({extents}) if extents is not None else frozenset[str]()
    return replace(tracking, state=TrackingState.LIVE, carry=carry)


# --- rollback (A8) ------------------------------------------------------------------------------------------


def rollback_begun(tracking: Tracking) -> Tracking:
    """Return the row in the transaction that makes a detached disk ROLLBACKING: LOST until the end (A8).

    The plan (`lineage.path_delta_maps`, the carry-over and the checkpoint's extents, or everything) is
    durable before.
    The base stays: it may not be set before the last byte is flushed.
    """
    assert tracking.bitmap is None, "a daemon has the disk open"
    return lost(tracking)


# --- stop and start (A10) -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class FileIdentity:
    """What tells that a disk's file was not replaced or written since: its `stat` after the last fsync."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The head of a checkpoint file, its checksum verified already."""

    format: int
    disk: DiskId
    epoch: int
    """The opening that it ended."""
    identity: FileIdentity
    """The disk's file after the daemon exited and the file was fsynced."""
    extents: str | None
    """Carry-over id of its extents, the union of all bitmaps that no NORMAL snapshot owned; None if none."""


def checkpoint_fault(
    tracking: Tracking, disk: DiskId, checkpoint: Checkpoint | None, identity: FileIdentity | None
) -> str | None:
    """Judge a checkpoint before the disk is opened: return None to accept it, else why it is refused.

    Accepted only if every field and the row agree (F4); base and carry-over are not in it, they may
    move while the disk is stopped.

    Args:
        tracking: The row.
        disk: The disk of the row.
        checkpoint: What the file says, or None if it is absent or unreadable.
        identity: The disk's file now, or None if it is absent.
    """
    if tracking.state is not TrackingState.STOPPED:
        return f"tracking is {tracking.state}, not STOPPED"
    if checkpoint is None:
        return "no checkpoint"
    found_and_wanted = (
        ("format", checkpoint.format, CHECKPOINT_FORMAT),
        ("disk", checkpoint.disk, disk),
        ("epoch", checkpoint.epoch, tracking.epoch),
        ("file", identity, checkpoint.identity),
    )
    for name, found, wanted in found_and_wanted:
        if found != wanted:
            return f"{name} is {found}, expected {wanted}"
    return None


def opened(tracking: Tracking, checkpoint: Checkpoint | None, *, bitmap: str) -> Tracking:
    """Return the row in the transaction that goes before a daemon opens the disk for writing (A10).

    Before it: the checkpoint file (accepted or not) is renamed away and the directory fsynced, and its
    extents are durable as an extent map. After it: the daemon starts, `bitmap` is added, then the writable
    export.

    Args:
        tracking: The row now; LIVE means that the last daemon died.
        checkpoint: The checkpoint, if `checkpoint_fault` accepted it; None makes tracking LOST.
        bitmap: `bitmap_name(tracking.epoch + 1, tracking.base)`.
    """
    epoch = tracking.epoch + 1
    if checkpoint is None:
        return replace(lost(tracking, bitmap), epoch=epoch)
    assert tracking.state is TrackingState.STOPPED
    assert checkpoint.epoch == tracking.epoch
    extents = frozenset({checkpoint.extents}) if checkpoint.extents is not None else frozenset[str]()
    return Tracking(
        base=tracking.base,
        carry=tracking.carry | extents,
        epoch=epoch,
        state=TrackingState.LIVE,
        bitmap=bitmap,
    )


def stopped(tracking: Tracking) -> Tracking:
    """Return the row after an orderly stop with a durable checkpoint; a LOST one stays LOST (A10).

    No snapshot is in flight; the daemon has exited 0 after its exports were gone and its bitmaps read.
    """
    assert tracking.state is not TrackingState.STOPPED
    if tracking.state is TrackingState.LOST:
        return lost(tracking)
    return replace(tracking, state=TrackingState.STOPPED, bitmap=None)

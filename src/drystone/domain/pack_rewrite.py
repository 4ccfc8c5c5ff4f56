"""The rewriting of one pack, as rows keep it: which of two objects is in force, and when the other may go (L8)."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum

from drystone.domain.ids import PackId, SessionId


class RewriteState(StrEnum):
    """WRITING until its pack's row names the new object (SWITCHED), or never will (ABANDONED)."""

    WRITING = "WRITING"
    SWITCHED = "SWITCHED"
    ABANDONED = "ABANDONED"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackRewrite:
    """One attempt to write a pack again. The row is there before the new object is, and goes after what it dooms."""

    id: str
    """The attempt: 32 hex digits, part of the new object's name."""
    pack_id: PackId
    old_object: str
    new_object: str
    state: RewriteState = RewriteState.WRITING
    waits_for: frozenset[str] = frozenset()
    """Sessions that read snapshots and were OPEN at the switch: they may hold the old object's index (S32)."""
    old_bytes: int = 0
    new_bytes: int = 0
    created_at: float
    ended_at: float | None = None


def doomed(rewrite: PackRewrite, open_sessions: AbstractSet[SessionId]) -> str | None:
    """Return the name of the object that may be deleted now, or None (S31, S32).

    Args:
        rewrite: Its row.
        open_sessions: All sessions that are OPEN, read after the row was.
    """
    match rewrite.state:
        case RewriteState.WRITING:
            return None
        case RewriteState.ABANDONED:
            return rewrite.new_object
        case RewriteState.SWITCHED:
            return None if rewrite.waits_for & open_sessions else rewrite.old_object

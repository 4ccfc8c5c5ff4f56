"""Which snapshots of policies go now, by what `domain/retention.py` says of the rows (S306 to S310)."""

from dataclasses import dataclass, field

from sqlalchemy import Connection

from drystone.catalog import policies, policy_runs, proofs, sessions, shares, snapshots
from drystone.catalog.snapshots import PolicyMark
from drystone.domain.ids import AccountId, PolicyId, SnapshotId
from drystone.domain.policy import Policy, Retention
from drystone.domain.proof import Finding
from drystone.domain.retention import PolicySnapshot, plan_retention
from drystone.domain.snapshot import Snapshot, SnapshotState

AGAIN_S = 600.0
"""How long a plan by which nothing goes is believed while the rows look the same: proofs and readers may have ended."""


@dataclass(slots=True, kw_only=True, eq=False)
class PolicyRetention:
    """Looks through the snapshots of a policy only when something may go."""

    _kept: dict[PolicyId, tuple[Policy | None, PolicyMark, float]] = field(init=False, default_factory=dict)
    """What the rows looked like when nothing went, and when that was."""

    def leaving(self, conn: Connection, until: float, now: float) -> list[PolicyId]:
        """Return the policies of which some snapshot goes.

        Args:
            conn: Of a transaction that reads.
            until: The time up to which deadlines have come.
            now: By the steady clock.
        """
        marks = snapshots.policy_marks(conn, until)
        known = policies.get_many(conn, marks)
        self._kept = {policy_id: kept for policy_id, kept in self._kept.items() if policy_id in marks}
        found = []
        for policy_id, mark in marks.items():
            kept, policy = self._kept.get(policy_id), known.get(policy_id)
            if kept is not None and kept[:2] == (policy, mark) and 0 <= now - kept[2] < AGAIN_S:
                continue
            if going(conn, policy_id, until):
                found.append(policy_id)
            else:
                self._kept[policy_id] = (policy, mark, now)
        return found


def going(conn: Connection, policy_id: PolicyId, until: float) -> list[Snapshot]:
    """Return the snapshots of a policy that go, of disks that are there, in that order.

    A policy that is deleted keeps nothing by itself: the deadlines that its snapshots have are left, and S307.
    """
    there = snapshots.of_policy_and_disks(conn, policy_id)
    if not there:
        return []
    by_id = {one.id: one for one in there}
    policy = policies.get(conn, policy_id) or _gone(policy_id, there[0].account_id)
    answers = policy_runs.answers(conn, policy_id)
    opened = proofs.get_many(conn, by_id)
    pinned, shared = sessions.pinned(conn), shares.of_snapshots(conn, list(by_id))
    values = [
        _value(
            one, answers.get(one.id), proven=one.id in opened and opened[one.id].finding is Finding.OPENS,
            pinned=one.id in pinned or one.rolling_back, shared=bool(shared.get(one.id)),
        )
        for one in there
    ]  # fmt: skip
    return [by_id[snapshot_id] for snapshot_id in plan_retention(policy, values, until).goes]


def _gone(policy_id: PolicyId, account_id: AccountId) -> Policy:
    return Policy(
        id=policy_id, account_id=account_id, zone="UTC", triggers=(), retention=Retention(permanent=True),
        created_at=0.0, modified_at=0.0, anchored_at=0.0,
    )  # fmt: skip


def _value(one: Snapshot, answers_for: int | None, *, proven: bool, pinned: bool, shared: bool) -> PolicySnapshot:
    return PolicySnapshot(
        id=SnapshotId(one.id), policy_id=one.policy_id, disk_id=one.disk_id,
        slot=int(one.created_at) if one.slot is None else one.slot, order=one.policy_order or 0,
        normal=one.state is SnapshotState.NORMAL, suspect=one.suspect, damaged=one.damaged, proven=proven,
        permanent=one.permanent, shared=shared, pinned=pinned, deadline_at=one.deadline_at, answers_for=answers_for,
    )  # fmt: skip

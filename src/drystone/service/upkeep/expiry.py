"""What ends by a deadline: snapshots, and prepaid disks whose days in the recycle bin are over (S116 to S118)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Connection

from drystone.catalog import disks, expiry, snapshots
from drystone.domain.disk import DiskState
from drystone.domain.expiry import Tally
from drystone.domain.ids import AccountId, DiskId, PolicyId
from drystone.domain.snapshot import Snapshot
from drystone.service.operations import Operations
from drystone.service.rows.deletions import going_along, mark_deleting, mark_terminating
from drystone.service.rows.quotas import SnapshotLimits, at_quota, snapshot_use
from drystone.service.transactions import Change, Transactions
from drystone.service.upkeep.clock import SteadyClock
from drystone.service.upkeep.confirmation import held
from drystone.service.upkeep.policy_retention import PolicyRetention, going

log = structlog.get_logger()
EXPIRED_MAX = 1000
"""Snapshots of all accounts in one transaction."""


@dataclass(slots=True, kw_only=True)
class _Round:
    """What one transaction did, for the log."""

    expired: list[Snapshot] = field(default_factory=list)
    held_back: dict[AccountId, Tally] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True, eq=False)
class Expiry:
    """Begins to delete what is due."""

    transactions: Transactions
    operations: Operations
    clock: SteadyClock
    percent_per_hour: int
    """Share of an account's snapshots that may expire in an hour."""
    quota: SnapshotLimits
    """Whoever is at it is not held back: the next snapshot would be refused."""
    retention: PolicyRetention = field(init=False, default_factory=PolicyRetention)
    _told: dict[AccountId, float] = field(init=False, default_factory=dict)
    """Accounts that are held back: which hour that was said of."""

    async def begin_due(self) -> None:
        """Delete snapshots whose deadline has come, and prepaid disks whose days in the recycle bin are over."""
        until = await self.clock.expires_at()
        if until is None:
            return
        now = self.transactions.steady()
        due, leaving = await self.transactions.read(
            lambda conn: (_any_due(conn, until), self.retention.leaving(conn, until, now))
        )
        if not due and not leaving:
            return
        done = await self.operations.begin(lambda change: self._due(change, until, leaving))
        for snapshot in done.expired:
            log.info("snapshot.expired", snapshot_id=snapshot.id, disk_id=snapshot.disk_id)
        for account_id, tally in done.held_back.items():
            if self._told.get(account_id) != tally.began_at:
                self._told[account_id] = tally.began_at
                log.error("expiry.held_back", account_id=account_id, expired_this_hour=tally.expired)

    def _due(self, change: Change, until: float, leaving: Sequence[PolicyId]) -> _Round:
        done = _Round()
        if held(change.conn) is not None:
            return done  # S50: the deadlines may be those of a backup (F5).
        owners = snapshots.accounts_due(change.conn, until)
        for account_id in owners:
            # One that is held back, or has a great many, does not keep the others waiting.
            due = snapshots.due(change.conn, account_id, until, max(1, EXPIRED_MAX // len(owners)))
            self._expire(change, account_id, due, done)
        for policy_id in leaving:
            # Each policy is one account's.
            if found := going(change.conn, policy_id, until)[: max(1, EXPIRED_MAX // len(leaving))]:
                self._expire(change, found[0].account_id, found, done)
        self._recycle(change, until, done)
        return done

    def _expire(self, change: Change, account_id: AccountId, found: Sequence[Snapshot], done: _Round) -> None:
        tally = before = _tally(change, account_id)
        full: set[DiskId] = set()
        for snapshot in found:
            if snapshot.disk_id in full:
                continue
            use = snapshot_use(change.conn, account_id, snapshot.disk_id)
            allowed = tally.allowed(use.of_account, self.percent_per_hour)
            if allowed == 0 and not at_quota(use, self.quota):
                done.held_back.setdefault(account_id, tally)
                full.add(snapshot.disk_id)  # Another may be at its quota.
                continue
            marked = mark_deleting(change, snapshot, request_id="deadline")
            assert marked, "rows do not change under a writing transaction"
            tally = tally.more(1)
            done.expired.append(snapshot)
        if tally != before:
            expiry.put_tally(change.conn, account_id, tally)

    def _recycle(self, change: Change, until: float, done: _Round) -> None:
        for disk in disks.in_states(change.conn, [DiskState.TORECYCLE]):
            if disk.deadline_at is None or disk.deadline_at > until:
                continue
            going: Sequence[Snapshot] = going_along(change.conn, disk.id) if disk.delete_snapshot else ()
            if going:
                tally = _tally(change, disk.account_id)
                use = snapshot_use(change.conn, disk.account_id, disk.id)
                # One disk's may be more than is allowed in any hour: they go when nothing else did.
                if tally.expired and len(going) > tally.allowed(use.of_account, self.percent_per_hour):
                    done.held_back.setdefault(disk.account_id, tally)
                    continue
                expiry.put_tally(change.conn, disk.account_id, tally.more(len(going)))
            mark_terminating(change, disk, going, request_id="deadline")


def _tally(change: Change, account_id: AccountId) -> Tally:
    return (expiry.tally(change.conn, account_id) or Tally(began_at=change.steady, expired=0)).at(change.steady)


def _any_due(conn: Connection, until: float) -> bool:
    if snapshots.accounts_due(conn, until):
        return True
    bin_ = disks.in_states(conn, [DiskState.TORECYCLE])
    return any(disk.deadline_at is not None and disk.deadline_at <= until for disk in bin_)

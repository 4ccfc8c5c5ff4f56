"""What ends by a deadline: snapshots, and prepaid disks whose days in the recycle bin are over (S116 to S118)."""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import Connection

from drystone.catalog import disks, expiry, snapshots
from drystone.domain.disk import DiskState
from drystone.domain.expiry import Tally
from drystone.domain.ids import AccountId, DiskId
from drystone.domain.operation import Operation
from drystone.domain.snapshot import Snapshot
from drystone.service.installation import Installation
from drystone.service.rows.deletions import going_along, mark_deleting, mark_terminating
from drystone.service.rows.quotas import SnapshotLimits, at_quota, snapshot_use
from drystone.service.upkeep.clock import SteadyClock
from drystone.service.upkeep.confirmation import held

log = structlog.get_logger()
EXPIRED_MAX = 1000
"""Snapshots of all accounts in one transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiryLimits:
    """What holds expiry back, and when it does not."""

    percent_per_hour: int
    """Share of an account's snapshots that may expire in an hour."""
    quota: SnapshotLimits
    """Whoever is at it is not held back: the next snapshot would be refused."""


class Expiry:
    """Begins to delete what is due."""

    def __init__(self, *, installation: Installation, clock: SteadyClock, limits: ExpiryLimits) -> None:
        self._in = installation
        self._clock = clock
        self._limits = limits
        self._told: dict[AccountId, float] = {}
        """Accounts that are held back: which hour that was said of."""

    async def begin_due(self) -> None:
        """Delete snapshots whose deadline has come, and prepaid disks whose days in the recycle bin are over."""
        until = await self._clock.expires_at()
        if until is None or not await self._in.db.read(lambda conn: _any_due(conn, until)):
            return
        for operation in await self._in.db.write(lambda conn: self._due(conn, until)):
            self._in.operations.wake(operation.id)

    def _due(self, conn: Connection, until: float) -> list[Operation]:
        if held(conn) is not None:
            return []  # S50: the deadlines may be those of a backup (F5).
        now = self._in.steady()
        made: list[Operation] = []
        owners = snapshots.accounts_due(conn, until)
        for account_id in owners:
            # One that is held back, or has a great many, does not keep the others waiting.
            made += self._expire(conn, account_id, until, now, max(1, EXPIRED_MAX // len(owners)))
        return made + self._recycle(conn, until, now)

    def _expire(self, conn: Connection, account_id: AccountId, until: float, now: float, most: int) -> list[Operation]:
        tally = _tally(conn, account_id, now)
        made: list[Operation] = []
        held_back: set[DiskId] = set()
        for snapshot in snapshots.due(conn, account_id, until, most):
            if snapshot.disk_id in held_back:
                continue
            use = snapshot_use(conn, account_id, snapshot.disk_id)
            allowed = tally.allowed(use.of_account, self._limits.percent_per_hour)
            if allowed == 0 and not at_quota(use, self._limits.quota):
                self._say_held_back(account_id, tally)
                held_back.add(snapshot.disk_id)  # Another may be at its quota.
                continue
            operation = mark_deleting(conn, self._in, snapshot, request_id="deadline", at=self._in.clock())
            assert operation is not None, "rows do not change under a writing transaction"
            tally = tally.more(1)
            log.info("snapshot.expired", snapshot_id=snapshot.id, disk_id=snapshot.disk_id)
            made.append(operation)
        if made:
            expiry.put_tally(conn, account_id, tally)
        return made

    def _recycle(self, conn: Connection, until: float, now: float) -> list[Operation]:
        made: list[Operation] = []
        for disk in disks.in_states(conn, [DiskState.TORECYCLE]):
            if disk.deadline_at is None or disk.deadline_at > until:
                continue
            going: Sequence[Snapshot] = going_along(conn, disk.id) if disk.delete_snapshot else ()
            if going:
                tally = _tally(conn, disk.account_id, now)
                use = snapshot_use(conn, disk.account_id, disk.id)
                # One disk's may be more than is allowed in any hour: they go when nothing else did.
                if tally.expired and len(going) > tally.allowed(use.of_account, self._limits.percent_per_hour):
                    self._say_held_back(disk.account_id, tally)
                    continue
                expiry.put_tally(conn, disk.account_id, tally.more(len(going)))
            made += mark_terminating(conn, self._in, disk, going, request_id="deadline", at=self._in.clock())
        return made

    def _say_held_back(self, account_id: AccountId, tally: Tally) -> None:
        if self._told.get(account_id) != tally.began_at:
            self._told[account_id] = tally.began_at
            log.error("expiry.held_back", account_id=account_id, expired_this_hour=tally.expired)


def _tally(conn: Connection, account_id: AccountId, now: float) -> Tally:
    return (expiry.tally(conn, account_id) or Tally(began_at=now, expired=0)).at(now)


def _any_due(conn: Connection, until: float) -> bool:
    if snapshots.accounts_due(conn, until):
        return True
    bin_ = disks.in_states(conn, [DiskState.TORECYCLE])
    return any(disk.deadline_at is not None and disk.deadline_at <= until for disk in bin_)

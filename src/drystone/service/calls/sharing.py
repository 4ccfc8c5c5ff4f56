"""Letting other accounts make disks from a snapshot, and taking that back."""

from collections.abc import Sequence
from dataclasses import dataclass

from drystone.catalog import accounts, shares
from drystone.domain.disk import DATA_DISK
from drystone.domain.errors import Refusal, RefusalError
from drystone.domain.ids import AccountId
from drystone.domain.share import Share
from drystone.domain.snapshot import Snapshot, SnapshotState
from drystone.service.caller import Caller
from drystone.service.calls.snapshot_records import owned_snapshot
from drystone.service.rows import quotas
from drystone.service.transactions import Change, Transactions

SNAPSHOTS_PER_CALL = 100
ACCOUNTS_MAX = 50
"""That one snapshot may be shared with (CBS)."""
SHARE, CANCEL = "SHARE", "CANCEL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """Shares the caller's snapshots with other accounts of this installation (S341)."""

    transactions: Transactions

    async def modify(
        self, caller: Caller, snapshot_ids: Sequence[str], account_ids: Sequence[str], permission: str
    ) -> None:
        """Share snapshots with accounts, or end that: all of them, or nothing is changed.

        What is shared already is left as it is, and what is not shared is not shared still. Once sharing has ended,
        no disk is made from the snapshot any more; one whose making has begun is filled to its end.

        Raises:
            RefusalError: `MISSING`, `TOO_MANY`, `BAD_VALUE` (also for an account that is not there),
                `NO_SUCH_SNAPSHOT`, `SNAPSHOT_CREATING`, `SNAPSHOT_UNFIT` or `SHARE_QUOTA`.
        """
        quotas.check_per_call("SnapshotIds", len(snapshot_ids), SNAPSHOTS_PER_CALL)
        quotas.check_per_call("AccountIds", len(account_ids), ACCOUNTS_MAX)
        if permission not in {SHARE, CANCEL}:
            raise _bad_value(f"Permission is `{permission[:60]}`; allowed are {SHARE} and {CANCEL}.")
        ids, others = list(dict.fromkeys(snapshot_ids)), [AccountId(text) for text in dict.fromkeys(account_ids)]

        def record(change: Change) -> None:
            found = [owned_snapshot(change.conn, caller.account_id, snapshot_id) for snapshot_id in ids]
            if permission == CANCEL:
                for snapshot in found:
                    shares.remove(change.conn, snapshot.id, others)
                return
            for other in others:
                if other == caller.account_id:
                    raise _bad_value("AccountIds has the account that the snapshots are of; give another.")
                if accounts.get(change.conn, other) is None:
                    raise _bad_value(f"AccountIds has `{other[:60]}`; there is no such account here.")
            for snapshot in found:
                _check_fit(snapshot)
                before = {share.account_id for share in shares.of_snapshot(change.conn, snapshot.id)}
                if len(before | set(others)) > ACCOUNTS_MAX:
                    raise RefusalError(
                        Refusal.SHARE_QUOTA,
                        f"Snapshot {snapshot.id} is shared with {len(before)} accounts; {ACCOUNTS_MAX} are allowed.",
                    )
                for other in others:
                    shares.add(
                        change.conn, Share(snapshot_id=snapshot.id, account_id=other, created_at=change.at)
                    )  # fmt: skip

        await self.transactions.change(record)

    async def describe(self, caller: Caller, snapshot_id: str) -> tuple[Share, ...]:
        """Return whom one of the caller's snapshots is shared with.

        Raises:
            RefusalError: `NO_SUCH_SNAPSHOT`, also for whom it is shared with.
        """
        return await self.transactions.read(
            lambda conn: shares.of_snapshot(conn, owned_snapshot(conn, caller.account_id, snapshot_id).id)
        )


def _check_fit(snapshot: Snapshot) -> None:
    if snapshot.state is not SnapshotState.NORMAL:
        raise RefusalError(Refusal.SNAPSHOT_CREATING, f"Snapshot {snapshot.id} is still being created.")
    if snapshot.usage != DATA_DISK:
        raise RefusalError(
            Refusal.SNAPSHOT_UNFIT, f"Snapshot {snapshot.id} is of a system disk; those of data disks are shared."
        )
    if snapshot.encrypted:
        raise RefusalError(
            Refusal.SNAPSHOT_UNFIT,
            f"Snapshot {snapshot.id} is of an encrypted disk; only those of plain disks are shared.",
        )


def _bad_value(message: str) -> RefusalError:
    return RefusalError(Refusal.BAD_VALUE, message)

"""Which disks are bound to which policies, and within which limits."""

from collections.abc import Sequence

from sqlalchemy import Connection

from drystone.catalog import policies
from drystone.domain.errors import Refusal, RefusalError
from drystone.domain.ids import AccountId, DiskId, PolicyId
from drystone.domain.policy import DISKS_MAX, POLICIES_PER_DISK_MAX, Policy
from drystone.service.transactions import Change


def owned_policy(conn: Connection, account_id: AccountId, policy_id: str) -> Policy:
    """Return a policy of this account.

    Raises:
        RefusalError: `NO_SUCH_POLICY`, the same for a policy of another account.
    """
    found = policies.get(conn, PolicyId(policy_id))
    if found is None or found.account_id != account_id:
        raise RefusalError(Refusal.NO_SUCH_POLICY, f"There is no snapshot policy {policy_id[:60]}.")
    return found


def bind_disks(change: Change, policy: Policy, disk_ids: Sequence[DiskId]) -> None:
    """Bind disks, all or none; they are the account's and fit to be bound.

    Raises:
        RefusalError: `ALREADY_BOUND`, `BIND_LIMIT` or `DISK_UNFIT`; the transaction must not be committed.
    """
    bound = policies.disks_of(change.conn, [policy.id])[policy.id]
    for disk_id, others in policies.of_disks(change.conn, disk_ids).items():
        if policy.id in others:
            raise RefusalError(Refusal.ALREADY_BOUND, f"Disk {disk_id} is bound to {policy.id} already.")
        if len(others) >= POLICIES_PER_DISK_MAX:
            raise RefusalError(
                Refusal.DISK_UNFIT, f"Disk {disk_id} is bound to {len(others)} policies, the most that are allowed."
            )
    if len(bound) + len(disk_ids) > DISKS_MAX:
        raise RefusalError(
            Refusal.BIND_LIMIT,
            f"{policy.id} has {len(bound)} disks; with {len(disk_ids)} more it would have over {DISKS_MAX}.",
        )
    for disk_id in disk_ids:
        policies.bind(change.conn, policy.id, disk_id, change.steady)

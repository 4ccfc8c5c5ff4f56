"""What policies promise of an account's disks, and whether the rows keep it."""

from collections.abc import Mapping

from sqlalchemy import Connection

from drystone.catalog import policies, policy_runs
from drystone.domain.ids import AccountId, DiskId
from drystone.domain.promise import Promise, kept_until
from drystone.domain.schedule import next_trigger
from drystone.domain.snapshot import Snapshot


def promises(
    conn: Connection, account_id: AccountId, good: Mapping[DiskId, Snapshot], now: float
) -> dict[DiskId, Promise]:
    """Return what is promised of each disk that a policy covers (S322).

    Args:
        conn: The transaction.
        account_id: Whose disks.
        good: The newest good snapshot of each disk that has one.
        now: By the steady clock.
    """
    answered = policy_runs.answered_until(conn, account_id)
    bound = policies.bindings(conn, account_id)
    known = policies.get_many(conn, {policy_id for ids in bound.values() for policy_id in ids})
    due = {policy.id: next_trigger(policy, now) for policy in known.values() if policy.active}
    found = {}
    for disk_id, since in bound.items():
        active = [policy_id for policy_id in since if policy_id in due]
        if not active:
            continue
        last = good.get(disk_id)
        seen = 0.0 if last is None else last.record.taken_at or last.created_at
        seen = max(seen, answered.get(disk_id, 0))
        ahead = [at for policy_id in active if (at := due[policy_id]) is not None]
        behind = any(
            now > kept_until(known[policy_id], max(seen, since[policy_id], known[policy_id].anchored_at))
            for policy_id in active
        )
        found[disk_id] = Promise(policy_ids=tuple(active), next_at=min(ahead, default=None), behind=behind)
    return found

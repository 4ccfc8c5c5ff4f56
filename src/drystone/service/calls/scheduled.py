"""How the snapshots of policies are begun: by the same code as anybody's, in transactions that also move the runs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from drystone.catalog import disks, policies, policy_runs, snapshots
from drystone.domain import runs as rules
from drystone.domain.disk import Disk
from drystone.domain.errors import Refusal, RefusalError
from drystone.domain.ids import AccountId, DiskId, SnapshotId
from drystone.domain.policy import Policy, Run, RunState
from drystone.domain.retention import deadline_of
from drystone.domain.snapshot import Snapshot, SnapshotState
from drystone.domain.times import moment
from drystone.domain.zones import zone_or_utc
from drystone.service.caller import Caller
from drystone.service.calls.snapshot_begin import Scheduled
from drystone.service.calls.snapshot_groups import SnapshotGroups
from drystone.service.calls.snapshot_lifecycle import SnapshotLifecycle
from drystone.service.rows.runs import move
from drystone.service.transactions import Change

REQUEST_ID = "schedule"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledSnapshots:
    """Begins the snapshots of a batch of runs (`service/upkeep/schedules.py`)."""

    snapshots: SnapshotLifecycle
    groups: SnapshotGroups

    async def take(self, policy: Policy, runs: Sequence[Run]) -> None:
        """Begin snapshots of waiting runs, at one instant if there are several; each run is moved in that transaction.

        Raises:
            RefusalError: They cannot be begun now; there are none, or they fail by themselves.
        """
        caller = _caller(policy.account_id)
        of_disk = {run.disk_id: run for run in runs}

        def record(change: Change, template: Snapshot) -> Snapshot:
            run, now = _waiting(change, of_disk[template.disk_id])
            taken = _of_policy(change, now, run, template)
            moved = move(change, run, rules.begun(run, taken.id))
            assert moved, "rows do not change under a writing transaction"
            return taken

        def unchanged(change: Change, found: Sequence[tuple[Disk, bool]]) -> bool:
            waiting = [_waiting(change, of_disk[disk.id]) for disk, _ in found]
            skipped = rules.unchanged(
                waiting[0][1], [run for run, _ in waiting],
                [_answering(change.conn, policy, disk, marked=marked) for disk, marked in found], change.steady,
                attached=any(disk.instance_id is not None for disk, _ in found),
            )  # fmt: skip
            for (run, _), after in zip(waiting, skipped or (), strict=skipped is not None):
                move(change, run, after)
            return skipped is not None

        scheduled = Scheduled(record=record, unchanged=unchanged)
        if len(runs) == 1:
            await self.snapshots.take_scheduled(caller, runs[0].disk_id, scheduled)
        else:
            await self.groups.take_scheduled(caller, list(of_disk), name_of(policy, runs[0].slot), scheduled)


def name_of(policy: Policy, slot: int) -> str:
    """Return the name of the snapshots of a slot, as CBS gives it: day and hour by the policy's zone."""
    return f"snap_{moment(slot, zone_or_utc(policy.zone)):%Y%m%d_%H}"


def _caller(account_id: AccountId) -> Caller:
    return Caller(
        account_id=account_id, admin=False, secret_id="", request_id=REQUEST_ID, action="CreateSnapshot", source=""
    )


def _waiting(change: Change, known: Run) -> tuple[Run, Policy]:
    """Return a run that still waits, and its policy as it is now (S302, S305).

    Raises:
        RefusalError: It does not: somebody else has begun it, or it must not be tried any more. The next round says so.
    """
    conn = change.conn
    run = policy_runs.get(conn, known.policy_id, known.slot, known.disk_id)
    policy = policies.get(conn, known.policy_id)
    bound = known.policy_id in policies.of_disks(conn, [known.disk_id])[known.disk_id]
    now = None if run is None else rules.reviewed(
        run, policy, disks.get(conn, known.disk_id), change.steady, bound=bound
    )  # fmt: skip
    if now is None or policy is None or now != run or now.state is not RunState.WAITING:
        raise RefusalError(Refusal.BUSY, f"The run of {known.policy_id} on disk {known.disk_id} no longer waits.")
    return now, policy


def _of_policy(change: Change, policy: Policy, run: Run, template: Snapshot) -> Snapshot:
    kept = policy.retention
    return replace(
        template, name=name_of(policy, run.slot), policy_id=policy.id, slot=run.slot, permanent=kept.permanent,
        policy_order=snapshots.policy_order(change.conn, policy.id, template.disk_id) + 1,
        deadline_at=deadline_of(kept, change.steady, zone_or_utc(policy.zone)),
    )  # fmt: skip


def _answering(conn: Connection, policy: Policy, disk: Disk, *, marked: bool) -> SnapshotId | None:
    base = None if disk.base_snapshot_id is None else snapshots.get(conn, disk.base_snapshot_id)
    own = snapshots.of_policy(conn, policy.id, DiskId(disk.id))
    newest = next((one.id for one in own if one.state is SnapshotState.NORMAL), None)
    return rules.answering(disk, base, newest, marked=marked)

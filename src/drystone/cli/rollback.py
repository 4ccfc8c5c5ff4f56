"""Rolling a disk back, with what must happen around it: detaching it before, attaching it again after.

Each step looks first whether it was done already, so the same command goes on where an earlier one ended.
"""

from dataclasses import dataclass

from drystone.cli import lookup
from drystone.cli.failure import CliError, Exit
from drystone.cli.lists import Record
from drystone.cli.lookup import DISK, INSTANCE, SNAPSHOT
from drystone.cli.naming import DiskName, SnapshotName
from drystone.cli.options import Flag, Timeout, Yes
from drystone.cli.session import NO_OPTIONS, Commands, CommonOptions, Session
from drystone.cli.wait import wait_for_operation, wait_for_rollback, wait_for_snapshot, wait_for_state, warn_of_less

ATTACH_TIMEOUT_S = 120.0
ROLLBACK_TIMEOUT_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """What was asked for.

    Attributes:
        disk: Its id.
        snapshot: The snapshot's id.
        detach: Detach the disk first if it is attached.
        attach_again: Attach it afterwards to the instance that had it.
        safety_snapshot: Take a snapshot of the disk as it is now first.
        yes: Do not ask.
        wait: Wait until the disk can be used.
        timeout_s: Longest wait for the rollback, and for the safety snapshot.
    """

    disk: str
    snapshot: str
    detach: bool = False
    attach_again: bool = False
    safety_snapshot: bool = False
    yes: bool = False
    wait: bool = True
    timeout_s: float


def roll_back(session: Session, wanted: Rollback) -> None:
    """Say what will be done, ask, do it, and print the disk's id.

    Raises:
        CliError: It is refused, nobody agreed, or a step failed; the message says what is done and how to go on.
    """
    record = lookup.one(session, DISK, wanted.disk)
    of = lookup.one(session, SNAPSHOT, wanted.snapshot)["disk_id"]
    if of != wanted.disk:
        another = f"`drystone disk create --from-snapshot {wanted.snapshot}` makes a new disk of it"
        raise CliError(Exit.REFUSED, f"{wanted.snapshot} is a snapshot of {of}, not of {wanted.disk}; {another}")
    instance = str(record["instance_id"] or record["last_attach_instance_id"] or "") if wanted.attach_again else ""
    attached = record["instance_id"] is not None and record["state"] != "DETACHING"
    if wanted.attach_again and not wanted.wait:
        raise CliError(Exit.USAGE, "--attach-again needs the rollback's end: leave --no-wait out")
    if wanted.attach_again and not instance:
        raise CliError(Exit.USAGE, f"{wanted.disk} was never attached: leave --attach-again out")
    if attached and not wanted.detach:
        raise lookup.attached(record, "or give --detach")
    if instance:
        lookup.one(session, INSTANCE, instance)
    steps = ", then ".join(_steps(wanted, record, instance))
    session.out.confirm(f"This {steps}.{_loss(wanted)}", yes=wanted.yes, tell=True)
    running = _running(session, wanted, record)
    if wanted.safety_snapshot and running is None:
        _keep(session, wanted)
    done = ""
    try:
        if record["instance_id"] is not None:
            _detach(session, wanted.disk)
            done = f"; {wanted.disk} is detached"
        _roll_back(session, wanted, running)
        done = f"; {wanted.disk} is rolled back"
        if instance:
            attach_disks(session, [wanted.disk], instance)
    except CliError as error:
        again = f"{done}, the same command goes on" if done and (instance or wanted.detach) else ""
        raise CliError(error.code, f"{error.message}{again}") from None
    session.out.result([wanted.disk], lookup.one(session, DISK, wanted.disk))


def attach_disks(
    session: Session, disks: list[str], instance: str, *, timeout_s: float = ATTACH_TIMEOUT_S, **further: object
) -> None:
    """Attach disks and wait until they are; `further` are further parameters of the call."""
    known = lookup.known_operations(session, disks, "attach")
    session.service.cbs(
        f"attach {lookup.named(disks)} to {instance}", "AttachDisks", InstanceId=instance, DiskIds=disks, **further
    )
    wait_for_state(session, disks, "ATTACHED", kind="attach", known=known, timeout_s=timeout_s)


def _steps(wanted: Rollback, record: Record, instance: str) -> list[str]:
    detach = [f"detaches {wanted.disk} from {record['instance_id']}"] if record["instance_id"] is not None else []
    attach_again = [f"attaches it to {instance} again"] if instance else []
    return [*detach, f"sets {wanted.disk} back to {wanted.snapshot}", *attach_again]


def _loss(wanted: Rollback) -> str:
    return "" if wanted.safety_snapshot else " What was written since is lost: --safety-snapshot keeps it."


def _keep(session: Session, wanted: Rollback) -> None:
    answer = session.service.cbs(
        f"take a snapshot of {wanted.disk}", "CreateSnapshot", DiskId=wanted.disk,
        SnapshotName=f"before rollback to {wanted.snapshot}",
    )  # fmt: skip
    safety = str(answer["SnapshotId"])
    wait_for_snapshot(session, safety, title=safety, timeout_s=wanted.timeout_s)
    warn_of_less(session, lookup.one(session, SNAPSHOT, safety))
    session.out.say(f"{safety} holds {wanted.disk} as it was")


def _detach(session: Session, disk: str) -> None:
    known = lookup.known_operations(session, [disk], "detach")
    if lookup.one(session, DISK, disk)["state"] != "DETACHING":
        session.service.cbs(f"detach {disk}", "DetachDisks", DiskIds=[disk])
    wait_for_state(session, [disk], "UNATTACHED", kind="detach", known=known, timeout_s=ATTACH_TIMEOUT_S)


def _running(session: Session, wanted: Rollback, record: Record) -> str | None:
    """Return the operation that rolls the disk back to this very snapshot already."""
    if record["state"] != "ROLLBACKING":
        return None
    running = lookup.matching(
        session, lookup.OPERATION, limit=1, resource_id=wanted.disk, kind="rollback", state="RUNNING"
    )
    same = [one for one in running if one["snapshot_id"] == wanted.snapshot]
    return str(same[0]["operation_id"]) if same else None


def _roll_back(session: Session, wanted: Rollback, running: str | None) -> None:
    title = f"rollback of {wanted.disk}"
    if running is not None:
        session.out.say(f"{wanted.disk} is being rolled back to {wanted.snapshot} already")
        if wanted.wait:
            wait_for_operation(session, running, title=title, timeout_s=wanted.timeout_s)
        return
    known = lookup.known_operations(session, [wanted.disk], "rollback")
    session.service.cbs(
        f"roll {wanted.disk} back to {wanted.snapshot}", "ApplySnapshot", SnapshotId=wanted.snapshot,
        DiskId=wanted.disk,
    )  # fmt: skip
    if wanted.wait:
        wait_for_rollback(session, [wanted.disk], known, title=title, timeout_s=wanted.timeout_s)


class RollbackCommands(Commands):
    """See `Commands`."""

    def disk(
        self,
        disk: DiskName,
        snapshot: SnapshotName,
        /,
        *,
        detach: Flag = False,
        attach_again: Flag = False,
        safety_snapshot: Flag = False,
        yes: Yes = False,
        wait: bool = True,
        timeout: Timeout = ROLLBACK_TIMEOUT_S,
        common: CommonOptions = NO_OPTIONS,
    ) -> None:
        """Roll a disk back to one of its snapshots, and detach it before and attach it again if that is wanted.

        Only blocks that differ are written. Later snapshots stay. What will be done is said before it begins. If it
        ends half way, the same command goes on.

        Args:
            disk: Id or name.
            snapshot: Id or name of one of its snapshots, or `latest`.
            detach: Detach the disk first; unmount its file systems before.
            attach_again: Attach it afterwards to the instance that had it.
            safety_snapshot: Take a snapshot of the disk as it is now first, and wait until it is durable.
            yes: Do not ask.
            wait: Wait until the disk can be used.
            timeout: Timeout in seconds.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        identity = lookup.id_of(session, DISK, disk)
        text = f"{identity}@{snapshot}" if snapshot == lookup.LATEST else snapshot
        roll_back(
            session,
            Rollback(
                disk=identity, snapshot=lookup.id_of(session, SNAPSHOT, text, disk=identity), detach=detach,
                attach_again=attach_again, safety_snapshot=safety_snapshot, yes=yes, wait=wait, timeout_s=timeout,
            ),
        )  # fmt: skip

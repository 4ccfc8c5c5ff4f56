"""The commands on snapshot groups."""

from cyclopts import App

from drystone.cli import lookup
from drystone.cli.failure import CliError, Exit
from drystone.cli.lookup import DISK, SNAPSHOT, SNAPSHOT_GROUP
from drystone.cli.naming import DiskName, GroupName, SnapshotName
from drystone.cli.options import LIST_LIMIT, Limit, Tags, Timeout, Yes, add_command, tags_on_the_wire
from drystone.cli.records import SNAPSHOT_GROUP_COLUMNS
from drystone.cli.session import (
    NO_LIST_OPTIONS,
    NO_OPTIONS,
    NO_SHOW_OPTIONS,
    Commands,
    CommonOptions,
    ListOptions,
    Outside,
    Session,
    ShowOptions,
)
from drystone.cli.wait import Step, percent_of, wait_for_rollback, wait_until, warn_of_less

TRANSFER_TIMEOUT_S = 86_400.0
"""As for a snapshot: a day says that nothing moves."""


def snapshot_group_app(outside: Outside) -> App:
    """Return the commands `drystone snapshot-group ...`."""
    app = App(name="snapshot-group", help="Snapshot groups: several disks of one instance at one instant.")
    commands = SnapshotGroupCommands(outside)
    add_command(
        app, commands.create, "create", "drystone snapshot-group create disk-1a2b3c4d disk-5e6f7g8h --name nightly"
    )
    add_command(app, commands.list_, "list", "drystone snapshot-group list", "drystone snapshot-group list --json")
    add_command(app, commands.show, "show", "drystone snapshot-group show csnap-1a2b3c4d --json")
    add_command(
        app,
        commands.rollback,
        ("rollback", "apply"),
        "drystone disk detach disk-1a2b3c4d disk-5e6f7g8h",
        "drystone snapshot-group rollback csnap-1a2b3c4d --yes",
    )
    add_command(app, commands.delete, "delete", "drystone snapshot-group delete csnap-1a2b3c4d --yes")
    return app


class SnapshotGroupCommands(Commands):
    """See `Commands`."""

    def create(
        self,
        *disk: DiskName,
        name: str | None = None,
        tag: Tags = (),
        wait: bool = True,
        timeout: Timeout = TRANSFER_TIMEOUT_S,
        common: CommonOptions = NO_OPTIONS,
    ) -> None:
        """Take snapshots of disks of one instance at one instant, and print the group's id.

        The instant is fixed before this shows anything. All snapshots become durable together, or none does.

        Args:
            disk: Ids or names; all attached to the same instance.
            name: Name of the group; its snapshots are called NAME_0, NAME_1 and so on.
            tag: `key=value`; may be given several times.
            wait: Wait until it is durable.
            timeout: Timeout in seconds.
            common: Options that every command takes.
        """
        wire_tags = tags_on_the_wire(tag)
        session = self._outside.session(common)
        ids = lookup.ids_of(session, DISK, disk)
        answer = session.service.cbs(
            f"take a group of {lookup.named(ids)}",
            "CreateSnapshotGroup",
            DiskIds=ids,
            SnapshotGroupName=name,
            Tags=wire_tags,
        )
        group = str(answer["SnapshotGroupId"])
        if wait:
            _wait_for_group(session, group, timeout_s=timeout)
        record = lookup.one(session, SNAPSHOT_GROUP, group)
        assert isinstance(record["snapshots"], dict)
        for member in lookup.some(session, SNAPSHOT, list(record["snapshots"])) if wait else ():
            warn_of_less(session, member)
        session.out.result([group], record)

    def list_(
        self,
        *,
        state: str | None = None,
        name: str | None = None,
        snapshot: SnapshotName | None = None,
        limit: Limit = LIST_LIMIT,
        common: ListOptions = NO_LIST_OPTIONS,
    ) -> None:
        """List groups, the newest first.

        Args:
            state: Only groups in this state: CREATING, NORMAL, ROLLBACKING.
            name: Only groups with this name.
            snapshot: Only the group that this snapshot belongs to.
            limit: Maximum number of groups to list.
            common: Options that every list takes.
        """
        session = self._outside.session(common)
        wanted = None if snapshot is None else lookup.id_of(session, SNAPSHOT, snapshot)
        found = lookup.matching(
            session, SNAPSHOT_GROUP, limit=limit,
            snapshot_group_state=state, snapshot_group_name=name, snapshot_id=wanted,
        )  # fmt: skip
        session.out.records(found, SNAPSHOT_GROUP_COLUMNS)

    def show(self, group: GroupName, /, *, common: ShowOptions = NO_SHOW_OPTIONS) -> None:
        """Show everything about one group: its snapshots, its instant, and the I/O pause.

        Args:
            group: Id, or name if only one group has it.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        session.out.record(lookup.one(session, SNAPSHOT_GROUP, lookup.id_of(session, SNAPSHOT_GROUP, group)))

    def rollback(
        self,
        group: GroupName,
        /,
        *disk: DiskName,
        yes: Yes = False,
        wait: bool = True,
        timeout: Timeout = TRANSFER_TIMEOUT_S,
        common: CommonOptions = NO_OPTIONS,
    ) -> None:
        """Roll detached disks back to a snapshot group.

        What was written since is lost; take another group first to keep it.

        Args:
            group: Id or name.
            disk: Only these disks; without them, all that the group has.
            yes: Do not ask.
            wait: Wait until the disks can be used.
            timeout: Timeout in seconds.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        identity = lookup.id_of(session, SNAPSHOT_GROUP, group)
        members = lookup.one(session, SNAPSHOT_GROUP, identity)["snapshots"]
        assert isinstance(members, dict)
        of_disk = {str(disk_id): str(snapshot_id) for snapshot_id, disk_id in members.items()}
        targets = lookup.ids_of(session, DISK, disk) if disk else list(of_disk)
        for target in targets:
            if target not in of_disk:
                raise CliError(Exit.NOT_FOUND, f"{identity} has no snapshot of {target}")
        session.out.confirm(f"This sets {lookup.named(targets)} back to {identity}.", yes=yes, tell=True)
        known = lookup.known_operations(session, targets, "rollback")
        session.service.cbs(
            f"roll {lookup.named(targets)} back to {identity}",
            "ApplySnapshotGroup",
            SnapshotGroupId=identity,
            ApplyDisks=[{"SnapshotId": of_disk[target], "DiskId": target} for target in targets],
        )
        if wait:
            wait_for_rollback(session, targets, known, title=f"rollback to {identity}", timeout_s=timeout)
        session.out.result(targets, lookup.some(session, DISK, targets))

    def delete(self, *group: GroupName, yes: Yes = False, common: CommonOptions = NO_OPTIONS) -> None:
        """Delete groups with all their snapshots.

        Args:
            group: Ids or names.
            yes: Do not ask.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        ids = lookup.ids_of(session, SNAPSHOT_GROUP, group)
        session.out.confirm(f"This deletes {lookup.named(ids)} with all their snapshots.", yes=yes)
        session.service.cbs(f"delete {lookup.named(ids)}", "DeleteSnapshotGroup", SnapshotGroupIds=ids)
        session.out.result(ids, {"deleted_snapshot_group_ids": ids})


def _wait_for_group(session: Session, group: str, *, timeout_s: float) -> None:
    def look() -> Step:
        found = lookup.some(session, SNAPSHOT_GROUP, [group])
        if not found:
            # A group that fails disappears; the operation that made it has the reason.
            raise CliError(
                Exit.REFUSED,
                f"{group} is gone: it failed, or somebody deleted it; `drystone operation list` and `drystone disk "
                "show` say why",
            )
        return Step(
            done=found[0]["state"] != "CREATING",
            percent=percent_of(found[0]),
            phase=str(found[0]["state"]),
        )

    wait_until(session, look, title=group, timeout_s=timeout_s)

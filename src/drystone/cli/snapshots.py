"""The commands on snapshots."""

from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from drystone.cli import given, lookup
from drystone.cli.export import STANDARD_OUTPUT, Format, Target, begin_export, say_if_encrypted, to_standard_output
from drystone.cli.failure import CliError, Exit
from drystone.cli.lookup import DISK, SNAPSHOT
from drystone.cli.naming import DiskName, SnapshotName
from drystone.cli.options import LIST_LIMIT, Limit, Tags, Timeout, Yes, add_command, tags_on_the_wire
from drystone.cli.records import SNAPSHOT_COLUMNS, difference_record, overview_record, set_space_record
from drystone.cli.rollback import Rollback, roll_back
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
from drystone.cli.sharing import SharingCommands
from drystone.cli.shown import changed_ranges
from drystone.cli.wait import wait_for_operation, wait_for_snapshot, warn_of_less

TRANSFER_TIMEOUT_S = 86_400.0
"""A full snapshot or a rollback of a large disk takes hours; a day says that nothing moves."""

KeepDays = Annotated[int | None, Parameter(validator=Number(gte=1, lte=36_500))]


def snapshot_app(outside: Outside) -> App:
    """Return the commands `drystone snapshot ...`."""
    app = App(name="snapshot", help="Snapshots: create, list, roll back, delete, verify.")
    commands = SnapshotCommands(outside)
    add_command(
        app,
        commands.create,
        "create",
        "drystone snapshot create disk-1a2b3c4d --name before-upgrade",
        "drystone snapshot create disk-1a2b3c4d --keep-days 7 --no-wait",
    )
    add_command(
        app, commands.list_, "list", "drystone snapshot list --disk disk-1a2b3c4d", "drystone snapshot list --json"
    )
    add_command(
        app, commands.show, "show", "drystone snapshot show db@latest", "drystone snapshot show snap-1a2b3c4d --json"
    )
    add_command(app, commands.modify, "modify", "drystone snapshot modify snap-1a2b3c4d --name golden --permanent")
    add_command(app, commands.delete, "delete", "drystone snapshot delete snap-1a2b3c4d --yes")
    add_command(
        app,
        commands.rollback,
        ("rollback", "apply"),
        "drystone disk detach disk-1a2b3c4d",
        "drystone snapshot rollback snap-1a2b3c4d --safety-snapshot --yes",
    )
    add_command(app, commands.wait, "wait", "drystone snapshot wait db@nightly")
    add_command(
        app, commands.diff, "diff", "drystone snapshot diff db@monday db@latest", "drystone snapshot diff db@latest"
    )
    add_command(
        app,
        commands.export,
        "export",
        "drystone snapshot export snap-1a2b3c4d /backup/db.qcow2",
        "drystone snapshot export db@latest - | zstd > db.raw.zst",
    )
    add_command(app, commands.prove, "prove", "drystone snapshot prove snap-1a2b3c4d")
    sharing = SharingCommands(outside)
    add_command(app, sharing.share, "share", "drystone snapshot share db@monday 100000000002")
    add_command(app, sharing.unshare, "unshare", "drystone snapshot unshare db@monday")
    add_command(app, sharing.shares, "shares", "drystone snapshot shares db@monday")
    add_command(app, commands.overview, "overview", "drystone snapshot overview")
    return app


class SnapshotCommands(Commands):
    """See `Commands`."""

    def create(
        self,
        disk: DiskName,
        /,
        *,
        name: str | None = None,
        deadline: str | None = None,
        keep_days: KeepDays = None,
        tag: Tags = (),
        wait: bool = True,
        timeout: Timeout = TRANSFER_TIMEOUT_S,
        common: CommonOptions = NO_OPTIONS,
    ) -> None:
        """Take a snapshot of a disk, attached or not, and print its id.

        The instant is fixed before this shows anything: all that was written before is in, nothing written
        later. Then changed data is uploaded; the wait is for that alone.

        A snapshot that is less consistent than the quiesce profile asks for is a warning; with `mode = "require"` in
        the profile there is no snapshot then.

        Args:
            disk: Id or name.
            name: Name of the snapshot.
            deadline: Delete it then: 7d or 4w from now, 2027-01-31, or 2027-01-31T00:00:00+00:00.
            keep_days: Delete it after so many days.
            tag: `key=value`; may be given several times.
            wait: Wait until it is durable.
            timeout: Timeout in seconds.
            common: Options that every command takes.
        """
        wire_tags = tags_on_the_wire(tag)
        wire_deadline = self._deadline(deadline, keep_days)
        session = self._outside.session(common)
        identity = lookup.id_of(session, DISK, disk)
        lookup.warn_of_same_name(session, SNAPSHOT, name, disk=identity)
        snapshot = _take(session, identity, name=name, deadline=wire_deadline, tags=wire_tags)
        if wait:
            wait_for_snapshot(session, snapshot, title=snapshot, timeout_s=timeout)
        record = lookup.one(session, SNAPSHOT, snapshot)
        warn_of_less(session, record)
        session.out.result([snapshot], record)
        if record["changed_bytes"] == 0 and record["parent_snapshot_id"] is not None:
            session.out.say(
                f"nothing has changed since {record['parent_snapshot_id']}; what is not yet on the disk is in no "
                "snapshot: `sync -f MOUNT` before, or a quiesce profile"
            )

    def list_(
        self,
        *,
        disk: DiskName | None = None,
        state: str | None = None,
        name: str | None = None,
        search: str | None = None,
        limit: Limit = LIST_LIMIT,
        space: bool = True,
        shared: Annotated[bool, Parameter(negative="")] = False,
        common: ListOptions = NO_LIST_OPTIONS,
    ) -> None:
        """List snapshots, the newest first; `unique_bytes` is stored data that no other snapshot uses.

        Args:
            disk: Only snapshots of this disk.
            state: Only snapshots in this state: CREATING, NORMAL, ROLLBACKING.
            name: Only snapshots with this very name.
            search: Only those with these words in the name, the id, a tag, or the disk's id or name.
            limit: Maximum number of snapshots to list.
            space: Also show `unique_bytes`, for which the store may be read.
            shared: Those that other accounts share with yours, and not your own.
            common: Options that every list takes.
        """
        session = self._outside.session(common)
        wanted = None if disk is None else lookup.id_of(session, DISK, disk)
        found = lookup.matching(
            session, SNAPSHOT, limit=limit, search=search, disk_id=wanted, snapshot_state=state, snapshot_name=name,
            snapshot_type="SHARED_SNAPSHOT" if shared else None,
        )  # fmt: skip
        # What others' snapshots use of the store is not told.
        told = lookup.with_unique_bytes(session, found) if space and not shared else found
        session.out.records(told, SNAPSHOT_COLUMNS)

    def show(self, snapshot: SnapshotName, /, *, common: ShowOptions = NO_SHOW_OPTIONS) -> None:
        """Show everything about one snapshot: how it was tracked, what was read, changed and stored.

        `unique_bytes` is stored data that no other snapshot uses; `shared_bytes` is what others use too.

        Args:
            snapshot: Id, name, DISK@NAME or DISK@latest.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        record = lookup.one(session, SNAPSHOT, lookup.id_of(session, SNAPSHOT, snapshot))
        session.out.record({**record, **lookup.snapshot_space(session, record)})

    def modify(
        self,
        snapshot: SnapshotName,
        /,
        *,
        name: str | None = None,
        deadline: str | None = None,
        keep_days: KeepDays = None,
        permanent: Annotated[bool, Parameter(negative="")] = False,
        common: CommonOptions = NO_OPTIONS,
    ) -> None:
        """Rename a snapshot, or change how long it is kept.

        Args:
            snapshot: Id, name, or DISK@NAME.
            name: New name.
            deadline: Delete it then: 7d or 4w from now, 2027-01-31, or 2027-01-31T00:00:00+00:00.
            keep_days: Delete it so many days from now.
            permanent: Keep it until somebody deletes it.
            common: Options that every command takes.
        """
        wire_deadline = self._deadline(deadline, keep_days)
        if permanent and wire_deadline is not None:
            raise CliError(Exit.USAGE, "give --permanent or a deadline, not both")
        if name is None and wire_deadline is None and not permanent:
            raise CliError(Exit.USAGE, "nothing to change: give --name, --deadline, --keep-days or --permanent")
        session = self._outside.session(common)
        identity = lookup.id_of(session, SNAPSHOT, snapshot)
        session.service.cbs(
            f"modify {identity}",
            "ModifySnapshotAttribute",
            SnapshotId=identity,
            SnapshotName=name,
            Deadline=wire_deadline,
            IsPermanent=True if permanent else None,
        )
        session.out.result([identity], lookup.one(session, SNAPSHOT, identity))

    def delete(
        self,
        *snapshot: SnapshotName,
        dry_run: Annotated[bool, Parameter(negative="")] = False,
        yes: Yes = False,
        common: CommonOptions = NO_OPTIONS,
    ) -> None:
        """Delete snapshots, in any order; every other snapshot still restores.

        Args:
            snapshot: Ids, names, or DISK@NAME.
            dry_run: Delete nothing; show which data would become unreferenced, and how much space would be freed.
            yes: Do not ask.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        ids = lookup.ids_of(session, SNAPSHOT, snapshot)
        if dry_run:
            answer = session.service.drystone("count what would die", "DescribeSnapshotSpace", SnapshotIds=ids)
            session.out.record(set_space_record(answer))
            return
        session.out.confirm(f"This deletes {lookup.named(ids)}.", yes=yes)
        lookup.in_parts(
            ids, lambda part: session.service.cbs(f"delete {lookup.named(part)}", "DeleteSnapshots", SnapshotIds=part)
        )
        session.out.result(ids, {"deleted_snapshot_ids": ids})

    def rollback(
        self,
        snapshot: SnapshotName,
        /,
        *,
        disk: DiskName | None = None,
        safety_snapshot: Annotated[bool, Parameter(negative="")] = False,
        yes: Yes = False,
        wait: bool = True,
        timeout: Timeout = TRANSFER_TIMEOUT_S,
        common: CommonOptions = NO_OPTIONS,
    ) -> None:
        """Roll a detached disk back to one of its snapshots.

        Only blocks that differ are written. Later snapshots stay.

        Args:
            snapshot: Id, name, or DISK@NAME.
            disk: The disk, whose snapshots alone a name then means; refused if the snapshot is of another one.
            safety_snapshot: Take a snapshot of the disk as it is now first, and wait until it is durable.
            yes: Do not ask.
            wait: Wait until the disk can be used.
            timeout: Timeout in seconds.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        wanted = None if disk is None else lookup.id_of(session, DISK, disk)
        identity = lookup.id_of(session, SNAPSHOT, snapshot, disk=wanted)
        target = wanted or str(lookup.one(session, SNAPSHOT, identity)["disk_id"])
        roll_back(
            session,
            Rollback(
                disk=target, snapshot=identity, safety_snapshot=safety_snapshot, yes=yes, wait=wait, timeout_s=timeout
            ),
        )

    def wait(
        self, snapshot: SnapshotName, /, *, timeout: Timeout = TRANSFER_TIMEOUT_S, common: CommonOptions = NO_OPTIONS
    ) -> None:
        """Wait until a snapshot is durable.

        Args:
            snapshot: Id, name, or DISK@NAME.
            timeout: Timeout in seconds.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        identity = lookup.id_of(session, SNAPSHOT, snapshot)
        wait_for_snapshot(session, identity, title=identity, timeout_s=timeout)
        session.out.result([identity], lookup.one(session, SNAPSHOT, identity))

    def diff(
        self, snapshot: SnapshotName, other: SnapshotName | None = None, /, *, common: CommonOptions = NO_OPTIONS
    ) -> None:
        """Show how much differs between two snapshots of a disk, or between one and its parent, and where.

        For people these are at most 40 ranges with the changed bytes in each; `buckets` of --json are the changed
        bytes of equal stretches of the disk.

        Args:
            snapshot: Id, name, or DISK@NAME.
            other: The later one; without it, `snapshot` is compared with its parent.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        named = lookup.id_of(session, SNAPSHOT, snapshot)
        if other is None:
            first, last = lookup.one(session, SNAPSHOT, named)["parent_snapshot_id"], named
        else:
            first, last = named, lookup.id_of(session, SNAPSHOT, other)
        answer = session.service.drystone(
            f"compare {first or 'nothing'} and {last}", "DescribeSnapshotDifference", From=first, To=last
        )
        found = {"from_snapshot_id": first, "to_snapshot_id": last, **difference_record(answer)}
        ranges = changed_ranges(answer["BucketBytes"], answer["Buckets"], answer["SizeBytes"])
        read = {name: value for name, value in found.items() if name not in {"bucket_bytes", "buckets"}}
        session.out.record(found, read={**read, "ranges": ranges})

    def export(
        self,
        snapshot: SnapshotName,
        file: Target,
        /,
        *,
        format: Format | None = None,  # noqa: A002 - the option's name
        wait: bool = True,
        timeout: Timeout = TRANSFER_TIMEOUT_S,
        common: CommonOptions = NO_OPTIONS,
    ) -> None:
        """Write a snapshot into a new sparse image file on the server's host; for the administrator.

        The server writes the file, as its own user. A relative path is one of this machine.

        Args:
            snapshot: Id, name, or DISK@NAME.
            file: The file, which must not exist; or `-`: print the image, on the server's host, with room for it in
                TMPDIR.
            format: Without it the file's ending says; what is printed is raw.
            wait: Wait until it is complete.
            timeout: Timeout in seconds.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        identity = lookup.id_of(session, SNAPSHOT, snapshot)
        if file == STANDARD_OUTPUT:
            if common.json or not wait:
                raise CliError(Exit.USAGE, "an image is printed alone: leave out --json and --no-wait")
            to_standard_output(session, identity, format, timeout_s=timeout)
            return
        path = str(file.absolute())
        operation = begin_export(session, identity, path, format)
        if wait:
            wait_for_operation(session, operation, title=f"export of {identity}", timeout_s=timeout)
        say_if_encrypted(session, identity, path)
        session.out.result([path], {"snapshot_id": identity, "path": path, "operation_id": operation})

    def prove(
        self,
        snapshot: SnapshotName,
        /,
        *,
        wait: bool = True,
        timeout: Timeout = TRANSFER_TIMEOUT_S,
        common: CommonOptions = NO_OPTIONS,
    ) -> None:
        """Verify a snapshot by a restore test and show the result; for the administrator.

        A clone of it is opened in a throw-away virtual machine. File systems are checked and mounted, databases that
        the disk's profile names are started and checked. The disk and the snapshot are not touched. Exits with 0 only
        if the snapshot opens.

        Args:
            snapshot: Id, name, or DISK@NAME.
            wait: Wait for the result.
            timeout: Timeout in seconds.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        identity = lookup.id_of(session, SNAPSHOT, snapshot)
        answer = session.service.drystone(f"prove {identity}", "ProveSnapshot", SnapshotId=identity)
        operation = str(answer["OperationId"])
        if not wait:
            session.out.result([operation], {"snapshot_id": identity, "operation_id": operation})
            return
        wait_for_operation(session, operation, title=f"proof of {identity}", timeout_s=timeout)
        opening = lookup.one(session, SNAPSHOT, identity)["opening"]
        assert isinstance(opening, dict)
        session.out.record({"snapshot_id": identity, **opening})
        if opening["finding"] != "opens":
            raise CliError(Exit.REFUSED, f"{identity}: {opening['finding']}: {opening['reason']}")

    def overview(self, *, common: ShowOptions = NO_SHOW_OPTIONS) -> None:
        """Show how many snapshots there are and how much space they use.

        Args:
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        session.out.record(overview_record(session.service.cbs("read the overview", "DescribeSnapshotOverview")))

    def _deadline(self, deadline: str | None, keep_days: int | None) -> str | None:
        if deadline is not None and keep_days is not None:
            raise CliError(Exit.USAGE, "give --deadline or --keep-days, not both")
        if keep_days is not None:
            deadline = f"{keep_days}d"
        try:
            return None if deadline is None else given.deadline(deadline, self._outside.clock())
        except ValueError as error:
            raise CliError(Exit.USAGE, f"--deadline: {error}") from None


def _take(session: Session, disk: str, *, name: str | None, deadline: str | None, tags: object) -> str:
    answer = session.service.cbs(
        f"take a snapshot of {disk}",
        "CreateSnapshot",
        DiskId=disk,
        SnapshotName=name,
        Deadline=deadline,
        Tags=tags,
    )
    return str(answer["SnapshotId"])

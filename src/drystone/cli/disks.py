"""The commands on disks."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number

from drystone.cli import lookup, options
from drystone.cli.failure import CliError, Exit
from drystone.cli.given import size_gib
from drystone.cli.lookup import DISK, INSTANCE, SNAPSHOT
from drystone.cli.naming import DiskName, InstanceName, SnapshotName
from drystone.cli.options import LIST_LIMIT, Limit, Tags, Timeout, Yes, add_command, converted, tags_on_the_wire
from drystone.cli.records import DISK_COLUMNS, GOING, IN_VAIN
from drystone.cli.rollback import RollbackCommands, attach_disks
from drystone.cli.session import (
    NO_LIST_OPTIONS,
    NO_OPTIONS,
    NO_SHOW_OPTIONS,
    Commands,
    CommonOptions,
    ListOptions,
    Outside,
    ShowOptions,
)
from drystone.cli.wait import Step, wait_for_operation, wait_for_snapshot, wait_for_state, wait_until

CREATE_TIMEOUT_S = 300.0
ATTACH_TIMEOUT_S = 120.0
IMPORT_TIMEOUT_S = 86_400.0
AUDIT_TIMEOUT_S = 86_400.0
DEFAULT_TYPE = "CLOUD_PREMIUM"

Gib = Annotated[int, Parameter(converter=converted(size_gib))]


def disk_app(outside: Outside) -> App:
    """Return the commands `drystone disk ...`."""
    app = App(name="disk", help="Disks: create, attach, resize, delete.")
    commands = DiskCommands(outside)
    add_command(app, commands.list_, "list", "drystone disk list --state ATTACHED", "drystone disk list --search db")
    add_command(app, commands.show, "show", "drystone disk show disk-1a2b3c4d --json")
    add_command(
        app, commands.create, "create", "drystone disk create --size 20 --name db --tag team=web",
        "drystone disk create --from-snapshot db@latest --name copy",
    )  # fmt: skip
    add_command(
        app, commands.attach, "attach", "drystone disk attach disk-1a2b3c4d --instance host",
        'DEV=$(drystone disk attach disk-1a2b3c4d --instance "$DRYSTONE_HOST_INSTANCE_ID")',
    )  # fmt: skip
    add_command(app, commands.detach, "detach", "drystone disk detach disk-1a2b3c4d")
    add_command(
        app,
        RollbackCommands(outside).disk,
        "rollback",
        "drystone disk rollback db monday --detach --attach-again",
        "drystone disk rollback db latest --safety-snapshot --yes",
    )
    add_command(app, commands.resize, "resize", "drystone disk resize disk-1a2b3c4d --size 50")
    add_command(app, commands.rename, "rename", "drystone disk rename disk-1a2b3c4d db-old")
    add_command(app, commands.modify, "modify", "drystone disk modify disk-1a2b3c4d --type CLOUD_SSD")
    add_command(app, commands.delete, "delete", "drystone disk delete disk-1a2b3c4d --yes")
    add_command(
        app,
        commands.import_,
        "import",
        "drystone disk import /images/debian.qcow2 --name web",
        "drystone disk import disk.img --format raw --size 40",
    )
    add_command(app, commands.init, "init", "drystone disk init disk-1a2b3c4d --yes")
    add_command(app, commands.rewrite, "rewrite", "drystone disk rewrite disk-1a2b3c4d")
    add_command(app, commands.audit, "audit", "drystone disk audit disk-1a2b3c4d --json")
    return app


class DiskCommands(Commands):
    """See `Commands`."""

    def list_(
        self,
        *,
        state: str | None = None,
        instance: InstanceName | None = None,
        name: str | None = None,
        search: str | None = None,
        limit: Limit = LIST_LIMIT,
        common: ListOptions = NO_LIST_OPTIONS,
    ) -> None:
        """List disks, the newest first.

        Args:
            state: Only disks in this state: UNATTACHED, ATTACHING, ATTACHED, DETACHING, EXPANDING, ROLLBACKING.
            instance: Only disks attached to this instance.
            name: Only disks with this very name.
            search: Only those with these words in the name, the id, a tag, or the instance's id or name.
            limit: Maximum number of disks to list.
            common: Options that every list takes.
        """
        session = self._outside.session(common)
        wanted = None if instance is None else lookup.id_of(session, INSTANCE, instance)
        found = lookup.matching(
            session, DISK, limit=limit, search=search, disk_state=state, instance_id=wanted, disk_name=name
        )
        session.out.records(found, DISK_COLUMNS)

    def show(self, disk: DiskName, /, *, common: ShowOptions = NO_SHOW_OPTIONS) -> None:
        """Show everything about one disk.

        Args:
            disk: Id, or name if only one disk has it.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        session.out.record(lookup.one(session, DISK, lookup.id_of(session, DISK, disk)))

    def create(
        self,
        *,
        size: Gib | None = None,
        type: str = DEFAULT_TYPE,  # noqa: A002 - the option is called --type
        name: str | None = None,
        from_snapshot: SnapshotName | None = None,
        count: Annotated[int | None, Parameter(validator=Number(gte=1, lte=100))] = None,
        tag: Tags = (),
        zone: str | None = None,
        delete_snapshots: Annotated[bool, Parameter(negative="")] = False,
        encrypt: Annotated[bool, Parameter(negative="")] = False,
        key: str | None = None,
        wait: bool = True,
        timeout: Timeout = CREATE_TIMEOUT_S,
        common: CommonOptions = NO_OPTIONS,
    ) -> None:
        """Create disks, empty or from a snapshot, and print their ids.

        A disk from a snapshot can be used at once; its data follows in the background (`hydration_percent`).
        With --json: the record of the disk, or a list of records if --count is given.

        Args:
            size: Size in GiB, or with a unit: 20, 20G, 1.5T. CLOUD_PREMIUM has 10 to 32000 GiB, the others 20 to 32000.
                Without it, a disk from a snapshot gets the snapshot's.
            type: CLOUD_PREMIUM, CLOUD_BSSD, CLOUD_SSD, CLOUD_HSSD or CLOUD_TSSD.
            name: Name of the disk.
            from_snapshot: Create it from this snapshot: its id, its name, DISK@NAME or DISK@latest.
            count: How many disks to create.
            tag: `key=value`; may be given several times.
            zone: Zone; without it, the server's.
            delete_snapshots: When the disk is deleted, delete its snapshots that have a deadline too.
            encrypt: Encrypt the disk and its snapshots, which needs a sealed store. One that is made from a snapshot of
                an encrypted disk is always.
            key: Which key wraps those of an encrypted disk: id or name, as `drystone key list` shows them; without it,
                the installation's own.
            wait: Wait until they can be used.
            timeout: Timeout in seconds.
            common: Options that every command takes.
        """
        if size is None and from_snapshot is None:
            raise CliError(Exit.USAGE, "a new disk needs --size GIB or --from-snapshot SNAPSHOT")
        wire_tags = tags_on_the_wire(tag)
        session = self._outside.session(common)
        source = None if from_snapshot is None else lookup.id_of(session, SNAPSHOT, from_snapshot)
        lookup.warn_of_same_name(session, DISK, name)
        answer = session.service.cbs(
            "create a disk" if source is None else f"create a disk from {source}",
            "CreateDisks",
            Placement={"Zone": zone or session.settings.zone},
            DiskChargeType="POSTPAID_BY_HOUR",
            DiskType=type,
            DiskSize=size,
            DiskName=name,
            SnapshotId=source,
            DiskCount=count,
            Tags=wire_tags,
            DeleteSnapshot=1 if delete_snapshots else None,
            Encrypt="ENCRYPT" if encrypt or key is not None else None,
            KmsKeyId=key,
        )
        ids: list[str] = answer["DiskIdSet"]
        if wait:
            wait_for_state(session, ids, "UNATTACHED", kind="create_disk", timeout_s=timeout)
        made = {str(record["disk_id"]): record for record in lookup.some(session, DISK, ids)}
        # Without --wait a disk that is still being made is not described yet.
        records = [made.get(identity, {"disk_id": identity, "state": "CREATING"}) for identity in ids]
        session.out.result(ids, records[0] if count is None else records)

    def import_(
        self,
        file: Path,
        /,
        *,
        format: Literal["qcow2", "raw", "vmdk", "vhdx", "vhd", "vdi", "qed", "parallels"] | None = None,  # noqa: A002 - the option's name
        force: bool = False,
        name: str | None = None,
        type: str = DEFAULT_TYPE,  # noqa: A002 - the option is called --type
        size: Gib | None = None,
        wait: bool = True,
        timeout: Timeout = IMPORT_TIMEOUT_S,
        common: CommonOptions = NO_OPTIONS,
    ) -> None:
        """Create a disk from an image file on the server's host, and print its id; for the administrator.

        The server opens the file once, as its own user; what reads it as an image has no rights. Images that refer to
        other files (a backing file, a data file, a parent, several extents) are refused, and so are files with several
        names and symbolic links of other users. A relative path is one of this machine.

        Args:
            file: The image.
            format: Needed where the file's ending and its bytes do not agree.
            force: With `--format raw`: it is a raw disk, though it looks like another format.
            name: Name of the disk.
            type: CLOUD_PREMIUM, CLOUD_BSSD, CLOUD_SSD, CLOUD_HSSD or CLOUD_TSSD.
            size: Size in GiB; without it, that of the image, rounded up to what the type has.
            wait: Wait until it can be used.
            timeout: Timeout in seconds.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        path = str(file.absolute())
        lookup.warn_of_same_name(session, DISK, name)
        answer = session.service.drystone(
            f"import {path}",
            "ImportDisk",
            Path=path,
            Format=format,
            DiskName=name,
            DiskType=type,
            DiskSize=size,
            Force=force or None,
        )
        identity = str(answer["DiskId"])
        if not wait:
            session.out.result([identity], {"disk_id": identity, "operation_id": answer["OperationId"]})
            return
        wait_for_operation(session, str(answer["OperationId"]), title=f"import of {path}", timeout_s=timeout)
        session.out.result([identity], lookup.one(session, DISK, identity))

    def attach(
        self,
        *disk: DiskName,
        instance: InstanceName,
        delete_with_instance: bool | None = None,
        timeout: Timeout = ATTACH_TIMEOUT_S,
        common: CommonOptions = NO_OPTIONS,
    ) -> None:
        """Attach disks to an instance and print each one's block device or NBD URI.

        Args:
            disk: Ids or names.
            instance: Id or name; `host` and `nbd` stand for the server's two ready instances.
            delete_with_instance: Delete the disks with the instance.
            timeout: Timeout in seconds.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        ids, target = lookup.ids_of(session, DISK, disk), lookup.id_of(session, INSTANCE, instance)
        try:
            attach_disks(session, ids, target, timeout_s=timeout, DeleteWithInstance=delete_with_instance)
        except CliError as error:
            if error.code is Exit.BUSY:
                lookup.check_unattached(session, ids)
            raise
        records = lookup.some(session, DISK, ids)
        places = [str(record["device"] or record["nbd_uri"] or "-") for record in records]
        session.out.result(places, list(records))
        if any(record["device"] and record["source_snapshot_id"] for record in records):
            session.out.say(
                "a copy has the UUIDs of its original: mount xfs with -o nouuid, and never btrfs beside its original "
                "(README.md)"
            )

    def detach(
        self,
        *disk: DiskName,
        instance: InstanceName | None = None,
        timeout: Timeout = ATTACH_TIMEOUT_S,
        common: CommonOptions = NO_OPTIONS,
    ) -> None:
        """Detach disks; unmount their file systems first.

        Args:
            disk: Ids or names.
            instance: Refuse if they are attached to another instance than this.
            timeout: Timeout in seconds.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        ids = lookup.ids_of(session, DISK, disk)
        known = lookup.known_operations(session, ids, "detach")
        session.service.cbs(
            f"detach {lookup.named(ids)}",
            "DetachDisks",
            DiskIds=ids,
            InstanceId=None if instance is None else lookup.id_of(session, INSTANCE, instance),
        )
        wait_for_state(session, ids, "UNATTACHED", kind="detach", known=known, timeout_s=timeout)
        session.out.result(ids, lookup.some(session, DISK, ids))

    def resize(
        self,
        disk: DiskName,
        /,
        *,
        size: Gib,
        timeout: Timeout = ATTACH_TIMEOUT_S,
        common: CommonOptions = NO_OPTIONS,
    ) -> None:
        """Resize a disk to a larger size, also while it is attached; resize its file system afterwards.

        Args:
            disk: Id or name.
            size: New size in GiB; a disk never shrinks.
            timeout: Timeout in seconds.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        identity = lookup.id_of(session, DISK, disk)
        known = lookup.known_operations(session, [identity], "resize")
        session.service.cbs(f"resize {identity} to {size} GiB", "ResizeDisk", DiskId=identity, DiskSize=size)

        def look() -> Step:
            record = lookup.one(session, DISK, identity)
            if record["size_gib"] == size and record["state"] != "EXPANDING":
                return Step(done=True)
            if record["state"] != "EXPANDING":
                lookup.raise_if_failed(session, identity, "resize", known)
            return Step(done=False, phase=str(record["state"]))

        wait_until(session, look, title=f"resize of {identity}", timeout_s=timeout)
        session.out.say(
            "its file system grows with resize2fs DEVICE (ext4), xfs_growfs MOUNT (xfs) or "
            "btrfs filesystem resize max MOUNT (btrfs)"
        )
        session.out.result([identity], lookup.one(session, DISK, identity))

    def rename(self, disk: DiskName, name: str, /, *, common: CommonOptions = NO_OPTIONS) -> None:
        """Rename a disk.

        Args:
            disk: Id or name.
            name: The new name, at most 60 bytes.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        identity = lookup.id_of(session, DISK, disk)
        session.service.cbs(f"rename {identity}", "ModifyDiskAttributes", DiskIds=[identity], DiskName=name)
        session.out.result([identity], lookup.one(session, DISK, identity))

    def modify(
        self,
        *disk: DiskName,
        name: str | None = None,
        type: options.SoldType | None = None,  # noqa: A002 - the option is called --type
        delete_with_instance: bool | None = None,
        common: CommonOptions = NO_OPTIONS,
    ) -> None:
        """Change attributes of disks: of all of them, or of none if one is refused.

        Args:
            disk: Ids or names.
            name: New name.
            type: New type, a better one; alone, and for one disk.
            delete_with_instance: Delete the disks with the instance they are attached to.
            common: Options that every command takes.
        """
        if name is None and type is None and delete_with_instance is None:
            raise CliError(Exit.USAGE, "nothing to change: give --name, --type or --delete-with-instance")
        session = self._outside.session(common)
        ids = lookup.ids_of(session, DISK, disk)
        session.service.cbs(
            f"modify {lookup.named(ids)}",
            "ModifyDiskAttributes",
            DiskIds=ids,
            DiskName=name,
            DiskType=type,
            DeleteWithInstance=delete_with_instance,
        )
        session.out.result(ids, lookup.some(session, DISK, ids))

    def delete(
        self,
        *disk: DiskName,
        delete_snapshots: bool | None = None,
        yes: Yes = False,
        common: CommonOptions = NO_OPTIONS,
    ) -> None:
        """Delete detached disks and their data.

        Their snapshots stay, except those with a deadline of disks that were made with --delete-snapshots.

        Args:
            disk: Ids or names.
            delete_snapshots: Delete their snapshots that have a deadline too, or keep all, whatever was said when the
                disks were made.
            yes: Do not ask.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        ids = lookup.ids_of(session, DISK, disk)
        lookup.check_detached(session, ids)
        session.out.confirm(f"This deletes {lookup.named(ids)} with all data.", yes=yes)
        with_snapshots = None if delete_snapshots is None else int(delete_snapshots)
        lookup.in_parts(
            ids,
            lambda part: session.service.cbs(
                f"delete {lookup.named(part)}", "TerminateDisks", DiskIds=part, DeleteSnapshot=with_snapshots
            ),
        )
        session.out.result(ids, {"deleted_disk_ids": ids})

    def init(
        self,
        *disk: DiskName,
        yes: Yes = False,
        timeout: Timeout = CREATE_TIMEOUT_S,
        common: CommonOptions = NO_OPTIONS,
    ) -> None:
        """Erase detached disks, or reset them to the snapshot that they were created from.

        Args:
            disk: Ids or names.
            yes: Do not ask.
            timeout: Timeout in seconds.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        ids = lookup.ids_of(session, DISK, disk)
        lookup.check_detached(session, ids)
        session.out.confirm(f"This throws away what was written to {lookup.named(ids)}.", yes=yes)
        known = lookup.known_operations(session, ids, "initialize")
        session.service.cbs(f"initialise {lookup.named(ids)}", "InitializeDisks", DiskIds=ids)

        def look() -> Step:
            for identity in ids:
                for operation in lookup.new_operations(session, identity, "initialize", known):
                    if operation["state"] in IN_VAIN:
                        raise lookup.failed(operation, identity)
                    if operation["state"] in GOING:
                        return Step(done=False, phase=str(operation["phase"] or ""))
            return Step(done=True)

        wait_until(session, look, title=f"initialising of {lookup.named(ids)}", timeout_s=timeout)
        session.out.result(ids, lookup.some(session, DISK, ids))

    def rewrite(
        self,
        disk: DiskName,
        /,
        *,
        wait: bool = True,
        timeout: Timeout = IMPORT_TIMEOUT_S,
        common: CommonOptions = NO_OPTIONS,
    ) -> None:
        """Rewrite a detached disk's image, so that fstrim works on it (`needs_rewrite` says which disks need it).

        Images that an earlier version made refuse all discards but those of whole 64 KiB. What the disk holds, its
        snapshots and its change tracking stay. The old image is deleted only when the new one is complete, compared
        and durable; until then both take space. If the server ends meanwhile, its next start goes on.

        Args:
            disk: Id, or name if only one disk has it.
            wait: Wait until it is done.
            timeout: Timeout in seconds.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        identity = lookup.id_of(session, DISK, disk)
        lookup.check_detached(session, [identity])
        answer = session.service.drystone(f"rewrite {identity}", "RewriteDisk", DiskId=identity)
        operation = str(answer["OperationId"])
        if wait:
            wait_for_operation(session, operation, title=f"rewriting of {identity}", timeout_s=timeout)
        session.out.result([identity], {"disk_id": identity, "operation_id": operation})

    def audit(
        self, disk: DiskName, /, *, timeout: Timeout = AUDIT_TIMEOUT_S, common: CommonOptions = NO_OPTIONS
    ) -> None:
        """Audit change tracking: take a snapshot that compares the whole disk with its parent, and print its id.

        What change tracking missed is in this snapshot as it is on the disk; the snapshots that may have inherited the
        mistake are marked suspect. The exit code is 1 if anything was missed.

        Args:
            disk: Id, or name if only one disk has it.
            timeout: Timeout in seconds.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        identity = lookup.id_of(session, DISK, disk)
        taken = str(session.service.drystone(f"audit {identity}", "AuditDisk", DiskId=identity)["SnapshotId"])

        wait_for_snapshot(session, taken, title=f"audit of {identity}", timeout_s=timeout)
        record = lookup.one(session, SNAPSHOT, taken)
        session.out.result([taken], record)
        if not record["audit_lies"]:
            session.out.say(f"{record['audited_blocks']} blocks were compared; change tracking had missed none")
        if record["audit_lies"]:
            raise CliError(Exit.REFUSED, f"change tracking of {identity} had missed {record['audit_lies']} blocks")

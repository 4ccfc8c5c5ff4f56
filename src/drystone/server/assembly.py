"""What is built of the parts: the job of each kind of operation, and what the wire calls."""

import os
import time
from pathlib import Path

from drystone.catalog.trail import TrailUsage
from drystone.config import Config
from drystone.domain.operation import OperationKind
from drystone.domain.zones import offset_name
from drystone.prove.prover import Prover
from drystone.prove.prover import Settings as MachineSettings
from drystone.server.parts import Parts
from drystone.server.store_place import limits_of
from drystone.service.calls.accounts import Accounts
from drystone.service.calls.differences import SnapshotDifferences
from drystone.service.calls.disk_backups import DiskBackups
from drystone.service.calls.disk_charges import DiskCharges
from drystone.service.calls.disk_lifecycle import DiskLifecycle
from drystone.service.calls.disk_records import DiskRecords
from drystone.service.calls.disk_space import DiskSpace
from drystone.service.calls.event_records import EventRecords
from drystone.service.calls.history import History
from drystone.service.calls.host_probe import HostProbe
from drystone.service.calls.host_records import HostRecords
from drystone.service.calls.image_files import ImageFiles
from drystone.service.calls.instances import Instances
from drystone.service.calls.operation_control import OperationControl
from drystone.service.calls.operation_records import OperationRecords
from drystone.service.calls.overview import Overview
from drystone.service.calls.passwords import Passwords
from drystone.service.calls.policies import Policies
from drystone.service.calls.protection import Protection
from drystone.service.calls.proving import Proving
from drystone.service.calls.quiescing import Quiescing
from drystone.service.calls.sharing import Sharing
from drystone.service.calls.snapshot_groups import SnapshotGroups
from drystone.service.calls.snapshot_lifecycle import SnapshotLifecycle
from drystone.service.calls.snapshot_records import SnapshotRecords
from drystone.service.calls.store_health import StoreHealth
from drystone.service.calls.store_space import StoreSpace
from drystone.service.calls.store_status import StoreStatus
from drystone.service.calls.tags import ResourceTags
from drystone.service.calls.trail import Audit
from drystone.service.calls.trail_records import AuditRecords
from drystone.service.calls.use_cases import UseCases
from drystone.service.jobs.attach import Attach, Detach
from drystone.service.jobs.compact import Compact
from drystone.service.jobs.compare import Compare
from drystone.service.jobs.create_disk import CreateDisk
from drystone.service.jobs.delete_snapshot import DeleteSnapshot
from drystone.service.jobs.export_snapshot import ExportSnapshot
from drystone.service.jobs.hydrate import Hydrate
from drystone.service.jobs.import_disk import ImportDisk
from drystone.service.jobs.initialize import Initialize
from drystone.service.jobs.prove import Prove
from drystone.service.jobs.resize import Resize
from drystone.service.jobs.rewrite import Rewrite
from drystone.service.jobs.rollback import Rollback
from drystone.service.jobs.sending import Sending
from drystone.service.jobs.snapshot import TakeSnapshot
from drystone.service.jobs.snapshot_group import TakeSnapshotGroup
from drystone.service.jobs.store_wait import StoreWait
from drystone.service.jobs.terminate import Terminate
from drystone.service.operations import Job
from drystone.service.rows.quotas import DiskLimits, SnapshotLimits
from drystone.service.upkeep.confirmation import Confirmation


def jobs(config: Config, parts: Parts) -> dict[OperationKind, Job]:
    """Return what does each kind of operation."""
    transactions, operations, locks = parts.transactions, parts.operations, parts.locks
    layout, room, kept, workers = parts.layout, parts.room, parts.kept, parts.workers
    host, serving, snapshot_server = parts.host, parts.serving, parts.snapshot_server
    sending = Sending(
        transactions=transactions, locks=locks, kept=kept, senders=parts.senders, host=host, spool=parts.spool,
        store_wait=StoreWait(transactions=transactions, kept=kept),
    )  # fmt: skip
    take_snapshot = TakeSnapshot(
        transactions=transactions, operations=operations, locks=locks, kept=kept, workers=workers, host=host,
        sweep=parts.sweep, sending=sending,
    )  # fmt: skip
    machines = MachineSettings(
        images=layout.proofs if config.prove_images == "auto" else Path(config.prove_images),
        kernels=Path(config.prove_kernels), kvm=config.prove_kvm, memory_mib=config.prove_memory_mib,
        seconds_max=config.prove_minutes * 60.0, idle_seconds_max=config.prove_idle_minutes * 60.0,
    )  # fmt: skip
    return {
        OperationKind.CREATE_DISK: CreateDisk(
            transactions=transactions, operations=operations, locks=locks, layout=layout, host=host
        ),
        OperationKind.SNAPSHOT: take_snapshot,
        OperationKind.SNAPSHOT_GROUP: TakeSnapshotGroup(
            transactions=transactions, operations=operations, locks=locks, host=host, member=take_snapshot,
            sweep=parts.sweep,
        ),
        OperationKind.DELETE_SNAPSHOT: DeleteSnapshot(
            transactions=transactions, operations=operations, kept=kept, workers=workers, compaction=parts.compaction
        ),
        OperationKind.ROLLBACK: Rollback(
            transactions=transactions, operations=operations, locks=locks, kept=kept, workers=workers, host=host
        ),
        OperationKind.HYDRATE: Hydrate(
            transactions=transactions, operations=operations, locks=locks, layout=layout, kept=kept, host=host,
            snapshot_server=snapshot_server, bytes_per_s=config.hydration_bytes_per_s,
        ),
        OperationKind.RESIZE: Resize(
            transactions=transactions, operations=operations, locks=locks, layout=layout, devices=parts.devices,
            host=host, serving=serving,
        ),
        OperationKind.ATTACH: Attach(transactions=transactions, locks=locks, host=host, serving=serving),
        OperationKind.DETACH: Detach(transactions=transactions, locks=locks, host=host, serving=serving),
        OperationKind.TERMINATE: Terminate(
            transactions=transactions, operations=operations, locks=locks, kept=kept, host=host
        ),
        OperationKind.INITIALIZE: Initialize(
            transactions=transactions, operations=operations, locks=locks, kept=kept, layout=layout, host=host
        ),
        OperationKind.EXPORT: ExportSnapshot(transactions=transactions, room=room, snapshot_server=snapshot_server),
        OperationKind.IMPORT: ImportDisk(transactions=transactions, room=room, host=host),
        OperationKind.COMPACT: Compact(
            transactions=transactions, operations=operations, kept=kept, background=parts.background
        ),
        OperationKind.COMPARE: Compare(
            transactions=transactions, locks=locks, kept=kept, background=parts.background, host=host
        ),
        OperationKind.REWRITE: Rewrite(transactions=transactions, locks=locks, room=room, host=host),
        OperationKind.PROVE: Prove(
            transactions=transactions, layout=layout, room=room, scratch_bytes_max=config.scratch_bytes_max,
            environment=parts.environment, snapshot_server=snapshot_server,
            prover=Prover(settings=machines, environment=parts.environment),
        ),
    }  # fmt: skip


def snapshot_limits(config: Config) -> SnapshotLimits:
    """Return how many snapshots an account may have."""
    return SnapshotLimits(
        per_disk=config.snapshots_per_disk, per_region=config.snapshots_per_region,
        gib_per_region=config.snapshot_gib_per_region,
    )  # fmt: skip


def use_cases_of(config: Config, parts: Parts, accounts: Accounts, passwords: Passwords, qemu_version: str) -> UseCases:
    """Return what the wire calls."""
    db, transactions, operations = parts.db, parts.transactions, parts.operations
    clock, steady = transactions.clock, transactions.steady
    layout, devices, room, host = parts.layout, parts.devices, parts.room, parts.host
    probe = HostProbe(
        transactions=transactions, locks=parts.locks, room=room, host=host, daemons=parts.daemons, clock=parts.clock,
        qemu_version=qemu_version, limits=limits_of(config),
    )  # fmt: skip
    quiescing = Quiescing(
        db=db, clock=clock, environment=parts.environment, own=(layout.data, layout.scratch, layout.run),
        devices=devices,
    )  # fmt: skip
    limits = snapshot_limits(config)
    disk_limits = DiskLimits(disks=config.disks_per_account, gib=config.disk_gib_per_account)
    disks = DiskLifecycle(
        transactions=transactions,
        operations=operations,
        host=host,
        layout=layout,
        devices=devices,
        room=room,
        zone=config.zone,
        disks_per_call=config.disks_per_call,
        disks_per_instance=config.disks_per_instance,
        root=os.geteuid() == 0,
        sealed=parts.kept.sealed,
        limits=disk_limits,
    )
    snapshots = SnapshotLifecycle(
        transactions=transactions,
        operations=operations,
        ids=parts.ids,
        host=host,
        kept=parts.kept,
        locks=parts.locks,
        layout=layout,
        devices=devices,
        room=room,
        limits=limits,
        quiescing=quiescing,
    )
    proving = Proving(operations=operations, allowed=config.prove, root=os.geteuid() == 0)
    space = StoreSpace(
        transactions=transactions, operations=operations, kept=parts.kept, background=parts.background,
        monotonic=time.monotonic,
    )  # fmt: skip
    image_files = ImageFiles(
        transactions=transactions,
        operations=operations,
        layout=layout,
        room=room,
        zone=config.zone,
        limits=disk_limits,
    )
    control = OperationControl(
        transactions=transactions, operations=operations, disks=disks, snapshots=snapshots, image_files=image_files,
        proving=proving, space=space,
    )  # fmt: skip
    return UseCases(
        disks=disks,
        snapshots=snapshots,
        snapshot_groups=SnapshotGroups(
            transactions=transactions, operations=operations, ids=parts.ids, host=host, kept=parts.kept,
            locks=parts.locks, layout=layout, devices=devices, room=room, limits=limits, quiescing=quiescing,
            disks_max=config.disks_per_instance,
        ),
        policies=Policies(transactions=transactions, zone=offset_name(config.time_zone_offset_hours)),
        quiescing=quiescing,
        proving=proving,
        disk_records=DiskRecords(
            db=db, clock=clock, probe=probe, zone=config.zone, disks_per_instance=config.disks_per_instance
        ),
        sharing=Sharing(transactions=transactions),
        disk_backups=DiskBackups(
            transactions=transactions, operations=operations, ids=parts.ids, lifecycle=snapshots
        ),
        disk_charges=DiskCharges(transactions=transactions, zone=config.zone, disks_per_call=config.disks_per_call),
        snapshot_records=SnapshotRecords(
            db=db, clock=clock, steady=steady, free_quota_gib=config.free_quota_gib
        ),
        tags=ResourceTags(db=db, clock=clock),
        instances=Instances(
            db=db, clock=clock, ids=parts.ids, zone=config.zone, disks_per_instance=config.disks_per_instance
        ),
        accounts=accounts, operations=OperationRecords(db=db, clock=clock), operation_control=control,
        host=HostRecords(db=db, probe=probe),
        store_status=StoreStatus(transactions=transactions, kept=parts.kept, watch=parts.store_watch),
        store_health=StoreHealth(transactions=transactions, scrub=parts.scrub),
        space=space,
        clock=parts.clock, confirmation=Confirmation(transactions=transactions),
        image_files=image_files,
        audit=Audit(
            db=db, clock=clock, steady=steady,
            most=TrailUsage(entries=config.audit_entries_max, bytes=config.audit_mb_max * 1_000_000),
        ),
        audit_records=AuditRecords(transactions=transactions), events=EventRecords(transactions=transactions),
        protection=Protection(transactions=transactions),
        disk_space=DiskSpace(transactions=transactions),
        passwords=passwords,
        overview=Overview(
            transactions=transactions, room=room, limits=limits,
            disks_per_instance=config.disks_per_instance, disks_per_call=config.disks_per_call,
            disk_limits=disk_limits,
        ),
        history=History(db=db, clock=steady, days=config.history_days),
        differences=SnapshotDifferences(transactions=transactions, kept=parts.kept, background=parts.background),
        authenticate=accounts.authenticate,
    )  # fmt: skip

"""A catalog with two accounts, and the record use cases on it."""

import asyncio
import contextlib
import random
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar, cast

import pytest
from sqlalchemy import Connection

from drystone.catalog import accounts as account_rows
from drystone.catalog import disks, instances, operations, packs, sessions, snapshots
from drystone.catalog.database import Database
from drystone.catalog.trail import TrailUsage
from drystone.domain.account import Account
from drystone.domain.disk import Disk, DiskState
from drystone.domain.errors import RefusalError
from drystone.domain.ids import AccountId, DiskId, IdSource, InstanceId, OperationId, PackId, SnapshotId
from drystone.domain.instance import Instance, InstanceKind
from drystone.domain.operation import Operation, OperationKind
from drystone.domain.session import Pack, Session
from drystone.domain.snapshot import Snapshot, SnapshotState
from drystone.service.caller import Caller
from drystone.service.calls.accounts import Accounts
from drystone.service.calls.disk_records import DiskRecords
from drystone.service.calls.host_probe import HostProbe
from drystone.service.calls.host_records import HostRecords
from drystone.service.calls.instances import Instances
from drystone.service.calls.operation_records import OperationRecords
from drystone.service.calls.snapshot_records import SnapshotRecords
from drystone.service.calls.trail import Audit
from drystone.service.calls.trail_records import AuditRecords
from drystone.service.views import ClockView, DaemonFacts, HostFacts
from tests.catalogs import open_catalog
from tests.domain.payloads import payload
from tests.service.parts import transactions

T = TypeVar("T")
OWNER = AccountId("100000000001")
OTHER = AccountId("100000000002")
ZONE = "ap-local-1"
NOW = 1_700_000_000.0


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def refusal(work: Coroutine[Any, Any, object]) -> str:
    """Return the kind of a call's refusal."""
    return refused(work).kind


def refused(work: Coroutine[Any, Any, object]) -> RefusalError:
    """Return a call's refusal: its kind and its message, which is a sentence."""
    with pytest.raises(RefusalError) as caught:
        asyncio.run(work)
    assert caught.value.message.endswith(".")
    return caught.value


def caller(account_id: AccountId = OWNER, *, admin: bool = False, secret_id: str = "AKIDcaller") -> Caller:
    return Caller(
        account_id=account_id,
        admin=admin,
        secret_id=secret_id,
        request_id="r-1",
        action="CreateDisks",
        source="127.0.0.1",
    )


@dataclass
class World:
    db: Database
    now: float = NOW
    applied: list[Disk] = field(default_factory=list)
    old: frozenset[DiskId] = frozenset()
    """Disks whose images an earlier version made."""

    @classmethod
    def open(cls, path: Path) -> Self:
        return cls(db=open_catalog(path))

    def __post_init__(self) -> None:
        ids = self.ids = IdSource(random.Random(1))
        clock = lambda: self.now  # noqa: E731 - short
        self.disks = DiskRecords(db=self.db, clock=clock, probe=self.probe, zone=ZONE, disks_per_instance=20)
        self.snapshots = SnapshotRecords(db=self.db, clock=clock, steady=clock, free_quota_gib=1)
        self.instances = Instances(db=self.db, clock=clock, ids=ids, zone=ZONE, disks_per_instance=20)
        self.accounts = Accounts(db=self.db, clock=clock, ids=ids)
        self.operations = OperationRecords(db=self.db, clock=clock)
        self.host = HostRecords(db=self.db, probe=self.probe)
        self.audit = Audit(db=self.db, clock=clock, steady=clock, most=TrailUsage(entries=1000, bytes=1_000_000))
        self.trail = AuditRecords(transactions=transactions(self.db))

    @property
    def probe(self) -> HostProbe:
        return cast("HostProbe", self)

    async def outdated(self, disk_ids: Sequence[DiskId]) -> frozenset[DiskId]:
        return frozenset(disk_ids) & self.old

    async def apply_limits(self, disk_id: DiskId) -> None:
        self.applied.append(self.stored_disk(disk_id))

    async def facts(self) -> HostFacts:
        return HostFacts(
            version="1",
            qemu_version="10.0.2",
            data_directory="/data",
            free_bytes=5,
            floor_bytes=6,
            stored_bytes=7,
            store_bytes_per_s=0,
            daemons=(DaemonFacts(name="d", pid=8, disk_count=9),),
            clock=ClockView(machine_at=NOW, steady_at=NOW, doubted_since=None, waits_s=0.0),
        )

    def add_accounts(self) -> None:
        for name in (OWNER, OTHER):
            value = Account(id=name, name=f"name of {name}", admin=False, created_at=0.0)
            self.db.write_sync(lambda conn, value=value: account_rows.insert(conn, value))  # type: ignore[misc]

    def disk(self, disk_id: str, **fields: Any) -> Disk:
        plain: dict[str, Any] = {
            "account_id": OWNER,
            "state": DiskState.UNATTACHED,
            "size_gib": 10,
            "type": "CLOUD_PREMIUM",
            "zone": ZONE,
            "created_at": NOW - 1000,
        }
        value = Disk(id=DiskId(disk_id), **(plain | fields))
        self.db.write_sync(lambda conn: disks.insert(conn, value))
        return value

    def snapshot(self, snapshot_id: str, **fields: Any) -> Snapshot:
        plain: dict[str, Any] = {
            "account_id": OWNER,
            "disk_id": "disk-a",
            "state": SnapshotState.NORMAL,
            "size_gib": 10,
            "zone": ZONE,
            "created_at": NOW - 1000,
            "modified_at": NOW - 1000,
        }
        value = Snapshot(id=SnapshotId(snapshot_id), **(plain | fields))
        self.db.write_sync(lambda conn: snapshots.insert(conn, value))
        return value

    def pack(self, pack_id: str, **fields: Any) -> Pack:
        plain: dict[str, Any] = {"session_id": "5e" * 16, "account_id": OWNER, "disk_id": "disk-a", "blocks": 1}
        value = Pack(id=PackId(pack_id), object=f"packs/{pack_id}", **(plain | fields))

        def add(conn: Connection) -> None:
            if sessions.get(conn, value.session_id) is None:
                sessions.open(conn, Session(id=value.session_id, kind="snapshot", created_at=NOW), [])
            packs.insert(conn, value)

        self.db.write_sync(add)
        return value

    def instance(self, instance_id: str, **fields: Any) -> Instance:
        plain: dict[str, Any] = {
            "account_id": OWNER,
            "name": "vm",
            "kind": InstanceKind.NBD,
            "zone": ZONE,
            "created_at": NOW - 1000,
        }
        value = Instance(id=InstanceId(instance_id), **(plain | fields))
        self.db.write_sync(lambda conn: instances.insert(conn, value))
        return value

    def operation(self, operation_id: str, **fields: Any) -> Operation:
        plain: dict[str, Any] = {
            "kind": OperationKind.SNAPSHOT,
            "account_id": OWNER,
            "created_at": NOW,
            "updated_at": NOW,
        }
        filled = plain | fields
        value = Operation(id=OperationId(operation_id), **({"payload": payload(filled["kind"])} | filled))
        self.db.write_sync(lambda conn: operations.insert(conn, value))
        return value

    def stored_disk(self, disk_id: str) -> Disk:
        value = self.db.read_sync(lambda conn: disks.get(conn, disk_id))
        assert value is not None
        return value

    def stored_snapshot(self, snapshot_id: str) -> Snapshot:
        value = self.db.read_sync(lambda conn: snapshots.get(conn, snapshot_id))
        assert value is not None
        return value


@contextlib.contextmanager
def with_accounts(path: Path) -> Iterator[World]:
    """Open such a world, of a new catalog with its accounts."""
    world = World.open(path)
    try:
        world.add_accounts()
        yield world
    finally:
        world.db.close()

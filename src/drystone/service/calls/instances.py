"""Instances of this installation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from drystone.catalog import disks, instances, quiesce_profiles
from drystone.catalog.database import Database
from drystone.domain.errors import Refusal, RefusalError
from drystone.domain.ids import AccountId, IdSource, InstanceId
from drystone.domain.instance import Instance, InstanceKind
from drystone.service.caller import Caller
from drystone.service.calls.attributes import plain_name
from drystone.service.calls.filters import check_filters, page
from drystone.service.requests import Filters
from drystone.service.views import InstanceDisks, InstanceView, Page

INSTANCES_MAX = 1000
"""Of one account: each with disks is a storage daemon, so more than any one machine serves."""
RUNNING = "RUNNING"
"""The state of every instance: here it is what disks are attached to, and nothing starts or stops it."""
_SHOWN: Mapping[str, Callable[[Instance], str]] = {
    "instance-id": lambda instance: instance.id,
    "instance-name": lambda instance: instance.name,
    "instance-state": lambda _: RUNNING,
    "project-id": lambda _: "0",
    "zone": lambda instance: instance.zone,
}
"""What a filter of DescribeInstances of `cvm` looks at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instances:
    """Describes, makes and removes instances of the caller's account."""

    db: Database
    clock: Callable[[], float]
    ids: IdSource
    zone: str
    disks_per_instance: int

    async def zones(self, caller: Caller) -> tuple[str, ...]:  # noqa: ARG002 - the same for every account
        """Return the zones that instances and disks may be in: there is one."""
        return (self.zone,)

    async def describe(
        self, caller: Caller, instance_ids: tuple[str, ...], offset: int, limit: int
    ) -> Page[InstanceView]:
        """Return the caller's instances, oldest first; no ids means all of them, unknown ones make fewer.

        Raises:
            RefusalError: `BAD_VALUE`.
        """
        check_filters((), instance_ids, ())
        offset, limit = page(offset, limit)
        wanted = tuple(InstanceId(text) for text in instance_ids)

        def select(conn: Connection) -> Page[InstanceView]:
            found, total = instances.find(conn, caller.account_id, ids=wanted, offset=offset, limit=limit)
            counts = instances.disk_counts(conn, [instance.id for instance in found])
            views = (
                InstanceView(
                    instance=instance,
                    attached=counts[instance.id],
                    attached_max=self.disks_per_instance,
                )
                for instance in found
            )
            return Page(items=tuple(views), total=total)

        return await self.db.read(select)

    async def with_disks(
        self, caller: Caller, instance_ids: tuple[str, ...], filters: Filters, offset: int, limit: int
    ) -> Page[InstanceDisks]:
        """Return the caller's instances that match, oldest first, with their disks.

        Raises:
            RefusalError: `BAD_FILTER` or `BAD_VALUE`.
        """
        check_filters(_SHOWN, instance_ids, filters)
        offset, limit = page(offset, limit)
        wanted = tuple(InstanceId(text) for text in instance_ids)

        def select(conn: Connection) -> Page[InstanceDisks]:
            found, _ = instances.find(conn, caller.account_id, ids=wanted, offset=0, limit=INSTANCES_MAX)
            # An account has so few that they are looked through here.
            met = [one for one in found if all(_SHOWN[name](one) in values for name, values in filters)]
            shown = met[offset : offset + limit]
            held = disks.of_instances(conn, [one.id for one in shown])
            views = (InstanceDisks(instance=one, disks=tuple(held.get(one.id, ()))) for one in shown)
            return Page(items=tuple(views), total=len(met))

        return await self.db.read(select)

    async def create(self, caller: Caller, kind: str, name: str | None) -> InstanceId:
        """Make an instance of kind HOST or NBD.

        The host's kernel looks into each of its block devices (partitions, labels of file systems), whatever somebody
        wrote there: HOST is for those who may harm the host anyway.

        Raises:
            RefusalError: `BAD_VALUE`, `NOT_ALLOWED` for HOST by any but an administrator, or
                `LIMIT` when the account has too many.
        """
        if kind not in InstanceKind.__members__:
            raise RefusalError(Refusal.BAD_VALUE, f"Kind is `{kind[:60]}`; allowed are {', '.join(InstanceKind)}.")
        if kind == InstanceKind.HOST:
            caller.require_admin("An instance of kind HOST")
        instance = Instance(
            id=self.ids.instance(),
            account_id=caller.account_id,
            name=plain_name(name, "InstanceName"),
            kind=InstanceKind(kind),
            zone=self.zone,
            created_at=self.clock(),
        )

        def add(conn: Connection) -> None:
            _, total = instances.find(conn, caller.account_id, ids=(), offset=0, limit=1)
            if total >= INSTANCES_MAX:
                raise RefusalError(
                    Refusal.LIMIT, f"There are {total} instances; {INSTANCES_MAX} are allowed. Delete some first."
                )
            instances.insert(conn, instance)

        await self.db.write(add)
        return instance.id

    async def delete(self, caller: Caller, instance_id: str) -> None:
        """Remove an instance that has no disk.

        Raises:
            RefusalError: `NO_SUCH_INSTANCE`, or `IN_USE` while a disk is attached or on its way.
        """

        def remove(conn: Connection) -> None:
            instance = owned_instance(conn, caller.account_id, instance_id)
            count = instances.disk_counts(conn, [instance.id])[instance.id]
            if count:
                raise RefusalError(
                    Refusal.IN_USE, f"Instance {instance.id} has {count} disks attached; detach them first."
                )
            instances.delete(conn, instance.id)
            quiesce_profiles.delete(conn, instance.id)

        await self.db.write(remove)


def owned_instance(conn: Connection, account_id: AccountId, instance_id: str) -> Instance:
    """Return an instance of this account.

    Raises:
        RefusalError: `NO_SUCH_INSTANCE`, the same for an instance of another account.
    """
    instance = instances.get(conn, InstanceId(instance_id))
    if instance is None or instance.account_id != account_id:
        raise RefusalError(Refusal.NO_SUCH_INSTANCE, f"There is no instance {instance_id[:60]}.")
    return instance

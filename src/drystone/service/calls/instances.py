"""Instances of this installation."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from drystone.catalog import instances, quiesce_profiles
from drystone.catalog.database import Database
from drystone.domain.errors import Refusal, RefusalError
from drystone.domain.ids import AccountId, IdSource, InstanceId
from drystone.domain.instance import Instance, InstanceKind
from drystone.service.caller import Caller
from drystone.service.calls.attributes import plain_name
from drystone.service.calls.filters import check_filters, page
from drystone.service.views import InstanceView, Page

INSTANCES_MAX = 1000
"""Of one account: each with disks is a storage daemon, so more than any one machine serves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instances:
    """Describes, makes and removes instances of the caller's account."""

    db: Database
    clock: Callable[[], float]
    ids: IdSource
    zone: str
    disks_per_instance: int

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

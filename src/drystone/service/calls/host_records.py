"""The host as an administrator sees it."""

from dataclasses import dataclass

from sqlalchemy import Connection

from drystone.catalog import disks, meta, snapshots
from drystone.catalog.database import Database
from drystone.domain.ids import StoreId
from drystone.service.caller import Caller
from drystone.service.calls.host_probe import HostProbe
from drystone.service.views import HostView


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRecords:
    """Describes the host."""

    db: Database
    """The catalog, whose facts name the store, the region and the zone."""
    probe: HostProbe

    async def describe(self, caller: Caller) -> HostView:
        """Return the host's facts and the numbers of all accounts.

        Raises:
            RefusalError: `NOT_ALLOWED` for any but an administrator.
        """
        caller.require_admin()
        facts = await self.probe.facts()

        def view(conn: Connection) -> HostView:
            known = meta.everything(conn)
            return HostView(
                facts=facts,
                region=known.get("region", ""),
                zone=known.get("zone", ""),
                store_id=StoreId(known.get("store_id", "")),
                disk_count=disks.count_all(conn),
                snapshot_count=snapshots.count_all(conn),
            )

        return await self.db.read(view)

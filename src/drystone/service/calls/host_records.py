"""The host as an administrator sees it."""

from sqlalchemy import Connection

from drystone.catalog import disks, meta, snapshots
from drystone.catalog.database import Database
from drystone.domain.ids import StoreId
from drystone.service.caller import Caller
from drystone.service.calls.host_probe import HostProbe
from drystone.service.views import HostView


class HostRecords:
    """Describes the host.

    Args:
        db: The catalog, whose facts name the store, the region and the zone.
        probe: Looks at the host.
    """

    def __init__(self, *, db: Database, probe: HostProbe) -> None:
        self._db = db
        self._probe = probe

    async def describe(self, caller: Caller) -> HostView:
        """Return the host's facts and the numbers of all accounts.

        Raises:
            RefusalError: `NOT_ALLOWED` for any but an administrator.
        """
        caller.require_admin()
        facts = await self._probe.facts()

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

        return await self._db.read(view)

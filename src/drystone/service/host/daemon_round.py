"""Daemons that died: their disks are served again."""

from sqlalchemy import Connection

from drystone.catalog import disks, operations
from drystone.domain.operation import Operation
from drystone.service.host.host import Host
from drystone.service.host.snapshot_server import SnapshotServer
from drystone.service.installation import Installation


async def look_after_daemons(installation: Installation, host: Host, snapshot_server: SnapshotServer) -> None:
    """Serve the disks of dead daemons again; operations on them find out by themselves."""
    hit = await host.check()
    if await installation.db.read(disks.any_hydrating):
        # Guests wait for it: reads of what is not there yet hang while it is away.
        await snapshot_server.ensure()
    if not hit:
        return

    def theirs(conn: Connection) -> list[Operation]:
        return [operation for disk_id in hit for operation in operations.running_on_disk(conn, disk_id)]

    for operation in await installation.db.read(theirs):
        installation.operations.wake(operation.id)

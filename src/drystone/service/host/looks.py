"""Open disks read by Drystone itself, beside their guests."""

from drystone.domain.ids import DiskId
from drystone.engine import graph, live
from drystone.engine.daemon import Daemon
from drystone.transfer.jobs import Endpoint, Look


async def look_at(daemon: Daemon, disk_id: DiskId) -> Look:
    """Export an open disk for Drystone itself; the disk's graph lock is held."""
    file = await live.export_comparison(daemon, disk_id)
    if file is not None:
        return Look(file=str(file))
    return Look(nbd=Endpoint(socket=str(daemon.nbd_socket), export=graph.comparison_export_name(disk_id)))

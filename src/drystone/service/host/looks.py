"""Open disks read by Drystone itself, beside their guests."""

from drystone.engine import graph
from drystone.engine.live_disk import LiveDisk
from drystone.transfer.addresses import Endpoint, Look


async def look_at(disk: LiveDisk) -> Look:
    """Export an open disk for Drystone itself; the disk's graph lock is held."""
    file = await disk.export_comparison()
    if file is not None:
        return Look(file=str(file))
    return Look(nbd=Endpoint(socket=str(disk.nbd_socket), export=graph.comparison_export_name(disk.id)))

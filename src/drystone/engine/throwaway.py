"""A throw-away clone of a snapshot, for looking at it in a machine that is thrown away too; no disk of anybody's.

It has a storage daemon of its own whose image reads through to the snapshot and takes what is written. The daemon
serves nothing else: whoever is given a connection to it reaches this clone alone. It is known by its name alone, so
that whoever comes after a crash can take all of it away: daemon and files.
"""

import asyncio
import resource
import shutil
from collections.abc import Mapping

from drystone.domain.disk_types import GIB
from drystone.domain.ids import DiskId
from drystone.engine import luks, process
from drystone.engine.daemon import Daemon
from drystone.engine.graph import Backing
from drystone.engine.layout import Layout
from drystone.engine.live_disk import LiveDisk, OpenDisk
from drystone.engine.luks import LuksKey
from drystone.engine.volume import Qcow2Volume

PREFIX = "proof-"


def name_of(disk_id: DiskId) -> str:
    """Return the name of a clone, made of an id that no disk has."""
    return PREFIX + disk_id.removeprefix("disk-")


async def open_clone(
    layout: Layout,
    disk_id: DiskId,
    *,
    backing: Backing,
    size_gib: int,
    encrypted: bool,
    bytes_max: int,
    environment: Mapping[str, str],
) -> Daemon:
    """Make the clone, served as NBD under `disk_id` on the daemon's socket.

    Args:
        layout: Where.
        disk_id: An id of its own.
        backing: The snapshot.
        size_gib: Its size.
        encrypted: Whether the snapshot is: then the clone is, too, by a key that nobody keeps (S381).
        bytes_max: What may be written into the clone; its daemon dies where more is.
        environment: The daemon's.

    Raises:
        DrystoneError: It could not be made; `remove_clone` takes away what there is.
    """
    name = name_of(disk_id)
    volume = _volume(layout, name, luks.new_key() if encrypted else None)
    await volume.create(size_gib * GIB, backing)
    daemon = await Daemon.start(name, layout.daemon(name), layout.logs / f"{PREFIX}daemon.log", environment)
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (bytes_max, bytes_max))
    clone = LiveDisk(daemon=daemon, id=disk_id)
    await clone.open(OpenDisk(volume=volume, limits=None, bitmap="unused", backing=backing))
    await clone.export_nbd()
    return daemon


async def remove_clone(layout: Layout, name: str) -> None:
    """Take away everything of this name, whatever there is of it. May be repeated."""
    assert name.startswith(PREFIX)
    directory = layout.daemon(name)
    running = await asyncio.to_thread(process.adopt, directory)
    if running is not None:
        await running.end()
    _volume(layout, name).discard_draft()
    await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)


async def remove_clones(layout: Layout) -> None:
    """Take away every clone that a former run left (S193)."""
    found = [*layout.run.glob(f"{PREFIX}*"), *layout.scratch.glob(f"{PREFIX}*")]
    for name in sorted({path.name.partition(".")[0] for path in found}):
        await remove_clone(layout, name)


def _volume(layout: Layout, name: str, key: LuksKey | None = None) -> Qcow2Volume:
    return Qcow2Volume(id=DiskId("disk-" + name.removeprefix(PREFIX)), image=layout.scratch / f"{name}.qcow2", key=key)

"""What dies with a snapshot, and which packs are dead: answers for the service, which alone deletes."""

from drystone.domain.blocks import union
from drystone.snapstore.collect import pack_is_dead
from drystone.snapstore.deaths import dies
from drystone.snapstore.layers import delta_addresses
from drystone.snapstore.living import Living
from drystone.snapstore.reader import SnapshotReader
from drystone.snapstore.store import Store
from drystone.transfer.jobs import CollectJob, CollectResult, DeathsJob, DeathsResult
from drystone.transfer.upload import Report

_CACHE_BYTES = 8 << 20
"""Per snapshot: only pages of maps are read, and many snapshots are open at once."""


def deaths(job: DeathsJob, store: Store) -> DeathsResult:
    """Count the blocks that only `job.manifest` sees among it and its nearest living neighbours (L4).

    Raises:
        DrystoneError: Something could not be read; nothing may be taken for dead.
    """
    snapshot = _open(store, job.manifest)
    near = [_open(store, name) for name in job.near]
    if job.candidate_maps is None or not near:
        candidates = snapshot.data_ranges()
    else:
        candidates = union(*(delta_addresses(store, name) for name in job.candidate_maps))
    found = dies(snapshot, near, candidates)
    return DeathsResult(
        blocks_by_pack={ref.pack: dead for ref, dead in found.blocks.items()},
        bytes_by_pack={ref.pack: round(size) for ref, size in found.bytes.items()},
    )


def collect(job: CollectJob, store: Store, report: Report) -> CollectResult:
    """Return which of `job.packs` hold no block that a living snapshot sees (L7).

    Raises:
        DrystoneError: Something could not be read; none of the packs may be deleted.
    """
    living = Living.open(store, job.living)
    dead = []
    for number, pack in enumerate(job.packs):
        report(number, len(job.packs))
        if pack_is_dead(store, pack, living):
            dead.append(pack)
    return CollectResult(dead=tuple(dead))


def _open(store: Store, manifest: str) -> SnapshotReader:
    return SnapshotReader.open(store, manifest, cache_bytes=_CACHE_BYTES)

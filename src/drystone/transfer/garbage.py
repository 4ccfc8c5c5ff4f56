"""What dies with a snapshot, and which packs are dead: answers for the service, which alone deletes."""

import structlog

from drystone.domain.blocks import Ranges, union
from drystone.domain.errors import DrystoneError, IntegrityError, ProtocolError
from drystone.objects.contract import NotFoundError
from drystone.snapstore.deaths import dies
from drystone.snapstore.expected import UNTRUSTED
from drystone.snapstore.layers import delta_addresses
from drystone.snapstore.living import Living
from drystone.snapstore.packs import open_pack
from drystone.snapstore.reader import Caches, SnapshotReader
from drystone.snapstore.store import Store
from drystone.transfer.store_jobs import CollectJob, CollectResult, DeathsJob, DeathsResult
from drystone.transfer.upload import Report

_CACHE_BYTES = 8 << 20
"""Per snapshot: only pages of maps are read, and many snapshots are open at once."""

log = structlog.get_logger(__name__)


def deaths(job: DeathsJob, store: Store) -> DeathsResult:
    """Count the blocks that only `job.manifest` sees among it and its nearest living neighbours (L4).

    What cannot be trusted is a fault of the result: a damaged snapshot can be deleted, too.

    Raises:
        NotFoundError: The snapshot's own manifest is not there.
        UnavailableError: The store does not answer.
    """
    try:
        snapshot = _open(store, job.manifest)
    except (IntegrityError, ProtocolError) as error:
        return _not_counted(error)
    try:
        near = [_open(store, name) for name in job.near]
    except UNTRUSTED as error:
        return _not_counted(error, near_missing=isinstance(error, NotFoundError))
    try:
        found = dies(snapshot, near, _candidates(job, store, snapshot))
    except UNTRUSTED as error:
        return _not_counted(error)
    return DeathsResult(
        blocks_by_pack={ref.pack: dead for ref, dead in found.blocks.items()},
        bytes_by_pack={ref.pack: round(size) for ref, size in found.bytes.items()},
        doubtful_packs=tuple(sorted(ref.pack for ref in found.doubtful)),
    )


def _not_counted(error: DrystoneError, *, near_missing: bool = False) -> DeathsResult:
    return DeathsResult(blocks_by_pack={}, bytes_by_pack={}, fault=str(error), near_missing=near_missing)


def _candidates(job: DeathsJob, store: Store, snapshot: SnapshotReader) -> Ranges:
    """Return blocks outside which nothing can die: of the maps if they can be read, else all of the snapshot."""
    if job.candidate_maps is not None and job.near:
        try:
            return union(*(delta_addresses(store, name) for name in job.candidate_maps))
        except UNTRUSTED as error:
            log.warning("deaths.candidates_not_read", manifest=job.manifest, error=str(error))
    return snapshot.data_ranges()


def collect(job: CollectJob, store: Store, report: Report) -> CollectResult:
    """Return which of `job.packs` hold no block that a living snapshot sees (L7, S14).

    A pack whose own index cannot be read stays; the others are judged.

    Raises:
        DrystoneError: A living snapshot could not be read; none of the packs may be deleted.
    """
    living = Living.open(store, job.living)
    dead: list[str] = []
    faults: dict[str, str] = {}
    for number, name in enumerate(job.packs):
        report(number, len(job.packs))
        try:
            pack = open_pack(store, name)
        except UNTRUSTED as error:
            faults[name] = str(error)
            continue
        # Not within the `try`: a map that cannot be read stops everything (L7).
        if not living.mask(pack.index).any():
            dead.append(name)
    return CollectResult(dead=tuple(dead), faults=faults)


def _open(store: Store, manifest: str) -> SnapshotReader:
    return SnapshotReader.open(store, manifest, Caches(_CACHE_BYTES))

"""What snapshots hold alone and together (L13), told by a worker: it reads the delta maps of whole trees."""

from drystone.codec.map import PackRef
from drystone.snapstore.space import SpaceMemory, tree_space
from drystone.snapstore.store import Store
from drystone.transfer.store_jobs import SnapshotSpace, SpaceJob, SpaceResult


def space(job: SpaceJob, store: Store, memory: SpaceMemory | None = None) -> SpaceResult:
    """Return the bytes of every living snapshot of these trees, and what deleting the chosen ones makes dead.

    Raises:
        DrystoneError: As `tree_space`.
    """
    found = tree_space(
        store,
        job.nodes,
        memory=memory,
        objects={PackRef(pack=pack, session=session): name for pack, session, name in job.packs},
    )
    return SpaceResult(
        snapshots=tuple(
            SnapshotSpace(snapshot=name, unique_bytes=round(unique), shared_bytes=round(found.shared[name]))
            for name, unique in found.unique.items()
        ),
        dead_blocks_by_pack={ref.pack: blocks for ref, blocks in found.dead_blocks.items()},
        dead_bytes_by_pack={ref.pack: round(size) for ref, size in found.dead_bytes.items()},
    )

"""Which blocks of a pack the living snapshots see: the proof before anything is deleted or zeroed (L4, L7, L8)."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from drystone.codec.manifest import Manifest
from drystone.codec.map import PackRef
from drystone.codec.pack import PackIndex
from drystone.domain.blocks import cover_bytes
from drystone.snapstore.cache import ByteCache
from drystone.snapstore.layers import MapLayer, PageCache
from drystone.snapstore.manifests import read_manifest
from drystone.snapstore.store import Store

_PAGES_BYTES = 64 << 20
_ANSWERS_BYTES = 128 << 20
"""What the maps say of the blocks that are looked at together: two bytes for each block and map."""

_Says = tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]
"""Of one map, for each block: whether it has an entry at its address, and whether that entry is this very block."""


class Living:
    """All living snapshots of a store, of all disks: a clone of a clone may see a block, too.

    A map that many snapshots list is read once, and asked once for each pack; what each snapshot shows follows from
    the answers of its maps. So a thousand snapshots of one disk cost little more than the maps that differ.

    Args:
        manifests: Of every NORMAL and DELETING snapshot.

    Raises:
        NotFoundError, IntegrityError, ProtocolError: A map of them cannot be read; nothing may be deleted.
    """

    def __init__(self, store: Store, manifests: Sequence[Manifest]) -> None:
        self._pages: PageCache = ByteCache(_PAGES_BYTES)
        # Snapshots between which nothing was written show the same, and are asked once.
        views = {(tuple(part.object for part in one.maps), cover_bytes(0, one.size_bytes)[1]) for one in manifests}
        self._views = sorted(views)
        # All of them now: one that cannot be read stops everything (L7), whether it would be asked or not.
        names = sorted({name for view, _ in self._views for name in view})
        self._layers = {name: MapLayer(store, name, self._pages) for name in names}
        self._naming: dict[PackRef, set[str]] = {}
        """By pack: the maps that name it."""
        for name, layer in self._layers.items():
            for ref in layer.packs:
                self._naming.setdefault(ref, set()).add(name)

    @staticmethod
    def open(store: Store, manifests: Sequence[str]) -> "Living":
        """Read the manifests of these object names.

        Raises:
            NotFoundError, IntegrityError, ProtocolError: One of them, or a map, cannot be read; nothing may be deleted.
        """
        return Living(store, [read_manifest(store, name) for name in manifests])

    def mask(self, index: PackIndex) -> npt.NDArray[np.bool_]:
        """Return, for each row of a pack's own index, whether a living snapshot sees that block.

        Raises:
            NotFoundError, IntegrityError, ProtocolError, UnavailableError: A map cannot be read; no block may be
                taken for dead.
        """
        ref = PackRef(pack=index.header.pack, session=index.header.session)
        naming = self._naming.get(ref, set())
        views = [view for view in self._views if not naming.isdisjoint(view[0])]
        seen = np.zeros(len(index.addresses), dtype=np.bool_)
        if not views:
            return seen
        maps = len({name for names, _ in views for name in names})
        step = max(1, _ANSWERS_BYTES // (2 * maps))
        for at in range(0, len(seen), step):
            rows = slice(at, at + step)
            seen[rows] = self._seen(index, ref, rows, views)
        return seen

    def _seen(
        self, index: PackIndex, ref: PackRef, rows: slice, views: Sequence[tuple[tuple[str, ...], int]]
    ) -> npt.NDArray[np.bool_]:
        addresses = index.addresses[rows]
        numbers = np.repeat(np.arange(len(index.counts)), index.counts)[rows]
        slots = np.arange(rows.start, rows.start + len(addresses)) - index.first_rows[numbers]
        answers: dict[str, _Says] = {}
        seen = np.zeros(len(addresses), dtype=np.bool_)
        unseen = np.arange(len(addresses))
        for names, size_blocks in views:
            # Most blocks are seen by the first snapshots that are asked: the others look at what is left.
            undecided = unseen[addresses[unseen] < size_blocks]
            for name in names:  # newest first: the first entry decides
                if not len(undecided):
                    break
                says = answers.get(name)
                if says is None:
                    says = answers[name] = self._ask(name, ref, addresses, numbers, slots)
                known, this = says
                seen[undecided[this[undecided]]] = True
                undecided = undecided[~known[undecided]]
            unseen = unseen[~seen[unseen]]
        return seen

    def _ask(
        self,
        name: str,
        ref: PackRef,
        addresses: npt.NDArray[np.int64],
        numbers: npt.NDArray[np.int64],
        slots: npt.NDArray[np.int64],
    ) -> _Says:
        layer = self._layers[name]
        found = layer.find(addresses)
        if name not in self._naming[ref]:
            return found.known, np.zeros(len(addresses), dtype=np.bool_)
        row = layer.packs.index(ref)
        this = (found.packs == row) & (found.numbers == numbers) & (found.slots == slots)
        return found.known, this

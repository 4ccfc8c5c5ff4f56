"""What a store holds, found out from its objects alone (L11): which snapshots are whole, which packs there are.

Nothing is written, and nothing is judged that could not be read: what is not proven whole is named, and left alone.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from drystone.codec.hashes import list_hash
from drystone.codec.manifest import Manifest
from drystone.codec.map import PackRef
from drystone.codec.pack import FRAME_BLOCKS_MAX
from drystone.domain.blocks import Ranges
from drystone.domain.errors import IntegrityError, ProtocolError
from drystone.domain.ids import PackId, SessionId, SnapshotId
from drystone.domain.late_writes import Made
from drystone.objects.contract import NotFoundError, ObjectEntry
from drystone.snapstore.cache import ByteCache
from drystone.snapstore.manifests import (
    Attributes,
    ManifestEntry,
    is_deleted,
    list_shelf,
    read_attributes,
    read_manifest,
)
from drystone.snapstore.packs import OpenPack, PackSource, open_pack
from drystone.snapstore.reader import DATA, Caches, SnapshotReader
from drystone.snapstore.store import Store

INDEXES_BYTES = 512 << 20
FRAMES_BYTES = 256 << 20
_FRAME_BYTES = 300
"""What one proven frame takes in memory, about."""
_READER_BYTES = 64 << 20
_WINDOW_BLOCKS = 1 << 16
DELETED = "it was deleted, or given up: its tombstone says so"
NEVER_COMMITTED = "its writing was given up, and nothing is made of it: it was never a snapshot"

OnProgress = Callable[[int, int], None]
"""Takes the number of snapshots looked at, and of all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSnapshot:
    """A snapshot that is whole: each block that it shows is in an index of a pack that is there."""

    object: str
    manifest: Manifest
    attributes: Attributes | None
    """None if it has none that can be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftAlone:
    """A manifest that is not listed as a snapshot, and why."""

    object: str
    snapshot: SnapshotId
    session: SessionId
    reason: str
    manifest: Manifest | None
    """None if it could not be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPack:
    """A pack, and the object of it that holds most."""

    ref: PackRef
    object: str
    bytes: int
    blocks: int
    """Living ones, as the object's index says."""
    named: bool
    """Whether a map of a snapshot that is whole names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """A store's content."""

    manifests: frozenset[str]
    """Every manifest object that was listed."""
    tombstones: frozenset[Made]
    """Of manifests that were deleted, or never were a snapshot's: what they are named after."""
    snapshots: tuple[FoundSnapshot, ...]
    """One for each id, the oldest first."""
    left_alone: tuple[LeftAlone, ...]
    packs: tuple[FoundPack, ...]
    maps: frozenset[str]
    """Names of all maps."""
    sessions: frozenset[SessionId]
    """Every session that an object is named after."""
    in_use: frozenset[SessionId]
    """The sessions that wrote a manifest, a map or a pack that something is read with, snapshots left alone too."""
    foreign: tuple[str, ...]
    """Objects with names that this format does not have; told, and left alone."""


def take_inventory(
    store: Store,
    on_progress: OnProgress = lambda _done, _all: None,
    *,
    given_up: frozenset[SessionId] = frozenset(),
    in_force: frozenset[str] = frozenset(),
) -> Inventory:
    """Read every manifest, map and pack index of a store, and tell which snapshots are whole.

    Requests and time follow the number of maps and packs; memory is bounded but for the names. No data is read: that
    a frame's bytes are what its index says is for a scrub to find out.

    Args:
        store: The store.
        on_progress: Is told how far it is.
        given_up: Sessions that a catalog knows to be FENCED: what they wrote was never committed, and is garbage by
            its name (L6, I1). Such a manifest is left alone, whole or not, unless another snapshot is made of what its
            session wrote: then some catalog did commit it.
        in_force: Manifests that a catalog names; of several of one snapshot such a one is chosen.

    Raises:
        UnavailableError: The store does not answer; nothing is known.
    """
    listing = list_objects(store)
    check = _Completeness(store, listing)
    shelf = list_shelf(store)
    entries = sorted(shelf.manifests, key=lambda entry: entry.object)
    whole: list[FoundSnapshot] = []
    left: list[LeftAlone] = []
    tombstones = set(shelf.tombstones)
    there = [entry for entry in entries if entry.made not in tombstones]
    waiting = [entry for entry in there if entry.session in given_up]
    judged = [entry for entry in there if entry.session not in given_up]
    done = 0
    while judged:
        for entry in judged:
            on_progress(done, len(entries))
            done += 1
            found = _judge(store, entry, check)
            if isinstance(found, LeftAlone):
                left.append(found)
            elif is_deleted(store, entry.made):
                # S210: the listing is behind, or it was deleted meanwhile.
                tombstones.add(entry.made)
            else:
                whole.append(found)
        in_use = _in_use(whole, left, check)
        judged = [entry for entry in waiting if entry.session in in_use]
        waiting = [entry for entry in waiting if entry.session not in in_use]
    on_progress(len(entries), len(entries))
    for reason, several in (
        (NEVER_COMMITTED, waiting),
        (DELETED, [entry for entry in entries if entry.made in tombstones]),
    ):
        left += [
            LeftAlone(object=entry.object, snapshot=entry.snapshot, session=entry.session, reason=reason, manifest=None)
            for entry in several
        ]
    chosen, doubles = _one_each(whole, in_force)
    return Inventory(
        manifests=frozenset(entry.object for entry in entries),
        tombstones=frozenset(tombstones),
        snapshots=tuple(sorted(chosen, key=lambda one: (one.manifest.taken_at, one.manifest.snapshot))),
        left_alone=tuple(sorted([*left, *doubles], key=lambda one: one.object)),
        packs=tuple(_packs(store, listing, check)),
        maps=frozenset(listing.maps),
        sessions=listing.sessions | {entry.session for entry in entries},
        in_use=_in_use(whole, left, check),
        foreign=tuple(listing.foreign),
    )


def _in_use(whole: list[FoundSnapshot], left: list[LeftAlone], check: "_Completeness") -> frozenset[SessionId]:
    """Return who wrote what the manifests need; of a snapshot that is not whole at least its own and its maps."""
    read = [one.manifest for one in whole] + [one.manifest for one in left if one.manifest is not None]
    found = {ref.session for ref in check.named}
    for manifest in read:
        found.add(manifest.session)
        found.update(SessionId(part.object.split("/")[-2]) for part in manifest.maps)
    return frozenset(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """All packs and maps of a store, by listing; nothing of their content was read."""

    packs: Mapping[PackRef, Mapping[str, int]]
    """By pack: the names and lengths of its objects."""
    maps: frozenset[str]
    foreign: tuple[str, ...]
    """Names that this format does not have."""

    @property
    def sessions(self) -> frozenset[SessionId]:
        """The sessions that wrote them."""
        return frozenset({ref.session for ref in self.packs} | {SessionId(name.split("/")[-2]) for name in self.maps})


def list_objects(store: Store) -> Listing:
    """List all packs and maps of a store."""
    return listing_of(store, packs_and_maps(store))


def packs_and_maps(store: Store) -> Iterator[ObjectEntry]:
    """Yield all packs and maps of a store, by listing."""
    for kind in ("packs", "maps"):
        yield from store.objects.list(store.name(kind, ""))


def listing_of(store: Store, entries: Iterable[ObjectEntry]) -> Listing:
    """Return what the names of packs and maps say."""
    packs: dict[PackRef, dict[str, int]] = {}
    maps: set[str] = set()
    foreign: list[str] = []
    for entry in entries:
        kind, _, rest = entry.name.removeprefix(store.name("")).partition("/")
        session, _, last = rest.partition("/")
        pack, _, attempt = last.partition(".")
        if kind == "packs" and all(map(_is_hex128, (session, pack, attempt))):
            ref = PackRef(pack=PackId(pack), session=SessionId(session))
            packs.setdefault(ref, {})[entry.name] = entry.size_bytes
        elif kind == "maps" and _is_hex128(session) and _is_hex128(last):
            maps.add(entry.name)
        else:
            foreign.append(entry.name)
    return Listing(packs=packs, maps=frozenset(maps), foreign=tuple(foreign))


def _is_hex128(text: str) -> bool:
    return len(text) == 32 and set(text) <= set("0123456789abcdef")


def _judge(store: Store, entry: ManifestEntry, check: "_Completeness") -> FoundSnapshot | LeftAlone:
    manifest: Manifest | None = None
    try:
        manifest = read_manifest(store, entry.object)
        check.prove(manifest)
    except (IntegrityError, ProtocolError, NotFoundError) as error:
        return LeftAlone(
            object=entry.object, snapshot=entry.snapshot, session=entry.session, reason=str(error), manifest=manifest
        )
    try:
        attributes = read_attributes(store, entry.snapshot)
    except (NotFoundError, ProtocolError):
        attributes = None
    return FoundSnapshot(object=entry.object, manifest=manifest, attributes=attributes)


def _one_each(whole: list[FoundSnapshot], in_force: frozenset[str]) -> tuple[list[FoundSnapshot], list[LeftAlone]]:
    """Choose one manifest of each snapshot: a second one is of an attempt that another attempt followed.

    Both show the same frozen view. The one that a catalog names was committed. Without such a one: later snapshots are
    made of what the committed one wrote, so the one whose own map is listed most often is chosen. The other is named.
    """
    listed: dict[str, int] = {}
    for one in whole:
        for part in one.manifest.maps:
            listed[part.object] = listed.get(part.object, 0) + 1
    by_id: dict[SnapshotId, list[FoundSnapshot]] = {}
    for one in whole:
        by_id.setdefault(one.manifest.snapshot, []).append(one)
    chosen: list[FoundSnapshot] = []
    doubles: list[LeftAlone] = []
    for several in by_id.values():
        several.sort(key=lambda one: (one.object not in in_force, -listed[one.manifest.maps[0].object], one.object))
        chosen.append(several[0])
        for one in several[1:]:
            manifest, reason = one.manifest, f"{several[0].object} is of the same snapshot"
            doubles.append(
                LeftAlone(
                    object=one.object,
                    snapshot=manifest.snapshot,
                    session=manifest.session,
                    reason=reason,
                    manifest=manifest,
                )
            )
    return chosen, doubles


class _Completeness:
    """Proves snapshots whole (L9, L11, S52); what was proven of a frame is kept for the snapshots that share it."""

    def __init__(self, store: Store, listing: Listing) -> None:
        self._store = store
        self._listing = listing
        self._source = PackSource(store, ByteCache(INDEXES_BYTES))
        self._living: ByteCache[tuple[PackRef, int, bytes], np.uint64] = ByteCache(FRAMES_BYTES)
        self.named: set[PackRef] = set()

    def prove(self, manifest: Manifest) -> None:
        """Return if every block that a snapshot shows is in the index of a pack that is there, living.

        Raises:
            NotFoundError: A map or a pack is not there.
            IntegrityError, ProtocolError: One cannot be trusted, or does not hold what is shown.
            UnavailableError: The store does not answer: nothing is proven either way.
        """
        for part in manifest.maps:
            if part.object not in self._listing.maps:
                raise NotFoundError(f"map {part.object} is not there")
        reader = SnapshotReader(self._store, manifest, Caches(_READER_BYTES))
        refs = reader.packs
        for start, stop in _windows(reader.data_ranges(), reader.size_blocks):
            visible = reader.visible(start, stop)
            data = visible.kinds == DATA
            frames, slots = visible.frames[data], visible.slots[data]
            if len(slots) and int(slots.max()) >= FRAME_BLOCKS_MAX:
                raise IntegrityError(f"an entry near block {start} points behind its frame")
            wanted = np.zeros(len(visible.table.numbers), dtype=np.uint64)
            np.bitwise_or.at(wanted, frames, np.left_shift(np.uint64(1), slots.astype(np.uint64)))
            table = zip(
                visible.table.packs.tolist(), visible.table.numbers.tolist(), visible.table.hashes, wanted, strict=True
            )
            for row, number, digest, slots_wanted in table:
                missing = slots_wanted & ~self._slots(refs[row], number, digest.tobytes())
                if missing:
                    raise IntegrityError(
                        f"pack {refs[row].pack}, frame {number}: {int(missing).bit_count()} blocks near block {start} "
                        "are shown, but are dead or not there"
                    )
        self.named.update(refs)

    def _slots(self, ref: PackRef, number: int, digest: bytes) -> np.uint64:
        """Return which slots of a frame some object of its pack has, living, as bits."""
        key = (ref, number, digest)
        living = self._living.get(key)
        if living is None:
            if ref not in self._listing.packs:
                raise NotFoundError(f"pack {ref.pack} of session {ref.session} is not there")
            living = np.uint64(0)
            for pack in self._source.open(ref):
                living |= _living_slots(self._store, pack, number, digest)
            self._living.put(key, living, _FRAME_BYTES)
        return living


def _living_slots(store: Store, pack: OpenPack, number: int, digest: bytes) -> np.uint64:
    index = pack.index
    if number >= len(index.counts) or list_hash(store.keys, index.frame_hashes(number)) != digest:
        return np.uint64(0)
    dead = index.dead[int(index.first_rows[number]) : int(index.first_rows[number + 1])]
    bits = np.left_shift(np.uint64(1), np.flatnonzero(~dead).astype(np.uint64))
    return np.uint64(np.bitwise_or.reduce(bits)) if len(bits) else np.uint64(0)


def _windows(ranges: Ranges, stop: int) -> Iterator[tuple[int, int]]:
    """Yield windows that cover the ranges, and little else."""
    at = 0
    while True:
        row = int(np.searchsorted(ranges[:, 1], at, side="right"))
        if row == len(ranges):
            return
        start = max(at, int(ranges[row, 0]))
        if start >= stop:
            return
        last = int(np.searchsorted(ranges[:, 0], start + _WINDOW_BLOCKS, side="left")) - 1
        at = min(start + _WINDOW_BLOCKS, int(ranges[last, 1]), stop)
        yield start, at


def _packs(store: Store, listing: Listing, check: _Completeness) -> Iterator[FoundPack]:
    """Yield every pack that has an object that can be trusted; of several the one with most living blocks (L8)."""
    for ref, objects in sorted(listing.packs.items(), key=lambda item: (item[0].session, item[0].pack)):
        best: tuple[int, OpenPack] | None = None
        for name, size_bytes in sorted(objects.items()):
            try:
                opened = open_pack(store, name, size_bytes)
            except (IntegrityError, ProtocolError, NotFoundError):
                continue
            living = int(np.count_nonzero(~opened.index.dead))
            if best is None or living > best[0]:
                best = living, opened
        if best is not None:
            yield FoundPack(
                ref=ref, object=best[1].object, bytes=objects[best[1].object], blocks=best[0], named=ref in check.named
            )

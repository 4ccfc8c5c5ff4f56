"""Reading packs: from identity to object, index, frame; every byte verified."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, partial
from itertools import islice, pairwise
from typing import Final, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from drystone.codec.hashes import HASH_BYTES, Buffer, list_hash
from drystone.codec.manifest import Manifest, ManifestPack
from drystone.codec.map import PackRef
from drystone.codec.pack import (
    PACK_TAIL_MAGIC,
    PackIndex,
    decode_frame,
    decode_index,
    encode_pack_tail,
    open_sealed_index,
    seal_pack,
)
from drystone.codec.sealed import Kind
from drystone.domain.blocks import BLOCK_BYTES
from drystone.domain.errors import DrystoneError, IntegrityError, ProtocolError, UnavailableError
from drystone.domain.ids import KeyId, PackId, SessionId
from drystone.objects.around import LISTED
from drystone.objects.contract import NotFoundError, ObjectEntry
from drystone.snapstore.cache import ByteCache
from drystone.snapstore.far import proven
from drystone.snapstore.layers import TAIL_GUESS_BYTES, IndexForm, read_tail
from drystone.snapstore.store import Store

T = TypeVar("T")
_ROW_BYTES: Final = 32
"""What an index takes in memory per block, about."""
_ENTRY_BYTES: Final = 400
"""What an object of a listing takes in memory, about."""
_LISTED_BYTES: Final = 4 << 20
_OBJECT: Final = re.compile(r"[0-9a-f]{32}\.[0-9a-f]{32}")
LISTING: Final = "listing"
"""What the first page of a session's packs is called in the local cache."""
FAR_GUESS_BYTES: Final = 256 << 10
"""The index of a pack of 32 MiB in one request: less than what a second one takes over most networks."""


class How(Enum):
    """How objects of a pack were found."""

    TOLD = "told by a manifest: there may be others"
    LISTED = "listed with their session, some time ago"
    LOOKED_FOR = "listed for this pack"


class MissingPackError(UnavailableError):
    """No object of a pack is listed: the store answers, so its loss must not be taken for an outage."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OpenPack:
    """One object of a pack, its size, and its index."""

    object: str
    size_bytes: int
    index: PackIndex


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """A frame's verified bytes; blocks whose slot is `dead` are not its content."""

    object: str
    plain: bytes
    dead: npt.NDArray[np.bool_]


def session_prefix(store: Store, session: SessionId) -> str:
    """Return what the names of all packs of a session begin with."""
    return store.name("packs", session, "")


def encode_listing(packs: Iterable[tuple[str, int]]) -> bytes:
    """Return what the local cache has of a session's packs: the name and the size of each object."""
    return msgspec.json.encode(list(packs))


def open_pack(store: Store, name: str, size_bytes: int | None = None) -> OpenPack:
    """Return a pack object's index.

    Raises:
        NotFoundError: There is no such object.
        IntegrityError: Its seal does not fit, or it is another pack than its name says.
        ProtocolError: It is no pack.
    """

    def named_so(index: PackIndex) -> PackIndex:
        named = store.pack_name(index.header.session, index.header.pack, index.header.attempt)
        if named != name:
            raise IntegrityError(f"pack {name} says that it is {named}")
        return index

    size = store.objects.size(name) if size_bytes is None else size_bytes
    guess_bytes = TAIL_GUESS_BYTES if store.far is None else FAR_GUESS_BYTES
    form = IndexForm(
        magic=PACK_TAIL_MAGIC, kind=Kind.PACK,
        decode=lambda trailer, stored: named_so(decode_index(store.keys, trailer, stored, name)),
        open=lambda opener, stored: named_so(open_sealed_index(opener, stored, name)),
    )  # fmt: skip
    index, _ = read_tail(store, name, size, form, guess_bytes)
    return OpenPack(object=name, size_bytes=size, index=index)


def pack_parts(store: Store, index: PackIndex, frames: Sequence[Buffer], key_id: KeyId | None) -> list[Buffer]:
    """Return what a new object of a pack is written from.

    Args:
        store: Where it will be.
        index: Of the object; its header has the version of the store.
        frames: As the index says that they are stored.
        key_id: The data key that seals it; None where nothing is sealed.
    """
    if store.seals is None:
        return [index.header.encode(), *frames, encode_pack_tail(store.keys, index)]
    assert key_id is not None
    name = store.pack_name(index.header.session, index.header.pack, index.header.attempt)
    return list(seal_pack(store.seals.sealing(store.what(name, Kind.PACK), key_id), index, frames))


def key_of(index: PackIndex) -> KeyId | None:
    """Return the data key that sealed a pack that was read; None if it is not sealed."""
    return None if index.opener is None else index.opener.foot.key_id


def shares(index: PackIndex) -> npt.NDArray[np.float64]:
    """Return, for each frame, the stored bytes that each block has which is not flagged dead: an even share."""
    holding = np.add.reduceat(~index.dead, index.first_rows[:-1], dtype=np.int64)
    return np.divide(index.stored_bytes, holding, out=np.zeros(len(holding)), where=holding > 0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OpenPacks:
    """Objects of a pack that can be trusted, and how they were found."""

    packs: tuple[OpenPack, ...]
    how: How


PackCache = ByteCache[PackRef, OpenPacks]
"""Indexes in memory."""


class PackSource:
    """The packs of a store, with their indexes cached; thread-safe.

    Where a pack's objects are is known from a manifest, or from one listing of its session (S208). Compaction may put a
    second object beside the first and then remove the first (L8): what fails in the objects that are known, or is not
    there, is looked for by listing that pack, and tried once more.

    Args:
        store: Where they are.
        opened: For indexes.
        manifest: Tells the objects of packs that its session wrote.
    """

    def __init__(self, store: Store, opened: PackCache, manifest: Manifest | None = None) -> None:
        self._store = store
        self._manifest = manifest
        self._opened = opened
        self._listed: ByteCache[SessionId, _Listing] = ByteCache(_LISTED_BYTES)

    def frame(self, ref: PackRef, number: int, expected: bytes) -> Frame:
        """Return a frame, its list checked against `expected` and its living blocks against the list (I10).

        Raises:
            IntegrityError: No object of the pack has the frame as it was written.
            MissingPackError: The pack is not there.
        """
        return self._first(ref, lambda pack: self._read(pack, [(number, expected)])[0])

    def frames(self, ref: PackRef, wanted: Sequence[tuple[int, bytes]]) -> list[Frame]:
        """Return frames that follow each other, (number, expected) each, by one request; as `frame` otherwise."""
        if len(wanted) > 1:
            try:
                return self._read(self._open(ref).packs[0], wanted)
            except (IntegrityError, ProtocolError, NotFoundError):
                # One of them is damaged or was moved: the others need not be.
                pass
        return [self.frame(ref, *one) for one in wanted]

    def hashes(self, ref: PackRef, number: int, expected: bytes) -> npt.NDArray[np.uint8]:
        """Return a frame's block hashes, shape (blocks, 16), checked against `expected` (I10).

        Raises:
            IntegrityError: No object of the pack has this list.
            MissingPackError: The pack is not there.
        """
        raw = self._first(ref, lambda pack: self._checked(pack, number, expected))
        return np.frombuffer(raw, dtype=np.uint8).reshape(-1, HASH_BYTES)

    def open(self, ref: PackRef) -> tuple[OpenPack, ...]:
        """Return the objects of a pack, the one with most living blocks first.

        Raises:
            IntegrityError, ProtocolError: None of them can be trusted.
            MissingPackError: There is none, in two listings.
        """
        try:
            found = self._open(ref)
            return (self._look(ref) if found.how is How.TOLD else found).packs
        except NotFoundError:
            try:
                return self._look(ref).packs
            except NotFoundError as error:
                raise MissingPackError(f"pack {ref.pack} of session {ref.session}: {error}") from error

    def fetch(self, refs: Sequence[PackRef]) -> None:
        """Over a network, have the indexes of packs come at once; what is wrong with one is told to who reads it."""
        if self._store.far is None:
            return

        def fetch(ref: PackRef) -> None:
            with suppress(DrystoneError):
                self._open(ref)

        for _ in self._store.far.each(fetch, [ref for ref in refs if self._opened.get(ref) is None]):
            pass

    def _first(self, ref: PackRef, read: Callable[[OpenPack], T]) -> T:
        """Return what is read of the first object of a pack that has it."""
        faults: list[Exception] = []
        try:
            found = self._open(ref)
            for pack in found.packs:
                try:
                    return read(pack)
                except IntegrityError as error:
                    faults.append(error)
        except (NotFoundError, IntegrityError, ProtocolError):
            found = None
        if found is None or found.how is not How.LOOKED_FOR:
            faults.clear()
            try:
                for pack in self._look(ref).packs:
                    try:
                        return read(pack)
                    except IntegrityError as error:
                        faults.append(error)
            except NotFoundError as error:
                self._opened.drop(ref)
                raise MissingPackError(f"pack {ref.pack} of session {ref.session}: {error}") from error
        raise IntegrityError("; ".join(str(fault) for fault in faults))

    @cached_property
    def _told(self) -> Mapping[PackId, ManifestPack]:
        """Made when the first of them is read: they may be hundreds of thousands."""
        return {} if self._manifest is None else {one.pack: one for one in self._manifest.packs}

    def _open(self, ref: PackRef) -> OpenPacks:
        """Return what is known of a pack."""

        def find() -> tuple[OpenPacks, int]:
            own = self._manifest is not None and ref.session == self._manifest.session
            told = self._told.get(ref.pack) if own else None
            if told is not None:
                try:
                    return _kept([open_pack(self._store, told.object, told.bytes)], How.TOLD)
                except (NotFoundError, IntegrityError, ProtocolError):
                    pass
            listing = self._listed.once(ref.session, lambda: self._list(ref.session))
            entries = listing.packs.get(ref.pack)
            if entries is None:
                entries = () if listing.all else self._entries(ref)
            return self._opened_of(entries, How.LISTED)

        return self._opened.once(ref, find)

    def _look(self, ref: PackRef) -> OpenPacks:
        """Look for the objects of a pack anew."""
        self._opened.drop(ref)
        self._listed.drop(ref.session)
        if self._store.far is not None and self._store.far.cache is not None:
            self._store.far.cache.drop(session_prefix(self._store, ref.session), LISTING)
        return self._opened.once(ref, lambda: self._opened_of(self._entries(ref), How.LOOKED_FOR))

    def _entries(self, ref: PackRef) -> Sequence[ObjectEntry]:
        return list(self._store.objects.list(self._store.pack_prefix(ref.session, ref.pack)))

    def _list(self, session: SessionId) -> tuple["_Listing", int]:
        """Return the first page of a session's packs: nearly always that is all."""
        prefix = session_prefix(self._store, session)

        def read() -> bytes:
            entries = islice(self._store.objects.list(prefix), LISTED)
            return encode_listing((entry.name, entry.size_bytes) for entry in entries)

        def prove(raw: bytes) -> list[ObjectEntry]:
            """It is a hint (S208): whatever it says, an object is proven before it is used."""
            try:
                told = msgspec.json.decode(raw, type=list[tuple[str, int]])
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise ProtocolError(f"{prefix}: no listing: {error}") from error
            if not all(name.startswith(prefix) and _OBJECT.fullmatch(name[len(prefix) :]) and size > 0
                       for name, size in told):  # fmt: skip
                raise ProtocolError(f"{prefix}: a listing of something else")
            return [ObjectEntry(name=name, size_bytes=size) for name, size in told]

        entries = proven(self._store.far, prefix, LISTING, read, prove)
        packs: dict[str, list[ObjectEntry]] = {}
        for entry in entries:
            packs.setdefault(entry.name.rpartition("/")[2].partition(".")[0], []).append(entry)
        if whole := len(entries) < LISTED:
            return _Listing(packs=packs, all=whole), _ENTRY_BYTES * (1 + len(entries))
        # Further objects of the last one may be on the next page.
        packs.popitem()
        return _Listing(packs=packs, all=whole), _ENTRY_BYTES * len(entries)

    def _opened_of(self, entries: Sequence[ObjectEntry], how: How) -> tuple[OpenPacks, int]:
        if not entries:
            raise NotFoundError("no object of it is listed")
        opened: list[OpenPack] = []
        fault: IntegrityError | ProtocolError | None = None
        for entry in entries:
            try:
                opened.append(open_pack(self._store, entry.name, entry.size_bytes))
            except (IntegrityError, ProtocolError) as error:
                fault = error
        if not opened:
            assert fault is not None
            raise fault
        return _kept(opened, how)

    def _checked(self, pack: OpenPack, number: int, expected: bytes) -> bytes:
        """Return a frame's list of hashes, if it is the one that the map's entry names."""
        if number >= len(pack.index.counts):
            raise IntegrityError(f"{pack.object} has {len(pack.index.counts)} frames, frame {number} is wanted")
        hashes = pack.index.frame_hashes(number)
        if list_hash(self._store.keys, hashes) != expected:
            raise IntegrityError(f"{pack.object}, frame {number}: its list of hashes is not the map's")
        return hashes

    def _read(self, pack: OpenPack, wanted: Sequence[tuple[int, bytes]]) -> list[Frame]:
        """Return frames of one object that follow each other."""
        index, first = pack.index, wanted[0][0]
        for number, expected in wanted:
            self._checked(pack, number, expected)
        edges = index.offsets[first : first + len(wanted) + 1].tolist()
        far, objects = self._store.far, self._store.objects
        read = partial(objects.get_range, pack.object, edges[0], edges[-1])
        worth_bytes = int(index.counts[first : first + len(wanted)].sum()) * BLOCK_BYTES
        stored = memoryview(read() if far is None else far.pace.measured(read, worth_bytes))
        frames = []
        for (number, _), (start, stop) in zip(wanted, pairwise(edges), strict=True):
            part = stored[start - edges[0] : stop - edges[0]]
            plain = decode_frame(self._store.keys, index, number, part, pack.object)
            rows = slice(int(index.first_rows[number]), int(index.first_rows[number + 1]))
            frames.append(Frame(object=pack.object, plain=plain, dead=index.dead[rows]))
        return frames


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Listing:
    """Objects of a session by pack, and whether these are all."""

    packs: Mapping[str, Sequence[ObjectEntry]]
    all: bool


def _kept(opened: Sequence[OpenPack], how: How) -> tuple[OpenPacks, int]:
    packs = tuple(sorted(opened, key=lambda pack: int(np.count_nonzero(pack.index.dead))))
    return OpenPacks(packs=packs, how=how), sum(_ROW_BYTES * len(pack.index.addresses) for pack in packs)

"""Reading packs: from identity to object, index, frame; every byte verified."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from drystone.codec.hashes import HASH_BYTES, list_hash
from drystone.codec.map import PackRef
from drystone.codec.pack import PACK_TAIL_MAGIC, PackIndex, decode_frame, decode_index
from drystone.domain.errors import IntegrityError, ProtocolError, UnavailableError
from drystone.objects.contract import NotFoundError, ObjectEntry
from drystone.snapstore.cache import ByteCache
from drystone.snapstore.layers import read_tail
from drystone.snapstore.store import Store

_ROW_BYTES = 32
"""What an index takes in memory per block, about."""


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


def open_pack(store: Store, name: str, size_bytes: int | None = None) -> OpenPack:
    """Return a pack object's index.

    Raises:
        NotFoundError: There is no such object.
        IntegrityError: Its seal does not fit, or it is another pack than its name says.
        ProtocolError: It is no pack.
    """
    size = store.objects.size(name) if size_bytes is None else size_bytes
    trailer, stored = read_tail(store, name, size, PACK_TAIL_MAGIC)
    index = decode_index(store.keys, trailer, stored, name)
    header = index.header
    named = store.pack_name(header.session, header.pack, header.attempt)
    if named != name:
        raise IntegrityError(f"pack {name} says that it is {named}")
    return OpenPack(object=name, size_bytes=size, index=index)


def shares(index: PackIndex) -> npt.NDArray[np.float64]:
    """Return, for each frame, the stored bytes that each block has which is not flagged dead: an even share."""
    holding = np.add.reduceat(~index.dead, index.first_rows[:-1], dtype=np.int64)
    return np.divide(index.stored_bytes, holding, out=np.zeros(len(holding)), where=holding > 0)


class PackSource:
    """The packs of a store, with their indexes cached; thread-safe.

    Compaction may put a second object beside the first and then remove the first (L8): a pack is looked up by
    listing, what fails in one object is tried in the other, and what is not there is listed once more.
    """

    def __init__(self, store: Store, cache_bytes: int) -> None:
        self._store = store
        self._opened: ByteCache[PackRef, tuple[OpenPack, ...]] = ByteCache(cache_bytes)

    def frame(self, ref: PackRef, number: int, expected: bytes) -> Frame:
        """Return a frame, its list checked against `expected` and its living blocks against the list (I10).

        Raises:
            IntegrityError: No object of the pack has the frame as it was written.
            MissingPackError: The pack is not there.
        """
        for last in (False, True):
            faults: list[Exception] = []
            try:
                for pack in self._open(ref):
                    try:
                        return self._read(pack, number, expected)
                    except IntegrityError as error:
                        faults.append(error)
                raise IntegrityError("; ".join(str(fault) for fault in faults))
            except NotFoundError as error:
                self._opened.drop(ref)
                if last:
                    raise MissingPackError(f"pack {ref.pack} of session {ref.session}: {error}") from error
        raise AssertionError("unreachable")

    def hashes(self, ref: PackRef, number: int, expected: bytes) -> npt.NDArray[np.uint8]:
        """Return a frame's block hashes, shape (blocks, 16), checked against `expected` (I10).

        Raises:
            IntegrityError: No object of the pack has this list.
            MissingPackError: The pack is not there.
        """
        faults: list[Exception] = []
        for pack in self.open(ref):
            try:
                return np.frombuffer(self._checked(pack, number, expected), dtype=np.uint8).reshape(-1, HASH_BYTES)
            except IntegrityError as error:
                faults.append(error)
        raise IntegrityError("; ".join(str(fault) for fault in faults))

    def open(self, ref: PackRef) -> tuple[OpenPack, ...]:
        """Return the objects of a pack, the one with most living blocks first.

        Raises:
            IntegrityError, ProtocolError: None of them can be trusted.
            MissingPackError: There is none, in two listings.
        """
        try:
            return self._open(ref)
        except NotFoundError:
            try:
                return self._open(ref)
            except NotFoundError as error:
                raise MissingPackError(f"pack {ref.pack} of session {ref.session}: {error}") from error

    def _open(self, ref: PackRef) -> tuple[OpenPack, ...]:
        packs = self._opened.get(ref)
        if packs is not None:
            return packs
        prefix = self._store.pack_prefix(ref.session, ref.pack)
        entries: list[ObjectEntry] = list(self._store.objects.list(prefix))
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
        packs = tuple(sorted(opened, key=lambda pack: int(np.count_nonzero(pack.index.dead))))
        self._opened.put(ref, packs, sum(_ROW_BYTES * len(pack.index.addresses) for pack in packs))
        return packs

    def _checked(self, pack: OpenPack, number: int, expected: bytes) -> bytes:
        """Return a frame's list of hashes, if it is the one that the map's entry names."""
        if number >= len(pack.index.counts):
            raise IntegrityError(f"{pack.object} has {len(pack.index.counts)} frames, frame {number} is wanted")
        hashes = pack.index.frame_hashes(number)
        if list_hash(self._store.keys, hashes) != expected:
            raise IntegrityError(f"{pack.object}, frame {number}: its list of hashes is not the map's")
        return hashes

    def _read(self, pack: OpenPack, number: int, expected: bytes) -> Frame:
        self._checked(pack, number, expected)
        start, stop = pack.index.offsets[number : number + 2].tolist()
        stored = self._store.objects.get_range(pack.object, start, stop)
        plain = decode_frame(self._store.keys, pack.index, number, stored, pack.object)
        rows = slice(int(pack.index.first_rows[number]), int(pack.index.first_rows[number + 1]))
        return Frame(object=pack.object, plain=plain, dead=pack.index.dead[rows])

"""Rewriting a pack without its dead blocks (L8): another object of the same pack, that no map notices."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import zstandard

from drystone.codec.hashes import Buffer
from drystone.codec.pack import (
    Encoding,
    PackHeader,
    PackIndex,
    decode_frame,
    encode_frame,
    frame_compressor,
)
from drystone.domain.blocks import BLOCK_BYTES
from drystone.domain.errors import IntegrityError
from drystone.snapstore.packs import OpenPack, key_of, open_pack, pack_parts, shares
from drystone.snapstore.store import Store


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CompactionPlan:
    """What the rewriting of a pack would drop."""

    dead: npt.NDArray[np.bool_]
    """For each row of the index: flagged dead already, or seen by no living snapshot."""
    blocks: int
    """How many of them are not flagged yet."""
    bytes: int
    """Their even share of their frames, as stored."""
    stored_bytes: int
    """Of all frames."""

    @property
    def nothing_lives(self) -> bool:
        """Whether the whole pack may go."""
        return bool(self.dead.all())

    def worth_it(self, dead_percent: int) -> bool:
        """Tell whether dead bytes are at least this share of the frames; a pack without any never is."""
        return self.blocks > 0 and 100 * self.bytes >= dead_percent * self.stored_bytes


def plan_compaction(index: PackIndex, living: npt.NDArray[np.bool_]) -> CompactionPlan:
    """Return what may be dropped of a pack of which living snapshots see `living` (`Living.mask`).

    Raises:
        IntegrityError: A living snapshot sees a block that was flagged dead: nothing here may be touched (I11).
    """
    if bool((living & index.dead).any()):
        block = int(index.addresses[int(np.argmax(living & index.dead))])
        raise IntegrityError(f"pack {index.header.pack}: block {block} was dropped as dead, but a snapshot sees it")
    dying = ~living & ~index.dead
    frames = np.repeat(np.arange(len(index.counts)), index.counts)
    return CompactionPlan(
        dead=~living,
        blocks=int(np.count_nonzero(dying)),
        bytes=round(float(shares(index)[frames[dying]].sum())),
        stored_bytes=int(index.stored_bytes.sum()),
    )


def rewrite_pack(store: Store, pack: OpenPack, dead: npt.NDArray[np.bool_], attempt: str, salt: bytes) -> int:
    """Write a pack again without its dead blocks, read it back, and return the new object's size (L8, I13).

    Frames keep their numbers, blocks their slots and hashes; a frame without a living block is gone, other dead
    blocks are zeros. Nothing refers to the new object yet, and the old one is untouched. Memory: both objects.

    Args:
        store: Where.
        pack: The object to be rewritten.
        dead: For each row of its index; never again visible to anybody (I11).
        attempt: 128 random bits as hex digits: the new object's name.
        salt: 32 random bytes.

    Raises:
        IntegrityError: A living block of the old object does not match its hash (it must be mended, not copied), or
            the new object is not what was written.
        SpaceError, UnavailableError: It could not be written, or not be read back.
    """
    old = pack.index
    assert len(dead) == len(old.dead)
    assert not dead.all()
    assert not (old.dead & ~dead).any()
    raw = memoryview(store.objects.get(pack.object))
    header = PackHeader(
        pack=old.header.pack, session=old.header.session, attempt=attempt, salt=salt, version=old.header.version
    )
    compressor = frame_compressor()
    frames: list[Buffer] = []
    stored_bytes, encodings = old.stored_bytes.copy(), old.encodings.copy()
    for frame in range(len(old.counts)):
        rows = slice(int(old.first_rows[frame]), int(old.first_rows[frame + 1]))
        if dead[rows].all():
            stored_bytes[frame], encodings[frame] = 0, Encoding.GONE
            frames.append(b"")
            continue
        start, stop = old.offsets[frame : frame + 2].tolist()
        if not (dead[rows] & ~old.dead[rows]).any():
            decode_frame(store.keys, old, frame, raw[start:stop], pack.object)
            frames.append(old.opened(frame, raw[start:stop]))
            continue
        encodings[frame], packed = without_blocks(store, compressor, pack, frame, raw[start:stop], dead)
        stored_bytes[frame] = len(packed)
        frames.append(packed)
    index = PackIndex(
        header=header, stored_bytes=stored_bytes, counts=old.counts, encodings=encodings, addresses=old.addresses,
        hashes=old.hashes, dead=dead,
    )  # fmt: skip
    name = store.pack_name(header.session, header.pack, attempt)
    store.objects.put(name, pack_parts(store, index, frames, key_of(old)))
    return prove_rewritten(store, name, old, dead)


def without_blocks(
    store: Store,
    compressor: zstandard.ZstdCompressor,
    pack: OpenPack,
    frame: int,
    stored: Buffer,
    dead: npt.NDArray[np.bool_],
) -> tuple[Encoding, Buffer]:
    """Return how a frame of a pack is stored when its dead blocks are zeros; `stored` is what is stored of it now.

    Raises:
        IntegrityError: A block that is not dead does not match its hash.
    """
    rows = slice(int(pack.index.first_rows[frame]), int(pack.index.first_rows[frame + 1]))
    # What goes need not be whole: a rotten block that is dead must not hide those beside it for ever.
    emptied = bytearray(decode_frame(store.keys, pack.index, frame, stored, pack.object, dead))
    for slot in np.flatnonzero(dead[rows]).tolist():
        emptied[slot * BLOCK_BYTES : (slot + 1) * BLOCK_BYTES] = bytes(BLOCK_BYTES)
    return encode_frame(compressor, emptied)


def prove_rewritten(store: Store, name: str, old: PackIndex, dead: npt.NDArray[np.bool_]) -> int:
    """Read a rewritten pack back, verify every living block of it (I13), and return its size in bytes.

    Raises:
        IntegrityError, ProtocolError: It is not the pack `old` without the blocks that are `dead`.
        NotFoundError, UnavailableError: It is not there, or cannot be read now.
    """
    raw = memoryview(store.objects.get(name))
    new = open_pack(store, name, len(raw)).index
    same = (
        (new.header.pack, new.header.session) == (old.header.pack, old.header.session)
        and new.header.salt != old.header.salt
        and np.array_equal(new.counts, old.counts)
        and np.array_equal(new.addresses, old.addresses)
        and np.array_equal(new.hashes, old.hashes)
        and np.array_equal(new.dead, dead)
    )
    if not same:
        raise IntegrityError(f"{name}: its index is not that of pack {old.header.pack} with new dead blocks")
    for frame in range(len(new.counts)):
        rows = slice(int(new.first_rows[frame]), int(new.first_rows[frame + 1]))
        if dead[rows].all():
            if int(new.encodings[frame]) != Encoding.GONE:
                raise IntegrityError(f"{name}: frame {frame} is dead but still there")
            continue
        start, stop = new.offsets[frame : frame + 2].tolist()
        plain = decode_frame(store.keys, new, frame, raw[start:stop], name)
        words = np.frombuffer(plain, dtype=np.uint64).reshape(-1, BLOCK_BYTES // 8)
        if words[dead[rows]].any():
            raise IntegrityError(f"{name}: frame {frame} still holds bytes of a dead block")
    return len(raw)

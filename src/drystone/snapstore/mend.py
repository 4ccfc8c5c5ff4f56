"""Writing a damaged pack again, with bytes from elsewhere that have the same hash (L12, by L8's way)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from drystone.codec.binary import expand
from drystone.codec.hashes import SEAL_BYTES, Buffer
from drystone.codec.pack import (
    Encoding,
    PackHeader,
    PackIndex,
    decode_frame,
    encode_frame,
    frame_compressor,
)
from drystone.domain.blocks import BLOCK_BYTES
from drystone.domain.errors import IntegrityError, ProtocolError
from drystone.snapstore.packs import key_of, open_pack, pack_parts
from drystone.snapstore.scrub import bad_slots, check_pack, read_frame
from drystone.snapstore.store import RandomBits, Store

Find = Callable[[Mapping[int, bytes]], Mapping[int, bytes]]
"""Given the hash of each wanted block by address, returns contents by address: what can be had. It is not believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mended:
    """A pack that was written again; `object` is None if nothing could be mended."""

    object: str | None = None
    bytes: int = 0
    mended_blocks: int = 0
    lost_blocks: int = 0


def mend_pack(store: Store, name: str, attempt: str, rng: RandomBits, find: Find) -> Mended:
    """Write a new object of a damaged pack in which all frames that can be whole again are whole.

    A block is replaced only by bytes with its hash. Frames keep their numbers, slots and lists of hashes, so no map
    changes; a frame that stays bad is copied as it is. The new object is read back: its bad frames are some of the
    old one's.

    Args:
        store: Where it is.
        name: The damaged object; it stays.
        attempt: Of the new object: 32 hex digits, recorded by the caller before this is called.
        rng: For the salt.
        find: Where content may be had.

    Raises:
        IntegrityError: The index itself is damaged, or what was written is not what is read back; the new object
            must not be used.
        ProtocolError, NotFoundError, UnavailableError: As their names say.
    """
    index = open_pack(store, name).index
    compressor = frame_compressor()
    stored: list[Buffer] = []
    encodings = index.encodings.copy()
    mended, lost = 0, 0
    for number in range(len(index.counts)):
        # What cannot be read at all is zeros of the same length: as bad, and in its place.
        in_object = int(index.offsets[number + 1] - index.offsets[number])
        body = read_frame(store, name, index, number) or bytes(in_object)
        try:
            if int(index.encodings[number]) != Encoding.GONE:
                decode_frame(store.keys, index, number, body, name)
                body = bytes(index.opened(number, body))
            stored.append(body)
            continue
        except (IntegrityError, ProtocolError):
            plain, slots = _filled(store, index, number, body, find)
        if len(bad_slots(store, index, number, plain)):
            lost += len(slots)
            stored.append(body)
            continue
        mended += len(slots)
        encoding, packed = encode_frame(compressor, plain)
        encodings[number] = encoding
        stored.append(bytes(packed))
    # A sealed frame that stays bad cannot be copied (S240): then the whole pack stays as it is.
    if not mended or (lost and store.seals is not None):
        return Mended(lost_blocks=lost)
    salt = rng.getrandbits(8 * SEAL_BYTES).to_bytes(SEAL_BYTES, "little")
    header = PackHeader(
        pack=index.header.pack, session=index.header.session, attempt=attempt, salt=salt, version=index.header.version
    )
    rewritten = replace(
        index, header=header, encodings=encodings,
        stored_bytes=np.array([len(part) for part in stored], dtype=np.int64),
    )  # fmt: skip
    target = store.pack_name(header.session, header.pack, attempt)
    parts = pack_parts(store, rewritten, stored, key_of(index))
    store.objects.put(target, parts)
    _prove(store, name, target, index)
    return Mended(object=target, bytes=sum(len(part) for part in parts), mended_blocks=mended, lost_blocks=lost)


def _filled(
    store: Store, index: PackIndex, number: int, body: bytes, find: Find
) -> tuple[bytearray, npt.NDArray[np.int64]]:
    """Return a frame's plain bytes with what could be found put in, and the slots that were bad."""
    count = int(index.counts[number])
    try:
        raw = index.opened(number, body)
        plain = bytearray(expand(int(index.encodings[number]), raw, count * BLOCK_BYTES, f"frame {number}"))
    except (IntegrityError, ProtocolError):
        plain = bytearray(count * BLOCK_BYTES)  # Nothing of a broken stream can be had.
    slots = bad_slots(store, index, number, plain)
    addresses = index.addresses[int(index.first_rows[number]) :][:count]
    first = int(index.first_rows[number])
    found = find({int(addresses[slot]): index.hashes[first + slot].tobytes() for slot in slots.tolist()})
    for slot in slots.tolist():
        content = found.get(int(addresses[slot]))
        if content is not None:
            plain[slot * BLOCK_BYTES : (slot + 1) * BLOCK_BYTES] = content
    return plain, slots


def _prove(store: Store, old: str, new: str, index: PackIndex) -> None:
    """Make sure that the new object lies in the store, and is nowhere worse than the old one."""
    after = check_pack(store, new, lambda _bytes: None)
    if after is None:
        return
    before = check_pack(store, old, lambda _bytes: None)
    fine = np.ones(len(index.addresses), dtype=bool)
    if before is not None:
        fine[before.rows] = False
    if after.index is None or fine[after.rows].any():
        raise IntegrityError(f"pack {new} is not read back as it was written: {after.reason}")

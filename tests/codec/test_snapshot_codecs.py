"""Packs, maps and manifests: golden bytes, round trips, forged and random bytes."""

import random
import struct
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drystone.codec import binary
from drystone.codec import map as map_codec
from drystone.codec.binary import TRAILER_BYTES, encode_tail
from drystone.codec.hashes import block_hash, block_hashes, derive_keys, list_hash
from drystone.codec.manifest import (
    DiskAttributes,
    Manifest,
    ManifestMap,
    ManifestPack,
    SnapshotRecord,
    decode_manifest,
    encode_manifest,
)
from drystone.codec.map import (
    MAP_TAIL_MAGIC,
    MapEncoder,
    MapKind,
    MapPage,
    PackRef,
    decode_directory,
    decode_page,
)
from drystone.codec.pack import (
    HEADER_BYTES,
    PACK_TAIL_MAGIC,
    Encoding,
    PackHeader,
    PackIndex,
    decode_frame,
    decode_header,
    decode_index,
    encode_frame,
    encode_pack_tail,
    frame_compressor,
)
from drystone.domain.errors import IntegrityError, ProtocolError
from drystone.domain.ids import AccountId, DiskId, PackId, SessionId, SnapshotId, StoreId

GOLDEN = Path(__file__).parent / "golden"
KEYS = derive_keys(bytes(range(32)))
PACK = PackId("11" * 16)
SESSION = SessionId("22" * 16)
ATTEMPT = "33" * 16
# Of zstd 1.5.7; any version must read it, none need write it.
ZSTD_FRAME = bytes.fromhex("28b52ffd60002f85000020010102030314002ffc17fedffd6301")
BROKEN = (ProtocolError, IntegrityError)


def pack_parts() -> tuple[PackIndex, bytes]:
    """A pack of three frames: zstd, raw, gone."""
    rng = random.Random(7)
    plains = [b"".join(bytes([n]) * 4096 for n in (1, 2, 3)), rng.randbytes(8192)]
    gone = rng.randbytes(4096)
    frames = [(Encoding.ZSTD, ZSTD_FRAME), (Encoding.RAW, plains[1])]
    header = PackHeader(pack=PACK, session=SESSION, attempt=ATTEMPT, salt=bytes(range(32)))
    index = PackIndex(
        header=header,
        stored_bytes=np.array([len(frames[0][1]), 8192, 0]),
        counts=np.array([3, 2, 1]),
        encodings=np.array([frames[0][0], frames[1][0], Encoding.GONE], dtype=np.uint8),
        addresses=np.array([5, 6, 900, 901, (1 << 51) - 2, (1 << 51) - 1]),
        hashes=np.frombuffer(block_hashes(KEYS, b"".join((*plains, gone))), dtype=np.uint8).reshape(-1, 16),
        dead=np.array([0, 0, 0, 0, 0, 1], dtype=np.bool_),
    )
    return index, header.encode() + b"".join(bytes(stored) for _, stored in frames)


def open_pack_bytes(raw: bytes) -> PackIndex:
    trailer = binary.decode_trailer(raw[-TRAILER_BYTES:], len(raw), PACK_TAIL_MAGIC, "pack")
    return decode_index(KEYS, trailer, raw[trailer.index_offset : -TRAILER_BYTES], "pack")


def map_parts() -> tuple[MapEncoder, tuple[PackRef, ...], list[MapPage]]:
    pages = [
        MapPage(
            starts=np.array([0, 10, 1000]),
            counts=np.array([10, 64, 1 << 40]),
            frames=np.array([0, 1, -1], dtype=np.int32),
            slots=np.array([54, 0, 0], dtype=np.uint8),
            packs=np.array([0, 1], dtype=np.uint32),
            numbers=np.array([0, 127], dtype=np.uint32),
            hashes=np.frombuffer(bytes(range(32)), dtype=np.uint8).reshape(2, 16),
        ),
        MapPage(
            starts=np.array([(1 << 50)]),
            counts=np.array([1]),
            frames=np.array([-1], dtype=np.int32),
            slots=np.array([0], dtype=np.uint8),
            packs=np.empty(0, dtype=np.uint32),
            numbers=np.empty(0, dtype=np.uint32),
            hashes=np.empty((0, 16), dtype=np.uint8),
        ),
    ]
    encoder = MapEncoder(KEYS, SESSION, "44" * 16, MapKind.DELTA)
    for page in pages:
        encoder.add(page)
    return encoder, (PackRef(pack=PACK, session=SESSION), PackRef(pack=PackId("55" * 16), session=SESSION)), pages


def read_map(raw: bytes) -> tuple[Any, list[MapPage]]:
    trailer = binary.decode_trailer(raw[-TRAILER_BYTES:], len(raw), MAP_TAIL_MAGIC, "map")
    directory = decode_directory(KEYS, trailer, raw[trailer.index_offset : -TRAILER_BYTES], "map")
    offsets = directory.offsets.tolist()
    return directory, [
        decode_page(KEYS, directory, n, raw[offsets[n] : offsets[n + 1]], "map") for n in range(len(offsets) - 1)
    ]


def manifest() -> Manifest:
    return Manifest(
        store=StoreId("store-1"), snapshot=SnapshotId("snap-bbbbbbbb"), session=SESSION,
        account=AccountId("100000000001"), disk=DiskId("disk-aaaaaaaa"), size_bytes=10 << 30,
        taken_at="2026-11-01T12:00:00Z", base=SnapshotId("snap-aaaaaaaa"), ancestry=(SnapshotId("snap-aaaaaaaa"),),
        maps=(ManifestMap(object="store-1/maps/a/b", kind="delta", entries=3, bytes=200),
              ManifestMap(object="store-1/maps/c/d", kind="full", entries=30, bytes=2000)),
        packs=(ManifestPack(pack=PACK, object="store-1/packs/a/b.c", bytes=9000, blocks=2),),
        record=SnapshotRecord(tracking="delta", tracking_reason="", read_bytes=8192, changed_bytes=8192,
                              stored_bytes=9200, requests=2, freeze_ms=12.25, consistency="crash"),
        disk_attributes=DiskAttributes(type="CLOUD_SSD", name="data ü", usage="DATA_DISK"),
    )  # fmt: skip


def same_page(one: MapPage, two: MapPage) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(two, name)) for name in MapPage.__slots__)


@pytest.fixture
def uncompressed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Indexes stored raw: golden bytes must not depend on the version of zstd."""
    monkeypatch.setattr(binary, "shrink", lambda plain: (0, plain))
    monkeypatch.setattr(map_codec, "shrink", lambda plain: (0, plain))


@pytest.mark.usefixtures("uncompressed")
def test_golden_pack() -> None:
    golden = (GOLDEN / "pack.bin").read_bytes()
    index, frames = pack_parts()
    assert golden[len(frames) :] == encode_pack_tail(KEYS, index)
    assert golden[:HEADER_BYTES] == index.header.encode()
    read = open_pack_bytes(golden)
    assert read.header == index.header == decode_header(golden, "pack")
    for name in ("stored_bytes", "counts", "encodings", "addresses", "hashes", "dead", "offsets", "first_rows"):
        assert np.array_equal(getattr(read, name), getattr(index, name)), name
    for frame, plain in ((0, b"".join(bytes([n]) * 4096 for n in (1, 2, 3))), (1, random.Random(7).randbytes(8192))):
        assert decode_frame(KEYS, read, frame, golden[read.offsets[frame] : read.offsets[frame + 1]], "pack") == plain
    with pytest.raises(IntegrityError, match="dropped"):
        decode_frame(KEYS, read, 2, b"", "pack")


@pytest.mark.usefixtures("uncompressed")
def test_golden_map() -> None:
    golden = (GOLDEN / "map.bin").read_bytes()
    encoder, packs, pages = map_parts()
    assert golden == b"".join(encoder.finish(packs))
    directory, read = read_map(golden)
    assert (directory.session, directory.map_id, directory.kind) == (SESSION, "44" * 16, MapKind.DELTA)
    assert directory.packs == packs
    assert all(same_page(one, two) for one, two in zip(read, pages, strict=True))


def test_golden_manifest() -> None:
    golden = (GOLDEN / "manifest.txt").read_bytes()
    assert golden == encode_manifest(KEYS, manifest())
    assert decode_manifest(KEYS, golden, "manifest") == manifest()


def test_a_frame_is_compressed_only_where_it_shrinks() -> None:
    plain = bytes([1]) * 8192
    encoding, stored = encode_frame(frame_compressor(), plain)
    assert encoding == Encoding.ZSTD
    assert len(stored) < 100
    noise = random.Random(1).randbytes(8192)
    assert encode_frame(frame_compressor(), noise) == (Encoding.RAW, noise)


def test_hashes_are_fixed() -> None:
    block = bytes(range(256)) * 16
    assert block_hash(KEYS, block).hex() == "3ae6fb37c8de952e7492370c1834e9d5"
    assert block_hashes(KEYS, block + bytes(4096)) == block_hash(KEYS, block) + block_hash(KEYS, bytes(4096))
    assert list_hash(KEYS, b"x" * 16).hex() == "39683b5ad902543207729391a453affb"
    assert "blocks" not in repr(KEYS)


def test_an_empty_map_is_a_map() -> None:
    directory, pages = read_map(b"".join(MapEncoder(KEYS, SESSION, "44" * 16, MapKind.FULL).finish(())))
    assert (len(directory.starts), directory.packs, pages) == (0, (), [])


@given(st.lists(st.tuples(st.integers(1, 1 << 30), st.integers(1, 64), st.booleans()), min_size=1, max_size=60))
@settings(max_examples=40, deadline=None)
def test_any_page_survives(rows: list[tuple[int, int, bool]]) -> None:
    gaps = np.array([row[0] for row in rows])
    counts = np.array([row[1] for row in rows])
    starts = np.cumsum(gaps) + np.cumsum(counts) - counts
    data = np.array([row[2] for row in rows])
    frames = np.where(data, np.cumsum(data) - 1, -1).astype(np.int32)
    total = int(data.sum())
    page = MapPage(
        starts=starts, counts=counts, frames=frames, slots=np.where(data, 64 - counts, 0).astype(np.uint8),
        packs=np.zeros(total, dtype=np.uint32), numbers=np.arange(total, dtype=np.uint32),
        hashes=np.frombuffer(random.Random(1).randbytes(16 * total), dtype=np.uint8).reshape(-1, 16),
    )  # fmt: skip
    encoder = MapEncoder(KEYS, SESSION, "44" * 16, MapKind.FULL)
    encoder.add(page)
    _, pages = read_map(b"".join(encoder.finish((PackRef(pack=PACK, session=SESSION),))))
    assert same_page(pages[0], page)


@given(st.binary(max_size=400), st.sampled_from([b"", PACK_TAIL_MAGIC, MAP_TAIL_MAGIC, b"blake3 " + b"0" * 64 + b"\n"]))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_refused(raw: bytes, end: bytes) -> None:
    raw += end
    for read in (open_pack_bytes, read_map, lambda raw: decode_manifest(KEYS, raw, "manifest")):
        with pytest.raises(BROKEN):
            read(raw)
    with pytest.raises(ProtocolError):
        decode_header(raw, "pack")


def forged(plain: bytes, offset: int, magic: bytes) -> bytes:
    """An object whose index is sealed rightly, whatever it says."""
    return bytes(offset) + encode_tail(KEYS, plain, offset, magic)


def sealed_plain(raw: bytes, magic: bytes) -> tuple[bytes, int]:
    trailer = binary.decode_trailer(raw[-TRAILER_BYTES:], len(raw), magic, "object")
    stored = raw[trailer.index_offset : -TRAILER_BYTES]
    return binary.open_index(KEYS, trailer, stored, "object"), trailer.index_offset


@given(st.integers(0, 1 << 16), st.binary(min_size=1, max_size=8), st.booleans())
@settings(max_examples=400, deadline=None)
def test_a_sealed_index_that_lies_is_refused_or_consistent(at: int, change: bytes, cut: bool) -> None:  # noqa: FBT001
    """The seal proves who wrote it, not that it is right: nothing but the two errors may come out."""
    index, frames = pack_parts()
    plain, offset = sealed_plain(frames + encode_pack_tail(KEYS, index), PACK_TAIL_MAGIC)
    at %= len(plain)
    bad = plain[:at] if cut else plain[:at] + change + plain[at + len(change) :]
    try:
        read = open_pack_bytes(forged(bad, offset, PACK_TAIL_MAGIC))
    except BROKEN:
        pass
    else:
        assert read.addresses.min() >= 0
        assert (np.diff(read.addresses) > 0).all()
        assert read.offsets[-1] == offset
    encoder, packs, _ = map_parts()
    raw = b"".join(encoder.finish(packs))
    plain, offset = sealed_plain(raw, MAP_TAIL_MAGIC)
    at %= len(plain)
    bad = plain[:at] if cut else plain[:at] + change + plain[at + len(change) :]
    with suppress(ProtocolError, IntegrityError):
        read_map(raw[:offset] + encode_tail(KEYS, bad, offset, MAP_TAIL_MAGIC))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "frames end at"),  # I4
        ({"stored_bytes": np.array([len(ZSTD_FRAME), 8191, 0])}, "impossible lengths"),  # I4
        ({"stored_bytes": np.array([3 * 4096, 8192, 0])}, "impossible lengths"),  # I4
        ({"stored_bytes": np.array([len(ZSTD_FRAME), 8192, 1])}, "impossible lengths"),  # I4
        ({"counts": np.array([3, 2, 0])}, "frames hold"),  # I5
        ({"counts": np.array([4, 2, 0])}, "frames hold"),  # I5
        ({"counts": np.array([3, 2, 2])}, "frames hold"),  # I5
        ({"addresses": np.array([5, 6, 900, 900, 901, 902])}, "do not ascend"),  # I6
        ({"addresses": np.array([5, 6, 900, 901, 902, 1 << 51])}, "do not ascend"),  # I6
    ],
)
def test_an_index_whose_columns_contradict_each_other_is_refused(change: dict[str, Any], message: str) -> None:
    index = replace(pack_parts()[0], **change)
    front = bytes(int(index.offsets[-1]))
    if change:
        raw = front + encode_pack_tail(KEYS, index)
    else:
        plain, offset = sealed_plain(front + encode_pack_tail(KEYS, index), PACK_TAIL_MAGIC)
        raw = forged(plain, offset + 1, PACK_TAIL_MAGIC)
    with pytest.raises(ProtocolError, match=message):
        open_pack_bytes(raw)


def test_pages_of_a_map_lie_back_to_back_and_apart() -> None:
    """I7."""
    encoder, packs, _ = map_parts()
    plain, offset = sealed_plain(b"".join(encoder.finish(packs)), MAP_TAIL_MAGIC)
    with pytest.raises(ProtocolError, match="pages end at"):
        read_map(forged(plain, offset + 1, MAP_TAIL_MAGIC))
    # The length of the first of two pages reaches into the second.
    at = map_codec.MAP_HEADER_BYTES + 8 + 2 * 8
    for length, message in ((1 << 51, "pages overlap"), (0, "impossible pages")):
        bad = plain[:at] + struct.pack("<Q", length) + plain[at + 8 :]
        with pytest.raises(ProtocolError, match=message):
            read_map(forged(bad, offset, MAP_TAIL_MAGIC))


@pytest.mark.parametrize(
    "change",
    [
        {"starts": np.array([10, 0, 1000])},
        {"counts": np.array([11, 64, 5])},
        {"counts": np.array([0, 64, 5])},
        {"frames": np.array([0, 2, -1], dtype=np.int32)},
        {"frames": np.array([0, -2, -1], dtype=np.int32)},
        {"slots": np.array([55, 0, 0], dtype=np.uint8)},
        {"slots": np.array([54, 0, 1], dtype=np.uint8)},
        {"packs": np.array([0, 2], dtype=np.uint32)},
        {"numbers": np.array([0, 1 << 31], dtype=np.uint32)},
    ],
)
def test_entries_that_point_nowhere_are_refused(change: dict[str, Any]) -> None:
    """I8."""
    _, packs, pages = map_parts()
    encoder = MapEncoder(KEYS, SESSION, "44" * 16, MapKind.DELTA)
    page = replace(pages[0], **change)
    encoder.add(page)
    with pytest.raises(ProtocolError):
        read_map(b"".join(encoder.finish(packs)))


def test_newer_formats_are_refused_by_name() -> None:
    index, frames = pack_parts()
    plain, offset = sealed_plain(frames + encode_pack_tail(KEYS, index), PACK_TAIL_MAGIC)
    newer = plain[:8] + struct.pack("<I", 2) + plain[12:]
    with pytest.raises(ProtocolError, match="format 2"):
        open_pack_bytes(forged(newer, offset, PACK_TAIL_MAGIC))
    with pytest.raises(ProtocolError, match="format 7"):
        decode_manifest(KEYS, encode_manifest(KEYS, msgspec.structs.replace(manifest(), format=7)), "manifest")


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"format":1}', b'{"format":"1"}', b"[" * 100_000, b'{"format":1,"x":"\xff"}', b"null"],
)
def test_a_sealed_manifest_that_is_none_is_refused(body: bytes) -> None:
    from drystone.codec.hashes import seal

    raw = body + b"\n"
    raw += b"blake3 " + seal(KEYS, (b"DRYSMANI", raw)).hex().encode() + b"\n"
    with pytest.raises(ProtocolError):
        decode_manifest(KEYS, raw, "manifest")


def test_manifests_that_contradict_themselves_are_refused() -> None:
    good = manifest()
    for bad in (
        {"maps": ()},
        {"maps": good.maps[::-1]},
        {"ancestry": ()},
        {"base": None},
        {"base": SnapshotId("snap-cccccccc")},
        {"size_bytes": -1},
    ):
        with pytest.raises(AssertionError):
            encode_manifest(KEYS, msgspec.structs.replace(good, **bad))


def test_a_frame_that_claims_much_memory_is_refused() -> None:
    index, _ = pack_parts()
    import zstandard

    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 30))[: int(index.stored_bytes[0])]
    with pytest.raises(IntegrityError):
        decode_frame(KEYS, index, 0, bomb.ljust(int(index.stored_bytes[0]), b"\0"), "pack")


def test_a_dead_block_may_be_zero_and_a_living_one_may_not() -> None:
    index, _ = pack_parts()
    plain = random.Random(7).randbytes(8192)
    stored = bytes(4096) + plain[4096:]
    with pytest.raises(IntegrityError, match=r"slot 0 \(block 901\)"):
        decode_frame(KEYS, index, 1, stored, "pack")
    dead = replace_dead(index, row=3)
    assert decode_frame(KEYS, dead, 1, stored, "pack") == stored


def replace_dead(index: PackIndex, row: int) -> PackIndex:
    dead = index.dead.copy()
    dead[row] = True
    return PackIndex(
        header=index.header, stored_bytes=index.stored_bytes, counts=index.counts, encodings=index.encodings,
        addresses=index.addresses, hashes=index.hashes, dead=dead,
    )  # fmt: skip

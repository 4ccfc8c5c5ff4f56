"""Sealed objects: golden bytes, opening by the document alone, and what an attacker may do (S240 to S242)."""

import ast
import hashlib
import random
import struct
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.codec.test_snapshot_codecs import ATTEMPT, PACK, SESSION, ZSTD_FRAME, manifest, map_parts, pack_parts
from tests.nonces import Nonces, NonceUsedTwiceError, nonces

from drystone.codec import binary, sealed
from drystone.codec import map as map_codec
from drystone.codec.hashes import block_hashes, derive_keys, derive_sealed_keys, seal
from drystone.codec.manifest import Manifest, open_manifest, seal_manifest
from drystone.codec.map import MapEncoder, MapKind, decode_page, open_sealed_directory
from drystone.codec.pack import Encoding, PackIndex, decode_frame, open_sealed_index, seal_pack
from drystone.codec.sealed import (
    FOOT_BYTES,
    TAG_BYTES,
    Foot,
    Kind,
    Opener,
    Sealed,
    Sealing,
    SecretKey,
    decode_foot,
    open_whole,
)
from drystone.codec.wraps import DataKey, Purpose, open_disk_wrap, open_wrap, seal_disk_wrap, seal_wrap
from drystone.domain.errors import IntegrityError, ProtocolError
from drystone.domain.ids import AccountId, DiskId, KeyId, StoreId

__all__ = ["nonces"]
GOLDEN = Path(__file__).parent / "golden" / "sealed"
STORE = StoreId("store-1")
KEY = SecretKey(key_id=KeyId("aa" * 16), secret=bytes(range(100, 132)))
OTHER = SecretKey(key_id=KeyId("ab" * 16), secret=bytes(range(32)))
ENTROPY = bytes(range(32, 64))
HASHES = derive_sealed_keys(bytes(range(32)))
BROKEN = (ProtocolError, IntegrityError)
NAMES = {
    Kind.PACK: f"packs/{SESSION}/{PACK}.{ATTEMPT}",
    Kind.MAP: f"maps/{SESSION}/{'44' * 16}",
    Kind.MANIFEST: f"snapshots/snap-bbbbbbbb/{SESSION}.manifest",
    Kind.ATTRIBUTES: "snapshots/snap-bbbbbbbb/attributes",
    Kind.ACCOUNTS: "accounts",
    Kind.WRAP: f"keys/{'ab' * 16}/{'aa' * 16}.{ATTEMPT}",
    Kind.TOMBSTONE: f"snapshots/snap-bbbbbbbb/{SESSION}.tombstone",
    Kind.DISK: "disks/disk-aaaaaaaa",
}
ACCOUNT = AccountId("100000000001")
OWNER = Purpose(account=ACCOUNT, disk=DiskId("disk-aaaaaaaa"))
WRAPPED = DataKey(key=OTHER, purpose=OWNER)
WHOLE = {Kind.ATTRIBUTES: b'{"format":2,"name":"monday"}', Kind.ACCOUNTS: b'{"format":2}', Kind.TOMBSTONE: b"{}"}


def what(kind: Kind) -> Sealed:
    return Sealed(store=STORE, name=NAMES[kind], kind=kind)


def sealed_pack() -> tuple[PackIndex, list[bytes]]:
    """A pack of three frames: zstd, raw, gone."""
    index, raw = pack_parts()
    index = replace(index, header=replace(index.header, salt=ENTROPY, version=2), hashes=hashes_of(index))
    return index, [ZSTD_FRAME, raw[96 + len(ZSTD_FRAME) :], b""]


def hashes_of(index: PackIndex) -> np.ndarray[Any, np.dtype[np.uint8]]:
    plains = b"".join(bytes([n]) * 4096 for n in (1, 2, 3)) + random.Random(7).randbytes(8192) + bytes(4096)
    return np.frombuffer(block_hashes(HASHES, plains), dtype=np.uint8).reshape(-1, 16)


def sealed_manifest() -> Manifest:
    maps = tuple(msgspec.structs.replace(part, commitment=f"{n}" * 64) for n, part in enumerate(manifest().maps))
    return msgspec.structs.replace(manifest(), format=2, maps=maps)


def make(kind: Kind, *, key: SecretKey = KEY, entropy: bytes = ENTROPY, named: Sealed | None = None) -> bytes:
    """Return one object of a kind, whose content is always the same."""
    sealing = Sealing(key=key, what=named or what(kind), entropy=entropy)
    if kind is Kind.PACK:
        return b"".join(seal_pack(sealing, *sealed_pack()))
    if kind is Kind.MAP:
        _, packs, pages = map_parts()
        encoder = MapEncoder(sealing, SESSION, "44" * 16, MapKind.DELTA)
        for page in pages:
            encoder.add(page)
        return b"".join(encoder.finish(packs))
    if kind is Kind.MANIFEST:
        return b"".join(seal_manifest(sealing, sealed_manifest()))
    if kind is Kind.WRAP:
        return b"".join(seal_wrap(sealing, WRAPPED))
    if kind is Kind.DISK:
        return b"".join(seal_disk_wrap(sealing, ACCOUNT, OTHER.secret))
    return b"".join(sealing.seal((), WHOLE[kind]))


def opener(kind: Kind, raw: bytes, key: SecretKey = KEY, named: Sealed | None = None) -> tuple[Foot, Opener]:
    name = named or what(kind)
    foot = decode_foot(raw[-FOOT_BYTES:], len(raw), kind, str(name))
    if foot.key_id != key.key_id:
        raise IntegrityError(f"{name}: there is no key {foot.key_id}")
    return foot, Opener(key, name, foot)


def read(kind: Kind, raw: bytes, key: SecretKey = KEY, named: Sealed | None = None) -> Any:
    """Return all that is in an object, every byte of it proven."""
    name = named or what(kind)
    foot, opened = opener(kind, raw, key, name)
    stored = raw[foot.index_offset : foot.index_offset + foot.sealed_bytes]
    if kind is Kind.PACK:
        index = open_sealed_index(opened, stored, str(name))
        edges = index.offsets.tolist()
        return [
            decode_frame(HASHES, index, n, raw[edges[n] : edges[n + 1]], str(name))
            for n in range(len(index.counts))
            if index.encodings[n] != Encoding.GONE
        ]
    if kind is Kind.MAP:
        directory = open_sealed_directory(opened, stored, str(name))
        edges = directory.offsets.tolist()
        return [
            decode_page(HASHES, directory, n, raw[edges[n] : edges[n + 1]], str(name)) for n in range(len(edges) - 1)
        ]
    if kind is Kind.MANIFEST:
        return open_manifest(DataKey(key=key, purpose=OWNER), name, foot, raw)
    if kind is Kind.WRAP:
        return open_wrap(key, name, foot, raw)
    if kind is Kind.DISK:
        return open_disk_wrap(key, name, raw, ACCOUNT)
    return open_whole(key, name, foot, raw)


@pytest.fixture
def uncompressed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Indexes stored raw: golden bytes must not depend on the version of zstd."""
    for module in (binary, map_codec, sealed):
        monkeypatch.setattr(module, "shrink", lambda plain: (0, plain))


@pytest.mark.usefixtures("uncompressed", "nonces")
@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.name.lower())
def test_golden_bytes(kind: Kind) -> None:
    """What was written once is written the same, and read for ever."""
    golden = (GOLDEN / f"{kind.name.lower()}.bin").read_bytes()
    assert golden == make(kind)
    found = read(kind, golden)
    if kind is Kind.PACK:
        assert found == [b"".join(bytes([n]) * 4096 for n in (1, 2, 3)), random.Random(7).randbytes(8192)]
    elif kind is Kind.MAP:
        assert [page.starts.tolist() for page in found] == [page.starts.tolist() for page in map_parts()[2]]
    elif kind is Kind.MANIFEST:
        assert found == sealed_manifest()
    elif kind is Kind.WRAP:
        assert found == WRAPPED
    elif kind is Kind.DISK:
        assert found == OTHER.secret
    else:
        assert found == WHOLE[kind]


@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.name.lower())
def test_the_document_alone_is_enough_to_open_one(kind: Kind) -> None:
    """Written from docs/format.md with another HKDF, and nothing of the codec."""
    raw = (GOLDEN / f"{kind.name.lower()}.bin").read_bytes()
    offset, length, number, version, zeros = struct.unpack("<QIIII", raw[-112:-88])
    key_id, salt, commitment, magic = raw[-88:-72], raw[-72:-40], raw[-40:-8], raw[-8:]
    assert (number, version, zeros, key_id, magic) == (kind, 2, 0, bytes([0xAA]) * 16, b"DRYSEAL2")
    name = NAMES[kind].encode()
    context = b"DRYSEAL2" + struct.pack("<II", 2, kind) + key_id + struct.pack("<H", 7) + b"store-1"
    context += struct.pack("<H", len(name)) + name

    def derived(use: bytes) -> bytes:
        return HKDF(algorithm=SHA256(), length=32, salt=salt, info=use + b"\0" + context).derive(KEY.secret)

    assert derived(b"commitment") == commitment
    stored = raw[offset : offset + length]
    index = AESGCM(derived(b"index")).decrypt(bytes(12), stored, context + struct.pack("<BQQ", 2, offset, length - 16))
    assert struct.unpack("<BI", index[:5]) == (0, len(index) - 5)
    if kind is Kind.PACK:
        frames, plain_bytes = struct.unpack("<II", index[101:109])[0], len(ZSTD_FRAME)
        beside = context + struct.pack("<BQQ", 1, 0, plain_bytes)
        assert (frames, AESGCM(derived(b"parts")).decrypt(bytes(12), raw[: plain_bytes + 16], beside)) == (
            3,
            ZSTD_FRAME,
        )
    elif kind in WHOLE:
        assert index[5:] == WHOLE[kind]


def test_nothing_plain_is_in_a_sealed_object() -> None:
    for kind in Kind:
        raw = make(kind)
        for secret in (b"data \xc3\xbc", b"disk-aaaaaaaa", b"monday", OTHER.secret, OTHER.secret.hex().encode()):
            assert secret not in raw
        assert bytes([1]) * 64 not in raw


def edges_of(kind: Kind, raw: bytes) -> list[int]:
    """Return where the parts begin and end."""
    foot, opened = opener(kind, raw)
    stored = raw[foot.index_offset : foot.index_offset + foot.sealed_bytes]
    if kind is Kind.PACK:
        return [int(edge) for edge in open_sealed_index(opened, stored, "pack").offsets[:3]]
    return [int(edge) for edge in open_sealed_directory(opened, stored, "map").offsets] if kind is Kind.MAP else []


MUTATIONS = 10_000


def mutated(rng: random.Random, raw: bytes, others: list[bytes]) -> bytes:
    """Return an object as somebody who can write to the bucket may leave it."""
    cut, length = rng.randrange(len(raw)), rng.randrange(1, 64)
    donor = rng.choice(others)
    from_donor = rng.randrange(len(donor))
    way = rng.randrange(9)
    if way == 0:
        return raw[:cut] + bytes([raw[cut] ^ (1 << rng.randrange(8))]) + raw[cut + 1 :]
    if way == 1:
        return raw[:cut] + rng.randbytes(length) + raw[cut + length :]
    if way == 2:
        return raw[:cut]
    if way == 3:
        return raw[:cut] + raw[cut + length :]
    if way == 4:
        return raw[:cut] + rng.randbytes(length) + raw[cut:]
    if way == 5:  # A part of it goes to another place.
        part = raw[cut : cut + length]
        rest = raw[:cut] + raw[cut + length :]
        at = rng.randrange(len(rest) + 1)
        return rest[:at] + part + rest[at:]
    if way == 6:  # The beginning of one with the end of another.
        return raw[:cut] + donor[from_donor:]
    if way == 7:  # The foot of another.
        return raw[:-FOOT_BYTES] + donor[-FOOT_BYTES:]
    # In the foot, where every bit has a meaning.
    at = len(raw) - 1 - rng.randrange(FOOT_BYTES)
    return raw[:at] + rng.randbytes(1) + raw[at + 1 :]


def test_ten_thousand_mutations_are_refused_and_named() -> None:
    """S241."""
    rng = random.Random(20261130)
    good = {kind: make(kind) for kind in Kind}
    others = [make(kind, entropy=rng.randbytes(32), key=key) for kind in Kind for key in (KEY, OTHER)]
    refused = 0
    while refused < MUTATIONS:
        kind = rng.choice(list(Kind))
        bad = mutated(rng, good[kind], [*others, *good.values()])
        if bad == good[kind]:
            continue
        with pytest.raises(BROKEN, match=NAMES[kind].replace(".", r"\.")):
            read(kind, bad)
        refused += 1


@given(st.binary(max_size=300), st.booleans(), st.sampled_from(list(Kind)))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_refused(raw: bytes, foot: bool, kind: Kind) -> None:  # noqa: FBT001
    raw += b"DRYSEAL2" if foot else b""
    with pytest.raises(BROKEN):
        read(kind, raw)


@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.name.lower())
def test_an_object_is_opened_only_as_what_it_is(kind: Kind) -> None:
    """S240: not under another name, in another store, as another kind, with another key of the same id."""
    raw = make(kind)
    name = what(kind)
    for other in (
        replace(name, name=name.name + "0"),
        replace(name, store=StoreId("store-2")),
        replace(name, store=StoreId("store-1/x")),
        # The same bytes in sum, cut elsewhere.
        replace(name, store=StoreId(f"store-1/{name.name[:5]}"), name=name.name[5:]),
    ):
        with pytest.raises(IntegrityError, match="not what key"):
            read(kind, raw, named=other)
    for wrong in Kind:
        if wrong is not kind:
            with pytest.raises(ProtocolError, match="expected"):
                decode_foot(raw, len(raw), wrong, "x")
    with pytest.raises(IntegrityError, match="not what key"):
        read(kind, raw, key=replace(KEY, secret=OTHER.secret))
    # Its foot says that another key sealed it.
    renamed = raw[:-88] + bytes.fromhex(OTHER.key_id) + raw[-72:]
    with pytest.raises(IntegrityError, match="not what key"):
        read(kind, renamed, key=OTHER)
    # Its foot says that it is another kind; that one's reader does not open it either.
    number = struct.pack("<I", kind % len(Kind) + 1)
    foot = decode_foot(raw[:-100] + number + raw[-96:], len(raw), Kind(kind % len(Kind) + 1), "x")
    with pytest.raises(IntegrityError, match="not what key"):
        Opener(KEY, replace(name, kind=foot.kind), foot)


def test_frames_cannot_change_places() -> None:
    """Two frames of one length, in one object: S240."""
    sealing = Sealing(key=KEY, what=what(Kind.PACK), entropy=ENTROPY)
    one, two, last = sealing.seal([(0, b"a" * 100), (1, b"b" * 100)], b"")
    raw = one + two + last
    _, opened = opener(Kind.PACK, raw)
    assert opened.part(1, two) == b"b" * 100
    for number, stored in ((0, two), (1, one), (2, two), (0, one[:-1]), (0, one + b"\0"), (0, b"")):
        with pytest.raises(IntegrityError, match=f"frame {number}: not"):
            opened.part(number, stored)


def test_no_key_and_nonce_come_together_twice(nonces: Nonces) -> None:
    """S240: every object has a salt of its own, every part a number of its own."""
    rng = random.Random(1)
    for _ in range(20):
        for kind in Kind:
            make(kind, entropy=rng.randbytes(32))
    # Frames 0 and 1 and the index of a pack; two pages and the directory of a map; the index of each other one.
    assert len(nonces) == 20 * (3 + 3 + 6)
    # The same entropy for another name or content is no harm either; for the same it is noticed here.
    make(Kind.ATTRIBUTES, named=replace(what(Kind.ATTRIBUTES), name="snapshots/snap-1/attributes"))
    make(Kind.ATTRIBUTES, named=replace(what(Kind.ATTRIBUTES), name="snapshots/snap-2/attributes"))
    with pytest.raises(NonceUsedTwiceError):
        make(Kind.ATTRIBUTES, named=replace(what(Kind.ATTRIBUTES), name="snapshots/snap-2/attributes"))


def test_each_number_is_used_once() -> None:
    """S240."""
    sealing = Sealing(key=KEY, what=what(Kind.PACK), entropy=ENTROPY)
    for numbers in ((3, 3), (1, 0)):
        with pytest.raises(AssertionError, match="nonce"):
            sealing.seal([(number, b"x") for number in numbers], b"")


@given(
    st.lists(st.tuples(st.lists(st.binary(max_size=20), max_size=4), st.binary(max_size=20)), min_size=2, max_size=9)
)
@settings(max_examples=100, deadline=None)
def test_entropy_that_comes_again_harms_nothing(objects: list[tuple[list[bytes], bytes]]) -> None:
    """S240: a virtual machine was set back, and the bucket's owner saw both tries to write under one name."""
    salts: dict[bytes, object] = {}
    for parts, index in objects:
        raw = b"".join(Sealing(key=KEY, what=what(Kind.PACK), entropy=ENTROPY).seal(list(enumerate(parts)), index))
        content = (tuple(parts), index)
        assert salts.setdefault(opener(Kind.PACK, raw)[0].salt, content) == content


def test_only_the_codec_encrypts() -> None:
    """S240 can be seen in one file only if no other one does; the stand-alone reader has the cipher to decrypt.

    Headers of LUKS are of another cipher (S381).
    """
    root = Path(__file__).resolve().parents[2] / "src"
    having, encrypting = set(), set()
    for path in root.rglob("*.py"):
        text = path.read_text()
        if "primitives.ciphers" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and "primitives.ciphers" in (node.module or ""):
                having.add(path.name)
            elif isinstance(node, ast.Attribute) and node.attr.startswith("encrypt"):
                encrypting.add(path.name)
    assert having == {"sealed.py", "standalone_seals.py", "luks.py"}
    assert encrypting == {"sealed.py", "luks.py"}


def test_what_is_not_sealed_is_refused() -> None:
    """S242: a vandal's objects of format 1, rightly made by somebody who knows the store's hash key."""
    from drystone.codec.manifest import encode_manifest
    from drystone.codec.pack import encode_pack_tail

    keys = derive_keys(bytes(range(32)))
    index, front = pack_parts()
    plain = {
        Kind.PACK: front + encode_pack_tail(keys, index),
        Kind.MAP: b"".join(map_parts()[0].finish(map_parts()[1])),
        Kind.MANIFEST: encode_manifest(keys, manifest()),
        Kind.ATTRIBUTES: b'{"format":1,"name":"monday"}',
    }
    for kind, raw in plain.items():
        with pytest.raises(ProtocolError, match=f"{NAMES[kind]} of {len(raw)} bytes is not sealed"):
            read(kind, raw)


@pytest.mark.parametrize("use", [Kind.PACK, Kind.MAP, Kind.MANIFEST, Kind.WRAP], ids=lambda kind: kind.name.lower())
@given(at=st.integers(0, 1 << 16), change=st.binary(min_size=1, max_size=8), cut=st.booleans())
@settings(max_examples=100, deadline=None)
def test_what_was_sealed_and_lies_is_refused_or_consistent(use: Kind, at: int, change: bytes, cut: bool) -> None:  # noqa: FBT001
    """Seals prove who wrote it, not that it is right: nothing but the two errors may come out."""
    raw = make(use)
    foot, opened = opener(use, raw)
    plain = opened.index(raw[foot.index_offset : foot.index_offset + foot.sealed_bytes])
    at %= len(plain)
    lie = plain[:at] if cut else plain[:at] + change + plain[at + len(change) :]
    edges = edges_of(use, raw)
    # The same parts, whatever the index says of them.
    parts = [(n, opened.part(n, raw[start:stop])) for n, (start, stop) in enumerate(pairwise(edges))]
    with suppress(*BROKEN):
        read(use, b"".join(Sealing(key=KEY, what=what(use), entropy=ENTROPY).seal(parts, lie)))


def test_a_frame_that_was_lost_is_never_served() -> None:
    index, frames = sealed_pack()
    lengths = index.stored_bytes.copy()
    lengths[0] = 0
    encodings = index.encodings.copy()
    encodings[0] = Encoding.LOST
    sealing = Sealing(key=KEY, what=what(Kind.PACK), entropy=ENTROPY)
    lost = replace(index, stored_bytes=lengths, encodings=encodings)
    raw = b"".join(seal_pack(sealing, lost, [b"", *frames[1:]]))
    foot, opened = opener(Kind.PACK, raw)
    again = open_sealed_index(opened, raw[foot.index_offset : -FOOT_BYTES], "pack")
    with pytest.raises(IntegrityError, match="was damaged before"):
        decode_frame(HASHES, again, 0, b"", "pack")
    second = raw[again.offsets[1] : again.offsets[2]]
    assert decode_frame(HASHES, again, 1, second, "pack") == frames[1]
    assert len(second) == len(frames[1]) + TAG_BYTES


def test_secrets_are_not_shown() -> None:
    for shown in (
        repr(KEY),
        repr(opener(Kind.PACK, make(Kind.PACK))),
        repr(Sealing(key=KEY, what=what(Kind.PACK), entropy=ENTROPY)),
    ):
        assert str(KEY.secret) not in shown
        assert KEY.secret.hex() not in shown
    assert hashlib.sha256(KEY.secret).hexdigest() not in repr(KEY)


def test_hash_keys_of_a_sealed_store_are_other_ones() -> None:
    plain = derive_keys(bytes(range(32)))
    assert len({plain.blocks, plain.lists, HASHES.blocks, HASHES.lists}) == 4
    with pytest.raises(ValueError, match="key"):
        seal(HASHES, (b"x",))


@pytest.mark.parametrize(
    "change",
    [{"secret": "00"}, {"key": "x"}, {"key": "ac" * 16}, {"format": 3}, {"purpose": {"disk": "disk-a"}}, {"more": 1}],
)
def test_a_sealed_wrap_that_is_none_is_refused_without_its_key(change: dict[str, Any]) -> None:
    body = {"format": 2, "key": "ab" * 16, "secret": OTHER.secret.hex(), "purpose": {}}
    raw = b"".join(Sealing(key=KEY, what=what(Kind.WRAP), entropy=ENTROPY).seal((), msgspec.json.encode(body | change)))
    with pytest.raises(ProtocolError) as caught:
        read(Kind.WRAP, raw)
    assert OTHER.secret.hex() not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("purpose", "fits"),
    [
        (OWNER, True),
        (Purpose(account=OWNER.account), True),
        (Purpose(), False),
        (Purpose(account=AccountId("100000000002")), False),
        (Purpose(account=OWNER.account, disk=DiskId("disk-bbbbbbbb")), False),
        (Purpose(account=AccountId("100000000002"), disk=OWNER.disk), False),
    ],
)
def test_a_manifest_is_of_what_its_key_is_for(purpose: Purpose, fits: bool) -> None:  # noqa: FBT001
    """S243."""
    raw = make(Kind.MANIFEST)
    foot, _ = opener(Kind.MANIFEST, raw)
    key = DataKey(key=KEY, purpose=purpose)
    if fits:
        assert open_manifest(key, what(Kind.MANIFEST), foot, raw) == sealed_manifest()
    else:
        with pytest.raises(ProtocolError, match="sealed by the key of"):
            open_manifest(key, what(Kind.MANIFEST), foot, raw)


def test_the_key_of_a_disk_is_of_that_disk_and_account() -> None:
    """S382."""
    raw = make(Kind.DISK)
    assert OTHER.secret not in raw
    assert OTHER.secret.hex().encode() not in raw
    for named, key, account in (
        (replace(what(Kind.DISK), name="disks/disk-bbbbbbbb"), KEY, ACCOUNT),
        (what(Kind.DISK), OTHER, ACCOUNT),
        (what(Kind.DISK), replace(KEY, secret=OTHER.secret), ACCOUNT),
        (what(Kind.DISK), KEY, AccountId("100000000002")),
    ):
        with pytest.raises(BROKEN) as caught:
            open_disk_wrap(key, named, raw, account)
        assert OTHER.secret.hex() not in str(caught.value)
    for body in (b"{}", b"{", b'{"account":"100000000001","secret":"00"}'):
        lie = b"".join(Sealing(key=KEY, what=what(Kind.DISK), entropy=ENTROPY).seal((), body))
        with pytest.raises(ProtocolError):
            open_disk_wrap(KEY, what(Kind.DISK), lie, ACCOUNT)


def test_a_manifest_of_an_encrypted_disk_is_of_its_own_key() -> None:
    """S380, S243."""
    plain = sealed_manifest()
    told = msgspec.structs.replace(plain.disk_attributes, encrypted=True)
    raw = b"".join(
        seal_manifest(
            Sealing(key=KEY, what=what(Kind.MANIFEST), entropy=ENTROPY),
            msgspec.structs.replace(plain, disk_attributes=told),
        )
    )
    foot, _ = opener(Kind.MANIFEST, raw)
    assert open_manifest(DataKey(key=KEY, purpose=OWNER), what(Kind.MANIFEST), foot, raw).disk_attributes == told
    with pytest.raises(ProtocolError, match="of an encrypted disk, and sealed by the key of account"):
        open_manifest(DataKey(key=KEY, purpose=Purpose(account=OWNER.account)), what(Kind.MANIFEST), foot, raw)


def test_a_manifest_names_each_map_by_its_commitment() -> None:
    good = sealed_manifest()
    for bad in (
        msgspec.structs.replace(good, maps=manifest().maps),
        msgspec.structs.replace(manifest(), format=2),
        msgspec.structs.replace(good, maps=(msgspec.structs.replace(good.maps[0], commitment="x"),)),
    ):
        with pytest.raises(AssertionError):
            seal_manifest(Sealing(key=KEY, what=what(Kind.MANIFEST), entropy=ENTROPY), bad)

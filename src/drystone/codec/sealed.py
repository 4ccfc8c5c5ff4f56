"""Sealed objects: encrypted and authenticated bytes (docs/format.md, "Format 2: sealed").

A sealed object is numbered parts back to back, then an index, then a foot of 112 bytes in clear. Parts and index are
encrypted with AES-256-GCM under two keys of that one object. They follow from a secret key, from a salt of 32 bytes
that no other object has, and from what the object is: its store, name, kind and the id of the key (S240). The foot
commits to all of that (S241).
"""

import hmac
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import pairwise
from typing import Final, NoReturn

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from drystone.codec.binary import INDEX_BYTES_MAX, expand, shrink
from drystone.codec.hashes import KEY_BYTES, Buffer
from drystone.domain.errors import IntegrityError, ProtocolError
from drystone.domain.ids import KeyId, StoreId

SEALED_FORMAT: Final = 2
SALT_BYTES: Final = 32
ENTROPY_BYTES: Final = 32
TAG_BYTES: Final = 16
"""What sealing adds to each part."""
FOOT_MAGIC: Final = b"DRYSEAL2"

_FOOT = struct.Struct("<QIII4s16s32s32s8s")
FOOT_BYTES: Final = _FOOT.size
_CONTEXT = struct.Struct("<8sII16sH")
_PLACE = struct.Struct("<BQQ")
_INDEX_HEAD = struct.Struct("<BI")
INDEX_ADDED_BYTES: Final = _INDEX_HEAD.size + TAG_BYTES
"""What sealing adds to an index, beside the foot."""
_PART, _INDEX = 1, 2


class Kind(IntEnum):
    """What a sealed object is. One of one kind is never opened as another."""

    PACK = 1
    MAP = 2
    MANIFEST = 3
    ATTRIBUTES = 4
    ACCOUNTS = 5
    WRAP = 6
    TOMBSTONE = 7
    DISK = 8


_PARTS: Final = {Kind.PACK: "frame", Kind.MAP: "page"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretKey:
    """A key and its id, by which objects name it; `repr` does not show the key."""

    key_id: KeyId
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        assert len(self.secret) == KEY_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """Which object it is: its store, its name there without the store's id, and its kind."""

    store: StoreId
    name: str
    kind: Kind

    def __str__(self) -> str:
        """Return its full name."""
        return f"{self.store}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Foot:
    """What an object says of itself in clear. Nothing of it is proven before an `Opener` was made of it."""

    index_offset: int
    sealed_bytes: int
    kind: Kind
    key_id: KeyId
    salt: bytes
    commitment: bytes


class _Keys:
    """The keys of one object, and what it is as bytes."""

    def __init__(self, key: SecretKey, what: Sealed, salt: bytes) -> None:
        assert len(salt) == SALT_BYTES
        store, name = what.store.encode(), what.name.encode()
        self.context = b"".join((
            _CONTEXT.pack(FOOT_MAGIC, SEALED_FORMAT, what.kind, bytes.fromhex(key.key_id), len(store)),
            store, struct.pack("<H", len(name)), name,
        ))  # fmt: skip
        # HKDF of RFC 5869 with SHA-256; each output is one block of it.
        self._extracted = hmac.digest(salt, key.secret, "sha256")
        self.commitment = self._expanded(b"commitment")
        self.parts = AESGCM(self._expanded(b"parts"))
        self.index = AESGCM(self._expanded(b"index"))

    def _expanded(self, use: bytes) -> bytes:
        return hmac.digest(self._extracted, use + b"\0" + self.context + b"\x01", "sha256")

    def beside(self, section: int, number: int, plain_bytes: int) -> bytes:
        """Return what is authenticated with a part or the index, and not stored."""
        return self.context + _PLACE.pack(section, number, plain_bytes)


def commitment_of(parts: Sequence[Buffer]) -> bytes:
    """Return the commitment in the foot of an object that was just sealed: it names that one written object."""
    return bytes(parts[-1][-FOOT_BYTES:])[-40:-8]


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "little")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealing:
    """How one object will be sealed.

    Attributes:
        key: Of the data that is sealed.
        what: Which object it will be.
        entropy: 32 bytes of the operating system's generator, for this one object.
    """

    key: SecretKey
    what: Sealed
    entropy: bytes = field(repr=False)

    def seal(self, parts: Sequence[tuple[int, Buffer]], index: bytes) -> list[bytes]:
        """Return what is stored: parts by number, ascending, each longer by a tag; and last the index with the foot.

        The salt is a keyed hash of the entropy and of all that is sealed. So even entropy that comes twice, as after a
        virtual machine was set back, brings no key and nonce together twice but for the same bytes (S240).
        """
        assert len(self.entropy) == ENTROPY_BYTES
        assert len(index) <= INDEX_BYTES_MAX
        numbers = [number for number, _ in parts]
        assert all(one < two for one, two in pairwise(numbers)), "a nonce would be used twice"
        encoding, stored = shrink(index)
        packed = _INDEX_HEAD.pack(encoding, len(index)) + stored
        salt = self._salt(parts, packed)
        keys = _Keys(self.key, self.what, salt)
        sealed = [
            keys.parts.encrypt(_nonce(number), plain, keys.beside(_PART, number, len(plain))) for number, plain in parts
        ]
        offset = sum(len(part) for part in sealed)
        last = keys.index.encrypt(_nonce(0), packed, keys.beside(_INDEX, offset, len(packed)))
        foot = _FOOT.pack(
            offset, len(last), self.what.kind, SEALED_FORMAT, bytes(4), bytes.fromhex(self.key.key_id), salt,
            keys.commitment, FOOT_MAGIC,
        )  # fmt: skip
        return [*sealed, last + foot]

    def _salt(self, parts: Sequence[tuple[int, Buffer]], index: bytes) -> bytes:
        hasher = blake3(key=blake3(self.key.secret, derive_key_context="drystone 2 salt").digest())
        hasher.update(self.entropy)
        for number, plain in parts:
            hasher.update(_PLACE.pack(_PART, number, len(plain)))
            hasher.update(plain)
        hasher.update(_PLACE.pack(_INDEX, 0, len(index)))
        hasher.update(index)
        return hasher.digest(SALT_BYTES)


def decode_foot(last: Buffer, object_bytes: int, kind: Kind, what: str) -> Foot:
    """Return the foot in the `last` bytes (at least 112, if the object has them) of an object.

    Raises:
        ProtocolError: It ends in no such foot, is of another kind, or its lengths do not add up. An object that is not
            sealed is refused so (S242).
    """
    if len(last) < FOOT_BYTES or bytes(last[-len(FOOT_MAGIC) :]) != FOOT_MAGIC:
        raise ProtocolError(f"{what} of {object_bytes} bytes is not sealed")
    offset, sealed_bytes, found, version, zeros, key_id, salt, commitment, _ = _FOOT.unpack(last[-FOOT_BYTES:])
    if version != SEALED_FORMAT or any(zeros):
        raise ProtocolError(f"{what}: sealed format {version}, this program reads {SEALED_FORMAT}")
    if found != kind:
        raise ProtocolError(f"{what}: kind {found}, {kind} ({kind.name.lower()}) expected")
    least, most = INDEX_ADDED_BYTES, INDEX_BYTES_MAX + INDEX_ADDED_BYTES
    if offset + sealed_bytes + FOOT_BYTES != object_bytes or not least <= sealed_bytes <= most:
        raise ProtocolError(f"{what}: index of {sealed_bytes} bytes at {offset}, object of {object_bytes}")
    return Foot(
        index_offset=offset, sealed_bytes=sealed_bytes, kind=kind, key_id=KeyId(key_id.hex()), salt=salt,
        commitment=commitment,
    )  # fmt: skip


class Opener:
    """Opens the parts and the index of one object; may be shared by threads.

    Args:
        key: The one that the foot names.
        what: Which object it must be.
        foot: Of that object, as it is stored.

    Raises:
        IntegrityError: The object was not sealed by this key, under this name, with this foot (S241).
    """

    def __init__(self, key: SecretKey, what: Sealed, foot: Foot) -> None:
        assert (key.key_id, what.kind) == (foot.key_id, foot.kind)
        self._what = what
        self._keys = _Keys(key, what, foot.salt)
        if not hmac.compare_digest(self._keys.commitment, foot.commitment):
            raise IntegrityError(f"{what}: not what key {key.key_id} sealed under this name")
        self.foot = foot

    def index(self, sealed: Buffer) -> bytes:
        """Return the plain index.

        Raises:
            IntegrityError: It is not what was sealed.
            ProtocolError: What was sealed breaks the format.
        """
        if len(sealed) != self.foot.sealed_bytes:
            raise IntegrityError(f"{self._what}: index is {len(sealed)} bytes, {self.foot.sealed_bytes} expected")
        beside = self._keys.beside(_INDEX, self.foot.index_offset, len(sealed) - TAG_BYTES)
        try:
            packed = self._keys.index.decrypt(_nonce(0), sealed, beside)
        except InvalidTag:
            self._refuse("index")
        encoding, plain_bytes = _INDEX_HEAD.unpack_from(packed)
        if plain_bytes > INDEX_BYTES_MAX:
            raise ProtocolError(f"{self._what}: index claims {plain_bytes} bytes")
        return expand(encoding, memoryview(packed)[_INDEX_HEAD.size :], plain_bytes, str(self._what))

    def part(self, number: int, sealed: Buffer) -> bytes:
        """Return the plain bytes of part `number`.

        Raises:
            IntegrityError: It is not what was sealed as that part.
        """
        if len(sealed) < TAG_BYTES:
            self._refuse(f"{_PARTS.get(self._what.kind, 'part')} {number}")
        beside = self._keys.beside(_PART, number, len(sealed) - TAG_BYTES)
        try:
            return self._keys.parts.decrypt(_nonce(number), sealed, beside)
        except InvalidTag:
            self._refuse(f"{_PARTS.get(self._what.kind, 'part')} {number}")

    def _refuse(self, part: str) -> NoReturn:
        raise IntegrityError(f"{self._what}, {part}: not what was sealed") from None


def open_whole(key: SecretKey, what: Sealed, foot: Foot, raw: Buffer) -> bytes:
    """Return the index of an object that has no parts; `foot` was decoded from `raw`.

    Raises:
        IntegrityError, ProtocolError: As `Opener`.
    """
    return Opener(key, what, foot).index(memoryview(raw)[: foot.sealed_bytes])

"""Wraps: the key of some data, sealed by a key-encryption key (docs/format.md, "Keys")."""

import re
from dataclasses import dataclass
from typing import Final

import msgspec

from drystone.codec.hashes import KEY_BYTES, Buffer
from drystone.codec.sealed import SEALED_FORMAT, Foot, Sealed, Sealing, SecretKey, decode_foot, open_whole
from drystone.domain.errors import IntegrityError, ProtocolError
from drystone.domain.ids import AccountId, DiskId, KeyId

WRAP_BYTES_MAX: Final = 4096
"""Refused beyond this: a wrap has some 300 bytes."""
_SECRET = re.compile(rf"[0-9a-f]{{{2 * KEY_BYTES}}}")
_ID = re.compile(r"[0-9a-f]{32}")


class Purpose(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a data key seals: a disk's snapshots, an account's other ones, or what belongs to the store alone.

    A disk's key has its account too. Without both it is the store's own.
    """

    account: AccountId | None = None
    disk: DiskId | None = None

    def __str__(self) -> str:
        """Return what people call it."""
        if self.account is None:
            return "the store"
        return f"account {self.account}" if self.disk is None else f"disk {self.disk} of account {self.account}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataKey:
    """A key, and what it is for."""

    key: SecretKey
    purpose: Purpose

    def seals(self, account: AccountId, disk: DiskId) -> bool:
        """Tell whether snapshots of a disk may be sealed by it."""
        return self.purpose.account == account and self.purpose.disk in (None, disk)


class _Wrap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: int = SEALED_FORMAT
    key: KeyId
    secret: str
    purpose: Purpose


def seal_wrap(sealing: Sealing, data_key: DataKey) -> list[bytes]:
    """Return the object in which the key of `sealing`, a key-encryption key, wraps a data key."""
    key, purpose = data_key.key, data_key.purpose
    assert purpose.account is not None or purpose.disk is None
    assert _named(sealing.what) == key.key_id
    body = _Wrap(key=key.key_id, secret=key.secret.hex(), purpose=purpose)
    return sealing.seal((), msgspec.json.encode(body))


def open_wrap(kek: SecretKey, what: Sealed, foot: Foot, raw: Buffer) -> DataKey:
    """Return the data key that is wrapped; `foot` was decoded from `raw`.

    Raises:
        IntegrityError: It is not what `kek` sealed under this name.
        ProtocolError: What was sealed is no wrap, one of another format, or of another key than its name says.
    """
    if len(raw) > WRAP_BYTES_MAX:
        raise ProtocolError(f"{what}: {len(raw)} bytes are not a wrap")
    try:
        wrap = msgspec.json.decode(open_whole(kek, what, foot, raw), type=_Wrap)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Its reason may hold part of the key.
        raise ProtocolError(f"{what}: what was sealed is no wrap") from None
    if wrap.format != SEALED_FORMAT or not _SECRET.fullmatch(wrap.secret) or not _ID.fullmatch(wrap.key):
        raise ProtocolError(f"{what}: wrap format {wrap.format}, {SEALED_FORMAT} expected, or no key in it")
    if _named(what) != wrap.key:
        raise ProtocolError(f"{what}: it wraps key {wrap.key}")
    if wrap.purpose.disk is not None and wrap.purpose.account is None:
        raise ProtocolError(f"{what}: the key of a disk without an account")
    return DataKey(key=SecretKey(key_id=wrap.key, secret=bytes.fromhex(wrap.secret)), purpose=wrap.purpose)


class _DiskWrap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: int = SEALED_FORMAT
    account: AccountId
    secret: str


def seal_disk_wrap(sealing: Sealing, account: AccountId, secret: bytes) -> list[bytes]:
    """Return the object in which the key of `sealing` wraps what opens a disk's image; `sealing` names the disk."""
    assert len(secret) == KEY_BYTES
    return sealing.seal((), msgspec.json.encode(_DiskWrap(account=account, secret=secret.hex())))


def open_disk_wrap(kek: SecretKey, what: Sealed, raw: Buffer, account: AccountId) -> bytes:
    """Return what opens the image of the disk that `what` names, of an account.

    Raises:
        IntegrityError: It is not what `kek` sealed for that disk.
        ProtocolError: What was sealed is no such wrap, or of another account.
    """
    if len(raw) > WRAP_BYTES_MAX:
        raise ProtocolError(f"{what}: {len(raw)} bytes are not a wrap")
    foot = decode_foot(raw, len(raw), what.kind, str(what))
    if foot.key_id != kek.key_id:
        raise IntegrityError(f"{what}: sealed by key {foot.key_id}, not by {kek.key_id}")
    try:
        wrap = msgspec.json.decode(open_whole(kek, what, foot, raw), type=_DiskWrap)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Its reason may hold part of the key.
        raise ProtocolError(f"{what}: what was sealed is no wrap") from None
    if wrap.format != SEALED_FORMAT or not _SECRET.fullmatch(wrap.secret) or wrap.account != account:
        raise ProtocolError(f"{what}: wrap format {wrap.format}, of account {wrap.account}, or no key in it")
    return bytes.fromhex(wrap.secret)


def _named(what: Sealed) -> str:
    return what.name.split("/")[1]

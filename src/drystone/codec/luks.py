"""The header of a LUKS 1 volume with one passphrase, which QEMU and cryptsetup open.

QEMU's own tool measures for seconds how many iterations to use, each time. The passphrase is 256 random bits here: to
stretch it gains nothing, so there are as few as the format allows.
Source: LUKS On-Disk Format Specification 1.2.3.
"""

import hashlib
import struct
from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import XTS

SECTOR_BYTES: Final = 512
ITERATIONS: Final = 1000
"""The least that cryptsetup and QEMU write."""
_KEY_BYTES, _STRIPES, _SLOTS = 64, 4000, 8
_ACTIVE, _DISABLED = 0x00AC71F3, 0x0000DEAD
_FIRST_SLOT, _SLOT_SECTORS = 8, 504
"""Of the key material, in sectors: on pages of 4 KiB, as QEMU lays it out."""
_PAYLOAD = _FIRST_SLOT + _SLOTS * _SLOT_SECTORS
_HEAD = struct.Struct(">6sH32s32s32sII20s32sI40s")
_SLOT = struct.Struct(">II32sII")
HEADER_BYTES: Final = _PAYLOAD * SECTOR_BYTES
"""The encrypted sectors begin behind it."""

Random = Callable[[int], bytes]
"""Returns so many random bytes, of the operating system's generator."""


def luks_header(passphrase: bytes, random: Random) -> bytes:
    """Return the header of a new volume, AES-256-XTS: its first `HEADER_BYTES`, without the zeros at their end.

    Each call makes another master key, which nobody has but by the passphrase.

    Args:
        passphrase: Opens it; 256 random bits, in any form.
        random: Where keys and salts come from.
    """
    master, digest_salt, salt = random(_KEY_BYTES), random(32), random(32)
    digest = hashlib.pbkdf2_hmac("sha256", master, digest_salt, ITERATIONS, 20)
    identity = random(16).hex()
    uuid = "-".join((identity[:8], identity[8:12], identity[12:16], identity[16:20], identity[20:]))
    parts = [
        _HEAD.pack(
            b"LUKS\xba\xbe", 1, b"aes", b"xts-plain64", b"sha256", _PAYLOAD, _KEY_BYTES, digest, digest_salt,
            ITERATIONS, uuid.encode(),
        )
    ]  # fmt: skip
    for slot in range(_SLOTS):
        at = _FIRST_SLOT + slot * _SLOT_SECTORS
        used = (_ACTIVE, ITERATIONS, salt) if slot == 0 else (_DISABLED, 0, bytes(32))
        parts.append(_SLOT.pack(*used, at, _STRIPES))
    head = b"".join(parts).ljust(_FIRST_SLOT * SECTOR_BYTES, b"\0")
    slot_key = hashlib.pbkdf2_hmac("sha256", passphrase, salt, ITERATIONS, _KEY_BYTES)
    return head + _encrypted(slot_key, _split(master, random))


def _split(master: bytes, random: Random) -> bytes:
    """Return the master key as stripes, of which all are needed to have it again."""
    stripes = random(_KEY_BYTES * (_STRIPES - 1))
    mixed = 0
    for at in range(0, len(stripes), _KEY_BYTES):
        mixed = _diffused(mixed ^ int.from_bytes(stripes[at : at + _KEY_BYTES], "big"))
    return stripes + (mixed ^ int.from_bytes(master, "big")).to_bytes(_KEY_BYTES, "big")


def _diffused(block: int) -> int:
    raw = block.to_bytes(_KEY_BYTES, "big")
    halves = (hashlib.sha256(struct.pack(">I", index) + raw[index * 32 : index * 32 + 32]) for index in range(2))
    return int.from_bytes(b"".join(half.digest() for half in halves), "big")


def _encrypted(key: bytes, plain: bytes) -> bytes:
    sectors = []
    for number, at in enumerate(range(0, len(plain), SECTOR_BYTES)):
        cipher = Cipher(AES(key), XTS(number.to_bytes(16, "little"))).encryptor()
        sectors.append(cipher.update(plain[at : at + SECTOR_BYTES]))
    return b"".join(sectors)

"""Encrypted images: the key of a disk, how programs are given it, and how an empty image is made an encrypted one.

A program gets the key by a descriptor of a file in memory that has no name, a storage daemon over its monitor, which is
a socket of ours: so it is never on a command line, in an environment, in a log, or in a file (S381).
"""

import contextlib
import os
import secrets
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from drystone.codec.luks import HEADER_BYTES, luks_header
from drystone.domain.errors import IntegrityError

KEY_BYTES: Final = 32
SECRET: Final = "luks"  # noqa: S105 - the name of it
"""Id of the secret in QEMU's tools."""
_CLUSTER_BITS: Final = 16
_CLUSTER: Final = 1 << _CLUSTER_BITS
_LUKS, _EXTENSION = 2, 0x0537BE77
"""`crypt_method` of a qcow2 header, and its extension that says where the LUKS header is.
Source: QEMU docs/interop/qcow2.rst."""


@dataclass(frozen=True, slots=True)
class LuksKey:
    """What opens an encrypted image: 256 random bits. `repr` does not show them."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        assert len(self.secret) == KEY_BYTES

    @property
    def passphrase(self) -> str:
        """Return it in the form that LUKS is told: hex digits."""
        return self.secret.hex()


def new_key() -> LuksKey:
    """Return a key that nobody else has."""
    return LuksKey(secrets.token_bytes(KEY_BYTES))


def new_header(key: LuksKey) -> bytes:
    """Return the LUKS header of something that this key opens; each has a master key of its own."""
    return luks_header(key.passphrase.encode(), secrets.token_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """How one program is given a key: words of its command line, and descriptors that it inherits."""

    words: Sequence[str] = ()
    descriptors: Sequence[int] = ()


@contextlib.contextmanager
def given(key: LuksKey | None) -> Iterator[Given]:
    """Hold a key in memory for one program, under the id `SECRET`; nothing for a plain image."""
    if key is None:
        yield Given()
        return
    descriptor = os.memfd_create("key", os.MFD_CLOEXEC)
    try:
        os.fchmod(descriptor, 0o600)
        os.write(descriptor, key.passphrase.encode())
        yield Given(words=("--object", f"secret,id={SECRET},file=/dev/fd/{descriptor}"), descriptors=(descriptor,))
    finally:
        os.close(descriptor)


def encryption(key: LuksKey | None, secret: str = SECRET) -> dict[str, Any]:
    """Return what a qcow2 node is told beside the rest: nothing if it is plain."""
    return {} if key is None else {"encrypt": {"format": "luks", "key-secret": secret}}


def encrypt_empty(image: Path, key: LuksKey) -> None:
    """Make an empty qcow2 without backing, which qemu-img has just made, an encrypted one.

    `qemu-img create` could, and measures for seconds how often to hash a passphrase that needs no hashing.

    Raises:
        IntegrityError: It is not as such an image is.
    """
    with image.open("r+b") as file:
        head = bytearray(file.read(_CLUSTER))
        size = file.seek(0, os.SEEK_END)
        version, backing, _length, bits = struct.unpack_from(">IQII", head, 4)
        crypt, table_at = struct.unpack_from(">I4x8xQ", head, 32)
        order, header_length = struct.unpack_from(">II", head, 96)
        plain = head[:4] == b"QFI\xfb" and version == 3 and bits == _CLUSTER_BITS and not backing and not crypt
        if not plain or order != 4 or any(head[-24:]):
            raise IntegrityError(f"{image} is no empty image of ours")
        first = -(-size // _CLUSTER)
        clusters = -(-HEADER_BYTES // _CLUSTER)
        file.seek(table_at)
        (block_at,) = struct.unpack(">Q", file.read(8))
        counts_at = block_at + first * 2
        file.seek(counts_at)
        if first + clusters > _CLUSTER // 2 or any(file.read(clusters * 2)):
            raise IntegrityError(f"{image}: what lies behind its end is counted already")
        file.seek(first * _CLUSTER)
        file.write(new_header(key))
        file.truncate((first + clusters) * _CLUSTER)
        file.seek(counts_at)
        file.write(b"\0\1" * clusters)
        # Last what says so; whoever made the image gives it its name after all this.
        extension = struct.pack(">IIQQ", _EXTENSION, 16, first * _CLUSTER, HEADER_BYTES)
        head[header_length:] = extension + head[header_length : -len(extension)]
        struct.pack_into(">I", head, 32, _LUKS)
        file.seek(0)
        file.write(head)


def told_path(image: Path) -> str:
    """Return a path as a value among QEMU's options, where a comma ends one."""
    return str(image).replace(",", ",,")

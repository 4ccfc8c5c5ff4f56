# Imports nothing of Drystone but two files: the stand-alone reader that lies in every store has them within it.
"""How the stand-alone reader opens what is sealed (docs/format.md, "Format 2: sealed")."""

from __future__ import annotations

import hmac
import json
import re
import struct
from pathlib import Path
from typing import Any

import blake3

from drystone.objects.standalone_bucket import BucketPath  # in a store the texts of these stand above
from drystone.snapstore.standalone_parts import DamageError, expand, need

FOOT = struct.Struct("<QIII4s16s32s32s8s")
SEAL_MAGIC = b"DRYSEAL2"
TAG_BYTES = 16
SEALED_INDEX_BYTES_MAX = (256 << 20) + 64
KINDS = {"pack": 1, "map": 2, "manifest": 3, "attributes": 4, "accounts": 5, "wrap": 6, "tombstone": 7}


class Opener:
    """Opens the parts and the index of one object."""

    def __init__(self, secret: bytes, context: bytes, salt: bytes, commitment: bytes, what: str) -> None:
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - only sealed stores need it
        except ImportError:
            raise DamageError("a sealed store needs: python3 -m pip install cryptography") from None
        self._context = context
        extracted = hmac.digest(salt, secret, "sha256")

        def derived(use: bytes) -> bytes:
            return hmac.digest(extracted, use + b"\0" + context + b"\x01", "sha256")

        hint = "if the store's directory was renamed, give --store-id"
        need(hmac.compare_digest(derived(b"commitment"), commitment), f"{what}: not sealed under this name; {hint}")
        self._parts, self._index = AESGCM(derived(b"parts")), AESGCM(derived(b"index"))

    def _open(self, cipher: Any, section: int, number: int, nonce: int, sealed: bytes, what: str) -> bytes:  # noqa: ANN401 - of a library that may not be there
        beside = self._context + struct.pack("<BQQ", section, number, len(sealed) - TAG_BYTES)
        try:
            plain: bytes = cipher.decrypt(nonce.to_bytes(12, "little"), sealed, beside)
        except Exception:  # noqa: BLE001 - whatever the library says, it was not sealed so
            raise DamageError(f"{what}: not what was sealed") from None
        return plain

    def part(self, number: int, sealed: bytes, what: str) -> bytes:
        """Return a part's plain bytes."""
        need(len(sealed) >= TAG_BYTES, f"{what} is too short")
        return self._open(self._parts, 1, number, number, sealed, what)

    def index(self, offset: int, sealed: bytes, what: str) -> bytes:
        """Return the plain index."""
        packed = self._open(self._index, 2, offset, 0, sealed, what)
        encoding, plain_bytes = struct.unpack("<BI", packed[:5])
        need(plain_bytes <= 256 << 20, f"{what}: its index is too large")
        return expand(encoding, packed[5:], plain_bytes, what)


class Seals:
    """The keys of one sealed store, of which nothing in clear is believed.

    Args:
        root: Where it is.
        store_id: Its id.
        keys: Key-encryption keys by id.
    """

    def __init__(self, root: Path | BucketPath, store_id: str, keys: dict[str, bytes]) -> None:
        self._root, self._store_id, self._keys = root, store_id, keys
        self._data_keys: dict[str, tuple[bytes, dict[str, Any]]] = {}

    def own(self, key_id: str) -> bytes:
        """Return the store's own data key."""
        need(bool(re.fullmatch("[0-9a-f]{32}", key_id)), "its mark names no key")
        secret, purpose = self._data_key(key_id, "the store")
        need(not any(purpose.values()), "its mark names the key of an account")
        return secret

    def _data_key(self, key_id: str, what: str) -> tuple[bytes, dict[str, Any]]:
        if key_id not in self._data_keys:
            faults, others = [], set()
            listed: list[Any] = sorted(self._root.glob(f"keys/{key_id}/*"))
            for path in listed:
                kek = path.name.partition(".")[0]
                if kek not in self._keys:
                    others.add(kek)
                    continue
                try:
                    wrap = json.loads(self._whole(path, "wrap", path.read_bytes(), self._keys[kek], kek))
                    need(wrap["key"] == key_id, f"{path} wraps another key")
                    self._data_keys[key_id] = bytes.fromhex(wrap["secret"]), wrap["purpose"]
                    break
                except (OSError, ValueError, KeyError, TypeError, DamageError) as error:
                    faults.append(str(error) if isinstance(error, DamageError) else f"{path} is no wrap")
            why = f"it needs key {' or '.join(sorted(others))}" if others else "it is not there"
            known = key_id in self._data_keys
            need(known, f"{what}: data key {key_id} cannot be opened: {'; '.join(faults) or why}")
        return self._data_keys[key_id]

    def _foot(self, raw: bytes, size: int, kind: str, what: str) -> tuple[int, int, str, bytes, bytes]:
        """Return offset and length of the index, id of the key, salt and commitment."""
        need(len(raw) >= FOOT.size and raw[-8:] == SEAL_MAGIC, f"{what} is not sealed")
        offset, length, found, version, zeros, key, salt, commitment, _ = FOOT.unpack(raw[-FOOT.size :])
        fits = (found, version, any(zeros)) == (KINDS[kind], 2, False) and offset + length + FOOT.size == size
        need(fits and 21 <= length <= SEALED_INDEX_BYTES_MAX, f"{what}: its foot does not fit")
        return offset, length, key.hex(), salt, commitment

    def _context(self, path: Path | BucketPath, kind: str, key_id: str) -> bytes:
        name = path.relative_to(self._root).as_posix().encode()
        store = self._store_id.encode()
        head = SEAL_MAGIC + struct.pack("<II", 2, KINDS[kind]) + bytes.fromhex(key_id)
        return head + struct.pack("<H", len(store)) + store + struct.pack("<H", len(name)) + name

    def _whole(self, path: Path | BucketPath, kind: str, raw: bytes, secret: bytes, named: str) -> bytes:
        what = str(path)
        offset, length, key_id, salt, commitment = self._foot(raw, len(raw), kind, what)
        need(offset == 0 and key_id == named, f"{what}: its foot does not fit")
        opener = Opener(secret, self._context(path, kind, key_id), salt, commitment, what)
        return opener.index(0, raw[:length], what)

    def whole(self, path: Path | BucketPath, kind: str, raw: bytes | None = None) -> tuple[bytes, dict[str, Any]]:
        """Return what is in an object without parts, and what the key that sealed it is for."""
        raw = path.read_bytes() if raw is None else raw
        key_id = self._foot(raw, len(raw), kind, str(path))[2]
        secret, purpose = self._data_key(key_id, str(path))
        return self._whole(path, kind, raw, secret, key_id), purpose

    def index(self, path: Path | BucketPath, kind: str) -> tuple[bytes, int, Opener]:
        """Return an object's plain index, where it begins, and what opens its parts."""
        what = str(path)
        try:
            size = path.stat().st_size
            with path.open("rb") as file:
                file.seek(max(0, size - FOOT.size))
                offset, length, key_id, salt, commitment = self._foot(file.read(FOOT.size), size, kind, what)
                file.seek(offset)
                sealed = file.read(length)
        except OSError as error:
            raise DamageError(f"{what}: {error}") from error
        secret, _ = self._data_key(key_id, what)
        opener = Opener(secret, self._context(path, kind, key_id), salt, commitment, what)
        return opener.index(offset, sealed, what), offset, opener


def read_keys(path: Path) -> dict[str, bytes]:
    """Return the keys of a sheet, or of the key files in a directory, by their ids."""
    found = {}
    for one in sorted(path.glob("*.key")) if path.is_dir() else [path]:
        rows = [" ".join(line.lower().split()) for line in one.read_text().splitlines()]
        fields = dict(row.partition(" ")[::2] for row in rows if row and not row.startswith("#"))
        digits = "".join(fields.get(str(number), "").replace(" ", "")[:16] for number in (1, 2, 3, 4))
        key_id, name, made = (fields.get(word, "") for word in ("id", "name", "made"))
        need("drystone" in fields and bool(re.fullmatch("[0-9a-f]{64}", digits)), f"{one} is no key of Drystone")
        raw = f"{key_id} {name} {made.upper()} ".encode() + bytes.fromhex(digits)
        check = blake3.blake3(raw, derive_key_context="drystone 1 check of a key").digest(8).hex()
        need(check == fields.get("check"), f"{one}: the key has a typing error; `drystone key import` says where")
        found[key_id] = bytes.fromhex(digits)
    need(bool(found), f"there is no key in {path}")
    return found

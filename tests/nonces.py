"""Sees every encryption, and fails when a key and a nonce come together a second time (S240)."""

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from drystone.codec import sealed


class NonceUsedTwiceError(AssertionError):
    pass


class Nonces:
    """Pairs of a key and a nonce with which something was encrypted."""

    def __init__(self) -> None:
        self._seen: set[tuple[bytes, bytes]] = set()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._seen)

    def take(self, key: bytes, nonce: bytes) -> None:
        with self._lock:
            if (key, nonce) in self._seen:
                raise NonceUsedTwiceError(f"nonce {int.from_bytes(nonce, 'little')} was used twice with one key")
            self._seen.add((key, nonce))


@contextlib.contextmanager
def recorded() -> Iterator[Nonces]:
    """Within this, all that is encrypted in this process is seen."""
    seen = Nonces()

    class Recorded:
        def __init__(self, key: bytes) -> None:
            self._named = hashlib.sha256(key).digest()
            self._inner = AESGCM(key)

        def encrypt(self, nonce: bytes, plain: Any, beside: bytes) -> bytes:
            seen.take(self._named, nonce)
            return self._inner.encrypt(nonce, plain, beside)

        def decrypt(self, nonce: bytes, stored: Any, beside: bytes) -> bytes:
            return self._inner.decrypt(nonce, stored, beside)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sealed, "AESGCM", Recorded)
        yield seen


@pytest.fixture
def nonces() -> Iterator[Nonces]:
    """All that a test encrypts, in this process."""
    with recorded() as seen:
        yield seen

"""Sealed stores of tests: keys in memory, and a switch that seals every store that a test makes."""

import os

from drystone.codec.sealed import SecretKey
from drystone.domain.ids import KeyId, StoreId
from drystone.objects.contract import NotFoundError, ObjectStore
from drystone.snapstore.far import Far
from drystone.snapstore.store import Store, create_sealed_store, create_store, open_store

KEK = SecretKey(key_id=KeyId("cc" * 16), secret=bytes(range(7, 39)))


class Keks:
    """Key-encryption keys that are here; the first one wraps new data keys."""

    def __init__(self, *keys: SecretKey) -> None:
        self.keys = list(keys)

    def secret(self, key_id: KeyId) -> SecretKey:
        for key in self.keys:
            if key.key_id == key_id:
                return key
        raise NotFoundError(f"there is no key {key_id}")

    def default(self) -> SecretKey:
        return self.keys[0]


def keks() -> Keks | None:
    """None, or keys if `DRYSTONE_TEST_SEALED=1` is in the environment: then stores of tests are sealed."""
    return Keks(KEK) if os.environ.get("DRYSTONE_TEST_SEALED") == "1" else None


def new_sealed_store(objects: ObjectStore, store_id: StoreId, owner: str, keys: Keks) -> Store:
    create_sealed_store(objects, store_id, owner, keys.default)
    return open_store(objects, store_id, keks=keys)


def make_store(objects: ObjectStore, store_id: StoreId, owner: str, key: bytes) -> Store:
    """Make a store: in clear, or as the environment says."""
    keys = keks()
    return (
        create_store(objects, store_id, owner, key)
        if keys is None
        else new_sealed_store(objects, store_id, owner, keys)
    )


def reopen(objects: ObjectStore, store_id: StoreId, far: Far | None = None) -> Store:
    """Open a store that `make_store` made."""
    return open_store(objects, store_id, far, keks=keks())

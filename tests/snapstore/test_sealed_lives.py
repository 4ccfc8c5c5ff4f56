"""Lives of sealed stores: no nonce twice, nothing shown, nothing of a vandal taken (P12, S240 to S242, S380)."""

import random

import pytest

from drystone.codec.sealed import FOOT_BYTES
from drystone.domain.blocks import BLOCK_BYTES
from drystone.domain.ids import DiskId, SnapshotId, StoreId
from drystone.snapstore.manifests import Attributes, write_attributes
from drystone.snapstore.seals import snapshots_purpose
from tests.memory_store import MemoryStore
from tests.nonces import Nonces, nonces
from tests.sealed_stores import KEK, Keks, new_sealed_store
from tests.snapstore import catalog_lives
from tests.snapstore.model_snapshots import ACCOUNT, take
from tests.snapstore.simulate import run
from tests.snapstore.vandal import Stores, try_one

__all__ = ["nonces"]
MUTATIONS = 400
"""`python -m tests.snapstore.vandal` does 10,000."""


def test_lives_of_sealed_stores_use_no_nonce_twice(monkeypatch: pytest.MonkeyPatch, nonces: Nonces) -> None:
    """S240, with crashes, repeated writes, compaction and mending; also of several catalogs, whose writes land late."""
    monkeypatch.setenv("DRYSTONE_TEST_SEALED", "1")
    for seed in range(3):
        run(seed, steps=100, storms=seed == 2)
    before = len(nonces)
    assert before > 150
    for seed in range(4):
        catalog_lives.run(seed, steps=60)
    assert len(nonces) > before + 50


def test_what_a_vandal_does_is_refused_and_named() -> None:
    """S241, S242, S380."""
    stores, rng = Stores(), random.Random(7)
    done = {try_one(stores, rng).partition(":")[0] for _ in range(MUTATIONS)}
    assert done == {"packs", "maps", "snapshots", "snapshots manifest", "keys"}


def test_the_bucket_shows_nothing_of_what_is_known(nonces: Nonces) -> None:
    """P12: no byte of a disk, name or tag is found; two equal disks look different."""
    objects = MemoryStore()
    store = new_sealed_store(objects, StoreId("store-1"), "0" * 32, Keks(KEK))
    assert store.seals is not None
    line = b"what everybody knows of this disk. "
    known = (line * 4000)[: 16 * BLOCK_BYTES] + random.Random(5).randbytes(16 * BLOCK_BYTES)
    by_disk: list[dict[str, bytes]] = []
    for number, encrypted in enumerate((True, True, False)):
        disk = DiskId(f"disk-{number}")
        if encrypted:
            store.seals.make_for(snapshots_purpose(ACCOUNT, disk, encrypted=True), KEK.key_id)
        before = set(objects.content())
        name = SnapshotId(f"snap-{number}")
        take(store, random.Random(number), name, known, [(0, 32)], disk_id=disk, encrypted=encrypted)
        write_attributes(store, name, Attributes(name="a secret name", tags=(("team", "payroll"),)), ACCOUNT)
        by_disk.append({one: raw for one, raw in objects.content().items() if one not in before})
    secrets = [b"a secret name", b"payroll", b"team", b"CLOUD_", b"disk-0", b"disk-1", ACCOUNT.encode()]
    secrets += [known[at : at + 16] for at in range(0, len(known), 16)]
    for one, raw in objects.content().items():
        for secret in secrets:
            assert secret not in raw, (one, secret)
    # In clear are the feet alone: ids, lengths and kinds. Nothing else of two equal disks is equal.
    seen: set[bytes] = set()
    for disk_objects in by_disk:
        pieces = {raw[at : at + 16] for raw in disk_objects.values() for at in range(0, len(raw) - FOOT_BYTES - 15, 16)}
        assert seen.isdisjoint(pieces)
        seen |= pieces
    assert len(nonces) > 20

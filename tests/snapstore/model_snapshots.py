"""Small snapshots for tests: a model disk, and the writing of a snapshot of it."""

import random
from collections.abc import Sequence

from drystone.codec.manifest import DiskAttributes, Manifest, ManifestMap, ManifestPack, SnapshotRecord
from drystone.domain.blocks import BLOCK_BYTES
from drystone.domain.ids import AccountId, DiskId, SessionId, SnapshotId, StoreId
from drystone.objects.contract import ObjectStore
from drystone.snapstore.manifests import write_manifest
from drystone.snapstore.reader import SnapshotReader
from drystone.snapstore.seals import account_purpose, snapshots_purpose
from drystone.snapstore.store import Store, hex128
from drystone.snapstore.writer import SnapshotWriter, Written
from tests.sealed_stores import make_store

STORE_ID = StoreId("store-test")
KEY = bytes(range(32))
ACCOUNT = AccountId("100000000001")
DISK = DiskId("disk-aaaaaaaa")
PURPOSE = account_purpose(ACCOUNT)


def new_store(objects: ObjectStore) -> Store:
    return make_store(objects, STORE_ID, "0" * 32, KEY)


def manifest_of(
    store: Store,
    *,
    snapshot: str,
    session: SessionId,
    written: Written,
    size_bytes: int,
    base: SnapshotReader | None,
    disk_id: DiskId = DISK,
    encrypted: bool = False,
) -> Manifest:
    newest = ManifestMap(
        object=written.map_object, kind=written.kind, entries=written.entries, bytes=written.map_bytes,
        commitment=written.commitment,
    )  # fmt: skip
    return Manifest(
        format=store.version,
        store=store.store_id,
        snapshot=SnapshotId(snapshot),
        session=session,
        account=ACCOUNT,
        disk=disk_id,
        size_bytes=size_bytes,
        taken_at="2026-11-01T00:00:00Z",
        base=None if base is None else base.manifest.snapshot,
        ancestry=() if base is None else (base.manifest.snapshot, *base.manifest.ancestry)[:64],
        maps=(newest, *(() if base is None else base.manifest.maps)),
        packs=tuple(
            ManifestPack(pack=one.pack, object=one.object, bytes=one.bytes, blocks=one.blocks) for one in written.packs
        ),
        record=SnapshotRecord(
            tracking="full" if base is None else "delta",
            tracking_reason="",
            read_bytes=0,
            changed_bytes=written.changed_blocks * BLOCK_BYTES,
            stored_bytes=written.stored_bytes,
            requests=written.requests,
            freeze_ms=1.5,
            consistency="crash",
        ),
        disk_attributes=DiskAttributes(type="CLOUD_SSD", name="test", usage="DATA_DISK", encrypted=encrypted),
    )


def take(
    store: Store,
    rng: random.Random,
    snapshot: str,
    disk: bytes | bytearray,
    changed: Sequence[tuple[int, int]],
    base: SnapshotReader | None = None,
    *,
    compare: bool = False,
    zeros: Sequence[tuple[int, int]] = (),
    disk_id: DiskId = DISK,
    encrypted: bool = False,
) -> SnapshotReader:
    """Write a snapshot of `disk`, of whose blocks `changed` are read and `zeros` are told to be zeros.

    Of an encrypted disk the store has the data key already.
    """
    session = SessionId(hex128(rng))
    purpose = snapshots_purpose(ACCOUNT, disk_id, encrypted=encrypted)
    writer = SnapshotWriter(store=store, session=session, rng=rng, base=base, compare=compare, purpose=purpose)
    try:
        for start, stop, data in sorted([(*one, True) for one in changed] + [(*one, False) for one in zeros]):
            if data:
                writer.write(start, memoryview(disk)[start * BLOCK_BYTES : stop * BLOCK_BYTES])
            else:
                writer.zero(start, stop)
        written = writer.finish()
    finally:
        writer.abort()
    manifest = manifest_of(
        store, snapshot=snapshot, session=session, written=written, size_bytes=len(disk), base=base, disk_id=disk_id,
        encrypted=encrypted,
    )  # fmt: skip
    return SnapshotReader.open(store, write_manifest(store, manifest))

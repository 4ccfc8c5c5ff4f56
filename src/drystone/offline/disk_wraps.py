"""The keys of encrypted disks in a rotation: opened, and wrapped by another key, in catalog and `disk.json`."""

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import replace

from drystone.catalog import disks
from drystone.catalog.sqlite import SqliteDatabase
from drystone.domain.disk import Disk, DiskEncryption
from drystone.domain.errors import DrystoneError, IntegrityError
from drystone.domain.ids import DiskId, KeyId, StoreId
from drystone.engine.descriptions import read_encryption, write_disk
from drystone.engine.layout import Layout
from drystone.service.host.disk_keys import DiskKeys, wrap_key


def disks_unopened(layout: Layout, keks: Collection[KeyId]) -> list[str]:
    """Return which disks, of those that some keys wrap, cannot be opened, and why."""
    faults = []
    with _catalog(layout) as db:
        for disk in _wrapped(db, keks):
            try:
                DiskKeys(layout=layout).of(disk)
            except DrystoneError as error:
                faults.append(str(error))
    return faults


def wrap_disks(layout: Layout, store_id: StoreId, old: Collection[KeyId], new: KeyId) -> None:
    """Have one key wrap the keys of those disks that some others wrap; durable on return, and may be repeated (S383).

    Raises:
        DrystoneError: One cannot be opened; or beside an image is a key that is wrapped by one of the others still.
    """
    keys = DiskKeys(layout=layout)
    with _catalog(layout) as db:
        for disk in _wrapped(db, old):
            key = keys.of(disk)
            assert disk.encryption is not None
            made = replace(disk.encryption, kek=new) if key is None else wrap_key(keys.files, disk, new, key)
            # What was made must open before anything else does not.
            if key is not None and keys.of(replace(disk, encryption=made)) != key:
                raise IntegrityError(f"the key of disk {disk.id} was not wrapped rightly")
            _keep(db, disk, made)
        for disk in db.read_sync(disks.everything):
            if disk.encryption is not None and read_encryption(layout, disk.id) not in (None, disk.encryption):
                write_disk(layout, disk, store_id)
    for path in sorted(layout.data.glob("disks/*/disk.json")):
        beside = read_encryption(layout, DiskId(path.parent.name))
        if beside is not None and beside.kek in old:
            raise IntegrityError(
                f"{path} is of a disk that the catalog does not know, and key {beside.kek} wraps its key"
            )


def _keep(db: SqliteDatabase, disk: Disk, made: DiskEncryption) -> None:
    expected = {"encryption": disk.encryption}
    changed = db.write_sync(
        lambda conn: disks.compare_and_set(conn, disk.id, expected=expected, values={"encryption": made})
    )
    assert changed, "no server has the catalog"


@contextlib.contextmanager
def _catalog(layout: Layout) -> Iterator[SqliteDatabase]:
    with contextlib.closing(SqliteDatabase.open(layout.catalog)) as db:
        yield db


def _wrapped(db: SqliteDatabase, keks: Collection[KeyId]) -> list[Disk]:
    found = db.read_sync(disks.everything)
    return [disk for disk in found if disk.encryption is not None and disk.encryption.kek in keks]

"""What a start does about the snapshot store: it is made, opened, or waited for."""

import contextlib
from collections.abc import Iterator, Mapping
from random import Random

import msgspec
from sqlalchemy import Connection

from drystone.catalog import meta
from drystone.catalog.database import Database
from drystone.domain.errors import DrystoneError, IntegrityError, StoreUnavailableError
from drystone.domain.ids import IdSource, StoreId
from drystone.engine.layout import Layout
from drystone.objects.address import DirectoryAddress, ObjectsAddress, S3Address, open_objects
from drystone.objects.contract import ObjectStore
from drystone.objects.measured import Tally
from drystone.service.kept_store import KeptStore
from drystone.service.room import Room
from drystone.service.upkeep import epoch
from drystone.service.upkeep.reaching import ForeignStoreError, reach
from drystone.snapstore.key_files import KeyFiles, make_first_key
from drystone.snapstore.store import create_sealed_store, create_store

STORE_ID = "store_id"
SEALED = "store_sealed"
"""Key of the row that says that the store is sealed."""
CREATING = "creating_store"
"""Key of the row with the id and the owner of a store that is being made."""
ATTEMPTS = 2
"""A start does not wait long for a bucket: the disks are served without it."""


class StartError(DrystoneError):
    """The server cannot start; the message is one line that says what to do."""


def refuse_orphans(layout: Layout, place: ObjectsAddress, catalog: str) -> None:
    """Refuse to begin anew where a catalog was lost: its store and disks would never be looked at again.

    Raises:
        StartError: There is a store, or a disk, although there is no catalog; or nobody can say now.
    """
    found = [*layout.store.glob("*/owner"), *layout.data.glob("disks/*/disk.json")]
    first = str(found[0].relative_to(layout.data)) if found else ""
    if isinstance(place, S3Address) and not first:
        try:
            first = next(stores_in(open_objects(place, attempts=ATTEMPTS)), "")
        except StoreUnavailableError as error:
            raise StartError(f"a first start needs the bucket: {error}") from error
    if first:
        raise StartError(
            f"{place if isinstance(place, S3Address) else layout.data} has {first} and no {catalog} is here: put the "
            f"newest copy back from {layout.backups}, or run `drystone store recover --data {layout.data}`"
            + (", or give store_url another prefix" if isinstance(place, S3Address) else "")
        )


def stores_in(objects: ObjectStore) -> Iterator[str]:
    """Yield the ids of the stores that are there; to know all of them, everything is listed."""
    for entry in objects.list(""):
        top, _, name = entry.name.partition("/")
        if name == "owner":
            yield top


def open_kept(
    db: Database,
    room: Room,
    place: ObjectsAddress,
    rng: Random,
    *,
    at: float,
    dead_percent: int,
    tally: Tally,
    sealed: bool = False,
) -> KeptStore:
    """Open the store of this catalog, or make it; what cannot be used now, it or the catalog, is waited for.

    Whether it is sealed the catalog says, which noted it when the store was made (S242). `sealed` is for one that is
    made now.

    Raises:
        StartError: Another catalog owns it, a newer state of this catalog has used it, or it is not there.
        UnavailableError: It must be made, or its directory cannot be used.
    """
    if isinstance(place, DirectoryAddress):
        place = msgspec.structs.replace(place, floor_bytes=room.look().floor_bytes)
    objects = open_objects(place, tally, attempts=ATTEMPTS)
    new = db.read_sync(lambda conn: meta.get(conn, STORE_ID)) is None
    if new:
        _make(db, objects, rng, at, sealed=sealed, keys=KeyFiles(room.layout.keys))
    place = with_keys(place, db.read_sync(meta.everything), room.layout)
    kept = KeptStore(
        store_id=StoreId(db.read_sync(meta.everything)[STORE_ID]), objects=open_objects(place, tally), place=place,
        proven=None, room=room, dead_percent=dead_percent, pending=tally.pending,
    )  # fmt: skip
    try:
        reach(db, kept, objects, IdSource(rng), new=new)
    except ForeignStoreError as error:
        raise StartError(str(error)) from error
    return kept


def with_keys(place: ObjectsAddress, facts: Mapping[str, str], layout: Layout) -> ObjectsAddress:
    """Return where the store is, and its keys, if the facts of its catalog say that it is sealed (S242)."""
    return msgspec.structs.replace(place, seal_keys=str(layout.keys)) if SEALED in facts else place


def _make(db: Database, objects: ObjectStore, rng: Random, at: float, *, sealed: bool, keys: KeyFiles) -> None:
    """Make a store; one that a start before this began is completed."""
    found = db.read_sync(lambda conn: meta.get(conn, CREATING))
    if found is None:
        ids = IdSource(rng)
        found = f"{ids.hex128()} {ids.hex128()}" + (" sealed" if sealed else "")
        db.write_sync(lambda conn: meta.put(conn, CREATING, found))
    store_id, owner, *how = found.split()
    with contextlib.suppress(IntegrityError):  # That start came as far as this; whose it is, is looked at next.
        if how:
            make_first_key(keys, at)
            create_sealed_store(objects, StoreId(store_id), owner, keys.default)
        else:
            create_store(objects, StoreId(store_id), owner, rng.randbytes(32))

    def record(conn: Connection) -> None:
        values = {STORE_ID: store_id, epoch.OWNER: owner, epoch.KEY: "0", "created_at": str(at)}
        values |= {SEALED: "1"} if how else {}
        for key, value in values.items():
            meta.put(conn, key, value)
        meta.remove(conn, CREATING)

    db.write_sync(record)

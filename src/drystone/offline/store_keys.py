"""What is done with the keys of a data directory: create, list, export, import, rotate, destroy."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from sqlalchemy import Connection

from drystone.catalog import disks, meta, snapshots
from drystone.catalog.backup import read_meta
from drystone.catalog.sqlite import SqliteDatabase
from drystone.codec.key_text import NAME, KeyEncryptionKey, parse_key
from drystone.codec.wraps import Purpose
from drystone.config import Config
from drystone.domain.claim import Standing
from drystone.domain.errors import IntegrityError
from drystone.domain.ids import AccountId, DiskId, IdSource, Randomness, SnapshotId, StoreId
from drystone.domain.snapshot import SnapshotState
from drystone.engine.layout import Layout
from drystone.objects.address import open_objects
from drystone.objects.contract import ObjectStore
from drystone.offline.disk_wraps import disks_unopened, wrap_disks
from drystone.server.serve import locked
from drystone.server.store_opening import SEALED, STORE_ID, StartError, with_keys
from drystone.server.store_place import store_place
from drystone.service.rows.destroying import begin_destroying
from drystone.service.transactions import Change
from drystone.service.upkeep import epoch
from drystone.snapstore.data_keys import DataKeys, list_wraps, retire, rewrap, unopened
from drystone.snapstore.key_files import KeyFiles, keks_from, new_key, sheet
from drystone.snapstore.reader_copy import reader_sha256
from drystone.snapstore.store import open_store


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFact:
    """What is told of a key: nothing secret."""

    id: str
    name: str
    made: str
    default: bool
    """Whether it wraps new data keys."""
    data_keys: int | None
    """How many data keys of the store it wraps; None if that was not asked."""


def list_keys(data: Path) -> tuple[list[KeyFact], list[str]]:
    """Return the keys of a data directory, and what is wrong with files among them.

    Raises:
        DrystoneError: The store does not answer, or the catalog cannot be read.
    """
    config = Config.load(data)
    layout = Layout(config.data)
    files = KeyFiles(layout.keys)
    found, faults = files.all()
    wrapped = _wrapped(config, layout)
    facts = [
        KeyFact(
            id=one.key.key_id, name=one.name, made=one.made, default=one.key.key_id == files.default_id(),
            data_keys=None if wrapped is None else wrapped.get(one.key.key_id, 0),
        )
        for one in found
    ]  # fmt: skip
    missing = () if wrapped is None else sorted(set(wrapped) - {fact.id for fact in facts})
    return facts, faults + [f"key {one} wraps {(wrapped or {})[one]} data keys, and is not here" for one in missing]


def export_key(data: Path, key_id: str | None) -> str:
    """Return a key, by its id or name, the default one if none is named, as a sheet to print.

    Raises:
        DrystoneError: There is none, or it cannot be read.
    """
    config = Config.load(data)
    files = KeyFiles(Layout(config.data).keys)
    where = config.store_url or str(Layout(config.data).store)
    return sheet(_chosen(files, key_id), where, reader_sha256(), version("drystone"))


def create_key(data: Path, name: str, *, at: float) -> KeyEncryptionKey:
    """Make a key for disks that name it; a server that runs knows it at once.

    Raises:
        DrystoneError: The name is none, or a key has it; or a file cannot be written. Nothing changed.
    """
    config = Config.load(data)
    if not NAME.fullmatch(name):
        raise StartError(f"{name!r} is no name of a key: use up to 40 small letters, digits and -")
    files = KeyFiles(Layout(config.data).keys)
    if files.default_id() is None:
        raise StartError(f"{config.data} has no sealed store yet: start the server once")
    found, faults = files.all()
    if faults:
        raise StartError(f"nothing was made, for a key there cannot be read: {faults[0]}")
    if any(one.name == name for one in found):
        raise StartError(f"there is a key {name} already")
    made = new_key(at, name)
    files.add(made)
    return made


def import_key(data: Path, text: str) -> tuple[KeyEncryptionKey, bool]:
    """Keep a key that was exported; return it, and whether it was not there.

    Raises:
        DrystoneError: It is none or has a typing error; or another key of that id is there. Nothing changed.
    """
    config = Config.load(data)
    config.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    kek = parse_key(text)
    return kek, KeyFiles(Layout(config.data).keys).add(kek)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated:
    """What a rotation did."""

    key: str
    data_keys: int
    retired: tuple[str, ...]


def rotate_key(data: Path, chosen: str | None = None, *, at: float) -> Rotated:
    """Have a new key take the place of one, the default one if none is named; no server has the data.

    What the old one wraps, data keys and keys of encrypted disks, is wrapped by the new one, of the same name; then the
    old one's wraps and its file go, and those of others of that name, which an earlier try has left. No snapshot and no
    disk is written anew. It may be repeated after an error: nothing is lost by it (S246, S383).

    Raises:
        DrystoneError: A data key cannot be opened, or the store does not answer. All keys stay that were there.
    """
    config = Config.load(data)
    layout = Layout(config.data)
    with locked(config.data):
        objects, store_id = _owned(config, layout)
        files = KeyFiles(layout.keys)
        before = _chosen(files, chosen)
        old = {one.key.key_id for one in files.all()[0] if one.name == before.name}
        faults = unopened(objects, store_id, files.secret) + disks_unopened(layout, old)
        if faults:
            raise IntegrityError(f"nothing was changed: {'; '.join(faults)}")
        made = new_key(at, before.name)
        files.add(made)
        done = rewrap(objects, store_id, files.secret, made.key, old)
        if done.faults:
            raise IntegrityError(f"nothing was retired, and key {made.key.key_id} stays: {'; '.join(done.faults)}")
        wrap_disks(layout, store_id, old, made.key.key_id)
        if files.default_id() in old:
            files.make_default(made.key.key_id)
        for key_id in sorted(old):
            retire(objects, store_id, files.secret, key_id)
            files.remove(key_id)
        return Rotated(key=made.key.key_id, data_keys=done.data_keys, retired=tuple(sorted(old)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Destroying:
    """What a destruction has begun; the server ends it."""

    keys: tuple[str, ...]
    snapshots: tuple[str, ...]


def destroy_key(data: Path, disk: str, *, at: float, rng: Randomness) -> Destroying:
    """Begin to destroy the data keys of an encrypted disk, and to delete its snapshots; no server has the data (S384).

    The next start of the server deletes the snapshots, then every wrap of the keys, then what they sealed.

    Raises:
        DrystoneError: Something else needs what they seal, and is named; or the disk has no such key. Nothing changed.
    """
    config = Config.load(data)
    layout = Layout(config.data)
    with locked(config.data):
        objects, store_id = _owned(config, layout)
        disk_id = DiskId(disk)
        keys = DataKeys(objects, store_id, KeyFiles(layout.keys).secret)
        with contextlib.closing(SqliteDatabase.open(layout.catalog)) as db:
            account = db.read_sync(lambda conn: _account_of(conn, disk_id))
            if account is None:
                raise StartError(f"there is no encrypted disk {disk}, and no snapshot of one")
            found = keys.all_of(Purpose(account=account, disk=disk_id))
            if not found:
                raise StartError(f"the store has no data key of disk {disk} that can be opened here")

            def begin(conn: Connection) -> list[SnapshotId]:
                change = Change(conn=conn, at=at, steady=at, ids=IdSource(rng))
                return begin_destroying(change, disk_id, account, found, request_id="")

            going = db.write_sync(begin)
        return Destroying(keys=tuple(found), snapshots=tuple(going))


def _account_of(conn: Connection, disk_id: DiskId) -> AccountId | None:
    """Return whose an encrypted disk is, or was, of which there are snapshots still, if only as ghosts."""
    disk = disks.get(conn, disk_id)
    if disk is not None and disk.encryption is not None:
        return disk.account_id
    rows = snapshots.of_disk(conn, disk_id, list(SnapshotState))
    return next((row.account_id for row in rows if row.encrypted), None)


def _chosen(files: KeyFiles, word: str | None) -> KeyEncryptionKey:
    chosen = word or files.default_id()
    if chosen is None:
        raise StartError(f"there is no key in {files.directory}")
    return files.chosen(chosen)


def _owned(config: Config, layout: Layout) -> tuple[ObjectStore, StoreId]:
    """Return where the sealed store is, which is this catalog's: another one may need the keys that a rotation retires.

    Raises:
        StartError: It is not sealed, or not this catalog's any more.
    """
    _require(layout)
    with contextlib.closing(SqliteDatabase.open(layout.catalog)) as db:
        facts = db.read_sync(meta.everything)
        if SEALED not in facts:
            raise StartError(f"the store of {config.data} is not sealed")
        place = with_keys(store_place(config), facts, layout)
        objects, store_id = open_objects(place), StoreId(facts[STORE_ID])
        store = open_store(objects, store_id, keks=keks_from(place))
        if epoch.look_at_start(db.read_sync(epoch.known), store) is not Standing.HELD:
            raise StartError("another catalog, or another state of this one, has used the store: nothing was changed")
    return objects, store_id


def _wrapped(config: Config, layout: Layout) -> Mapping[str, int] | None:
    """Return how many data keys each key wraps; None without a catalog of a sealed store, which a server may have."""
    if not layout.catalog.exists() or read_meta(layout.catalog, SEALED) is None:
        return None
    found: dict[str, int] = {}
    store_id = StoreId(read_meta(layout.catalog, STORE_ID) or "")
    for wraps in list_wraps(open_objects(store_place(config)), store_id).values():
        for kek in {one.kek for one in wraps}:
            found[kek] = found.get(kek, 0) + 1
    return found


def _require(layout: Layout) -> None:
    if not layout.catalog.exists():
        raise StartError(f"{layout.data} has no catalog.db")

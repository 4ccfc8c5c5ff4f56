"""What is done to a data directory while no server has it: recover, reconcile, discard, copy the catalog."""

import contextlib
import fcntl
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection

from drystone.catalog import meta, snapshots
from drystone.catalog.backup import back_up, read_meta
from drystone.catalog.database import Database
from drystone.catalog.sqlite import SqliteDatabase
from drystone.client_settings import CREDENTIALS_FILE
from drystone.codec.manifest import Manifest
from drystone.config import Config
from drystone.domain.claim import Claimant, Standing
from drystone.domain.errors import DrystoneError, ProtocolError
from drystone.domain.ids import IdSource, Randomness, StoreId
from drystone.domain.late_writes import judge
from drystone.domain.snapshot import SnapshotState
from drystone.domain.times import moment
from drystone.durable_files import sync_file, write_durably
from drystone.engine.descriptions import find_disks
from drystone.engine.layout import Layout
from drystone.objects.address import DirectoryAddress, ObjectsAddress, open_objects
from drystone.server.serve import locked
from drystone.server.store_opening import SEALED, StartError, stores_in, with_keys
from drystone.server.store_place import store_place
from drystone.service.rows.troubles import HELD
from drystone.service.transactions import Change, Transactions
from drystone.service.upkeep import epoch
from drystone.service.upkeep.backups import KIND
from drystone.service.upkeep.collection import living_manifests
from drystone.service.upkeep.epoch import OWNER
from drystone.service.upkeep.evidence import Evidence, Report
from drystone.service.upkeep.late_writes import what_rows_say
from drystone.service.upkeep.recovery import given_up, reconcile
from drystone.snapstore.account_names import AccountName, read_accounts
from drystone.snapstore.claims import claimed_epoch, hold, owned_by_another
from drystone.snapstore.data_keys import KeyMissingError
from drystone.snapstore.inventory import Inventory, OnProgress, take_inventory
from drystone.snapstore.key_files import keks_from
from drystone.snapstore.manifests import list_manifests, list_shelf
from drystone.snapstore.store import Store, end_numbered_epoch, open_store

UNFINISHED = "catalog.db.recovering"
RECONCILE_BACKUPS_KEPT = 10
STORE_ID = "store_id"
RECOVERED = "recovered from its store on "


class Outside(Protocol):
    """The world outside, handed in by the program."""

    @property
    def clock(self) -> Callable[[], float]: ...  # noqa: D102 - seconds since the epoch

    @property
    def rng(self) -> Randomness: ...  # noqa: D102 - for ids and keys

    @property
    def on_progress(self) -> OnProgress: ...  # noqa: D102 - snapshots looked at, and of how many


def back_up_catalog(data: Path, *, at: float) -> Path:
    """Copy the catalog of a data directory, served or not, into its `backups/`; return the copy.

    Raises:
        DrystoneError: There is none, or it could not be copied.
    """
    config = Config.load(data)
    layout = Layout(config.data)
    _require_catalog(config, layout)
    return back_up(layout.catalog, layout.backups, kind=KIND, at=at, kept=config.backups_kept)


def reconcile_catalog(data: Path, outside: Outside, *, force: bool = False) -> Report | None:
    """Bring a catalog that was put back from a backup up to date with its store; no server may have it.

    A copy of the catalog as it was is kept in `backups/`. All that is changed is changed in one transaction: after a
    crash the catalog is still the old one, or the new one.

    Args:
        data: The data directory.
        outside: Clock, randomness, progress.
        force: Also if the catalog is not older than its store.

    Returns:
        What was done; None if there was nothing to do.

    Raises:
        DrystoneError: It cannot be done; nothing was changed.
    """
    config = Config.load(data)
    layout = Layout(config.data)
    with locked(config.data):
        _require_catalog(config, layout)
        at = outside.clock()
        back_up(layout.catalog, layout.backups, kind="before-reconcile", at=at, kept=RECONCILE_BACKUPS_KEPT)
        with contextlib.closing(SqliteDatabase.open(layout.catalog)) as db:
            known = db.read_sync(meta.everything)
            if STORE_ID not in known:
                raise StartError(f"the catalog of {config.data} has no store yet; there is nothing to reconcile")
            store = _open(with_keys(store_place(config), known, layout), known[STORE_ID])
            if owned_by_another(store, known[OWNER]):
                raise StartError(
                    f"the snapshot store {store.store_id} is owned by another catalog; only `drystone store recover` "
                    "into an empty data directory takes it over"
                )
            if epoch.look_at_start(db.read_sync(epoch.known), store) is Standing.HELD and not force:
                return None
            ours, theirs = db.read_sync(epoch.current), claimed_epoch(store)
            why = f"reconciled with its store on {_time(at)} (epoch {ours} against {theirs})"
            evidence = _evidence(store, _inventory(store, db, outside), layout, config, why)
            keys = evidence.new_keys(IdSource(outside.rng), at=at)
            report = _transactions(db, outside.rng, at).change_sync(lambda change: reconcile(change, evidence, keys))
            _claim(store, *db.read_sync(_claiming))
            return report


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """A manifest that no row accounts for, and what goes with it."""

    object: str
    snapshot: str
    reason: str
    """Why it is no snapshot of this catalog."""
    lost: str
    """What nobody can restore any more once it is gone."""
    kept_as: Path
    """Where a copy of it is put."""


def stray_manifests(data: Path, outside: Outside) -> list[Stray]:
    """Return the manifests that stop collection: those that neither a snapshot nor a session of the catalog explains.

    Raises:
        DrystoneError: They cannot be told; a server may have the data directory.
    """
    return _strays(data, outside, None)


def discard_manifest(data: Path, name: str, outside: Outside) -> Stray:
    """Take one such manifest out of the store, so that collection goes on; no server may have the data directory.

    A copy is durable in `backups/` before it goes: put back under its name it is there again, as long as what it shows
    was not collected. What only it shows is collected from then on, after `drystone store confirm` if that is due.

    Returns:
        What was discarded.

    Raises:
        DrystoneError: It is none of them; nothing was changed.
    """
    return _strays(data, outside, name)[0]


def _strays(data: Path, outside: Outside, discard: str | None) -> list[Stray]:
    config = Config.load(data)
    layout = Layout(config.data)
    with locked(config.data):
        _require_catalog(config, layout)
        with contextlib.closing(SqliteDatabase.open(layout.catalog)) as db:
            facts = db.read_sync(meta.everything)
            if STORE_ID not in facts:
                raise StartError(f"the catalog of {config.data} has no store yet")
            store = _open(with_keys(store_place(config), facts, layout), facts[STORE_ID])
            if epoch.look_at_start(db.read_sync(epoch.known), store) is not Standing.HELD:
                raise StartError("another state of the catalog has used the store: reconcile it first")
            inventory = _inventory(store, db, outside)
            shelf = list_shelf(store)
            made = [entry.made for entry in shelf.manifests]
            known, living = db.read_sync(lambda conn: what_rows_say(conn, made)), db.read_sync(_known_snapshots)
        strays = []
        unknown = judge(made, shelf.tombstones, (), known).unknown
        for entry in shelf.manifests:
            if entry.made not in unknown:
                continue
            left = next((one for one in inventory.left_alone if one.object == entry.object), None)
            whole = next((one.manifest for one in inventory.snapshots if one.object == entry.object), None)
            kept = layout.backups / f"discarded-{entry.snapshot}-{entry.session}.manifest"
            strays.append(Stray(
                object=entry.object, snapshot=entry.snapshot, kept_as=kept,
                reason=left.reason if left is not None else "it is whole, and the catalog has no such snapshot",
                lost=_lost(entry.snapshot, whole if left is None else left.manifest, living),
            ))  # fmt: skip
        if discard is None:
            return strays
        chosen = [one for one in strays if one.object == discard]
        if not chosen:
            raise StartError(f"{discard} is no manifest that stops collection; `drystone store discard` lists them")
        layout.backups.mkdir(mode=0o700, exist_ok=True)
        write_durably(chosen[0].kept_as, store.objects.get(discard))
        store.objects.delete(discard)
        return chosen


def _known_snapshots(conn: Connection) -> set[str]:
    return {row.id for row in snapshots.in_states(conn, [SnapshotState.NORMAL])}


def _lost(snapshot: str, manifest: Manifest | None, living: set[str]) -> str:
    if snapshot in living:
        return "nothing: another manifest of the same snapshot is in force"
    if manifest is None:
        return f"whatever of {snapshot} might be told from it by hand: it cannot be read"
    return f"{snapshot} of {manifest.disk}, {manifest.size_bytes >> 30} GiB, taken at {manifest.taken_at}"


def recover(data: Path, root: Path | None, store_id: str | None, outside: Outside) -> Report:
    """Make a catalog from an object store alone (P11), and from the disks that lie in the data directory, if any do.

    The new catalog is the store's owner from then on: an old one that comes back is refused. It gets its name last:
    until then nothing was recovered, and the whole may be done again.

    Args:
        data: A data directory without a catalog.
        root: The directory of the object store, in which `<store id>/owner` is; None is the bucket that `store_url`
            of `data/drystone.toml` names, or `data/store`. It stays where it is: `data/store` becomes a link to it.
        store_id: Which one, if there are several.
        outside: Clock, randomness, progress.

    Returns:
        What was found.

    Raises:
        DrystoneError: It cannot be done; there is no catalog.
    """
    config = Config.load(data)
    layout = Layout(config.data)
    _require_file(config)
    with locked(config.data):
        if layout.catalog.exists():
            raise StartError(f"{layout.catalog} is there already{_what_it_is(layout)}")
        place = _place(config, layout, root)
        chosen = _chosen(place, store_id)
        # Nobody but the keys can say whether it must be sealed (S242).
        place = with_keys(place, {SEALED: "1"} if layout.keys.is_dir() else {}, layout)
        store = _open(place, chosen)
        at = outside.clock()
        inventory = take_inventory(store, outside.on_progress)
        evidence = _evidence(store, inventory, layout, config, f"{RECOVERED}{_time(at)}")
        part = layout.catalog.with_name(UNFINISHED)
        report, known, ours = _rebuilt(part, store, evidence, outside.rng, at)
        if {entry.object for entry in list_manifests(store)} != evidence.inventory.manifests:
            raise StartError(
                f"the store in {place} changed while it was read: a server still uses it; stop that one, then try again"
            )
        _claim(store, known, ours)
        elsewhere = isinstance(place, DirectoryAddress) and Path(place.root) != layout.store.absolute()
        if elsewhere and not layout.store.is_symlink():
            layout.store.symlink_to(str(place))
        sync_file(part)
        part.replace(layout.catalog)
        sync_file(config.data)
        return report


def _what_it_is(layout: Layout) -> str:
    """Say what to do with a catalog that a recovery finds: one that was killed may have made it, and shown nothing."""
    try:
        held = read_meta(layout.catalog, HELD) or ""
    except DrystoneError:
        held = ""
    if not held.startswith(RECOVERED):
        return f"; to bring a catalog up to date with its store use `drystone store reconcile --data {layout.data}`"
    return (
        f" and was {held}: that is done, also if its report was not shown. Start the server: the administrator's key "
        f"is in {layout.data / CREDENTIALS_FILE} then. `drystone snapshot list` says what came back, `drystone account "
        "list` which accounts, and `drystone account key create ACCOUNT` makes another key of each"
    )


def _open(place: ObjectsAddress, store_id: str) -> Store:
    """Open a store by the keys that its address has, or as one in clear where it has none."""
    try:
        return open_store(open_objects(place), StoreId(store_id), keks=keks_from(place))
    except KeyMissingError as error:
        raise StartError(f"{error}: `drystone key import FILE`") from error
    except ProtocolError as error:
        hint = f"without {place.seal_keys} it is opened so" if place.seal_keys else "`drystone key import FILE` first"
        raise StartError(f"{error}; {hint}") from error


def _rebuilt(part: Path, store: Store, evidence: Evidence, rng: Randomness, at: float) -> tuple[Report, Claimant, int]:
    """Write the new catalog under a name that no server looks at; return the report, its claimant and its epoch."""
    for suffix in ("", "-wal", "-shm"):
        part.with_name(part.name + suffix).unlink(missing_ok=True)
    ids = IdSource(rng)
    owner, keys = ids.hex128(), evidence.new_keys(ids, at=at)
    with contextlib.closing(SqliteDatabase.open(part)) as db:

        def fill(change: Change) -> Report:
            meta.put(change.conn, STORE_ID, store.store_id)
            meta.put(change.conn, OWNER, owner)
            if store.seals is not None:
                meta.put(change.conn, SEALED, "1")
            meta.put(change.conn, "created_at", str(at))
            return reconcile(change, evidence, keys)

        report = _transactions(db, rng, at).change_sync(fill)
        known, ours = db.read_sync(_claiming)
    # The last connection has moved the log into the file: what is renamed is all there is.
    log = part.with_name(part.name + "-wal")
    assert not log.exists() or log.stat().st_size == 0, log
    return report, known, ours


def _claiming(conn: Connection) -> tuple[Claimant, int]:
    return epoch.claimant(conn), epoch.current(conn)


def _claim(store: Store, known: Claimant, ours: int) -> None:
    """Claim the store for a catalog that has begun anew; it is confirmed by the server's first claim (S200)."""
    end_numbered_epoch(store)
    hold(store, known, ours)


def _transactions(db: Database, rng: Randomness, at: float) -> Transactions:
    """Return the transactions of a catalog that no server has; all of them are of one time."""
    return Transactions(db=db, clock=lambda: at, steady=lambda: at, rng=rng)


def _inventory(store: Store, db: Database, outside: Outside) -> Inventory:
    """Return what the store holds, in the light of what a catalog knows of it."""
    fenced, living = db.read_sync(given_up), db.read_sync(living_manifests)
    return take_inventory(store, outside.on_progress, given_up=fenced, in_force=frozenset(living))


def _evidence(store: Store, inventory: Inventory, layout: Layout, config: Config, why: str) -> Evidence:
    try:
        names: tuple[AccountName, ...] = read_accounts(store)
    except ProtocolError:
        names = ()
    return Evidence(
        inventory=inventory, accounts=names, found=tuple(find_disks(layout)), zone=config.zone,
        store_epoch=claimed_epoch(store), reason=why,
    )  # fmt: skip


def _require_file(config: Config) -> None:
    if config.catalog_url is not None:
        raise StartError(
            f"the catalog of {config.data} is in PostgreSQL (catalog_url), and this works on a catalog.db alone "
            "so far; copies are made with pg_dump"
        )


def _require_catalog(config: Config, layout: Layout) -> None:
    _require_file(config)
    if not layout.catalog.exists():
        raise StartError(f"{layout.data} is not a data directory of Drystone (no catalog.db)")


def _place(config: Config, layout: Layout, root: Path | None) -> ObjectsAddress:
    """Return where the object store is, which no server may be using."""
    if config.store_url is not None:
        if root is not None:
            raise StartError(f"store_url of {config.data} is {config.store_url}: leave --store out, or store_url")
        return store_place(config)
    place = layout.store.absolute() if root is None else root.resolve()
    if not place.is_dir():
        raise StartError(f"{place} is not a directory; --store names the one in which STORE-ID/owner is")
    taken = layout.store.exists() and layout.store.resolve() != place.resolve()
    if taken or (layout.store.is_symlink() and layout.store.resolve() != place.resolve()):
        raise StartError(f"{layout.store} is there already and is not {place}; move it away, or leave --store out")
    lock = place.parent / "lock"
    if lock.exists() and place.parent != layout.data:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError(f"the server of {place.parent} is running; stop it first") from None
        finally:
            os.close(descriptor)
    return DirectoryAddress(root=str(place))


def _chosen(place: ObjectsAddress, store_id: str | None) -> StoreId:
    if isinstance(place, DirectoryAddress):
        found = sorted(path.parent.name for path in Path(place.root).glob("*/owner"))  # Opening it would write there.
    else:
        found = sorted(stores_in(open_objects(place)))
    if store_id is not None and store_id in found:
        return StoreId(store_id)
    if store_id is not None or not found:
        above = isinstance(place, DirectoryAddress) and (Path(place.root) / "owner").exists()
        hint = " (give the directory above the one that holds `owner`)" if above else ""
        raise StartError(f"there is no store {store_id or ''} in {place}: no STORE-ID/owner{hint}".replace("  ", " "))
    if len(found) > 1:
        raise StartError(f"{place} has {len(found)} stores ({', '.join(found)}): say which with --store-id")
    return StoreId(found[0])


def _time(at: float) -> str:
    return moment(at).isoformat(timespec="seconds")

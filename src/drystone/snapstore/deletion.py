"""Deleting objects: what the caller must prove first, proven from the store itself (L5 to L7)."""

from drystone.codec.sealed import Kind
from drystone.domain.errors import IntegrityError, ProtocolError, RetainedError, UnavailableError
from drystone.domain.ids import KeyId, SessionId, SnapshotId
from drystone.objects.contract import NotFoundError
from drystone.snapstore.data_keys import tombstone_name
from drystone.snapstore.manifests import is_deleted, list_manifests
from drystone.snapstore.seals import STORES_OWN
from drystone.snapstore.store import Store, put_name


def delete_manifest(store: Store, snapshot: SnapshotId, session: SessionId) -> None:
    """Delete a snapshot's manifest and attributes, and confirm it by listing (L5, S13).

    Its tombstone is there before: a manifest that lands late is no snapshot then, whoever finds it (S210). Idempotent.
    Only after it returned may anything that only this snapshot saw be deleted.

    Raises:
        UnavailableError: The manifest is still listed.
    """
    put_tombstone(store, snapshot, session)
    name = store.manifest_name(snapshot, session)
    store.objects.delete(name)
    left = {entry.object for entry in list_manifests(store, snapshot)}
    if name in left:
        raise UnavailableError(f"manifest {name} is still listed after it was deleted")
    if not left:
        store.objects.delete(store.attributes_name(snapshot))


def put_tombstone(store: Store, snapshot: SnapshotId, session: SessionId) -> None:
    """Say for good that a manifest is no snapshot, or none any more, also if it is not there (S210)."""
    name = store.tombstone_name(snapshot, session)
    if store.seals is None:
        put_name(store, name)
    elif not is_deleted(store, (snapshot, session)):
        # One that does not prove itself may be there, and would stay.
        store.objects.replace(name, store.enclose(name, Kind.TOMBSTONE, STORES_OWN, b"{}"))


def put_key_tombstone(store: Store, key_id: KeyId) -> None:
    """Say for good that a data key was destroyed: a wrap of it that lands late opens nothing (S384). Idempotent."""
    assert store.seals is not None
    name = store.name(tombstone_name(key_id))
    try:
        store.disclose(name, Kind.TOMBSTONE, store.objects.get(name))
    except (NotFoundError, IntegrityError, ProtocolError):
        # There is none, or one that does not prove itself.
        store.objects.replace(name, store.enclose(name, Kind.TOMBSTONE, STORES_OWN, b"{}"))


def remove_tombstone(store: Store, snapshot: SnapshotId, session: SessionId) -> bool:
    """Remove the tombstone of a manifest of which no write lands any more, and attributes that landed late.

    Returns:
        Whether it is gone: not if the manifest is there again, which is deleted again instead.
    """
    prefix = store.name("snapshots", f"{snapshot}/")
    listed = {entry.name for entry in store.objects.list(prefix)}
    if store.manifest_name(snapshot, session) in listed:
        delete_manifest(store, snapshot, session)
        return False
    attributes, tombstone = store.attributes_name(snapshot), store.tombstone_name(snapshot, session)
    if attributes in listed and not any(name.endswith(".manifest") for name in listed):
        store.objects.delete(attributes)
    if tombstone in listed:
        store.objects.delete(tombstone)
    return True


def list_session_objects(store: Store, session: SessionId) -> dict[str, int]:
    """Return name and size of all packs and maps that a session wrote, by listing."""
    return {
        entry.name: entry.size_bytes
        for kind in ("packs", "maps")
        for entry in store.objects.list(store.name(kind, session, ""))
    }


def delete_session_objects(store: Store, session: SessionId) -> int:
    """Delete all packs and maps of a session, and return how many there were.

    The caller has proven that the session is fenced and was never committed (L6, L7), and has deleted its
    manifest, if it wrote one. Maps go before packs, so that no map is left that names what is gone.

    Raises:
        RetainedError: The store keeps some of them for now; the others are gone (S212).
    """
    names, kept = sorted(list_session_objects(store, session)), None
    for name in names:
        try:
            store.objects.delete(name)
        except RetainedError as error:
            kept = error
    if kept is not None:
        raise kept
    return len(names)

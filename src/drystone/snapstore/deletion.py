"""Deleting objects: what the caller must prove first, proven from the store itself (L5 to L7)."""

from drystone.domain.errors import UnavailableError
from drystone.domain.ids import SessionId, SnapshotId
from drystone.snapstore.manifests import list_manifests
from drystone.snapstore.store import Store


def delete_manifest(store: Store, snapshot: SnapshotId, session: SessionId) -> None:
    """Delete a snapshot's manifest and attributes, and confirm it by listing (L5, S13).

    Idempotent. Only after it returned may anything that only this snapshot saw be deleted.

    Raises:
        UnavailableError: The manifest is still listed.
    """
    name = store.manifest_name(snapshot, session)
    store.objects.delete(name)
    left = {entry.object for entry in list_manifests(store, snapshot)}
    if name in left:
        raise UnavailableError(f"manifest {name} is still listed after it was deleted")
    if not left:
        store.objects.delete(store.attributes_name(snapshot))


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
    """
    names = sorted(list_session_objects(store, session))
    for name in names:
        store.objects.delete(name)
    return len(names)

"""Manifests and attributes as objects: write, find, list, read."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from drystone.codec.manifest import Manifest, decode_manifest, encode_manifest, open_manifest
from drystone.codec.manifest import seal_manifest as codec_seal_manifest
from drystone.codec.sealed import Kind
from drystone.domain.errors import IntegrityError, ProtocolError
from drystone.domain.ids import AccountId, DiskBackupId, InstanceId, PolicyId, SessionId, SnapshotGroupId, SnapshotId
from drystone.domain.late_writes import Made
from drystone.objects.contract import NotFoundError
from drystone.snapstore.seals import account_purpose, snapshots_purpose
from drystone.snapstore.store import Store

_SUFFIX = ".manifest"
_TOMBSTONE = ".deleted"
_ATTRIBUTES = "attributes"
ATTRIBUTES_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestEntry:
    """One manifest object that a listing shows; nothing of its content was read."""

    snapshot: SnapshotId
    session: SessionId
    object: str
    size_bytes: int

    @property
    def made(self) -> Made:
        """What it is named after."""
        return self.snapshot, self.session


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """What one listing shows of all snapshots of a store, or of one."""

    manifests: tuple[ManifestEntry, ...]
    tombstones: frozenset[Made]
    attributes: frozenset[SnapshotId]


class GroupAttributes(msgspec.Struct, frozen=True, kw_only=True):
    """The group of one instant that a snapshot is a member of; times are seconds since the epoch, UTC."""

    id: SnapshotGroupId
    name: str
    instance: InstanceId
    tags: tuple[tuple[str, str], ...] = ()
    pause_ms: float | None = None
    taken_at: float | None = None
    created_at: float


class Attributes(msgspec.Struct, frozen=True, kw_only=True):
    """What may change of a snapshot: `deadline` is an ISO 8601 time in UTC, or None."""

    format: int = ATTRIBUTES_FORMAT
    name: str
    deadline: str | None = None
    permanent: bool = True
    tags: tuple[tuple[str, str], ...] = ()
    suspect: bool = False
    group: GroupAttributes | None = None
    policy: PolicyId | None = None
    """The policy that had it taken, when that scheduled it, and its place among that policy's of the disk."""
    slot: int | None = None
    policy_order: int | None = None
    backup: DiskBackupId | None = None
    """What clients call it while it is a backup point of its disk."""


def seal_manifest(store: Store, manifest: Manifest) -> tuple[str, bytes]:
    """Return a manifest's name and bytes. The caller has the `Written` of all its packs and maps in hand."""
    assert (manifest.store, manifest.format) == (store.store_id, store.version)
    name = store.manifest_name(manifest.snapshot, manifest.session)
    encrypted = manifest.disk_attributes.encrypted
    purpose = snapshots_purpose(manifest.account, manifest.disk, encrypted=encrypted)
    sealing = store.sealing(name, Kind.MANIFEST, purpose)
    if sealing is None:
        return name, encode_manifest(store.keys, manifest)
    return name, b"".join(codec_seal_manifest(sealing, manifest))


def put_manifest(store: Store, name: str, sealed: bytes) -> str | None:
    """Write a sealed manifest, durable on return; may be repeated. Its packs and maps are durable before (I1).

    Returns:
        As `ObjectStore.put`.

    Raises:
        IntegrityError: Another one has its name.
    """
    try:
        return store.objects.put(name, sealed)
    except IntegrityError:
        # An earlier call that got no answer may have written it; what is sealed anew is never the same bytes.
        if _decoded(store, name, store.objects.get(name)) != _decoded(store, name, sealed):
            raise
        return None  # S274


def write_manifest(store: Store, manifest: Manifest) -> str:
    """Seal a manifest and write it, and return its name; see `put_manifest`."""
    name, sealed = seal_manifest(store, manifest)
    put_manifest(store, name, sealed)
    return name


def read_manifest(store: Store, name: str) -> Manifest:
    """Return the manifest in object `name`.

    Raises:
        NotFoundError: There is none.
        ProtocolError: It is none, is of another store or snapshot than its name says, or is of a newer
        format. IntegrityError: Its seal does not fit.
    """
    manifest = _decoded(store, name, store.objects.get(name))
    if (manifest.store, store.manifest_name(manifest.snapshot, manifest.session)) != (store.store_id, name):
        raise ProtocolError(f"{name} holds the manifest of {manifest.store}/{manifest.snapshot}")
    return manifest


def _decoded(store: Store, name: str, raw: bytes) -> Manifest:
    if store.seals is None:
        return decode_manifest(store.keys, raw, name)
    what = store.what(name, Kind.MANIFEST)
    opener, key = store.seals.opener(what, raw, len(raw))
    return open_manifest(key, what, opener.foot, raw)


def made_of(name: str) -> Made:
    """Return what a manifest's name says."""
    _, snapshot, last = name.rsplit("/", 2)
    return SnapshotId(snapshot), SessionId(last.removesuffix(_SUFFIX))


def list_shelf(store: Store, snapshot: SnapshotId | None = None) -> Shelf:
    """Return what there is of every snapshot of the store, or of one, by listing.

    In a sealed store each tombstone is opened, too: anybody with the bucket could hide a snapshot by a name (S242).
    """
    shelf = _listed(store, snapshot)
    if store.seals is None:
        return shelf
    proven = frozenset(made for made in shelf.tombstones if is_deleted(store, made))
    return dataclasses.replace(shelf, tombstones=proven)


def _listed(store: Store, snapshot: SnapshotId | None) -> Shelf:
    prefix = store.name("snapshots", "" if snapshot is None else f"{snapshot}/")
    manifests: list[ManifestEntry] = []
    tombstones: set[Made] = set()
    attributes: set[SnapshotId] = set()
    for entry in store.objects.list(prefix):
        parts = entry.name.removeprefix(store.name("snapshots", "")).split("/")
        if len(parts) == 2 and parts[1].endswith(_SUFFIX):
            snapshot_id, session = made_of(entry.name)
            manifests.append(
                ManifestEntry(snapshot=snapshot_id, session=session, object=entry.name, size_bytes=entry.size_bytes)
            )
        elif len(parts) == 2 and parts[1].endswith(_TOMBSTONE):
            tombstones.add((SnapshotId(parts[0]), SessionId(parts[1].removesuffix(_TOMBSTONE))))
        elif len(parts) == 2 and parts[1] == _ATTRIBUTES:
            attributes.add(SnapshotId(parts[0]))
    return Shelf(manifests=tuple(manifests), tombstones=frozenset(tombstones), attributes=frozenset(attributes))


def list_manifests(store: Store, snapshot: SnapshotId | None = None) -> Iterator[ManifestEntry]:
    """Yield every manifest object of the store, or of one snapshot, by listing."""
    yield from _listed(store, snapshot).manifests


def is_deleted(store: Store, made: Made) -> bool:
    """Tell whether a manifest has a tombstone, asked for by its name: a listing may be behind."""
    name = store.tombstone_name(*made)
    try:
        if store.seals is None:
            store.objects.size(name)
        else:
            store.disclose(name, Kind.TOMBSTONE, store.objects.get(name))
    except NotFoundError:
        return False
    except (IntegrityError, ProtocolError):
        # Somebody else's.
        return False
    return True


def is_complete(store: Store, snapshot: SnapshotId, session: SessionId) -> bool:
    """Tell whether a session's manifest is there, and the attributes that follow a commit."""
    prefix = store.name("snapshots", f"{snapshot}/")
    listed = {entry.name for entry in store.objects.list(prefix)}
    return {store.manifest_name(snapshot, session), store.attributes_name(snapshot)} <= listed


def find_manifest(store: Store, snapshot: SnapshotId) -> str:
    """Return the name of a snapshot's only manifest.

    Raises:
        NotFoundError: There is none.
        IntegrityError: There are several; only the catalog knows which session was committed.
    """
    found = [entry.object for entry in list_manifests(store, snapshot)]
    if not found:
        raise NotFoundError(f"snapshot {snapshot} has no manifest in store {store.store_id}")
    if len(found) > 1:
        raise IntegrityError(f"snapshot {snapshot} has {len(found)} manifests: {', '.join(found)}")
    return found[0]


def write_attributes(store: Store, snapshot: SnapshotId, attributes: Attributes, account: AccountId) -> None:
    """Replace the attributes of a snapshot of an account."""
    name = store.attributes_name(snapshot)
    plain = msgspec.json.encode(attributes)
    store.objects.replace(name, store.enclose(name, Kind.ATTRIBUTES, account_purpose(account), plain))


def read_attributes(store: Store, snapshot: SnapshotId) -> Attributes:
    """Return a snapshot's attributes.

    Raises:
        NotFoundError: It has none.
        ProtocolError: They cannot be read.
    """
    name = store.attributes_name(snapshot)
    try:
        raw = store.disclose(name, Kind.ATTRIBUTES, store.objects.get(name))
        attributes = msgspec.json.decode(raw, type=Attributes)
    except (IntegrityError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"{name}: {error}") from error
    if attributes.format != ATTRIBUTES_FORMAT:
        raise ProtocolError(f"{name}: format {attributes.format}, this program reads {ATTRIBUTES_FORMAT}")
    return attributes

"""The store's root objects (mark, key) and the names of all others (docs/format.md)."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import msgspec

from drystone.codec.hashes import KEY_BYTES, HashKeys, derive_keys, derive_sealed_keys, key_check
from drystone.codec.pack import PACK_VERSION
from drystone.codec.sealed import SEALED_FORMAT, Kind, Sealed, Sealing, SecretKey
from drystone.codec.wraps import Purpose
from drystone.domain.errors import DrystoneError, IntegrityError, ProtocolError
from drystone.domain.ids import KeyId, PackId, SessionId, SnapshotId, StoreId
from drystone.objects.contract import NotFoundError, ObjectStore
from drystone.objects.placed import not_there
from drystone.snapstore.data_keys import DataKeys, make_data_key
from drystone.snapstore.far import Far
from drystone.snapstore.seals import STORES_OWN, Keks, Seals

STORE_FORMAT = 1
CLAIMED_FORMAT = 2
"""Of the mark of a store whose owner is told by claims. Programs that know 1 only refuse it."""
MARKED_SEALED = 3
"""The format of a sealed store's mark: programs that know none refuse it."""
KEY_NAMES = ("keys/store", "keys/copy")
"""The key is there twice: without it nothing in the store can be trusted."""
_HEX128 = re.compile(r"[0-9a-f]{32}")
_NAME_ONLY = b'{"format":1}'
T = TypeVar("T", bound=msgspec.Struct)


class RandomBits(Protocol):
    """Where ids and salts come from; `random.SystemRandom` outside of tests."""

    def getrandbits(self, k: int, /) -> int:
        """Return `k` random bits."""
        ...


class StaleEpochError(DrystoneError):
    """Another catalog, or another state of this one, has claimed the store."""


class _NewerFormatError(ProtocolError):
    """A root object is of a program that is newer than this one."""


class _Key(msgspec.Struct, frozen=True):
    format: int
    key: str
    check: str = ""
    """Empty in a store of an older version."""


class _Owner(msgspec.Struct, frozen=True, omit_defaults=True):
    format: int
    owner: str
    key: KeyId = KeyId("")
    """Of a sealed store: its own data key. Nobody can choose another one by it: only this was ever the store's own."""


class _Epoch(msgspec.Struct, frozen=True):
    format: int
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """An opened store; may be shared by threads."""

    objects: ObjectStore
    store_id: StoreId
    keys: HashKeys
    far: Far | None = None
    """Of a store over a network."""
    seals: Seals | None = None
    """Of a sealed store."""

    @property
    def version(self) -> int:
        """Return the format of its packs, maps and manifests."""
        return PACK_VERSION if self.seals is None else SEALED_FORMAT

    def close(self) -> None:
        """End what `far` has begun."""
        if self.far is not None:
            self.far.close()

    def name(self, *parts: str) -> str:
        """Return the full name of an object of this store."""
        return "/".join((self.store_id, *parts))

    def what(self, name: str, kind: Kind) -> Sealed:
        """Return which sealed object a full name is."""
        return Sealed(store=self.store_id, name=name.removeprefix(f"{self.store_id}/"), kind=kind)

    def sealing(self, name: str, kind: Kind, purpose: Purpose) -> Sealing | None:
        """Return how a new object will be sealed; None where nothing is."""
        if self.seals is None:
            return None
        return self.seals.sealing(self.what(name, kind), self.seals.key_for(purpose).key.key_id)

    def enclose(self, name: str, kind: Kind, purpose: Purpose, plain: bytes) -> bytes:
        """Return a small object as it is stored: sealed, where the store is."""
        return plain if self.seals is None else self.seals.seal_whole(self.what(name, kind), purpose, plain)

    def disclose(self, name: str, kind: Kind, raw: bytes) -> bytes:
        """Return the content of a small object.

        Raises:
            ProtocolError: It is not sealed, and the store is (S242).
            IntegrityError: It is not what was sealed.
            KeyMissingError: Its key cannot be opened on this machine.
        """
        return raw if self.seals is None else self.seals.open_whole(self.what(name, kind), raw)[0]

    def pack_prefix(self, session: SessionId, pack: PackId) -> str:
        """Return what the names of all objects of a pack begin with (L8)."""
        assert _HEX128.fullmatch(session)
        assert _HEX128.fullmatch(pack)
        return self.name("packs", session, f"{pack}.")

    def pack_name(self, session: SessionId, pack: PackId, attempt: str) -> str:
        """Return the name of one written object of a pack."""
        assert _HEX128.fullmatch(attempt)
        return self.pack_prefix(session, pack) + attempt

    def is_pack(self, name: str) -> bool:
        """Tell whether an object is a pack by its name."""
        return name.startswith(self.name("packs", ""))

    def map_name(self, session: SessionId, map_id: str) -> str:
        """Return the name of a map."""
        assert _HEX128.fullmatch(session)
        assert _HEX128.fullmatch(map_id)
        return self.name("maps", session, map_id)

    def manifest_name(self, snapshot: SnapshotId, session: SessionId) -> str:
        """Return the name of a manifest."""
        assert _HEX128.fullmatch(session)
        return self.name("snapshots", snapshot, f"{session}.manifest")

    def tombstone_name(self, snapshot: SnapshotId, session: SessionId) -> str:
        """Return the name of the tombstone of a manifest."""
        assert _HEX128.fullmatch(session)
        return self.name("snapshots", snapshot, f"{session}.deleted")

    def attributes_name(self, snapshot: SnapshotId) -> str:
        """Return the name of a snapshot's mutable attributes."""
        return self.name("snapshots", snapshot, "attributes")


def hex128(rng: RandomBits) -> str:
    """Return 128 random bits as 32 hex digits."""
    return f"{rng.getrandbits(128):032x}"


def put_name(store: Store, name: str) -> None:
    """Write an object whose name says all; durable on return. One that is there already is as good."""
    try:
        store.objects.put(name, _NAME_ONLY)
    except IntegrityError:
        store.objects.size(name)


def create_store(objects: ObjectStore, store_id: StoreId, owner: str, key: bytes) -> Store:
    """Make a store: its key, and last its mark, which is what makes it exist. Nobody has claimed it then.

    A creation that was cut off is completed by the next one, with the key that is already there.

    Args:
        objects: Where.
        store_id: Its name there: one segment.
        owner: Random id of the catalog that makes it.
        key: 32 random bytes; all hashes depend on them.

    Raises:
        IntegrityError: The store exists.
    """
    assert len(key) == KEY_BYTES
    if _present(objects, f"{store_id}/owner"):
        raise IntegrityError(f"store {store_id} exists already")
    if not _present(objects, f"{store_id}/keys/store"):
        objects.put(f"{store_id}/keys/store", _encoded(key))
    objects.put(f"{store_id}/owner", msgspec.json.encode(_Owner(format=CLAIMED_FORMAT, owner=owner)))
    return open_store(objects, store_id)


def create_sealed_store(objects: ObjectStore, store_id: StoreId, owner: str, kek: Callable[[], SecretKey]) -> None:
    """Make a sealed store: wraps of its own data key, and last its mark.

    A creation that was cut off is completed by the next one, with a data key of its own: nothing was sealed before.

    Args:
        objects: Where.
        store_id: Its name there: one segment.
        owner: Random id of the catalog that makes it.
        kek: Returns the key that wraps its data keys.

    Raises:
        IntegrityError: The store exists.
    """
    if _present(objects, f"{store_id}/owner"):
        raise IntegrityError(f"store {store_id} exists already")
    key_id = make_data_key(objects, store_id, kek(), STORES_OWN).key.key_id
    objects.put(f"{store_id}/owner", msgspec.json.encode(_Owner(format=MARKED_SEALED, owner=owner, key=key_id)))


def open_store(objects: ObjectStore, store_id: StoreId, far: Far | None = None, keks: Keks | None = None) -> Store:
    """Open a store.

    Args:
        objects: Where it is.
        store_id: Which.
        far: Helps with one over a network.
        keks: The key-encryption keys of a sealed store. Whether it is one is known before it is opened (S242).

    Raises:
        NotFoundError: There is none of this id.
        ProtocolError: It has a newer format than this program, or its root objects are damaged; or it is sealed and
            no keys are given; or keys are given, and it is not.
        KeyMissingError: The key that opens it is not among them.
    """
    found = _read(objects, f"{store_id}/owner", _Owner, MARKED_SEALED)
    if (found.format == MARKED_SEALED) != (keks is not None):
        raise ProtocolError(
            f"store {store_id} is sealed, and was opened without keys" if keks is None
            else f"store {store_id} must be sealed, and its mark says that it is not"
        )  # fmt: skip
    if keks is None:
        return Store(objects=objects, store_id=store_id, keys=derive_keys(_whole_key(objects, store_id)), far=far)
    keys = DataKeys(objects, store_id, keks.secret)
    if not _HEX128.fullmatch(found.key):
        raise ProtocolError(f"store {store_id}: its mark names no key")
    try:
        own = keys.get(found.key)
    except (NotFoundError, IntegrityError) as error:
        raise ProtocolError(f"store {store_id} has lost its own data key: {error}") from error
    if own.purpose != STORES_OWN:
        raise ProtocolError(f"store {store_id}: its mark names the key of {own.purpose}")
    keys.trust(own)
    seals = Seals(keys=keys, keks=keks, own=own)
    return Store(objects=objects, store_id=store_id, keys=derive_sealed_keys(own.key.secret), far=far, seals=seals)


def reopen_store(objects: ObjectStore, store_id: StoreId, far: Far | None = None, keks: Keks | None = None) -> Store:
    """Open a store that was seen to be there: where it is not, the place is another one, and it is waited for (S213).

    Raises:
        StoreUnavailableError: It is not there now.
        ProtocolError: As `open_store`.
    """
    try:
        return open_store(objects, store_id, far, keks)
    except NotFoundError as error:
        raise not_there(store_id) from error


def keep_key(store: Store) -> bool:
    """Have the store hold its key twice, each with its check, or each data key in two wraps; durable on return.

    Returns:
        Whether one had to be written: it was not there, or damaged.

    Raises:
        ProtocolError: Neither can be trusted any more.
        UnavailableError, SpaceError: It could not be read or written.
    """
    objects, written = store.objects, False
    if store.seals is not None:
        return store.seals.keys.keep()
    wanted = _encoded(_whole_key(objects, store.store_id))
    for name in map(store.name, KEY_NAMES):
        if not _present(objects, name) or objects.get(name) != wanted:
            objects.replace(name, wanted)
            written = True
    return written


def read_mark(store: Store) -> str:
    """Return which catalog made the store, or had it when it was claimed first.

    Raises:
        StoreUnavailableError: It does not answer, or is not there any more.
        ProtocolError: It is not a mark that this program knows.
    """
    try:
        return _read(store.objects, store.name("owner"), _Owner, MARKED_SEALED).owner
    except NotFoundError as error:
        raise not_there(store.store_id) from error


def end_numbered_epoch(store: Store) -> None:
    """Have programs that know the format before refuse the store; may be repeated (S200).

    They believe the mutable objects `owner` and `epoch`. Called before the first claim, by whoever may make it.
    """
    mark = _read(store.objects, store.name("owner"), _Owner, MARKED_SEALED)
    if mark.format < CLAIMED_FORMAT:
        marked = msgspec.structs.replace(mark, format=CLAIMED_FORMAT)
        store.objects.replace(store.name("owner"), msgspec.json.encode(marked))


def read_numbered_epoch(store: Store) -> int:
    """Return the epoch of a store of the format before.

    Raises:
        NotFoundError: It has none: it is of this format, or was claimed.
    """
    return _read(store.objects, store.name("epoch"), _Epoch).epoch


def forget_numbered_epoch(store: Store) -> None:
    """Remove the epoch of the format before, once the store was claimed."""
    store.objects.delete(store.name("epoch"))


def _encoded(key: bytes) -> bytes:
    return msgspec.json.encode(_Key(format=STORE_FORMAT, key=key.hex(), check=key_check(key)))


def _whole_key(objects: ObjectStore, store_id: StoreId) -> bytes:
    """Return the key from the first of its objects that proves itself, or from one of an older version."""
    unproven: list[bytes] = []
    faults: list[DrystoneError] = []
    for name in KEY_NAMES:
        try:
            found = _read(objects, f"{store_id}/{name}", _Key)
        except _NewerFormatError:
            raise
        except (NotFoundError, ProtocolError) as error:
            faults.append(error)
            continue
        key = bytes.fromhex(found.key) if re.fullmatch(r"[0-9a-f]{64}", found.key) else b""
        if key and found.check == key_check(key):
            return key
        if key and not found.check:
            unproven.append(key)
        else:
            faults.append(ProtocolError(f"{store_id}/{name} holds no key of {KEY_BYTES} bytes"))
    if not unproven:
        raise faults[0]
    return unproven[0]


def _present(objects: ObjectStore, name: str) -> bool:
    try:
        objects.size(name)
    except NotFoundError:
        return False
    return True


class _Format(msgspec.Struct):
    format: int


def _read(objects: ObjectStore, name: str, kind: type[T], newest: int = STORE_FORMAT) -> T:
    """Return a root object, after its format was found to be one that this program knows."""
    raw = objects.get(name)
    try:
        version = msgspec.json.decode(raw, type=_Format).format
        if not STORE_FORMAT <= version <= newest:
            raise _NewerFormatError(f"{name}: store format {version}, this program reads {newest}")
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"{name}: {error}") from error

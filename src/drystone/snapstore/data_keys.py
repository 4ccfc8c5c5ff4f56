"""Data keys as a store has them: wrapped, each twice by each key-encryption key (docs/format.md, "Keys")."""

import contextlib
import re
import secrets
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from drystone.codec.sealed import ENTROPY_BYTES, Kind, Sealed, Sealing, SecretKey, decode_foot, open_whole
from drystone.codec.wraps import DataKey, Purpose, open_wrap, seal_wrap
from drystone.domain.errors import IntegrityError, ProtocolError, UnavailableError
from drystone.domain.ids import KeyId, StoreId
from drystone.objects.contract import NotFoundError, ObjectStore

WRAPS: Final = 2
"""Of each data key by each key-encryption key: one damaged object loses nothing."""
_TOMBSTONE = re.compile(r"keys/([0-9a-f]{32})/destroyed")
_NAME = re.compile(r"keys/([0-9a-f]{32})/([0-9a-f]{32})\.([0-9a-f]{32})")

FindKek = Callable[[KeyId], SecretKey]
"""Returns a key-encryption key; raises NotFoundError if it is not on this machine."""


class KeyMissingError(UnavailableError):
    """What a key seals cannot be read before that key is here again; all else goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrapName:
    """A wrap that a listing shows; nothing of it was read."""

    data_key: KeyId
    kek: KeyId
    name: str
    """Without the store's id."""


def entropy() -> bytes:
    """Return what a salt is made of: of the operating system, whatever generator ids are made with (S240)."""
    return secrets.token_bytes(ENTROPY_BYTES)


def list_wraps(
    objects: ObjectStore, store_id: StoreId, data_key: KeyId | None = None
) -> Mapping[KeyId, list[WrapName]]:
    """Return the wraps of all data keys, or of one, by one listing. Other names below `keys/` are passed over."""
    return _listed(objects, store_id, data_key)[0]


def _listed(
    objects: ObjectStore, store_id: StoreId, data_key: KeyId | None = None
) -> tuple[Mapping[KeyId, list[WrapName]], set[KeyId]]:
    """Return wraps, and the data keys of which there is a tombstone by its name: nothing of it was read."""
    found: dict[KeyId, list[WrapName]] = defaultdict(list)
    buried = set()
    for entry in objects.list(f"{store_id}/keys/" + ("" if data_key is None else f"{data_key}/")):
        name = entry.name.removeprefix(f"{store_id}/")
        parts, tombstone = _NAME.fullmatch(name), _TOMBSTONE.fullmatch(name)
        if parts is not None:
            one = WrapName(data_key=KeyId(parts[1]), kek=KeyId(parts[2]), name=name)
            found[one.data_key].append(one)
        elif tombstone is not None:
            buried.add(KeyId(tombstone[1]))
    return found, buried


def tombstone_name(key_id: KeyId) -> str:
    """Return the name, without the store's id, of what says for good that a data key was destroyed (S384)."""
    return f"keys/{key_id}/destroyed"


def make_data_key(objects: ObjectStore, store_id: StoreId, kek: SecretKey, purpose: Purpose) -> DataKey:
    """Return a new data key, whose wraps are durable and were read back: it may seal now (S245)."""
    key = SecretKey(key_id=KeyId(secrets.token_hex(16)), secret=secrets.token_bytes(32))
    made = DataKey(key=key, purpose=purpose)
    for _ in range(WRAPS):
        write_wrap(objects, store_id, kek, made)
    return made


def write_wrap(objects: ObjectStore, store_id: StoreId, kek: SecretKey, data_key: DataKey) -> None:
    """Write one wrap under a name that was never used, and read it back (S245).

    Raises:
        IntegrityError: The store gives back something else.
        SpaceError, UnavailableError: It could not be written or read.
    """
    what = _what(store_id, f"keys/{data_key.key.key_id}/{kek.key_id}.{secrets.token_hex(16)}")
    objects.put(str(what), seal_wrap(Sealing(key=kek, what=what, entropy=entropy()), data_key))
    if _opened(objects, what, kek) != data_key:
        raise IntegrityError(f"{what} is not read back as it was written")


def read_data_key(objects: ObjectStore, store_id: StoreId, wraps: Sequence[WrapName], find: FindKek) -> DataKey:
    """Return a data key by the first of its wraps that proves itself.

    Raises:
        NotFoundError: There is none: the key was destroyed.
        KeyMissingError: None of the key-encryption keys of the others is here.
        IntegrityError: All that could be opened are damaged.
    """
    missing, faults = set(), []
    for one in wraps:
        try:
            kek = find(one.kek)
        except NotFoundError:
            missing.add(one.kek)
            continue
        try:
            return _opened(objects, _what(store_id, one.name), kek)
        except (IntegrityError, ProtocolError, NotFoundError) as error:
            faults.append(str(error))
    if faults:
        raise IntegrityError("; ".join(faults))
    if missing:
        raise KeyMissingError(
            f"no key on this machine opens data key {wraps[0].data_key}; import one of: {', '.join(sorted(missing))}"
        )
    raise NotFoundError("the data key has no wrap in the store: it was destroyed, or its wraps were deleted")


class DataKeys:
    """The data keys of one store, opened when they are needed; may be shared by threads.

    Args:
        objects: Where the store is.
        store_id: Which.
        find: For key-encryption keys.
    """

    def __init__(self, objects: ObjectStore, store_id: StoreId, find: FindKek) -> None:
        self._objects = objects
        self._store_id = store_id
        self._find = find
        self._known: dict[KeyId, DataKey] = {}
        self._own: SecretKey | None = None

    def trust(self, own: DataKey) -> None:
        """Know the store's own key, which proves tombstones of others."""
        self._own = own.key

    def forget(self, key_id: KeyId) -> None:
        """Let go of a key that was destroyed."""
        self._known.pop(key_id, None)

    def get(self, key_id: KeyId) -> DataKey:
        """Return a data key; as `read_data_key`. One that has a tombstone has no wrap, whatever landed late (S384)."""
        known = self._known.get(key_id)
        if known is None:
            wraps, buried = _listed(self._objects, self._store_id, key_id)
            found = [] if key_id in buried and self._is_destroyed(key_id) else wraps.get(key_id, [])
            known = read_data_key(self._objects, self._store_id, found, self._find)
            self._known[key_id] = known
        return known

    def _is_destroyed(self, key_id: KeyId) -> bool:
        """Tell whether the tombstone of a key proves itself; somebody else's says nothing (S242)."""
        if self._own is None:
            return False
        what = Sealed(store=self._store_id, name=tombstone_name(key_id), kind=Kind.TOMBSTONE)
        try:
            raw = self._objects.get(str(what))
            foot = decode_foot(raw, len(raw), what.kind, str(what))
            open_whole(self._own, what, foot, raw)
        except (NotFoundError, IntegrityError, ProtocolError):
            return False
        return foot.key_id == self._own.key_id

    def all_of(self, purpose: Purpose) -> list[KeyId]:
        """Return the ids of all data keys of a purpose that can be opened here, by a listing."""
        self._open_listed()
        return sorted(one.key.key_id for one in list(self._known.values()) if one.purpose == purpose)

    def of(self, purpose: Purpose) -> DataKey | None:
        """Return the data key of a purpose; None if the store has none that can be opened here.

        Of several it is the one with the least id. Before there is said to be none, they are listed: another process
        may have made it.
        """
        known = self._named(purpose)
        if known is not None:
            return known
        self._open_listed()
        return self._named(purpose)

    def _open_listed(self) -> None:
        found, buried = _listed(self._objects, self._store_id)
        for key_id, wraps in found.items():
            if key_id in buried and self._is_destroyed(key_id):
                self._known.pop(key_id, None)
            elif key_id not in self._known:
                # One that cannot be opened holds nobody up: who needs that very key is told by `get`.
                with contextlib.suppress(KeyMissingError, IntegrityError, NotFoundError):
                    self._known[key_id] = read_data_key(self._objects, self._store_id, wraps, self._find)

    def make(self, kek: SecretKey, purpose: Purpose) -> DataKey:
        """Return a new data key, and know it from now on; as `make_data_key`."""
        made = make_data_key(self._objects, self._store_id, kek, purpose)
        self._known[made.key.key_id] = made
        return made

    def keep(self) -> bool:
        """Have two whole wraps by each key that wraps a data key, of those here; return whether one was written."""
        return mend_wraps(self._objects, self._store_id, self._find) > 0

    def _named(self, purpose: Purpose) -> DataKey | None:
        known = [one for one in list(self._known.values()) if one.purpose == purpose]
        return min(known, key=lambda one: one.key.key_id, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrapped:
    """What a rotation did: data keys that the new key wraps now, wraps that it wrote, and what could not be opened."""

    data_keys: int
    written: int
    faults: tuple[str, ...]


def unopened(objects: ObjectStore, store_id: StoreId, find: FindKek) -> list[str]:
    """Return which data keys of a store cannot be opened here, and why."""
    faults = []
    for key_id, wraps in list_wraps(objects, store_id).items():
        try:
            read_data_key(objects, store_id, wraps, find)
        except (KeyMissingError, IntegrityError, NotFoundError) as error:
            faults.append(f"data key {key_id}: {error}")
    return faults


def mend_wraps(objects: ObjectStore, store_id: StoreId, find: FindKek) -> int:
    """Write what is missing of two whole wraps by each key that wraps a data key; return how many were written (S245).

    Another key than those that wrap it gets none: whoever has that one must not read what it seals.
    """
    written = 0
    found, buried = _listed(objects, store_id)
    for data_key_id, wraps in found.items():
        if data_key_id in buried:
            continue
        for kek_id in sorted({one.kek for one in wraps}):
            with contextlib.suppress(NotFoundError, KeyMissingError, IntegrityError):
                kek = find(kek_id)
                data_key = read_data_key(objects, store_id, wraps, find)
                whole = sum(_proven(objects, store_id, one, kek) == data_key for one in wraps if one.kek == kek_id)
                for _ in range(whole, WRAPS):
                    write_wrap(objects, store_id, kek, data_key)
                    written += 1
    return written


def rewrap(
    objects: ObjectStore, store_id: StoreId, find: FindKek, kek: SecretKey, of: Collection[KeyId] | None = None
) -> Rewrapped:
    """Have `kek` wrap the data keys of a store, twice; no object is sealed anew. May be repeated.

    Args:
        objects: Where the store is.
        store_id: Which.
        find: For key-encryption keys.
        kek: The one that wraps them from now on.
        of: Only those data keys that one of these, or `kek` itself, wraps; None: all.

    Raises:
        SpaceError, UnavailableError: A wrap could not be written or read; what is done stays.
    """
    written, faults = 0, []
    keys, buried = _listed(objects, store_id)
    # To wrap one that was destroyed would bring it back; where the tombstone is somebody else's, `retire` refuses.
    keys = {key_id: wraps for key_id, wraps in keys.items() if key_id not in buried}
    if of is not None:
        chosen = {kek.key_id, *of}
        keys = {key_id: wraps for key_id, wraps in keys.items() if any(one.kek in chosen for one in wraps)}
    for key_id, wraps in keys.items():
        try:
            data_key = read_data_key(objects, store_id, wraps, find)
        except (KeyMissingError, IntegrityError, NotFoundError) as error:
            faults.append(f"data key {key_id}: {error}")
            continue
        whole = sum(_proven(objects, store_id, one, kek) == data_key for one in wraps if one.kek == kek.key_id)
        for _ in range(whole, WRAPS):
            write_wrap(objects, store_id, kek, data_key)
            written += 1
    return Rewrapped(data_keys=len(keys) - len(faults), written=written, faults=tuple(faults))


def retire(objects: ObjectStore, store_id: StoreId, find: FindKek, old: KeyId) -> int:
    """Delete the wraps of a key-encryption key, once others open all data keys from the store (S246). May be repeated.

    Returns:
        How many were deleted.

    Raises:
        IntegrityError: Of a data key that it wraps there are not two other wraps that can be opened; nothing was
            deleted.
        UnavailableError: The store still lists some: another deletion, later, has to follow.
    """
    keys = list_wraps(objects, store_id)
    for key_id, wraps in keys.items():
        if all(one.kek != old for one in wraps):
            continue
        others = 0
        for one in wraps:
            if one.kek == old:
                continue
            try:
                others += _proven(objects, store_id, one, find(one.kek)) is not None
            except NotFoundError:
                continue
        if others < WRAPS:
            raise IntegrityError(
                f"data key {key_id} has {others} wraps by other keys that can be opened, {WRAPS} are needed: "
                f"key {old} must stay"
            )
    gone = [one for wraps in keys.values() for one in wraps if one.kek == old]
    _delete(objects, store_id, gone, lambda one: one.kek == old)
    return len(gone)


def destroy_data_key(objects: ObjectStore, store_id: StoreId, key_id: KeyId) -> int:
    """Delete all wraps of a data key: what it seals is lost for ever. May be repeated.

    Who calls this has seen that nothing is needed that it seals. Older versions of the wraps, where a bucket keeps
    them, are not this function's.

    Returns:
        How many were deleted.

    Raises:
        UnavailableError: The store still lists some: another deletion, later, has to follow.
    """
    gone = list_wraps(objects, store_id, key_id).get(key_id, [])
    _delete(objects, store_id, gone, lambda one: one.data_key == key_id)
    return len(gone)


def _delete(
    objects: ObjectStore, store_id: StoreId, gone: Sequence[WrapName], named: Callable[[WrapName], bool]
) -> None:
    for one in gone:
        objects.delete(f"{store_id}/{one.name}")
    left = [one.name for wraps in list_wraps(objects, store_id).values() for one in wraps if named(one)]
    if left:
        raise UnavailableError(f"the store still lists {left[0]}, which was deleted: try again later")


def _proven(objects: ObjectStore, store_id: StoreId, one: WrapName, kek: SecretKey) -> DataKey | None:
    try:
        return _opened(objects, _what(store_id, one.name), kek)
    except (IntegrityError, ProtocolError, NotFoundError):
        return None


def _opened(objects: ObjectStore, what: Sealed, kek: SecretKey) -> DataKey:
    raw = objects.get(str(what))
    foot = decode_foot(raw, len(raw), Kind.WRAP, str(what))
    if foot.key_id != kek.key_id:
        raise IntegrityError(f"{what}: sealed by key {foot.key_id}")
    return open_wrap(kek, what, foot, raw)


def _what(store_id: StoreId, name: str) -> Sealed:
    return Sealed(store=store_id, name=name, kind=Kind.WRAP)

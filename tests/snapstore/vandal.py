"""What somebody with the bucket may do to sealed objects: `python -m tests.snapstore.vandal --mutations N [--seed S]`.

Objects of two stores are changed, cut, exchanged between names, disks, accounts and stores, and forged, at random.
Whoever reads one must refuse it, and name it.
"""

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from drystone.codec.sealed import FOOT_BYTES
from drystone.domain.blocks import BLOCK_BYTES
from drystone.domain.errors import IntegrityError, ProtocolError, UnavailableError
from drystone.domain.ids import DiskId, KeyId, SessionId, SnapshotId, StoreId
from drystone.snapstore.data_keys import list_wraps, read_data_key
from drystone.snapstore.deletion import put_key_tombstone, put_tombstone
from drystone.snapstore.manifests import Attributes, is_deleted, read_attributes, read_manifest, write_attributes
from drystone.snapstore.reader import SnapshotReader
from drystone.snapstore.seals import snapshots_purpose
from drystone.snapstore.store import Store, open_store
from tests.memory_store import MemoryStore
from tests.sealed_stores import KEK, Keks, new_sealed_store
from tests.snapstore.model_snapshots import ACCOUNT, take

BLOCKS = 48
DISKS = (DiskId("disk-aaaaaaaa"), DiskId("disk-bbbbbbbb"))
REFUSED = (IntegrityError, ProtocolError, UnavailableError)
KEKS = Keks(KEK)


class TakenError(AssertionError):
    """Something that nobody wrote was taken."""


@dataclass(frozen=True, slots=True)
class Target:
    """An object, and what reads it."""

    store: int
    name: str
    read: Callable[[Store], object]
    silent: bool = False
    """Whether one that is wrong is passed over: a tombstone of somebody else's says nothing."""


class Stores:
    """Two sealed stores with the same key-encryption key: two disks, encrypted and not, two snapshots each."""

    def __init__(self) -> None:
        rng = random.Random(1)
        self.objects = [MemoryStore(), MemoryStore()]
        self.targets: list[Target] = []
        for number, objects in enumerate(self.objects):
            store = new_sealed_store(objects, StoreId(f"store-{number}"), "0" * 32, KEKS)
            for disk in DISKS:
                self._disk(number, store, disk, rng)
            self._rest(number, store)
        self.content = [objects.content() for objects in self.objects]

    def _disk(self, number: int, store: Store, disk: DiskId, rng: random.Random) -> None:
        assert store.seals is not None
        encrypted = disk == DISKS[1]
        if encrypted:
            store.seals.make_for(snapshots_purpose(ACCOUNT, disk, encrypted=True), KEK.key_id)
        plain, base = bytearray(rng.randbytes(BLOCKS * BLOCK_BYTES)), None
        for turn in range(2):
            changed = [(0, BLOCKS)] if base is None else [(3, 20)]
            if base is not None:
                plain[3 * BLOCK_BYTES : 20 * BLOCK_BYTES] = rng.randbytes(17 * BLOCK_BYTES)
            name = SnapshotId(f"snap-{disk[5:9]}{turn}")
            base = take(store, rng, name, plain, changed, base, disk_id=disk, encrypted=encrypted)
            manifest = base.manifest
            sealed = store.manifest_name(name, manifest.session)

            def whole(given: Store, sealed: str = sealed) -> bytes:
                return bytes(SnapshotReader.open(given, sealed).read(0, BLOCKS * BLOCK_BYTES))

            self.targets.append(Target(number, sealed, lambda given, sealed=sealed: read_manifest(given, sealed)))  # type: ignore[misc]
            for part in manifest.maps[:1]:
                self.targets.append(Target(number, part.object, whole))
            for pack in manifest.packs:
                self.targets.append(Target(number, pack.object, whole))
            attributes = store.attributes_name(name)
            write_attributes(store, name, Attributes(name="a secret name"), ACCOUNT)
            self.targets.append(Target(number, attributes, lambda given, name=name: read_attributes(given, name)))  # type: ignore[misc]

    def _rest(self, number: int, store: Store) -> None:
        made = (SnapshotId("snap-gone"), next(iter(_sessions(store))))
        put_tombstone(store, *made)
        self.targets.append(
            Target(number, store.tombstone_name(*made), lambda given: is_deleted(given, made), silent=True)
        )
        put_key_tombstone(store, KeyId("ab" * 16))
        for wraps in list_wraps(store.objects, store.store_id).values():
            for one in wraps:
                self.targets.append(
                    Target(
                        number, store.name(one.name),
                        lambda given, one=one: read_data_key(given.objects, given.store_id, [one], KEKS.secret),  # type: ignore[misc]
                    )
                )  # fmt: skip


def _sessions(store: Store) -> set[SessionId]:
    return {SessionId(entry.name.split("/")[2]) for entry in store.objects.list(store.name("packs", ""))}


def mutate(stores: Stores, rng: random.Random, target: Target) -> tuple[str, bytes]:
    """Return what is done to an object, and what lies there afterwards, which is not what was written."""
    raw = stores.content[target.store][target.name]
    while True:
        how = rng.choice(("bits", "cut", "longer", "another's", "foot", "middle", "forged", "spliced"))
        changed = bytearray(raw)
        if how == "bits":
            for _ in range(rng.randint(1, 4)):
                changed[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        elif how == "cut":
            at = rng.randrange(len(raw))
            changed = changed[:at] if rng.random() < 0.5 else changed[at:]
        elif how == "longer":
            more = rng.randbytes(rng.randint(1, 200))
            changed = changed + more if rng.random() < 0.5 else bytearray(more) + changed
        elif how == "another's":
            changed = bytearray(_other(stores, rng))
        elif how == "foot":
            other = _other(stores, rng)
            changed[-FOOT_BYTES:] = other[-FOOT_BYTES:]
        elif how == "middle":
            at = rng.randrange(max(1, len(raw) - 16))
            changed[at : at + 16] = rng.randbytes(16)
        elif how == "spliced":
            other = _other(stores, rng)
            at = rng.randrange(len(raw))
            changed = changed[:at] + bytearray(other[at:])
        else:
            changed = bytearray(rng.choice((b"", b"{}", b'{"format":1}', b"\0" * len(raw), rng.randbytes(len(raw)))))
        if bytes(changed) != raw:
            return how, bytes(changed)


def _other(stores: Stores, rng: random.Random) -> bytes:
    content = rng.choice(stores.content)
    return content[rng.choice(sorted(content))]


def try_one(stores: Stores, rng: random.Random) -> str:
    """Do one thing to one object; return what it was.

    Raises:
        TakenError: It was taken for what was written, or refused without its name.
    """
    target = rng.choice(stores.targets)
    how, changed = mutate(stores, rng, target)
    kind = target.name.split("/")[1] + ("" if "manifest" not in target.name else " manifest")
    store = _as_written(stores, target)
    store.objects.replace(target.name, changed)
    try:
        got = target.read(store)
    except REFUSED as error:
        if target.name not in str(error):
            raise TakenError(f"{how} of {target.name}: refused without its name: {error}") from error
        return f"{kind}: {how}"
    if target.silent and got is False:
        return f"{kind}: {how}"
    # Who knows an object's length, by its manifest, does not look at what was put behind it.
    if how == "longer" and got == target.read(_as_written(stores, target)):
        return f"{kind}: {how}, and not looked at"
    raise TakenError(f"{how} of {target.name} was taken")


def _as_written(stores: Stores, target: Target) -> Store:
    return open_store(MemoryStore(stores.content[target.store]), StoreId(f"store-{target.store}"), keks=KEKS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do many things to sealed objects, and print what was taken."""
    parser = argparse.ArgumentParser(prog="python -m tests.snapstore.vandal", description=__doc__)
    parser.add_argument("--mutations", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    stores, rng, wrong, begun = Stores(), random.Random(options.seed), 0, time.monotonic()
    done = Counter[str]()
    for _ in range(options.mutations):
        try:
            done[try_one(stores, rng)] += 1
        except TakenError as error:
            wrong += 1
            print(error, flush=True)
    print(f"seed {options.seed}: {options.mutations} mutations, {wrong} taken, {time.monotonic() - begun:.0f} s")
    for what, count in sorted(done.items()):
        print(f"  {count} {what}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

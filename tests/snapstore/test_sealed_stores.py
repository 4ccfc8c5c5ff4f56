"""Sealed stores: the same snapshots, of which whoever has the objects learns nothing and can change nothing.

Histories of other files run here on sealed stores, too: `tests/sealed_stores.py` has the switch.
"""

import random

import msgspec
import pytest

from drystone.codec.sealed import SecretKey
from drystone.domain.blocks import BLOCK_BYTES
from drystone.domain.errors import IntegrityError, ProtocolError
from drystone.domain.ids import AccountId, KeyId, SessionId, SnapshotId
from drystone.objects.contract import NotFoundError
from drystone.snapstore.account_names import AccountName, read_accounts, write_accounts
from drystone.snapstore.claims import list_claims
from drystone.snapstore.data_keys import KeyMissingError, destroy_data_key
from drystone.snapstore.deletion import delete_manifest, put_tombstone, remove_tombstone
from drystone.snapstore.inventory import take_inventory
from drystone.snapstore.manifests import (
    Attributes,
    is_deleted,
    list_shelf,
    put_manifest,
    read_attributes,
    read_manifest,
    seal_manifest,
    write_attributes,
)
from drystone.snapstore.mend import mend_pack
from drystone.snapstore.reader import SnapshotReader
from drystone.snapstore.reader_copy import keep_reader
from drystone.snapstore.seals import account_purpose
from drystone.snapstore.store import Store, create_store, end_numbered_epoch, keep_key, open_store
from tests.claims import claim_on
from tests.memory_store import CutError, MemoryStore
from tests.nonces import Nonces, nonces
from tests.sealed_stores import KEK, Keks, new_sealed_store
from tests.snapstore import simulate
from tests.snapstore.model_snapshots import ACCOUNT, KEY, STORE_ID, take
from tests.snapstore.test_compaction import test_a_cut_anywhere_loses_nothing as cut_anywhere
from tests.snapstore.test_merge_maps import hunt
from tests.snapstore.test_scrub_and_mend import World

__all__ = ["nonces"]
pytestmark = pytest.mark.usefixtures("nonces")
FIRST, SECOND = SnapshotId("snap-00000001"), SnapshotId("snap-00000002")
MARK = b"in all of the guest's blocks "
OTHER = SecretKey(key_id=KeyId("dd" * 16), secret=bytes(range(90, 122)))


@pytest.fixture(autouse=True)
def _sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRYSTONE_TEST_SEALED", "1")


class Two:
    """A full snapshot and a delta in a sealed store, with all that belongs to them."""

    def __init__(self) -> None:
        self.rng = random.Random(5)
        self.objects = MemoryStore()
        self.keks = Keks(KEK)
        self.store = new_sealed_store(self.objects, STORE_ID, "0" * 32, self.keks)
        self.one = bytearray(MARK * (24 * BLOCK_BYTES // len(MARK) + 1))[: 24 * BLOCK_BYTES]
        first = take(self.store, self.rng, FIRST, self.one, [(0, 24)])
        self.two = bytearray(self.one)
        self.two[4 * BLOCK_BYTES : 6 * BLOCK_BYTES] = self.rng.randbytes(2 * BLOCK_BYTES)
        self.two[9 * BLOCK_BYTES : 10 * BLOCK_BYTES] = bytes(BLOCK_BYTES)
        take(self.store, self.rng, SECOND, self.two, [(4, 6)], first, zeros=[(9, 10)])
        write_attributes(self.store, FIRST, Attributes(name="monday's name", tags=(("owner", "somebody"),)), ACCOUNT)
        write_accounts(self.store, [AccountName(id=ACCOUNT, name="an account's name")])

    def reopened(self, objects: MemoryStore | None = None, *keys: SecretKey) -> Store:
        return open_store(objects or self.objects, STORE_ID, keks=Keks(*(keys or (KEK,))))


def read_all(store: Store) -> None:
    for one in (FIRST, SECOND):
        SnapshotReader.open(store, one).read(0, 24 * BLOCK_BYTES)
    read_attributes(store, FIRST)


def test_what_is_written_is_read_and_nothing_is_in_clear() -> None:
    made = Two()
    put_tombstone(made.store, SnapshotId("snap-00000009"), SessionId("ab" * 16))
    claim_on(made.store)
    store = made.reopened()
    assert SnapshotReader.open(store, FIRST).read(0, len(made.one)) == made.one
    assert SnapshotReader.open(store, SECOND).read(0, len(made.two)) == made.two
    assert read_attributes(store, FIRST).tags == (("owner", "somebody"),)
    assert read_accounts(store)[0].name == "an account's name"
    manifest = SnapshotReader.open(store, SECOND).manifest
    assert manifest.format == 2
    assert len(list_claims(store)) == 1
    # In clear: ids, which names show too; nothing else of what was put in.
    secrets = (MARK[:12], b"name", b"somebody", b"disk-aaaaaaaa", b"CLOUD_SSD", b"2026-11-01", KEK.secret)
    for name, raw in made.objects.content().items():
        kind = name.split("/")[1]
        if kind not in ("owner", "epochs"):
            assert raw.endswith(b"DRYSEAL2"), name
        for secret in secrets:
            assert secret not in raw, (name, secret)
    assert f"{STORE_ID}/keys/store" not in made.objects.content()
    assert not keep_reader(store)
    assert not keep_key(store)
    end_numbered_epoch(store)
    assert made.reopened().version == 2


def test_every_bit_of_every_object_is_proven() -> None:
    """S241: no flip of any byte that a reader needs serves anything."""
    made = Two()
    content = made.objects.content()
    rng = random.Random(2)
    for name, raw in sorted(content.items()):
        if name.split("/")[1] not in ("packs", "maps", "snapshots"):
            continue
        for at in rng.sample(range(len(raw)), min(len(raw), 60)):
            bad = bytearray(raw)
            bad[at] ^= 1 << rng.randrange(8)
            store = made.reopened(MemoryStore({**content, name: bytes(bad)}))
            with pytest.raises((IntegrityError, ProtocolError)) as caught:
                read_all(store)
            assert name in str(caught.value)


def test_objects_that_change_places_are_refused() -> None:
    """S240, S241: within the store, and from a store with the same keys."""
    made = Two()
    content = made.objects.content()
    for kind in ("packs", "maps", "snapshots"):
        names = [name for name in content if name.split("/")[1] == kind and not name.endswith("attributes")]
        swapped = MemoryStore({**content, names[0]: content[names[1]], names[1]: content[names[0]]})
        with pytest.raises((IntegrityError, ProtocolError)):
            SnapshotReader.open(made.reopened(swapped), SECOND).read(0, len(made.two))
    elsewhere = {name.replace(STORE_ID, "store-other"): raw for name, raw in content.items()}
    with pytest.raises(ProtocolError, match="lost its own data key"):
        open_store(MemoryStore(elsewhere), type(STORE_ID)("store-other"), keks=made.keks)


def test_a_sealed_store_is_never_opened_as_one_in_clear_nor_the_other_way() -> None:
    """S242: what the store says of itself decides nothing."""
    made = Two()
    with pytest.raises(ProtocolError, match="is sealed, and was opened without keys"):
        open_store(made.objects, STORE_ID)
    clear = MemoryStore()
    plain = create_store(clear, STORE_ID, "0" * 32, KEY)
    take(plain, random.Random(1), FIRST, made.one, [(0, 24)])
    with pytest.raises(ProtocolError, match="must be sealed"):
        made.reopened(clear)
    # The vandal puts a whole store in clear over it.
    with pytest.raises(ProtocolError, match="must be sealed"):
        made.reopened(MemoryStore({**made.objects.content(), **clear.content()}))
    # Or its objects, beside the sealed mark: snapshot, map and pack of the right names.
    mixed = MemoryStore({**clear.content(), **made.objects.content()})
    manifest = read_manifest(plain, next(name for name in clear.content() if name.endswith(".manifest")))
    store = made.reopened(mixed)
    for name in (f"{STORE_ID}/snapshots/{FIRST}/{manifest.session}.manifest", manifest.packs[0].object):
        assert name in mixed.content()
    with pytest.raises(ProtocolError, match="is not sealed"):
        read_manifest(store, f"{STORE_ID}/snapshots/{FIRST}/{manifest.session}.manifest")
    found = take_inventory(store, lambda *_: None)
    assert [one.reason for one in found.left_alone if "is not sealed" in one.reason]
    for mark in (b'{"format":3,"owner":"x"}', b'{"format":3,"owner":"x","key":"zz"}', b'{"format":4,"owner":"x"}'):
        bad = MemoryStore({**made.objects.content(), f"{STORE_ID}/owner": mark})
        with pytest.raises(ProtocolError):
            made.reopened(bad)
    # A mark that names an account's key as the store's own.
    assert made.store.seals is not None
    (account,) = _keys(made) - {made.store.seals.own.key.key_id}
    mark = msgspec.json.encode({"format": 3, "owner": "x", "key": account})
    with pytest.raises(ProtocolError, match=f"names the key of account {ACCOUNT}"):
        made.reopened(MemoryStore({**made.objects.content(), f"{STORE_ID}/owner": mark}))


def _keys(made: Two) -> set[KeyId]:
    return {KeyId(name.split("/")[2]) for name in made.objects.content() if name.split("/")[1] == "keys"}


def test_a_tombstone_that_nobody_sealed_hides_nothing() -> None:
    """S242, S210."""
    made = Two()
    name = next(name for name in made.objects.content() if FIRST in name and name.endswith(".manifest"))
    session = SessionId(name.rsplit("/", 1)[1].removesuffix(".manifest"))
    forged = made.store.tombstone_name(FIRST, session)
    for raw in (b'{"format":1}', b"", made.objects.get(name)):
        made.objects.replace(forged, raw)
        assert list_shelf(made.store).tombstones == frozenset()
        assert not is_deleted(made.store, (FIRST, session))
    delete_manifest(made.store, FIRST, session)
    assert list_shelf(made.store).tombstones == {(FIRST, session)}
    assert is_deleted(made.store, (FIRST, session))
    # Another's tombstone under its name, that was sealed.
    copied = made.store.tombstone_name(SECOND, session)
    made.objects.put(copied, made.objects.get(forged))
    assert not is_deleted(made.store, (SECOND, session))
    assert remove_tombstone(made.store, FIRST, session)
    assert not is_deleted(made.store, (FIRST, session))


def test_an_attempt_that_was_done_is_known_though_it_is_sealed_anew() -> None:
    made = Two()
    name = next(name for name in made.objects.content() if SECOND in name)
    manifest = read_manifest(made.store, name)
    again, sealed = seal_manifest(made.store, manifest)
    assert again == name
    assert sealed != made.objects.get(name)
    put_manifest(made.store, name, sealed)
    other = msgspec.structs.replace(manifest, taken_at="2026-11-02T00:00:00Z")
    with pytest.raises(IntegrityError):
        put_manifest(made.store, name, seal_manifest(made.store, other)[1])


def test_what_a_missing_key_seals_waits_and_all_else_goes_on() -> None:
    """A key file is lost: what it opens is unavailable, and says what to do."""
    made = Two()
    with pytest.raises(KeyMissingError, match=f"import one of: {KEK.key_id}"):
        made.reopened(None, OTHER)
    with pytest.raises(ProtocolError, match=r"lost its own data key.*not what key"):
        made.reopened(None, SecretKey(key_id=KEK.key_id, secret=OTHER.secret))
    # An account whose data key is wrapped by another key, which is not here.
    made.keks.keys.insert(0, OTHER)
    store = made.reopened(None, OTHER, KEK)
    assert store.seals is not None
    theirs = store.seals.keys.make(OTHER, account_purpose(AccountId("100000000002")))
    assert theirs.key.key_id in _keys(made)
    alone = made.reopened(None, KEK)
    assert SnapshotReader.open(alone, SECOND).read(0, len(made.two)) == made.two
    assert alone.seals is not None
    assert alone.seals.keys.of(theirs.purpose) is None
    assert alone.seals.key_for(theirs.purpose).key != theirs.key


def test_a_destroyed_data_key_takes_its_snapshots_along() -> None:
    made = Two()
    assert made.store.seals is not None
    own = made.store.seals.own.key.key_id
    (account,) = _keys(made) - {own}
    assert destroy_data_key(made.objects, STORE_ID, account) == 2
    store = made.reopened()
    for one in (FIRST, SECOND):
        with pytest.raises(IntegrityError, match=f"data key {account}, which the store has not"):
            SnapshotReader.open(store, one)
    with pytest.raises(ProtocolError):
        read_attributes(store, FIRST)
    assert read_accounts(store)[0].name == "an account's name"
    # The next snapshot of the account gets another.
    disk = bytearray(made.rng.randbytes(4 * BLOCK_BYTES))
    later = take(store, made.rng, "snap-00000003", disk, [(0, 4)])
    assert later.read(0, len(disk)) == disk


def test_a_creation_that_is_cut_off_is_completed_by_the_next() -> None:
    for cut in range(4):
        for lands in (False, True):
            objects = MemoryStore(cut_after=cut, lands=lands)
            try:
                new_sealed_store(objects, STORE_ID, "0" * 32, Keks(KEK))
            except (CutError, NotFoundError):
                after = MemoryStore(objects.content())
                if f"{STORE_ID}/owner" not in after.content():
                    new_sealed_store(after, STORE_ID, "0" * 32, Keks(KEK))
                store = open_store(after, STORE_ID, keks=Keks(KEK))
                disk = bytearray(random.Random(1).randbytes(4 * BLOCK_BYTES))
                assert take(store, random.Random(1), FIRST, disk, [(0, 4)]).read(0, len(disk)) == disk


def test_compaction_seals_anew_and_loses_nothing_wherever_it_is_cut(nonces: Nonces) -> None:
    """S240, L8."""
    with simulate.small_packs():
        cut_anywhere()
    assert len(nonces) > 100


def test_a_mended_pack_is_sealed_anew_and_one_that_stays_bad_is_left() -> None:
    """S240, L12."""
    for found_all in (True, False):
        world = World()
        index_at = 5000
        before = world.objects.get(world.pack)
        world.flip(world.pack, index_at)
        world.flip(world.pack, 300_000)
        fault = world.fault(world.pack)
        assert fault.index is not None

        def find(wanted: dict[int, bytes], keep: bool = found_all) -> dict[int, bytes]:  # noqa: FBT001
            chosen = wanted if keep or min(wanted) > 60 else {}
            return {one: world.first_disk[one * BLOCK_BYTES : (one + 1) * BLOCK_BYTES] for one in chosen}  # noqa: B023

        made = mend_pack(world.store, world.pack, "ab" * 16, world.rng, find)  # type: ignore[arg-type]
        if not found_all:
            assert (made.object, made.lost_blocks) == (None, 64)
            assert len([name for name in world.objects.content() if "/packs/" in name]) == 2
            continue
        assert made.object is not None
        assert made.mended_blocks == 128
        after = world.objects.get(made.object)
        # Nothing of the old object is copied, not even what was whole.
        assert not any(before[at : at + 32] in after for at in range(0, len(before) - 200, 997))
        world.objects.delete(world.pack)
        assert SnapshotReader.open(world.store, FIRST).read(0, len(world.first_disk)) == world.first_disk


@pytest.mark.parametrize("seed", range(3))
def test_merged_maps_show_what_their_parts_show(seed: int) -> None:
    hunt(seed)


@pytest.mark.parametrize("seed", range(2))
def test_a_life_of_a_sealed_store_is_clean(seed: int) -> None:
    with simulate.small_packs():
        simulate.run(seed, steps=120)

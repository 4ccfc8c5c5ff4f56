"""What is damaged, missing, doubled, cut off or old: never a wrong byte, never a snapshot that is not whole."""

import json
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from drystone.codec.pack import Encoding, PackHeader, PackIndex, encode_frame, encode_pack_tail, frame_compressor
from drystone.domain.blocks import BLOCK_BYTES
from drystone.domain.errors import DrystoneError, IntegrityError, ProtocolError, SpaceError, UnavailableError
from drystone.domain.ids import SessionId, SnapshotId, StoreId
from drystone.objects.contract import NotFoundError, Parts, parts_of
from drystone.objects.local import LocalStore
from drystone.snapstore import writer
from drystone.snapstore.claims import claimed_epoch
from drystone.snapstore.deletion import (
    delete_manifest,
    delete_session_objects,
    list_session_objects,
    remove_tombstone,
)
from drystone.snapstore.living import Living
from drystone.snapstore.manifests import (
    Attributes,
    find_manifest,
    list_manifests,
    read_attributes,
    read_manifest,
    write_attributes,
    write_manifest,
)
from drystone.snapstore.packs import open_pack
from drystone.snapstore.reader import SnapshotReader
from drystone.snapstore.store import (
    KEY_NAMES,
    Store,
    create_store,
    hex128,
    keep_key,
    read_mark,
)
from tests.memory_store import CutError, MemoryStore
from tests.sealed_stores import reopen
from tests.snapstore.model_snapshots import ACCOUNT, STORE_ID, manifest_of, new_store, take

FIRST = "snap-00000001"
SECOND = "snap-00000002"


def two_snapshots(objects: MemoryStore) -> tuple[Store, bytes, bytes]:
    rng = random.Random(5)
    store = new_store(objects)
    disk = bytearray(b"".join(rng.randbytes(16) * 256 for _ in range(8)) + bytes(4 * BLOCK_BYTES))
    one = bytes(disk)
    first = take(store, rng, FIRST, disk, [(0, 12)])
    disk[BLOCK_BYTES : 3 * BLOCK_BYTES] = bytes(2 * BLOCK_BYTES)
    disk[10 * BLOCK_BYTES : 11 * BLOCK_BYTES] = b"abcd" * 1024
    take(store, rng, SECOND, disk, [(1, 3), (10, 11)], first)
    return store, one, bytes(disk)


def read_back(objects: MemoryStore, snapshot: str, size: int) -> bytes:
    return bytes(SnapshotReader.open(reopen(objects, STORE_ID), snapshot).read(0, size))


@pytest.mark.parametrize("kind", ["packs", "maps"])
def test_no_flip_of_any_byte_gives_a_wrong_byte(kind: str) -> None:
    """I10, L9."""
    objects = MemoryStore()
    _, _, two = two_snapshots(objects)
    content = objects.content()
    harmless = 0
    rng = random.Random(2)
    for name in sorted(name for name in content if f"/{kind}/" in name):
        for at in range(len(content[name])):
            bad = bytearray(content[name])
            bad[at] ^= 1 << rng.randrange(8)
            with suppress(IntegrityError, ProtocolError):
                assert read_back(MemoryStore({**content, name: bytes(bad)}), SECOND, len(two)) == two
                harmless += 1
    # The header at the start, which the sealed index repeats, is for people and for rebuilding: readers skip it.
    headers = 2 * (96 if kind == "packs" else 48)
    assert harmless == headers


def test_every_flip_in_a_manifest_is_found() -> None:
    objects = MemoryStore()
    store, _, _ = two_snapshots(objects)
    name = find_manifest(store, SnapshotId(SECOND))
    good = objects.get(name)
    for at in range(len(good)):
        for bit in (0, 5):
            bad = bytearray(good)
            bad[at] ^= 1 << bit
            objects.replace(name, bad)
            with pytest.raises((IntegrityError, ProtocolError)):
                read_manifest(store, name)


@pytest.mark.parametrize("cut", [lambda raw: raw[:-1], lambda raw: raw + b"\0", lambda raw: raw[1:], lambda _: b""])
def test_a_truncated_or_grown_object_is_found(cut: Callable[[bytes], bytes]) -> None:
    objects = MemoryStore()
    _, one, two = two_snapshots(objects)
    content = objects.content()
    for name in content:
        if name.count("/") > 1 and "keys" not in name:
            damaged = MemoryStore({**content, name: cut(content[name])})
            for snapshot, expected in ((FIRST, one), (SECOND, two)):
                with suppress(IntegrityError, ProtocolError):
                    assert read_back(damaged, snapshot, len(expected)) == expected


def test_objects_that_changed_places_are_found() -> None:
    """I3."""
    objects = MemoryStore()
    two_snapshots(objects)
    content = objects.content()
    for kind in ("packs", "maps", "snapshots"):
        left, right = sorted(name for name in content if f"/{kind}/" in name)
        swapped = MemoryStore({**content, left: content[right], right: content[left]})
        with pytest.raises((IntegrityError, ProtocolError)):
            read_back(swapped, SECOND, 12 * BLOCK_BYTES)


def test_damage_is_named() -> None:
    objects = MemoryStore()
    store, _, _ = two_snapshots(objects)
    content = objects.content()
    manifest = read_manifest(store, find_manifest(store, SnapshotId(FIRST)))
    name = manifest.packs[0].object
    bad = bytearray(content[name])
    bad[100] ^= 1
    with pytest.raises(IntegrityError) as found:
        read_back(MemoryStore({**content, name: bytes(bad)}), SECOND, 12 * BLOCK_BYTES)
    for part in (SECOND, name, "frame 0"):
        assert part in str(found.value)


def test_a_raw_block_that_changed_is_named_by_address() -> None:
    rng = random.Random(1)
    objects = MemoryStore()
    store = new_store(objects)
    disk = bytearray(8 * BLOCK_BYTES) + rng.randbytes(8 * BLOCK_BYTES)
    snapshot = take(store, rng, FIRST, disk, [(0, 16)])
    content = objects.content()
    name = snapshot.manifest.packs[0].object
    bad = bytearray(content[name])
    bad[96 + 3 * BLOCK_BYTES] ^= 1
    damaged = SnapshotReader.open(reopen(MemoryStore({**content, name: bytes(bad)}), STORE_ID), FIRST)
    with pytest.raises(IntegrityError, match=r"block 11\b"):
        damaged.read(0, 16 * BLOCK_BYTES)
    with pytest.raises(IntegrityError):
        damaged.read(8 * BLOCK_BYTES, 1)  # nothing of a bad frame is served
    assert damaged.read(0, 8 * BLOCK_BYTES) == bytes(8 * BLOCK_BYTES)


def rewrite(store: Store, name: str, dead_slots: dict[int, set[int]]) -> str:
    """Compact a pack as L8 says: dead blocks zeroed, frames that are wholly dead gone, numbers and lists kept."""
    old = open_pack(store, name).index
    raw = store.objects.get(name)
    header = PackHeader(pack=old.header.pack, session=old.header.session, attempt="ee" * 16, salt=bytes(32))
    parts, stored, encodings, dead = [header.encode()], [], [], old.dead.copy()
    for frame in range(len(old.counts)):
        start, stop = old.offsets[frame : frame + 2].tolist()
        plain = bytearray(raw[start:stop])
        assert old.encodings[frame] == Encoding.RAW
        for slot in dead_slots.get(frame, ()):
            dead[int(old.first_rows[frame]) + slot] = True
            plain[slot * BLOCK_BYTES : (slot + 1) * BLOCK_BYTES] = bytes(BLOCK_BYTES)
        if len(dead_slots.get(frame, ())) == old.counts[frame]:
            encodings.append(Encoding.GONE)
            stored.append(0)
            continue
        encoding, packed = encode_frame(frame_compressor(), plain)
        encodings.append(encoding)
        stored.append(len(packed))
        parts.append(bytes(packed))
    index = PackIndex(
        header=header, stored_bytes=np.array(stored), counts=old.counts,
        encodings=np.array(encodings, dtype=np.uint8), addresses=old.addresses, hashes=old.hashes, dead=dead,
    )  # fmt: skip
    new = store.pack_name(header.session, header.pack, header.attempt)
    store.objects.put(new, [*parts, encode_pack_tail(store.keys, index)])
    return new


def test_a_compacted_pack_serves_what_lives_and_refuses_what_died() -> None:
    rng = random.Random(4)
    objects = MemoryStore()
    store = new_store(objects)
    disk = bytearray(rng.randbytes(200 * BLOCK_BYTES))
    first = take(store, rng, FIRST, disk, [(0, 200)])
    old = first.manifest.packs[0].object
    disk[: 70 * BLOCK_BYTES] = rng.randbytes(70 * BLOCK_BYTES)
    second = take(store, rng, SECOND, disk, [(0, 70)], first)
    assert second.read(0, 1) == disk[:1]  # o1's index is cached now
    second.hashes(0, 200)
    new = rewrite(store, old, {0: set(range(64)), 1: set(range(6))})
    assert objects.size(new) < objects.size(old) - 64 * BLOCK_BYTES
    fresh = SnapshotReader.open(store, SECOND)
    assert fresh.read(0, len(disk)) == disk  # both objects are there
    objects.delete(old)
    for snapshot in (second, fresh, SnapshotReader.open(store, SECOND)):
        assert snapshot.read(0, len(disk)) == disk
    for start in (0, 64):
        with pytest.raises(IntegrityError, match=FIRST):
            SnapshotReader.open(store, FIRST).read(start * BLOCK_BYTES, 10)
    kinds, _ = SnapshotReader.open(store, FIRST).hashes(0, 70)  # lists stay whole
    assert (kinds == 2).all()
    objects.delete(new)
    with pytest.raises(UnavailableError):
        SnapshotReader.open(store, SECOND).read(100 * BLOCK_BYTES, 10)


def test_a_bad_object_is_passed_over_for_a_good_one() -> None:
    rng = random.Random(4)
    objects = MemoryStore()
    store = new_store(objects)
    disk = bytearray(rng.randbytes(100 * BLOCK_BYTES))
    old = take(store, rng, FIRST, disk, [(0, 100)]).manifest.packs[0].object
    new = rewrite(store, old, {})
    for bad_name, at in ((old, 5000), (old, -70), (new, 5000), (new, -70)):
        content = objects.content()
        bad = bytearray(content[bad_name])
        bad[at] ^= 1
        content[bad_name] = bytes(bad)
        reader = SnapshotReader.open(reopen(MemoryStore(content), STORE_ID), FIRST)
        assert reader.read(0, len(disk)) == disk


def test_missing_objects_are_told_apart() -> None:
    """F33."""
    objects = MemoryStore()
    store, _, two = two_snapshots(objects)
    with pytest.raises(NotFoundError):
        SnapshotReader.open(store, "snap-00000009")
    content = objects.content()
    some_map = next(name for name in content if "/maps/" in name)
    some_pack = next(name for name in content if "/packs/" in name)
    with pytest.raises(NotFoundError, match=SECOND):
        read_back(MemoryStore({key: raw for key, raw in content.items() if key != some_map}), SECOND, len(two))
    with pytest.raises(UnavailableError):
        read_back(MemoryStore({key: raw for key, raw in content.items() if key != some_pack}), SECOND, len(two))


def session_script(objects: MemoryStore, disk: bytes) -> None:
    rng = random.Random(77)
    store = reopen(objects, STORE_ID)
    take(store, rng, SECOND, disk, [(0, 400)], SnapshotReader.open(store, FIRST))


class LazyPacks(MemoryStore):
    """A planted bug: packs are stored only after the manifest."""

    def put(self, name: str, data: Parts) -> None:
        if "/packs/" in name:
            self.__dict__.setdefault("late", []).append((name, b"".join(parts_of(data))))
            return
        super().put(name, data)
        if name.endswith(".manifest"):
            for row in self.__dict__.pop("late", []):
                super().put(*row)


def enumerate_cuts(kind: type[MemoryStore], monkeypatch: pytest.MonkeyPatch) -> int:
    """Cut the writing of a snapshot at every change, both ways, and look at what is left."""
    monkeypatch.setattr(writer, "PACK_BYTES", 300_000)
    rng = random.Random(6)
    objects = MemoryStore()
    old = rng.randbytes(400 * BLOCK_BYTES)
    take(new_store(objects), rng, FIRST, old, [(0, 400)])
    before = objects.content()
    disk = rng.randbytes(300 * BLOCK_BYTES) + old[300 * BLOCK_BYTES :]
    whole = kind(before)
    session_script(whole, disk)
    cuts = len(whole.changes)
    for cut in range(cuts):
        for lands in (False, True):
            power = kind(before, cut_after=cut, lands=lands)
            with pytest.raises(CutError):
                session_script(power, disk)
            left = MemoryStore(power.content())
            store = reopen(left, STORE_ID)
            assert read_back(left, FIRST, len(old)) == old
            found = {entry.snapshot: entry for entry in list_manifests(store)}
            assert len(found) == (2 if lands and cut == cuts - 1 else 1)
            for snapshot in found:
                assert read_back(left, snapshot, len(disk)) == (old if snapshot == FIRST else disk)
            dead = {entry.name.split("/")[2] for entry in left.list(store.name("packs", ""))}
            dead -= {found[SnapshotId(FIRST)].session}
            for session in dead:
                if entry := found.get(SnapshotId(SECOND)):
                    delete_manifest(store, entry.snapshot, entry.session)
                    assert remove_tombstone(store, entry.snapshot, entry.session)
                assert delete_session_objects(store, SessionId(session)) > 0
            assert left.content() == before
    return cuts


def test_a_cut_at_any_change_leaves_whole_snapshots_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert enumerate_cuts(MemoryStore, monkeypatch) >= 5


def test_packs_stored_after_the_manifest_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises((AssertionError, DrystoneError)):
        enumerate_cuts(LazyPacks, monkeypatch)


def test_a_full_store_fails_the_snapshot_and_keeps_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "PACK_BYTES", 300_000)
    objects = MemoryStore()
    store, one, _ = two_snapshots(objects)
    small = MemoryStore(objects.content(), capacity_bytes=400_000)
    store = reopen(small, STORE_ID)
    rng = random.Random(1)
    with pytest.raises(SpaceError):
        take(store, rng, "snap-00000003", rng.randbytes(500 * BLOCK_BYTES), [(0, 500)])
    assert read_back(small, FIRST, len(one)) == one


def test_two_manifests_of_one_snapshot_need_a_name() -> None:
    objects = MemoryStore()
    store, one, _ = two_snapshots(objects)
    take(store, random.Random(99), FIRST, one, [(0, 12)])
    with pytest.raises(IntegrityError, match="2 manifests"):
        SnapshotReader.open(store, FIRST)
    for entry in list_manifests(store, SnapshotId(FIRST)):
        assert SnapshotReader.open(store, entry.object).read(0, len(one)) == one


def test_deleting_a_manifest_takes_its_attributes_and_is_idempotent() -> None:
    """L5."""
    store, _, _ = two_snapshots(MemoryStore())
    (entry,) = list_manifests(store, SnapshotId(FIRST))
    write_attributes(store, entry.snapshot, Attributes(name="one"), ACCOUNT)
    write_attributes(
        store,
        entry.snapshot,
        Attributes(name="two", deadline="2027-01-01T00:00:00Z", permanent=False),
        ACCOUNT,
    )
    assert read_attributes(store, entry.snapshot).name == "two"
    for _ in range(2):
        delete_manifest(store, entry.snapshot, entry.session)
        assert list(list_manifests(store, entry.snapshot)) == []
        with pytest.raises(NotFoundError):
            read_attributes(store, entry.snapshot)
    assert [one.snapshot for one in list_manifests(store)] == [SECOND]


def test_what_cannot_be_read_stops_collection() -> None:
    objects = MemoryStore()
    store, _, _ = two_snapshots(objects)
    living = Living.open(store, [find_manifest(store, SnapshotId(SECOND))])
    pack = read_manifest(store, find_manifest(store, SnapshotId(FIRST))).packs[0].object
    assert living.mask(open_pack(store, pack).index).any()
    assert not Living(store, []).mask(open_pack(store, pack).index).any()
    content = objects.content()
    for damaged in [name for name in content if "/maps/" in name or name == pack]:
        for change in (None, content[damaged][:-30] + b"x" + content[damaged][-29:]):
            left = {key: raw for key, raw in content.items() if key != damaged}
            broken = reopen(MemoryStore({**left, **({damaged: change} if change else {})}), STORE_ID)
            with pytest.raises(DrystoneError):
                Living.open(broken, [find_manifest(broken, SnapshotId(SECOND))]).mask(open_pack(broken, pack).index)


def test_a_sessions_objects_are_listed_and_deleted() -> None:
    objects = MemoryStore()
    store, one, _ = two_snapshots(objects)
    (entry,) = list_manifests(store, SnapshotId(SECOND))
    listed = list_session_objects(store, entry.session)
    assert len(listed) == 2
    assert delete_session_objects(store, entry.session) == 2
    assert list_session_objects(store, entry.session) == {}
    assert read_back(objects, FIRST, len(one)) == one


def test_root_objects() -> None:
    objects = MemoryStore()
    store = new_store(objects)
    assert read_mark(store) == "0" * 32
    with pytest.raises(IntegrityError, match="exists"):
        create_store(objects, STORE_ID, "2" * 32, bytes(32))
    assert reopen(objects, STORE_ID).keys == store.keys
    with pytest.raises(NotFoundError):
        reopen(objects, StoreId("another"))


def test_a_creation_that_was_cut_off_is_completed_with_its_own_key() -> None:
    whole = MemoryStore()
    new_store(whole)
    for cut in range(len(whole.changes)):
        for lands in (False, True):
            power = MemoryStore(cut_after=cut, lands=lands)
            with pytest.raises(CutError):
                new_store(power)
            left = MemoryStore(power.content())
            had_key = f"{STORE_ID}/keys/store" in left.content()
            if f"{STORE_ID}/owner" in left.content():
                reopen(left, STORE_ID)
                continue
            again = create_store(left, STORE_ID, "0" * 32, bytes(32))
            assert (again.keys == reopen(whole, STORE_ID).keys) == had_key


@pytest.mark.parametrize("name", ["owner", "keys/store", "epoch"])
@pytest.mark.parametrize("raw", [b"", b"{}", b"[1]", b"\xff", b'{"format":3,"owner":"","epoch":1}', b"[" * 100_000])
def test_root_objects_of_another_format_are_refused(name: str, raw: bytes) -> None:
    objects = MemoryStore()
    new_store(objects)
    objects.replace(f"{STORE_ID}/{name}", raw)
    with pytest.raises(ProtocolError):
        claimed_epoch(reopen(objects, STORE_ID))


def test_a_damaged_key_is_never_used_and_is_written_again() -> None:
    objects = MemoryStore()
    store = new_store(objects)
    assert keep_key(store)
    assert not keep_key(store)
    whole = {name: objects.get(f"{STORE_ID}/{name}") for name in KEY_NAMES}
    digit = whole["keys/store"].index(b'"key":"') + 9
    wrong = bytearray(whole["keys/store"])
    wrong[digit] = ord("0") + (wrong[digit] == ord("0"))
    for bad in (bytes(wrong), b"", b"{}"):
        for name in KEY_NAMES:
            objects.replace(f"{STORE_ID}/{name}", bad)
            again = reopen(objects, STORE_ID)
            assert again.keys == store.keys
            assert keep_key(again)
            assert {name: objects.get(f"{STORE_ID}/{name}") for name in KEY_NAMES} == whole
        for name in KEY_NAMES:
            objects.replace(f"{STORE_ID}/{name}", bad)
        with pytest.raises(ProtocolError):
            reopen(objects, STORE_ID)
        for name, raw in whole.items():
            objects.replace(f"{STORE_ID}/{name}", raw)


def test_a_key_of_an_older_version_gets_its_check() -> None:
    objects = MemoryStore()
    store = new_store(objects)
    name = f"{STORE_ID}/keys/store"
    plain = json.loads(objects.get(name))
    del plain["check"]
    objects.replace(name, json.dumps(plain).encode())
    assert reopen(objects, STORE_ID).keys == store.keys
    assert keep_key(reopen(objects, STORE_ID))
    assert "check" in json.loads(objects.get(name))


def test_a_writer_is_used_in_order_and_once() -> None:
    store = new_store(MemoryStore())
    rng = random.Random(1)
    session = writer.SnapshotWriter(store=store, session=SessionId(hex128(rng)), rng=rng)
    session.write(5, bytes(BLOCK_BYTES))
    with pytest.raises(AssertionError):
        session.write(5, bytes(BLOCK_BYTES))
    with pytest.raises(AssertionError):
        session.write(6, bytes(100))
    written = session.finish()
    assert (written.entries, written.packs, written.changed_blocks, written.requests) == (0, (), 0, 1)
    with pytest.raises(AssertionError):
        session.write(9, bytes(BLOCK_BYTES))
    session.abort()


class OneFailure(MemoryStore):
    """Refuses the first pack, then works again."""

    def put(self, name: str, data: Parts) -> None:
        if "/packs/" in name and not self.__dict__.get("refused"):
            self.__dict__["refused"] = True
            raise UnavailableError("once")
        super().put(name, data)


def test_a_writer_that_failed_cannot_finish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "PACK_BYTES", 300_000)
    objects = OneFailure()
    store = new_store(objects)
    rng = random.Random(1)
    taking = writer.SnapshotWriter(store=store, session=SessionId(hex128(rng)), rng=rng)
    with pytest.raises(UnavailableError):  # noqa: PT012 - whichever call sees it
        for at in range(0, 4000, 100):
            taking.write(at, rng.randbytes(100 * BLOCK_BYTES))
    with pytest.raises(AssertionError):
        taking.finish()
    taking.abort()
    assert not [name for name in objects.content() if "/maps/" in name]


def test_scattered_random_blocks_store_little_more_than_themselves() -> None:
    """P2."""
    rng = random.Random(8)
    objects = MemoryStore()
    store = new_store(objects)
    base = take(store, rng, FIRST, bytes(BLOCK_BYTES), [(0, 1)])
    before = sum(len(raw) for raw in objects.content().values())
    session = SessionId(hex128(rng))
    taking = writer.SnapshotWriter(store=store, session=session, rng=rng, base=base)
    for block in sorted(rng.sample(range(2_621_440), 1000)):
        taking.write(block, rng.randbytes(BLOCK_BYTES))
    written = taking.finish()
    write_manifest(
        store,
        manifest_of(store, snapshot=SECOND, session=session, written=written, size_bytes=10 << 30, base=base),
    )
    grown = sum(len(raw) for raw in objects.content().values()) - before
    assert grown <= 1.02 * 1000 * BLOCK_BYTES
    assert written.requests == 2


def test_a_huge_sparse_disk_costs_what_it_holds() -> None:
    """P3."""
    rng = random.Random(8)
    objects = MemoryStore()
    store = new_store(objects)
    blocks = (10 << 40) // BLOCK_BYTES
    session = SessionId(hex128(rng))
    base = take(store, rng, FIRST, bytes(BLOCK_BYTES), [(0, 1)])
    taking = writer.SnapshotWriter(store=store, session=session, rng=rng, base=base)
    taking.zero(0, 1 << 30)
    taking.write(1 << 30, b"x" * BLOCK_BYTES)
    taking.zero((1 << 30) + 1, blocks)
    manifest = manifest_of(
        store, snapshot=SECOND, session=session, written=taking.finish(), size_bytes=10 << 40, base=base
    )
    snapshot = SnapshotReader.open(store, write_manifest(store, manifest))
    assert snapshot.data_ranges().tolist() == [[1 << 30, (1 << 30) + 1]]
    assert snapshot.read((1 << 30) * BLOCK_BYTES - 2, 4) == b"\0\0xx"
    assert snapshot.read((10 << 40) - 5, 5) == bytes(5)
    assert objects.reads < 40


def test_the_old_format_is_still_read(tmp_path: Path) -> None:
    """A whole store as format 1 wrote it. Never made anew: a change that breaks this breaks users' buckets."""
    fixture = Path(__file__).parent / "format-1"
    shutil.copytree(fixture / "store", tmp_path / "store")
    store = reopen(LocalStore(tmp_path / "store", floor_bytes=0), STORE_ID)
    expected = json.loads((fixture / "expected.json").read_text())
    assert {entry.snapshot for entry in list_manifests(store)} == expected.keys()
    for name, runs in expected.items():
        content = b"".join(bytes.fromhex(pattern) * (BLOCK_BYTES // 16) for pattern in runs)
        snapshot = SnapshotReader.open(store, name)
        assert snapshot.read(0, snapshot.size_bytes) == content
    assert read_attributes(store, SnapshotId(FIRST)).name == "first"
    assert claimed_epoch(store) == 1

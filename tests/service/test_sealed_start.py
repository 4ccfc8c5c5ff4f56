"""What a start does about a sealed store: by what the catalog noted, with the keys that are there (S242, S244)."""

import random
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from drystone.catalog import meta
from drystone.catalog.sqlite import SqliteDatabase
from drystone.codec.hashes import key_check
from drystone.codec.key_text import key_text, parse_key
from drystone.codec.sealed import SecretKey
from drystone.codec.wraps import Purpose
from drystone.domain.errors import DrystoneError, IntegrityError, ProtocolError, UnavailableError
from drystone.domain.ids import AccountId, DiskId, IdSource, KeyId
from drystone.engine.layout import Layout
from drystone.objects.address import DirectoryAddress
from drystone.objects.contract import NotFoundError
from drystone.objects.measured import Tally
from drystone.offline.store_keys import create_key, export_key, list_keys, rotate_key
from drystone.server.store_opening import CREATING, SEALED, StartError, open_kept
from drystone.service.kept_store import KeptStore
from drystone.service.room import Room
from drystone.service.upkeep.reaching import reach
from drystone.snapstore.data_keys import KeyMissingError, destroy_data_key, make_data_key
from drystone.snapstore.key_files import KeyFiles
from tests.claims import claim_on


class Place:
    """A data directory, started again and again."""

    def __init__(self, data: Path) -> None:
        data.mkdir(mode=0o700)
        self.layout = Layout(data)
        self.rng = random.Random(5)
        self.keys = KeyFiles(self.layout.keys)

    def open(self) -> SqliteDatabase:
        return SqliteDatabase.open(self.layout.catalog)

    def start(self, *, sealed: bool = False) -> KeptStore:
        db = self.open()
        try:
            room = Room(layout=self.layout, floor_bytes_max=0, floor_percent=0)
            place = DirectoryAddress(root=str(self.layout.store))
            return open_kept(db, room, place, self.rng, at=0.0, dead_percent=20, tally=Tally(), sealed=sealed)
        finally:
            db.close()

    def objects(self) -> dict[str, bytes]:
        root = self.layout.store
        return {str(one.relative_to(root)): one.read_bytes() for one in sorted(root.rglob("*")) if one.is_file()}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "data")


def test_the_catalog_says_that_its_store_is_sealed(place: Place) -> None:
    made = place.start(sealed=True)
    assert made.store.seals is not None
    assert made.store.seals.keks.default() == place.keys.default()
    assert made.address().objects.seal_keys == str(place.layout.keys)
    # The setting is of the making: what it says later changes nothing.
    assert place.start(sealed=False).store.seals is not None
    other = Place(place.layout.data.parent / "other")
    assert other.start().store.seals is None
    assert other.start(sealed=True).store.seals is None
    assert not other.layout.keys.exists()


def test_a_making_that_was_cut_off_is_completed_as_it_began(place: Place) -> None:
    db = place.open()
    db.write_sync(lambda conn: meta.put(conn, CREATING, f"{'a1' * 16} {'b2' * 16} sealed"))
    db.close()
    assert place.start(sealed=False).store.seals is not None
    db = place.open()
    assert db.read_sync(lambda conn: meta.get(conn, SEALED)) == "1"
    db.close()


def test_a_key_that_is_not_there_is_waited_for(place: Place) -> None:
    place.start(sealed=True)
    (file,) = place.layout.keys.glob("*.key")
    away = file.rename(place.layout.data / "sheet")
    before = place.objects()
    kept = place.start()
    assert kept.proven is None
    assert f"import one of: {file.stem}" in str(kept.fault)
    assert place.objects() == before
    # It comes back, as a sheet that is typed in: what waited goes on, without another start.
    place.keys.add(parse_key(away.read_text()))
    db = place.open()
    reach(db, kept, kept.objects, IdSource(place.rng))
    db.close()
    assert kept.store.seals is not None


@pytest.mark.parametrize("loose", [0o640, 0o604])
def test_keys_that_others_can_read_are_waited_for_too(place: Place, loose: int) -> None:
    place.start(sealed=True)
    (file,) = place.layout.keys.glob("*.key")
    file.chmod(loose)
    kept = place.start()
    assert kept.proven is None
    assert "chmod go=" in str(kept.fault)


def test_a_wrong_key_is_known_before_anything_is_written(place: Place) -> None:
    place.start(sealed=True)
    (file,) = place.layout.keys.glob("*.key")
    right = parse_key(file.read_text())
    wrong = SecretKey(key_id=right.key.key_id, secret=bytes(32))
    before = place.objects()
    for text in (key_text(replace(right, key=wrong)), "damaged"):
        file.write_text(text)
        with pytest.raises(DrystoneError):
            place.start()
        assert place.objects() == before


def test_a_store_that_says_that_it_is_in_clear_is_refused(place: Place) -> None:
    """S242: who has the bucket would have all that follows written in clear."""
    made = place.start(sealed=True)
    root = place.layout.store / made.store_id
    owner = msgspec.json.decode((root / "owner").read_bytes())["owner"]
    secret = bytes(range(32))
    (root / "owner").unlink()
    (root / "owner").write_bytes(msgspec.json.encode({"format": 2, "owner": owner}))
    (root / "keys/store").write_bytes(
        msgspec.json.encode({"format": 1, "key": secret.hex(), "check": key_check(secret)})
    )
    before = place.objects()
    with pytest.raises(ProtocolError, match="must be sealed, and its mark says that it is not"):
        place.start()
    assert place.objects() == before


def rot(path: Path) -> None:
    path.chmod(0o600)
    path.write_bytes(b"rot")


def test_a_start_makes_up_for_a_wrap_that_was_damaged_or_is_gone(place: Place) -> None:
    """S245."""
    made = place.start(sealed=True).store
    assert made.seals is not None
    root = place.layout.store
    for damage in (rot, Path.unlink):
        wraps = sorted(root.glob("*/keys/*/*"))
        damage(next(one for one in wraps if one.stat().st_size > 3))
        again = place.start().store
        assert again.seals is not None
        assert again.seals.own == made.seals.own
        good = [one for one in root.glob("*/keys/*/*") if one.read_bytes().endswith(b"DRYSEAL2")]
        assert len(good) == 2
        before = place.objects()
        place.start()
        assert {name for name in place.objects() if "/keys/" in name} == {name for name in before if "/keys/" in name}


def test_a_rotation_keeps_what_it_cannot_do_without(place: Place) -> None:
    """S246, S200."""
    data = place.layout.data
    store = place.start(sealed=True).store
    first = place.keys.default()
    done = rotate_key(data, at=1.0)
    assert (done.data_keys, done.retired) == (1, (first.key_id,))
    assert [one.key.key_id for one in place.keys.all()[0]] == [done.key] == [place.keys.default_id()]
    assert place.start().store.seals is not None
    # A data key that no key here opens: nothing is changed.
    lost = SecretKey(key_id=KeyId("ee" * 16), secret=bytes(32))
    theirs = make_data_key(store.objects, store.store_id, lost, Purpose(account=AccountId("100000000009")))
    before, files = place.objects(), place.keys.all()
    with pytest.raises(IntegrityError, match="nothing was changed: data key"):
        rotate_key(data, at=2.0)
    assert (place.objects(), place.keys.all()) == (before, files)
    assert list_keys(data)[1] == [f"key {lost.key_id} wraps 1 data keys, and is not here"]
    destroy_data_key(store.objects, store.store_id, theirs.key.key_id)
    # Another catalog has the store: it needs the keys that would go.
    claim_on(store, owner="f" * 32, incarnation="e" * 32)
    before = place.objects()
    with pytest.raises(StartError, match="another catalog"):
        rotate_key(data, at=3.0)
    assert (place.objects(), place.keys.all()) == (before, files)


def test_a_rotation_is_of_one_key(place: Place) -> None:
    """S380: that of another name stays, and what it wraps."""
    data = place.layout.data
    with pytest.raises(StartError, match="has no sealed store yet"):
        create_key(data, "payroll", at=1.0)
    store = place.start(sealed=True).store
    made = create_key(data, "payroll", at=1.0)
    for name, told in (("payroll", "there is a key payroll already"), ("No Name", "is no name of a key")):
        with pytest.raises(StartError, match=told):
            create_key(data, name, at=2.0)
    assert store.seals is not None
    purpose = Purpose(account=AccountId("100000000001"), disk=DiskId("disk-aaaaaaaa"))
    with pytest.raises(UnavailableError, match="does not list the data key"):
        store.seals.key_for(purpose)
    with pytest.raises(KeyMissingError, match="import it"):
        store.seals.make_for(purpose, KeyId("e" * 32))
    own = store.seals.make_for(purpose, made.key.key_id)
    assert store.seals.key_for(purpose) == own
    done = rotate_key(data, at=3.0)
    assert (done.data_keys, {one.name for one in place.keys.all()[0]}) == (1, {"installation", "payroll"})
    assert done.key == place.keys.default_id()
    other = rotate_key(data, "payroll", at=4.0)
    assert (other.data_keys, other.retired) == (1, (made.key.key_id,))
    assert done.key == place.keys.default_id()
    assert {one.data_keys for one in list_keys(data)[0]} == {1}
    again = place.start().store
    assert again.seals is not None
    assert again.seals.make_for(purpose, KeyId(other.key)) == own
    assert parse_key(export_key(data, "payroll")).key.key_id == other.key
    with pytest.raises(NotFoundError, match="no key nobody"):
        export_key(data, "nobody")


def test_a_store_in_clear_has_no_keys_to_rotate(place: Place) -> None:
    place.start()
    with pytest.raises(StartError, match="is not sealed"):
        rotate_key(place.layout.data, at=1.0)
    assert not place.layout.keys.exists()
    assert list_keys(place.layout.data) == ([], [])

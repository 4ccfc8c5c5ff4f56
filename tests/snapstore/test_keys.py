"""Keys: in files of this machine (S244), and wrapped in the store (S245, S246)."""

from pathlib import Path

import pytest

from drystone.codec.key_text import KeyEncryptionKey, parse_key
from drystone.codec.sealed import SecretKey
from drystone.codec.wraps import DataKey, Purpose
from drystone.domain.errors import IntegrityError, ProtocolError, UnavailableError
from drystone.domain.ids import AccountId, DiskId, KeyId, StoreId
from drystone.objects.contract import NotFoundError, Parts
from drystone.snapstore import data_keys
from drystone.snapstore.data_keys import (
    DataKeys,
    KeyMissingError,
    destroy_data_key,
    list_wraps,
    make_data_key,
    read_data_key,
    retire,
    rewrap,
    write_wrap,
)
from drystone.snapstore.key_files import KeyFiles, sheet
from tests.memory_store import MemoryStore
from tests.nonces import Nonces, nonces

__all__ = ["nonces"]
pytestmark = pytest.mark.usefixtures("nonces")
STORE = StoreId("store-1")
OLD = SecretKey(key_id=KeyId("aa" * 16), secret=bytes(range(32)))
NEW = SecretKey(key_id=KeyId("bb" * 16), secret=bytes(range(32, 64)))
ACCOUNT = Purpose(account=AccountId("100000000001"))
PURPOSES = (Purpose(), ACCOUNT, Purpose(account=AccountId("100000000001"), disk=DiskId("disk-aaaaaaaa")))


def kek(key: SecretKey = OLD) -> KeyEncryptionKey:
    return KeyEncryptionKey(key=key, name="installation", made="2026-11-30T12:00:00Z")


def finding(*keys: SecretKey) -> data_keys.FindKek:
    known = {key.key_id: key for key in keys}

    def find(key_id: KeyId) -> SecretKey:
        if key_id not in known:
            raise NotFoundError(key_id)
        return known[key_id]

    return find


def filled(*keks: SecretKey) -> tuple[MemoryStore, list[DataKey]]:
    objects = MemoryStore()
    made = [make_data_key(objects, STORE, OLD, purpose) for purpose in PURPOSES]
    for one in made:
        for other in keks:
            write_wrap(objects, STORE, other, one)
            write_wrap(objects, STORE, other, one)
    return objects, made


# Files.


def test_a_key_is_kept_where_nobody_else_reads_it(tmp_path: Path) -> None:
    """S244."""
    files = KeyFiles(tmp_path / "keys")
    assert files.all() == ([], [])
    assert files.default_id() is None
    assert files.add(kek())
    assert files.default_id() == OLD.key_id
    assert not files.add(kek())
    assert files.add(kek(NEW))
    assert files.default_id() == OLD.key_id
    assert oct(files.directory.stat().st_mode)[-3:] == "700"
    assert {oct(path.stat().st_mode)[-3:] for path in files.directory.iterdir()} == {"600"}
    assert files.all() == ([kek(), kek(NEW)], [])
    assert files.secret(NEW.key_id) == NEW
    assert [path.name for path in files.directory.iterdir() if path.suffix == ".part"] == []


@pytest.mark.parametrize("loose", ["keys", f"keys/{'aa' * 16}.key"])
def test_keys_that_others_can_read_are_refused(tmp_path: Path, loose: str) -> None:
    """S244."""
    files = KeyFiles(tmp_path / "keys")
    files.add(kek())
    path = tmp_path / loose
    path.chmod(path.stat().st_mode | 0o040)
    with pytest.raises(UnavailableError, match=f"chmod go= {path}"):
        files.get(OLD.key_id)
    assert files.all()[0] == []


def test_a_key_is_never_replaced_by_another(tmp_path: Path) -> None:
    files = KeyFiles(tmp_path / "keys")
    files.add(kek())
    with pytest.raises(IntegrityError, match="another key with the same id"):
        files.add(kek(SecretKey(key_id=OLD.key_id, secret=NEW.secret)))
    assert files.secret(OLD.key_id) == OLD
    path = files.directory / f"{OLD.key_id}.key"
    path.write_bytes(path.read_bytes().replace(b"0001", b"0002", 1))
    with pytest.raises(ProtocolError, match=f"{path}: line 1"):
        files.get(OLD.key_id)
    with pytest.raises(IntegrityError, match="move it away"):
        files.add(kek())
    assert len(files.all()[1]) == 1


def test_a_file_under_another_keys_name_is_refused(tmp_path: Path) -> None:
    files = KeyFiles(tmp_path / "keys")
    files.add(kek())
    (files.directory / f"{OLD.key_id}.key").rename(files.directory / f"{NEW.key_id}.key")
    with pytest.raises(ProtocolError, match="holds key aaaa"):
        files.get(NEW.key_id)
    with pytest.raises(NotFoundError):
        files.get(OLD.key_id)


def test_the_default_is_not_removed(tmp_path: Path) -> None:
    files = KeyFiles(tmp_path / "keys")
    files.add(kek())
    files.add(kek(NEW))
    with pytest.raises(NotFoundError):
        files.make_default(KeyId("cc" * 16))
    with pytest.raises(IntegrityError, match="make another one the default"):
        files.remove(OLD.key_id)
    files.make_default(NEW.key_id)
    files.remove(OLD.key_id)
    assert files.all() == ([kek(NEW)], [])
    (files.directory / "default").write_text("x")
    with pytest.raises(ProtocolError, match="no id of a key"):
        files.default_id()


def test_a_sheet_is_read_again() -> None:
    printed = sheet(kek(), "s3://bucket/prefix", "ab" * 32, "0.2.0")
    assert "s3://bucket/prefix" in printed
    assert f"Drystone 0.2.0, sha256 {'ab' * 32}." in printed
    assert parse_key(printed) == kek()
    assert parse_key("\n".join(line.rstrip() for line in printed.splitlines() if not line.startswith("#"))) == kek()


# Wraps.


def test_a_data_key_may_seal_once_its_wraps_were_read_back() -> None:
    """S245."""
    objects, made = filled()
    assert {key: [one.kek for one in wraps] for key, wraps in list_wraps(objects, STORE).items()} == {
        one.key.key_id: [OLD.key_id] * 2 for one in made
    }
    for one in made:
        for raw in objects.content().values():
            assert one.key.secret not in raw
            assert one.key.secret.hex().encode() not in raw
    known = DataKeys(objects, STORE, finding(OLD))
    assert [known.get(one.key.key_id) for one in made] == made
    assert [DataKeys(objects, STORE, finding(OLD)).of(purpose) for purpose in PURPOSES] == made
    assert known.of(Purpose(account=AccountId("100000000002"))) is None

    class Lying(MemoryStore):
        def put(self, name: str, data: Parts) -> None:
            super().put(name, [b"another wrap that was there before", b""] if "keys" in name else data)

    with pytest.raises((IntegrityError, ProtocolError)):
        make_data_key(Lying(), STORE, OLD, Purpose())


def test_a_key_that_another_process_made_is_found() -> None:
    objects, _ = filled()
    one, two = DataKeys(objects, STORE, finding(OLD)), DataKeys(objects, STORE, finding(OLD))
    later = Purpose(account=AccountId("100000000002"))
    assert one.of(later) is None
    made = two.make(OLD, later)
    assert one.of(later) == made


def test_one_damaged_wrap_loses_nothing() -> None:
    objects, made = filled()
    wraps = list_wraps(objects, STORE, made[1].key.key_id)[made[1].key.key_id]
    names = [f"{STORE}/{one.name}" for one in wraps]
    whole = objects.get(names[0])
    objects.replace(names[0], whole[:-1] + b"x")
    assert read_data_key(objects, STORE, wraps, finding(OLD)) == made[1]
    objects.replace(names[1], b"")
    with pytest.raises(IntegrityError, match="is not sealed"):
        read_data_key(objects, STORE, wraps, finding(OLD))
    # A wrap of another data key in its place.
    other = list_wraps(objects, STORE)[made[0].key.key_id][0]
    objects.replace(names[1], objects.get(f"{STORE}/{other.name}"))
    with pytest.raises(IntegrityError, match="not what key"):
        read_data_key(objects, STORE, wraps[1:], finding(OLD))


def test_a_key_that_is_not_here_is_named_and_one_that_is_wrong_is_known() -> None:
    objects, made = filled()
    keys = DataKeys(objects, STORE, finding(NEW))
    with pytest.raises(KeyMissingError, match=f"import one of: {OLD.key_id}"):
        keys.get(made[0].key.key_id)
    # Whoever writes takes another one meanwhile.
    assert keys.of(ACCOUNT) is None
    wrong = SecretKey(key_id=OLD.key_id, secret=NEW.secret)
    with pytest.raises(IntegrityError, match="not what key"):
        DataKeys(objects, STORE, finding(wrong)).get(made[0].key.key_id)
    with pytest.raises(NotFoundError, match="destroyed"):
        keys.get(KeyId("cc" * 16))


def test_a_rotation_wraps_all_again_and_can_be_repeated(nonces: Nonces) -> None:
    objects, made = filled()
    before = objects.content()
    done = rewrap(objects, STORE, finding(OLD, NEW), NEW)
    assert (done.data_keys, done.written, done.faults) == (3, 6, ())
    assert before.items() <= objects.content().items()
    assert rewrap(objects, STORE, finding(OLD, NEW), NEW).written == 0
    assert [DataKeys(objects, STORE, finding(NEW)).get(one.key.key_id) for one in made] == made
    # One of the new ones is lost: the next rotation makes it again.
    lost = next(one for one in list_wraps(objects, STORE)[made[0].key.key_id] if one.kek == NEW.key_id)
    objects.replace(f"{STORE}/{lost.name}", b"rot")
    assert rewrap(objects, STORE, finding(OLD, NEW), NEW).written == 1
    assert rewrap(objects, STORE, finding(NEW), NEW).faults == ()
    told = rewrap(objects, STORE, finding(), SecretKey(key_id=KeyId("cc" * 16), secret=bytes(32))).faults
    assert len(told) == 3


@pytest.mark.parametrize("cut", range(6))
@pytest.mark.parametrize("lands", [False, True])
def test_a_rotation_that_is_cut_off_is_done_by_the_next(cut: int, lands: bool) -> None:  # noqa: FBT001
    objects, made = filled()
    cut_off = MemoryStore(objects.content(), cut_after=cut, lands=lands)
    with pytest.raises(UnavailableError):
        rewrap(cut_off, STORE, finding(OLD, NEW), NEW)
    after = MemoryStore(cut_off.content())
    rewrap(after, STORE, finding(OLD, NEW), NEW)
    retire(after, STORE, finding(OLD, NEW), OLD.key_id)
    assert [DataKeys(after, STORE, finding(NEW)).get(one.key.key_id) for one in made] == made


def test_a_key_of_one_disk_is_wrapped_by_what_it_names_alone() -> None:
    """S380, S245: neither a start nor a rotation of another key has others wrap it."""
    objects = MemoryStore()
    for purpose in PURPOSES[:2]:
        make_data_key(objects, STORE, OLD, purpose)
    own = make_data_key(objects, STORE, NEW, PURPOSES[2])
    known = DataKeys(objects, STORE, finding(OLD, NEW))
    assert not known.keep()
    lost = list_wraps(objects, STORE, own.key.key_id)[own.key.key_id][0]
    objects.delete(f"{STORE}/{lost.name}")
    assert known.keep()
    newer = SecretKey(key_id=KeyId("dd" * 16), secret=bytes(32))
    done = rewrap(objects, STORE, finding(OLD, NEW, newer), newer, {OLD.key_id})
    assert (done.data_keys, done.written) == (2, 4)
    assert retire(objects, STORE, finding(OLD, NEW, newer), OLD.key_id) == 4
    wraps = dict(list_wraps(objects, STORE))
    assert [one.kek for one in wraps.pop(own.key.key_id)] == [NEW.key_id] * 2
    assert {one.kek for found in wraps.values() for one in found} == {newer.key_id}


def test_an_old_key_goes_only_when_others_open_all() -> None:
    """S246."""
    objects, made = filled(NEW)
    find = finding(OLD, NEW)
    damaged = MemoryStore(objects.content())
    lost = next(one for one in list_wraps(objects, STORE)[made[2].key.key_id] if one.kek == NEW.key_id)
    damaged.replace(f"{STORE}/{lost.name}", b"rot")
    before = damaged.content()
    with pytest.raises(IntegrityError, match=f"data key {made[2].key.key_id} has 1 wraps by other keys"):
        retire(damaged, STORE, find, OLD.key_id)
    with pytest.raises(IntegrityError, match="has 0 wraps"):
        retire(damaged, STORE, finding(OLD), OLD.key_id)
    assert damaged.content() == before
    assert retire(objects, STORE, find, OLD.key_id) == 6
    assert retire(objects, STORE, find, OLD.key_id) == 0
    assert {one.kek for wraps in list_wraps(objects, STORE).values() for one in wraps} == {NEW.key_id}
    assert [DataKeys(objects, STORE, finding(NEW)).get(one.key.key_id) for one in made] == made


def test_a_wrap_that_lands_late_is_deleted_by_the_next_retirement() -> None:
    objects, made = filled(NEW)

    class Late(MemoryStore):
        def delete(self, name: str) -> None:
            raw = self.get(name)
            super().delete(name)
            if not self.late:
                self.late = True
                self.put(name, raw)

        late = False

    late = Late(objects.content())
    with pytest.raises(UnavailableError, match="still lists"):
        retire(late, STORE, finding(OLD, NEW), OLD.key_id)
    assert retire(late, STORE, finding(OLD, NEW), OLD.key_id) == 1
    late.late = False
    with pytest.raises(UnavailableError, match="still lists"):
        destroy_data_key(late, STORE, made[0].key.key_id)
    destroy_data_key(late, STORE, made[0].key.key_id)
    with pytest.raises(NotFoundError, match="destroyed"):
        DataKeys(late, STORE, finding(NEW)).get(made[0].key.key_id)
    assert DataKeys(late, STORE, finding(NEW)).get(made[1].key.key_id) == made[1]


def test_nothing_secret_is_shown() -> None:
    objects, made = filled()
    secret = made[0].key.secret
    assert secret.hex() not in repr(made)
    for wrong in (finding(NEW), finding(SecretKey(key_id=OLD.key_id, secret=NEW.secret))):
        with pytest.raises((KeyMissingError, IntegrityError)) as caught:
            DataKeys(objects, STORE, wrong).get(made[0].key.key_id)
        assert secret.hex() not in str(caught.value)

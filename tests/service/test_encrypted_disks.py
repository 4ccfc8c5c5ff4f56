"""Which disks are encrypted, with which key, and what is refused (S380, S382)."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drystone.catalog import disks
from drystone.codec.key_text import KeyEncryptionKey
from drystone.codec.sealed import SecretKey
from drystone.domain.disk import Disk, DiskEncryption
from drystone.domain.errors import IntegrityError, Refusal, RefusalError
from drystone.domain.ids import AccountId, DiskId, KeyId, SnapshotId, StoreId
from drystone.domain.snapshot import SnapshotState
from drystone.engine.descriptions import read_encryption, write_disk
from drystone.engine.layout import Layout
from drystone.offline.disk_wraps import disks_unopened, wrap_disks
from drystone.service.calls.disk_lifecycle import DiskLifecycle
from drystone.service.calls.new_disks import check_new, kek_of
from drystone.service.host.disk_keys import DiskKeys
from drystone.service.requests import NewDisks
from drystone.snapstore.data_keys import KeyMissingError
from drystone.snapstore.key_files import KeyFiles
from tests.service import parts
from tests.service.records_world import NOW, ZONE, World, caller, run

OWN = KeyEncryptionKey(
    key=SecretKey(key_id=KeyId("aa" * 16), secret=bytes(32)), name="installation", made="2026-11-30T12:00:00Z"
)
PAYROLL = replace(OWN, key=SecretKey(key_id=KeyId("bb" * 16), secret=bytes(range(32))), name="payroll")
STORE = StoreId("s" * 32)


class Site:
    """The calls on disks of a data directory, in which nothing is made."""

    def __init__(self, world: World, data: Path) -> None:
        self.world, self.layout = world, Layout(data)
        self.files = KeyFiles(self.layout.keys)
        self.files.add(OWN)
        self.files.add(PAYROLL)

    def calls(self, *, sealed: bool = True) -> DiskLifecycle:
        made = parts.server_parts(self.world.db, self.layout, clock=lambda: NOW)
        return DiskLifecycle(
            transactions=made.transactions, operations=made.operations, host=parts.host_parts(made).host,
            layout=made.layout, devices=made.devices, room=made.room, zone=ZONE, disks_per_call=50,
            disks_per_instance=20, root=False, sealed=sealed,
        )  # fmt: skip

    def wanted(self, *, sealed: bool = True, **fields: Any) -> Disk:
        """What the row of a new disk would be."""
        asked: dict[str, Any] = {"zone": ZONE, "charge_type": "POSTPAID_BY_HOUR", "disk_type": "CLOUD_PREMIUM"}
        new = NewDisks(**(asked | {"size_gib": 10} | fields))
        calls = self.calls(sealed=sealed)
        check_new(new, zone=ZONE, disks_per_call=50, sealed=sealed)
        kek = kek_of(self.layout, new.kms_key_id) if sealed else None
        return run(
            calls.transactions.change(lambda change: calls._template(change, caller(), new, name="x", tags=(), kek=kek))
        )

    def keep(self, disk: Disk) -> None:
        values = {"encryption": disk.encryption}
        self.world.db.write_sync(lambda conn: disks.compare_and_set(conn, disk.id, expected={}, values=values))

    def snapshot(self, snapshot_id: str, *, encrypted: bool) -> str:
        self.world.snapshot(snapshot_id, state=SnapshotState.NORMAL, encrypted=encrypted, size_gib=10)
        return snapshot_id


@contextlib.contextmanager
def refusing(kind: Refusal) -> Iterator[None]:
    with pytest.raises(RefusalError) as caught:
        yield
    assert caught.value.kind is kind


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    world = World.open(tmp_path / "catalog.db")
    world.add_accounts()
    yield Site(world, tmp_path)
    world.db.close()


def test_a_disk_is_encrypted_with_the_key_that_it_names(site: Site) -> None:
    assert site.wanted().encryption is None
    assert site.wanted(encrypt="ENCRYPT").encryption == DiskEncryption(type="ENCRYPT_V1", kek=OWN.key.key_id)
    named = DiskEncryption(type="ENCRYPT_V2", kek=PAYROLL.key.key_id)
    for word in ("payroll", PAYROLL.key.key_id):
        assert site.wanted(encrypt="ENCRYPT", encrypt_type="ENCRYPT_V2", kms_key_id=word).encryption == named


def test_encrypted_disks_are_made_of_encrypted_snapshots_alone(site: Site) -> None:
    """S380: no conversion either way; the disk of an encrypted snapshot is encrypted, asked for or not."""
    secret, plain = site.snapshot("snap-secret", encrypted=True), site.snapshot("snap-plain", encrypted=False)
    assert site.wanted(snapshot_id=SnapshotId(plain)).encryption is None
    made = site.wanted(snapshot_id=SnapshotId(secret)).encryption
    assert made == DiskEncryption(type="ENCRYPT_V1", kek=OWN.key.key_id)
    with refusing(Refusal.BAD_VALUE):
        site.wanted(snapshot_id=SnapshotId(plain), encrypt="ENCRYPT")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"encrypt": "yes"}, Refusal.BAD_VALUE),
        ({"kms_key_id": "payroll"}, Refusal.BAD_VALUE),
        ({"encrypt_type": "ENCRYPT_V1"}, Refusal.BAD_VALUE),
        ({"encrypt": "ENCRYPT", "encrypt_type": "ENCRYPT_V3"}, Refusal.BAD_VALUE),
        ({"encrypt": "ENCRYPT", "kms_key_id": "nobody"}, Refusal.BAD_VALUE),
        ({"encrypt": "ENCRYPT", "kms_key_id": "../../etc/passwd"}, Refusal.BAD_VALUE),
        ({"encrypt": "ENCRYPT", "shareable": True}, Refusal.BAD_VALUE),
        ({"encrypt": "ENCRYPT", "auto_mount_instance": "ins-1"}, Refusal.BAD_VALUE),
    ],
)
def test_what_does_not_go_together_is_refused(site: Site, fields: dict[str, Any], why: Refusal) -> None:
    with refusing(why):
        site.wanted(**fields)


def test_a_store_in_clear_has_no_encrypted_disks(site: Site) -> None:
    with refusing(Refusal.NOT_SOLD):
        site.wanted(sealed=False, encrypt="ENCRYPT")
    assert site.wanted(sealed=False).encryption is None


# What opens them.


def keyed(site: Site, name: str = "disk-secret") -> Disk:
    """A disk with a wrapped key, in its row and beside its image."""
    bare = DiskEncryption(type="ENCRYPT_V1", kek=PAYROLL.key.key_id)
    disk = site.world.disk(name, encryption=bare)
    assert DiskKeys(layout=site.layout).of(disk) is None
    made = replace(disk, encryption=DiskKeys(layout=site.layout).wrapped(disk))
    site.keep(made)
    write_disk(site.layout, made, STORE)
    return made


def test_row_and_description_open_a_disk_and_each_other_none(site: Site) -> None:
    """S382."""
    keys = DiskKeys(layout=site.layout)
    disk, other = keyed(site), keyed(site, "disk-other")
    key = keys.of(disk)
    assert key is not None
    assert keys.of(other) not in (None, key)
    assert key.secret.hex() not in site.layout.description(disk.id).read_text()
    assert disk.encryption is not None
    # A catalog of before a rotation.
    gone = replace(disk, encryption=replace(disk.encryption, kek=KeyId("cc" * 16), wrap="eA=="))
    assert keys.of(gone) == key
    site.layout.description(disk.id).unlink()
    assert keys.of(disk) == key
    with pytest.raises(KeyMissingError, match=f"import key {'cc' * 16}"):
        keys.of(gone)
    swapped = replace(disk, encryption=other.encryption)
    with pytest.raises(IntegrityError):
        keys.of(swapped)
    with pytest.raises(IntegrityError):
        keys.of(replace(disk, encryption=replace(disk.encryption, wrap="no base64")))
    with pytest.raises(IntegrityError):
        keys.of(replace(disk, account_id=AccountId("100000000009")))


def test_a_rotation_wraps_row_and_description_and_can_be_repeated(site: Site) -> None:
    """S383."""
    keys, new = DiskKeys(layout=site.layout), replace(OWN.key, key_id=KeyId("dd" * 16), secret=bytes([7]) * 32)
    disk = keyed(site)
    key = keys.of(disk)
    site.files.add(replace(OWN, key=new, name="payroll"))
    old = {PAYROLL.key.key_id}
    assert disks_unopened(site.layout, old) == []
    for _ in range(2):
        wrap_disks(site.layout, STORE, old, new.key_id)
        row = site.world.stored_disk(disk.id)
        assert row.encryption is not None
        assert (row.encryption.kek, row.encryption) == (new.key_id, read_encryption(site.layout, disk.id))
    # Cut off between the two: the next one finds the description behind.
    write_disk(site.layout, disk, STORE)
    wrap_disks(site.layout, STORE, old, new.key_id)
    assert read_encryption(site.layout, disk.id) == site.world.stored_disk(disk.id).encryption
    site.files.remove(PAYROLL.key.key_id)
    assert keys.of(site.world.stored_disk(disk.id)) == key


def test_a_rotation_leaves_a_key_that_a_disk_needs(site: Site) -> None:
    """S383."""
    old = {PAYROLL.key.key_id}
    disk = keyed(site)
    stray = replace(disk, id=DiskId("disk-stray"))
    write_disk(site.layout, stray, STORE)
    with pytest.raises(IntegrityError, match="the catalog does not know"):
        wrap_disks(site.layout, STORE, old, OWN.key.key_id)
    damaged = keyed(site, "disk-damaged")
    assert damaged.encryption is not None
    bad = replace(damaged, encryption=replace(damaged.encryption, wrap="eA=="))
    site.keep(bad)
    write_disk(site.layout, bad, STORE)
    assert len(disks_unopened(site.layout, old)) == 1

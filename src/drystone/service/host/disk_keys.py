"""The keys of encrypted disks: made, wrapped in row and `disk.json`, opened with the keys of this machine (S382)."""

import base64
import binascii
from dataclasses import dataclass, replace

from drystone.codec.sealed import Kind, Sealed, Sealing
from drystone.codec.wraps import open_disk_wrap, seal_disk_wrap
from drystone.domain.disk import Disk, DiskEncryption
from drystone.domain.errors import IntegrityError, ProtocolError
from drystone.domain.ids import DiskId, KeyId, StoreId
from drystone.engine.descriptions import read_encryption
from drystone.engine.layout import Layout
from drystone.engine.luks import LuksKey, new_key
from drystone.objects.contract import NotFoundError
from drystone.snapstore.data_keys import KeyMissingError, entropy
from drystone.snapstore.key_files import KeyFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskKeys:
    """Keys of disks; none of this is for an event loop's thread."""

    layout: Layout

    @property
    def files(self) -> KeyFiles:
        """The key-encryption keys of this machine."""
        return KeyFiles(self.layout.keys)

    def wrapped(self, disk: Disk) -> DiskEncryption:
        """Return how a disk is encrypted, with a new key for its image.

        Raises:
            KeyMissingError: The key-encryption key that it names is not here.
        """
        assert disk.encryption is not None
        return wrap_key(self.files, disk, disk.encryption.kek, new_key())

    def of(self, disk: Disk) -> LuksKey | None:
        """Return what opens a disk's image; None if it is plain, or has no image yet.

        The row says it, and `disk.json`, which is as good: a catalog from before a rotation has a wrap that no key
        opens any more.

        Raises:
            KeyMissingError: No key that wraps it is here.
            IntegrityError: The wraps are damaged, or another disk's.
        """
        if disk.encryption is None or not disk.encryption.wrap:
            return None
        told = [disk.encryption]
        beside = read_encryption(self.layout, disk.id)
        if beside is not None and beside != disk.encryption:
            told.append(beside)
        faults, missing = [], []
        for one in told:
            try:
                return open_key(self.files, disk, one)
            except NotFoundError:
                missing.append(one.kek)
            except (IntegrityError, ProtocolError) as error:
                faults.append(str(error))
        if missing:
            raise KeyMissingError(
                f"disk {disk.id} is encrypted, and no key on this machine opens it; import key {missing[0]}",
                shown=f"Disk {disk.id} is encrypted, and its key is not on this machine: import key {missing[0]}.",
            )
        raise IntegrityError("; ".join(faults))


def open_key(files: KeyFiles, disk: Disk, encryption: DiskEncryption) -> LuksKey:
    """Return what opens a disk's image, by one of its wraps.

    Raises:
        NotFoundError: The key that wraps it is not here.
        IntegrityError, ProtocolError: It is not what that key sealed for this disk.
    """
    kek = files.secret(encryption.kek)
    try:
        raw = base64.b64decode(encryption.wrap, validate=True)
    except binascii.Error:
        raise ProtocolError(f"the wrapped key of disk {disk.id} is no base64") from None
    return LuksKey(open_disk_wrap(kek, _what(disk.id), raw, disk.account_id))


def wrap_key(files: KeyFiles, disk: Disk, kek: KeyId, key: LuksKey) -> DiskEncryption:
    """Return how a disk is encrypted whose image `key` opens, wrapped by a key of this machine.

    Raises:
        KeyMissingError: That one is not here.
    """
    assert disk.encryption is not None
    try:
        secret = files.secret(kek)
    except NotFoundError as error:
        raise KeyMissingError(f"{error}: disk {disk.id} names it; import it") from None
    sealing = Sealing(key=secret, what=_what(disk.id), entropy=entropy())
    raw = b"".join(seal_disk_wrap(sealing, disk.account_id, key.secret))
    return replace(disk.encryption, kek=kek, wrap=base64.b64encode(raw).decode())


def _what(disk_id: DiskId) -> Sealed:
    """Return which object the wrap of a disk's key is: it lies in no store."""
    return Sealed(store=StoreId(""), name=f"disks/{disk_id}", kind=Kind.DISK)

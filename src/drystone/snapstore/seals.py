"""What a sealed store is opened and written with: keys for reading, a key for writing (P12, S240 to S245)."""

from dataclasses import dataclass
from typing import Final, Protocol

from drystone.codec.hashes import Buffer
from drystone.codec.sealed import Foot, Opener, Sealed, Sealing, SecretKey, decode_foot, open_whole
from drystone.codec.wraps import DataKey, Purpose
from drystone.domain.errors import IntegrityError, UnavailableError
from drystone.domain.ids import AccountId, DiskId, KeyId
from drystone.objects.contract import NotFoundError
from drystone.snapstore.data_keys import DataKeys, KeyMissingError, entropy

STORES_OWN: Final = Purpose()
"""Of the key that seals what belongs to no account, and from which the keys of hashes follow."""


def account_purpose(account: AccountId) -> Purpose:
    """Return what the key of an account's snapshots is for."""
    return Purpose(account=account)


def snapshots_purpose(account: AccountId, disk: DiskId, *, encrypted: bool) -> Purpose:
    """Return what the key of a disk's snapshots is for: the disk alone if it is encrypted (S380)."""
    return Purpose(account=account, disk=disk if encrypted else None)


class Keks(Protocol):
    """Key-encryption keys of this machine, as `KeyFiles` has them."""

    def secret(self, key_id: KeyId) -> SecretKey:
        """Return a key; NotFoundError if it is not here."""
        ...

    def default(self) -> SecretKey:
        """Return the one that wraps new data keys."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Seals:
    """The keys of one sealed store; may be shared by threads.

    Attributes:
        keys: Its data keys.
        keks: Those that wrap them.
        own: Its own data key.
    """

    keys: DataKeys
    keks: Keks
    own: DataKey

    def key_for(self, purpose: Purpose) -> DataKey:
        """Return the data key of a purpose; a new one, wrapped durably, if the store has none that can be opened.

        That of a disk is made by `make_for` alone, which knows what wraps it.

        Raises:
            UnavailableError, SpaceError: It could not be read or made.
        """
        if purpose == STORES_OWN:
            return self.own
        known = self.keys.of(purpose)
        if known is None and purpose.disk is not None:
            raise UnavailableError(f"the store does not list the data key of {purpose}, or it cannot be opened here")
        return known or self.keys.make(self.keks.default(), purpose)

    def make_for(self, purpose: Purpose, kek: KeyId) -> DataKey:
        """Return the data key of a disk; a new one, wrapped by that key-encryption key, if the store has none (S380).

        Raises:
            KeyMissingError: That key-encryption key is not here.
            UnavailableError, SpaceError: It could not be read or made.
        """
        assert purpose.disk is not None
        try:
            wrapping = self.keks.secret(kek)
        except NotFoundError as error:
            raise KeyMissingError(f"{error}: it wraps the key of {purpose}; import it") from None
        return self.keys.of(purpose) or self.keys.make(wrapping, purpose)

    def opener(self, what: Sealed, last: Buffer, object_bytes: int) -> tuple[Opener, DataKey]:
        """Return what opens an object that ends in `last`, and the key that sealed it.

        Raises:
            ProtocolError: It is not sealed (S242).
            IntegrityError: Not sealed as that object, or by no key of this store.
            KeyMissingError: By a key that cannot be opened on this machine.
        """
        foot = decode_foot(last, object_bytes, what.kind, str(what))
        key = self._key(foot, what)
        return Opener(key.key, what, foot), key

    def open_whole(self, what: Sealed, raw: Buffer) -> tuple[bytes, DataKey]:
        """Return the content of an object without parts, and the key that sealed it; as `opener`."""
        foot = decode_foot(raw, len(raw), what.kind, str(what))
        key = self._key(foot, what)
        return open_whole(key.key, what, foot, raw), key

    def sealing(self, what: Sealed, key_id: KeyId) -> Sealing:
        """Return how a new object will be sealed by a data key; each call has fresh entropy."""
        return Sealing(key=self.keys.get(key_id).key, what=what, entropy=entropy())

    def seal_whole(self, what: Sealed, purpose: Purpose, plain: bytes) -> bytes:
        """Return an object without parts, to be written whole."""
        return b"".join(self.sealing(what, self.key_for(purpose).key.key_id).seal((), plain))

    def _key(self, foot: Foot, what: Sealed) -> DataKey:
        try:
            return self.keys.get(foot.key_id)
        except NotFoundError:
            raise IntegrityError(f"{what}: sealed by data key {foot.key_id}, which the store has not") from None

"""Identifiers: their types, and how they are made from given randomness."""

from collections.abc import Sequence
from typing import NewType, Protocol

AccountId = NewType("AccountId", str)
"""The owner of keys and resources: a decimal string of twelve digits, like a Tencent Cloud UIN."""
DiskId = NewType("DiskId", str)
SnapshotId = NewType("SnapshotId", str)
SnapshotGroupId = NewType("SnapshotGroupId", str)
PolicyId = NewType("PolicyId", str)
DiskBackupId = NewType("DiskBackupId", str)
InstanceId = NewType("InstanceId", str)
OperationId = NewType("OperationId", str)
SessionId = NewType("SessionId", str)
"""Writer or reader session: 32 hex digits; the names of all objects that it writes carry it (L6)."""
PackId = NewType("PackId", str)
"""A pack's identity, 32 hex digits; it survives compaction, the object's name does not (L8)."""
StoreId = NewType("StoreId", str)
KeyId = NewType("KeyId", str)
"""A key that seals data or other keys: 32 hex digits."""

_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


class Randomness(Protocol):
    """What `random.Random` and `random.SystemRandom` give."""

    def choices(self, population: str, *, k: int) -> Sequence[str]:
        """Return `k` characters of `population`."""
        ...

    def getrandbits(self, k: int, /) -> int:
        """Return an integer of `k` random bits."""
        ...

    def randrange(self, start: int, stop: int, /) -> int:
        """Return an integer in [start, stop)."""
        ...


class IdSource:
    """Makes identifiers from one source of randomness, handed in by the composition root."""

    def __init__(self, rng: Randomness) -> None:
        self._rng = rng

    def _short(self, prefix: str) -> str:
        return f"{prefix}-{''.join(self._rng.choices(_ALPHABET, k=8))}"

    def disk(self) -> DiskId:
        """Return a new disk id, `disk-` and 8 characters as CBS has them."""
        return DiskId(self._short("disk"))

    def snapshot(self) -> SnapshotId:
        """Return a new snapshot id."""
        return SnapshotId(self._short("snap"))

    def snapshot_group(self) -> SnapshotGroupId:
        """Return a new snapshot group id, `csnap-` and 8 characters as CBS has them."""
        return SnapshotGroupId(self._short("csnap"))

    def policy(self) -> PolicyId:
        """Return a new policy id, `asp-` and 8 characters as CBS has them."""
        return PolicyId(self._short("asp"))

    def disk_backup(self) -> DiskBackupId:
        """Return a new id of a backup point, `dbp-` and 8 characters as CBS has them."""
        return DiskBackupId(self._short("dbp"))

    def instance(self) -> InstanceId:
        """Return a new instance id."""
        return InstanceId(self._short("ins"))

    def operation(self) -> OperationId:
        """Return a new operation id."""
        return OperationId(self._short("op"))

    def event(self) -> str:
        """Return a new event id."""
        return self._short("evt")

    def session(self) -> SessionId:
        """Return a new session id of 128 random bits."""
        return SessionId(self.hex128())

    def hex128(self) -> str:
        """Return 128 random bits as 32 hex digits."""
        return f"{self._rng.getrandbits(128):032x}"

    def account(self) -> AccountId:
        """Return a new account id of twelve digits that does not begin with zero."""
        return AccountId(str(self._rng.randrange(10**11, 10**12)))

    def secret_id(self) -> str:
        """Return a new access key id in the shape that clients expect (AKID and 32 characters)."""
        return "AKID" + "".join(self._rng.choices(_ALPHABET, k=32))

    def secret_key(self) -> str:
        """Return a new secret key: 40 characters, over 200 random bits."""
        return "".join(self._rng.choices(_ALPHABET, k=40))

    def session_token(self) -> str:
        """Return a browser session's secret: 256 random bits as 64 hex digits."""
        return self.hex128() + self.hex128()

    def password(self) -> str:
        """Return a password that is easy to copy by hand: 20 characters in groups of five, over 100 random bits."""
        text = "".join(self._rng.choices(_ALPHABET, k=20))
        return "-".join(text[at : at + 5] for at in range(0, 20, 5))

    def uuid(self) -> str:
        """Return a random UUID in its usual text form, for request ids."""
        text = self.hex128()
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"

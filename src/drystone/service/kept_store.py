"""The snapshot store as this server uses it: what it is, where it is, and who of us has it to himself."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from drystone.domain.errors import DrystoneError, Refusal, RefusalError, StoreUnavailableError
from drystone.domain.ids import StoreId
from drystone.objects.address import DirectoryAddress, ObjectsAddress
from drystone.objects.contract import ObjectStore
from drystone.objects.retained import Pending
from drystone.service.room import Room
from drystone.snapstore.store import Store
from drystone.transfer.addresses import StoreAddress

FAULTY_MAX = 10_000
"""Packs that cannot be trusted and are remembered as such."""


@dataclass(slots=True)
class Claimed:
    """What this process knows of its claim to the store.

    Attributes:
        epoch: At which it has claimed it; -1 before.
        lost: Who else has claimed it; empty while nobody has.
        manifests_known_at: When all manifests were listed last and each was known, by the steady clock.
    """

    epoch: int = -1
    lost: str = ""
    manifests_known_at: float | None = None


@dataclass(slots=True, kw_only=True)
class KeptStore:
    """The one store of this installation.

    Attributes:
        store_id: Which.
        objects: Where its objects are, for this process.
        place: The same, as others are told.
        proven: The store, since it was seen that it goes with this catalog; None before (S202).
        fault: Why that was not seen yet.
        began_at: The catalog's epoch when that was first asked since the start: what it has changed without its store
            does not count (S202).
        room: Whose floor it leaves to the disks.
        dead_percent: Packs of which so much is dead are written again; over 100, none are.
        epoch_lock: Held while the store is claimed.
        claimed: What is known of the claim, by whoever holds `epoch_lock`.
        collection_lock: Held by whoever counts what is dead, or deletes packs: a manifest must not go
            meanwhile.
        faulty_packs: Objects that could not be written again, and why: not tried again before the next start.
        pending: Objects whose deletion the store refuses for now, as `objects` knows.
    """

    store_id: StoreId
    objects: ObjectStore
    place: ObjectsAddress
    proven: Store | None
    fault: DrystoneError | None = None
    began_at: int | None = None
    room: Room
    dead_percent: int
    epoch_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    claimed: Claimed = field(default_factory=Claimed)
    collection_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    faulty_packs: dict[str, str] = field(default_factory=dict)
    pending: Pending = field(default_factory=Pending)

    @property
    def sealed(self) -> bool:
        """Whether it is a sealed store."""
        return bool(self.place.seal_keys)

    @property
    def store(self) -> Store:
        """The store, to read, write and delete.

        Raises:
            StoreUnavailableError: It was not seen since the start that it goes with this catalog.
        """
        if self.proven is None:
            raise StoreUnavailableError(
                f"the snapshot store in {self.place} was not reached since the server started: {self.fault or ''}"
            )
        return self.proven

    def check_proven(self) -> None:
        """Refuse what a new snapshot would be frozen for: by a catalog that may be an old one (S202).

        Raises:
            RefusalError: `NOT_NOW`: it was not seen since the start that the store goes with this catalog.
        """
        if self.proven is None:
            raise RefusalError(
                Refusal.NOT_NOW, "The snapshot store was not reached since the server started; try again later."
            )

    def distrust(self, faults: Mapping[str, str]) -> None:
        """Remember objects that cannot be written again, and why."""
        for name, why in faults.items():
            if len(self.faulty_packs) < FAULTY_MAX:
                self.faulty_packs[name] = why

    def address(self) -> StoreAddress:
        """Return where a worker finds the store, and what of its file system it leaves to the disks.

        Raises:
            StoreUnavailableError: As `store`.
        """
        place = self.place
        if isinstance(place, DirectoryAddress):
            place = msgspec.structs.replace(place, floor_bytes=self.room.look().floor_bytes)
        return StoreAddress(objects=place, store_id=self.store.store_id)

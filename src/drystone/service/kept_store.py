"""The snapshot store as this server uses it: what it is, where it is, and who of us has it to himself."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from drystone.objects.address import DirectoryAddress
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
    """

    epoch: int = -1
    lost: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptStore:
    """The one store of this installation.

    Attributes:
        store: It, for what this process does itself.
        room: Whose floor it leaves to the disks.
        dead_percent: Packs of which so much is dead are written again; over 100, none are.
        epoch_lock: Held while the store is claimed.
        claimed: What is known of the claim, by whoever holds `epoch_lock`.
        collection_lock: Held by whoever counts what is dead, or deletes packs: a manifest must not go
            meanwhile.
        faulty_packs: Objects that could not be written again, and why: not tried again before the next start.
    """

    store: Store
    room: Room
    dead_percent: int
    epoch_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    claimed: Claimed = field(default_factory=Claimed)
    collection_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    faulty_packs: dict[str, str] = field(default_factory=dict)

    def distrust(self, faults: Mapping[str, str]) -> None:
        """Remember objects that cannot be written again, and why."""
        for name, why in faults.items():
            if len(self.faulty_packs) < FAULTY_MAX:
                self.faulty_packs[name] = why

    def address(self) -> StoreAddress:
        """Return where a worker finds the store, and what of its file system it leaves to the disks."""
        objects = DirectoryAddress(root=str(self.room.layout.store), floor_bytes=self.room.look().floor_bytes)
        return StoreAddress(objects=objects, store_id=self.store.store_id)

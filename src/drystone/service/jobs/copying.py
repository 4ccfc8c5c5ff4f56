"""What goes on while an image is copied: progress to the row, and a look at the space that belongs to the disks."""

import time

from drystone.catalog import operations
from drystone.domain.errors import SpaceError
from drystone.domain.operation import Operation
from drystone.service.room import Room
from drystone.service.transactions import Transactions

EVERY_SECONDS = 0.5


class Copying:
    """The watch over one copy.

    Args:
        device: The file system that is written to (`st_dev`).
    """

    def __init__(self, operation: Operation, device: int, *, transactions: Transactions, room: Room) -> None:
        self._transactions = transactions
        self._room = room
        self._operation = operation
        # Another file system's space is its owner's business; that of the disks has a floor (P6, F15).
        self._shared = device == room.layout.data.stat().st_dev
        self._percent = self._written = operation.percent
        self._looked_s = 0.0

    def note(self, percent: int) -> None:
        """Take a percentage; `guard` writes it."""
        self._percent = percent

    async def guard(self) -> None:
        """Look at the space and write the progress, twice a second at most.

        Raises:
            SpaceError: Only the space that belongs to the disks is left.
        """
        now_s = time.monotonic()
        if now_s - self._looked_s < EVERY_SECONDS:
            return
        self._looked_s = now_s
        if self._shared and self._room.look().above_floor_bytes <= 0:
            raise SpaceError("free space reached the floor that belongs to the disks")
        if self._percent != self._written:
            self._written = percent = self._percent
            await self._transactions.change(
                lambda change: operations.update(change.conn, self._operation.id, updated_at=change.at, percent=percent)
            )

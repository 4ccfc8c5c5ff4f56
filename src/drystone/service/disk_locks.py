"""Who may change a disk now."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable


class DiskLocks:
    """Two locks per disk, kept while anybody holds or waits for them.

    `graph` is held by whoever changes what the storage daemon has of the disk (open, close, export, freeze, resize).
    `image` is held by whoever fills or replaces the disk's content (hydration, rollback, initialize) and by a resize;
    it is taken before `graph`.
    """

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}

    def graph(self, disk_id: str) -> asyncio.Lock:
        """Return the lock of the disk's graph."""
        return self._locks.setdefault(f"graph {disk_id}", asyncio.Lock())

    @contextlib.asynccontextmanager
    async def graphs(self, disk_ids: Iterable[str]) -> AsyncIterator[None]:
        """Hold the locks of several disks' graphs, taken in order of the ids: two holders never wait for each other."""
        async with contextlib.AsyncExitStack() as stack:
            for disk_id in sorted(set(disk_ids)):
                await stack.enter_async_context(self.graph(disk_id))
            yield

    def image(self, disk_id: str) -> asyncio.Lock:
        """Return the lock of the disk's content."""
        return self._locks.setdefault(f"image {disk_id}", asyncio.Lock())

    def forget(self, disk_id: str) -> None:
        """Drop the locks of a disk that is gone."""
        self._locks.pop(f"graph {disk_id}", None)
        self._locks.pop(f"image {disk_id}", None)

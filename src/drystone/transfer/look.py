"""A running disk that is looked at beside its guest: over NBD, or as a file where it is served by FUSE."""

import contextlib
import errno
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from drystone.codec.nbd_wire import BASE_ALLOCATION, STATE_ZERO
from drystone.domain.blocks import BLOCK_BYTES, EMPTY, Ranges, normalize, pieces, subtract
from drystone.domain.errors import UnavailableError
from drystone.nbd.client import NbdClient
from drystone.transfer.addresses import Look
from drystone.transfer.plan import byte_ranges, wholly_marked

PIECE_BYTES: Final = 1 << 20


class Looked(Protocol):
    """A disk that can be read. Memory that is yielded is good until the next is."""

    @property
    def size_bytes(self) -> int:
        """Its size."""
        ...

    def zeros(self, start: int, stop: int) -> Ranges:
        """Return the blocks of `[start, stop)` that are zeros without being read."""
        ...

    def read(self, ranges: Ranges) -> Iterator[tuple[int, memoryview]]:
        """Yield (first block, content) of pieces of some ranges, in order."""
        ...


@contextlib.contextmanager
def looking(look: Look) -> Iterator[Looked]:
    """Open a disk that the service has exported for this.

    Raises:
        UnavailableError: It is not there (any more).
    """
    if look.file is not None:
        with _File(Path(look.file)) as file:
            yield file
        return
    assert look.nbd is not None, "a disk is looked at over NBD or as a file"
    path, timeout_s = Path(look.nbd.socket), look.nbd.timeout_s
    with NbdClient(path, look.nbd.export, contexts=(BASE_ALLOCATION,), timeout_s=timeout_s) as client:
        yield _Export(client)


class _Export:
    def __init__(self, client: NbdClient) -> None:
        self._client = client

    @property
    def size_bytes(self) -> int:
        return self._client.size_bytes

    def zeros(self, start: int, stop: int) -> Ranges:
        extents = self._client.extents(BASE_ALLOCATION, start * BLOCK_BYTES, stop * BLOCK_BYTES)
        return wholly_marked(extents, STATE_ZERO)

    def read(self, ranges: Ranges) -> Iterator[tuple[int, memoryview]]:
        for start, data in self._client.read_ranges(byte_ranges(ranges)):
            yield start // BLOCK_BYTES, data


class _File(contextlib.AbstractContextManager["_File"]):
    """Reads past the page cache, which may be behind what the daemon holds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._translated():
            self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
            self.size_bytes = os.fstat(self._descriptor).st_size

    def __exit__(self, *_exception: object) -> None:
        os.close(self._descriptor)

    def zeros(self, start: int, stop: int) -> Ranges:
        low, high = start * BLOCK_BYTES, min(stop * BLOCK_BYTES, self.size_bytes)
        data = []
        with self._translated():
            while low < high:
                try:
                    first = os.lseek(self._descriptor, low, os.SEEK_DATA)
                except OSError as error:
                    if error.errno == errno.ENXIO:  # Nothing but a hole follows.
                        break
                    raise
                low = min(os.lseek(self._descriptor, first, os.SEEK_HOLE), high)
                if first < high:
                    data.append((first // BLOCK_BYTES, -(-low // BLOCK_BYTES)))
        return subtract(normalize([(start, stop)]), normalize(data)) if data else _whole(start, stop)

    def read(self, ranges: Ranges) -> Iterator[tuple[int, memoryview]]:
        # Page-aligned, as direct I/O wants it.
        with contextlib.closing(mmap.mmap(-1, PIECE_BYTES)) as buffer:
            for start, length in pieces(byte_ranges(ranges), PIECE_BYTES):
                with memoryview(buffer) as whole, whole[:length] as view:
                    with self._translated():
                        read = os.preadv(self._descriptor, [view], start)
                    if read != length:
                        raise UnavailableError(f"{self._path}: {read} bytes at {start}, expected {length}")
                    yield start // BLOCK_BYTES, view

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UnavailableError(f"{self._path} cannot be read: {error}") from error


def _whole(start: int, stop: int) -> Ranges:
    return normalize([(start, stop)]) if start < stop else EMPTY

"""What helps with a store each of whose requests takes long: several at once, and what was read before."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from pathlib import Path
from typing import Final, TypeVar

from drystone.domain.errors import IntegrityError, ProtocolError
from drystone.objects.address import DirectoryAddress, ObjectsAddress
from drystone.snapstore.local_cache import LocalCache
from drystone.snapstore.pace import Pace

T = TypeVar("T")
R = TypeVar("R")
REQUESTS: Final = 64
"""Requests of a process at once, beside one for each thread that asks: 1 MiB each is enough for 1 Gbit/s at 500 ms. A
thread is begun when it is needed."""


class Far:
    """Of one store in one process; may be shared by threads.

    Attributes:
        cache: What was read and proven before; None where the store itself must be asked (S207).
        pace: How much of it is worth asking for at once.

    Args:
        cache: As above.
        requests: How many are made at once.
    """

    def __init__(self, cache: LocalCache | None = None, *, requests: int = REQUESTS) -> None:
        self.cache = cache
        self.pace = Pace()
        self._requests = ThreadPoolExecutor(requests, "store-request")
        self.ahead = ThreadPoolExecutor(requests, "store-ahead")
        """Reads what will be asked for. It waits for requests, so it has threads of its own."""

    def remembering(self, cache: LocalCache) -> "Far":
        """Return one that has a cache, and shares everything else with this one, also its end."""
        other = copy(self)
        other.cache = cache
        return other

    def close(self) -> None:
        """Begin nothing any more; what runs is not waited for."""
        for pool in (self._requests, self.ahead):
            pool.shutdown(wait=False, cancel_futures=True)

    def each(self, act: Callable[[T], R], items: Sequence[T]) -> Iterable[R]:
        """Return what `act` returns of each item, in order; they are done at once, and `act` waits for no other."""
        if len(items) < 2:
            return map(act, items)
        return self._requests.map(act, items)


def far_from(address: ObjectsAddress, *, serves: bool) -> Far | None:
    """Return what helps with the store at an address; None for a directory, which is near.

    Args:
        address: Where it is.
        serves: Whether content is served: then what was read before need not be there any more (S207).
    """
    if isinstance(address, DirectoryAddress):
        return None
    return Far(cache_at(address) if serves else None)


def cache_at(address: ObjectsAddress) -> LocalCache | None:
    """Return the local cache of the store at an address, if it has one."""
    if isinstance(address, DirectoryAddress) or not address.cache_directory:
        return None
    return LocalCache(Path(address.cache_directory))


def each(far: Far | None, act: Callable[[T], R], items: Sequence[T]) -> Iterable[R]:
    """As `Far.each`; one after the other for a store that is near."""
    return map(act, items) if far is None else far.each(act, items)


def proven(far: Far | None, name: str, part: str, read: Callable[[], bytes], prove: Callable[[bytes], T]) -> T:
    """Return what `prove` makes of a part of an object: of the local cache if that proves itself, else of the store.

    Args:
        far: Whose cache; None for none.
        name: The object. It is never written twice.
        part: Which part of it.
        read: Reads it from the store.
        prove: Raises unless the bytes are what was written under that name.

    Raises:
        IntegrityError, ProtocolError: What the store has proves nothing.
        DrystoneError: As `read`.
    """
    cache = None if far is None else far.cache
    if cache is None:
        return prove(read())
    kept = cache.get(name, part)
    if kept is not None:
        try:
            return prove(kept)
        except (IntegrityError, ProtocolError):
            # A damaged cache is no damage: the store is asked.
            cache.drop(name, part)
    raw = read()
    made = prove(raw)
    cache.put(name, part, raw)
    return made

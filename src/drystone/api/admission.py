"""Who may hold a connection: bounded in all and by network, the least proven gives way (S145). Pure but for `evict`."""

import functools
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

RESERVE: Final = 64
"""Connections beyond the maximum, for this machine itself: whoever administers it gets in whatever is going on."""
HEADS_BYTES_MAX: Final = 64 << 20
"""Heads that have not ended, all connections together."""
PROVEN: Final = "drystone.proven"
"""Name of the ASGI extension to call once a request's sender is verified."""
PROVEN_SHARE: Final = 4
"""One part in so many of all places may be proven by one account: nobody's calls make all others give way to theirs."""
_V6_PREFIX: Final = 64
"""One customer has at least such a network of IPv6."""
_ALL: Final = ""


@functools.lru_cache(maxsize=4096)
def parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an address without its scope, as IPv4 if it is one that IPv6 carries; None if it is none (S187)."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return found if mapped is None else mapped


@functools.lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """Return what counts as one client: an address of IPv4, a network of IPv6."""
    found = parsed(address)
    if found is None:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((found, _V6_PREFIX), strict=False))
    return str(found)


def is_loopback(address: str) -> bool:
    """Tell whether an address, or `localhost`, is this machine's own."""
    found = parsed(address)
    return address == "localhost" if found is None else found.is_loopback


def prove(scope: Mapping[str, Any], account: str) -> None:
    """Tell the connection of a request, if it asks, that the request's sender is verified, and of which account."""
    extension = scope.get("extensions", {}).get(PROVEN)
    if extension is not None:
        extension["call"](account)


@dataclass(slots=True, kw_only=True, eq=False)
class Place:
    """One connection's place."""

    network: str
    """What counts as its client."""
    local: bool
    """Whether it comes from this machine."""
    evict: Callable[[], None]
    """Ends the connection at once."""
    account: str | None = None
    """Whose call it carried last, if that was verified and counts (S186)."""
    head_bytes: int = field(default=0)
    """How much of a head that has not ended it holds."""

    @property
    def proven(self) -> bool:
        """Whether its last call was verified."""
        return self.account is not None


class Admission:
    """Gives places to connections.

    Where there is none left, the connection goes that nobody misses: the oldest whose last call was not verified and
    that waits for its client, else the one of the proven that was idle longest; never one whose verified call runs.
    So who opens thousands of connections without a key pushes out their own. Until a call is verified its connection
    may have to go, whatever it carried before (S186).

    It belongs to the event loop's thread: nothing here awaits.

    Args:
        most: Connections in all; this machine itself has `RESERVE` more.
        per_network: Connections of one client. Not for this machine itself, from which a proxy speaks for many.
    """

    def __init__(self, *, most: int, per_network: int) -> None:
        assert most >= 1
        assert per_network >= 1
        self._most = most
        self._per_network = per_network
        self._places: set[Place] = set()
        self._by_network: dict[str, int] = {}
        self._per_account = max(1, most // PROVEN_SHARE)
        self._proven_by: dict[str, int] = {}
        # Those that may go, in the order of their going (a dict keeps it); for all, and by network.
        self._spare: dict[tuple[str, bool], dict[Place, None]] = {}
        self._heads_bytes = 0

    def __len__(self) -> int:
        return len(self._places)

    def enter(self, address: str, evict: Callable[[], None]) -> Place | None:
        """Return a place for a connection that was just made, or None if there is none to be had."""
        place = Place(network=network_of(address), local=is_loopback(address), evict=evict)
        here = self._by_network.get(place.network, 0)
        if not place.local and here >= self._per_network and not self._make_room(place.network):
            return None
        most = self._most + (RESERVE if place.local else 0)
        if len(self._places) >= most and not self._make_room(_ALL):
            return None
        self._places.add(place)
        self._by_network[place.network] = self._by_network.get(place.network, 0) + 1
        self.waits(place)
        return place

    def leave(self, place: Place) -> None:
        """Take a place back; twice does no harm."""
        if place not in self._places:
            return
        self.head_ended(place)
        self.unproven(place)
        self._places.remove(place)
        _count_down(self._by_network, place.network)

    def waits(self, place: Place) -> None:
        """Note that a connection waits for its client from now on: it may have to go."""
        if place in self._places:
            for whose in (_ALL, place.network):
                spare = self._spare.setdefault((whose, place.proven), {})
                spare.pop(place, None)
                spare[place] = None

    def runs(self, place: Place) -> None:
        """Note that a connection's call runs: it stays."""
        for whose in (_ALL, place.network):
            spare = self._spare.get((whose, place.proven))
            if spare is not None:
                spare.pop(place, None)
                if not spare:
                    del self._spare[whose, place.proven]

    def proven(self, place: Place, account: str) -> None:
        """Note that a connection carries a verified call of an account, which runs now."""
        if place.account == account:
            self.runs(place)
        elif place in self._places:
            self.unproven(place)
            if self._proven_by.get(account, 0) < self._per_account:
                self._proven_by[account] = self._proven_by.get(account, 0) + 1
                place.account = account

    def unproven(self, place: Place) -> None:
        """Forget that a connection's call was verified: the next one was not. It is not among the spare then."""
        self.runs(place)
        if place.account is not None:
            _count_down(self._proven_by, place.account)
            place.account = None

    def head_grew(self, place: Place, count: int) -> None:
        """Count bytes of a head that has not ended; above what all may hold, the oldest go."""
        if place not in self._places:
            return
        place.head_bytes += count
        self._heads_bytes += count
        while self._heads_bytes > HEADS_BYTES_MAX and self._make_room(_ALL):
            pass

    def head_ended(self, place: Place) -> None:
        """Forget a head's bytes."""
        self._heads_bytes -= place.head_bytes
        place.head_bytes = 0

    def _make_room(self, whose: str) -> bool:
        for proven in (False, True):
            spare = self._spare.get((whose, proven))
            if spare:
                victim = next(iter(spare))
                self.leave(victim)
                victim.evict()
                return True
        return False


def _count_down(counts: dict[str, int], key: str) -> None:
    left = counts[key] - 1
    if left:
        counts[key] = left
    else:
        del counts[key]

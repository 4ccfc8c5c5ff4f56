"""`drystone store check`: all that a store must do is tried, on objects of its own; what it costs where it does not.

It changes nothing that is there: its objects have a name of their own, and go at the end.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from drystone.config import Config
from drystone.domain.errors import DrystoneError, IntegrityError
from drystone.domain.ids import IdSource, Randomness
from drystone.objects.address import open_objects
from drystone.objects.contract import NotFoundError, ObjectStore
from drystone.store_place import store_place

LISTED: Final = 10
BYTES: Final = 4 << 20
SKEW_S_MAX: Final = 300.0
"""Services refuse requests whose time is further from theirs than 15 minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one try has shown."""

    name: str
    works: bool
    needed: bool
    """Whether nothing works without it."""
    ms: float
    seen: str
    """What went wrong; empty if nothing did."""
    without: str
    """What it costs where it does not work."""


class _WrongError(DrystoneError):
    """The store answered, and not as it must."""


@dataclass(slots=True, kw_only=True)
class _Check:
    objects: ObjectStore
    prefix: str
    findings: list[Finding] = field(default_factory=list)

    def tried(self, name: str, ask: Callable[[], None], without: str, *, needed: bool = True) -> None:
        began, seen = time.monotonic(), ""
        try:
            ask()
        except DrystoneError as error:
            seen = str(error)
        ms = (time.monotonic() - began) * 1000
        self.findings.append(
            Finding(name=name, works=not seen, needed=needed, ms=round(ms, 1), seen=seen, without=without)
        )

    def named(self, name: str) -> str:
        return f"{self.prefix}/{name}"

    def list_nothing(self) -> None:
        if next(self.objects.list(f"{self.prefix}/"), None) is not None:
            raise _WrongError("something is listed that nobody has written")

    def put(self) -> None:
        self.objects.put(self.named("pack"), bytes(BYTES))

    def put_twice(self) -> None:
        with contextlib.suppress(IntegrityError):
            self.objects.put(self.named("pack"), b"another")
            raise _WrongError("a name that was taken was written again")

    def read(self) -> None:
        _same(self.objects.get(self.named("pack")), bytes(BYTES))

    def read_range(self) -> None:
        self.objects.put(self.named("range"), bytes(range(256)))
        _same(self.objects.get_range(self.named("range"), 16, 32), bytes(range(16, 32)))
        _same(self.objects.get_range(self.named("range"), 250, 999), bytes(range(250, 256)))

    def listing(self) -> None:
        for number in range(LISTED):
            name = self.named(f"list/{number}")
            self.objects.put(name, b"")
            if name not in {entry.name for entry in self.objects.list(self.named("list/"))}:
                raise _WrongError("an object that was just written is not listed")
        if len(list(self.objects.list(self.named("list/")))) != LISTED:
            raise _WrongError("a listing is not complete")

    def replacing(self) -> None:
        for content in (b"1", b"22"):
            self.objects.replace(self.named("mutable"), content)
            _same(self.objects.get(self.named("mutable")), content)

    def deletion(self) -> None:
        name = self.named("list/0")
        self.objects.delete(name)
        try:
            self.objects.get(name)
        except NotFoundError:
            pass
        else:
            raise _WrongError("an object that was deleted is still read")
        if name in {entry.name for entry in self.objects.list(self.named("list/"))}:
            raise _WrongError("an object that was deleted is still listed")

    def clock(self) -> None:
        now = self.objects.clock()
        if now is not None and abs(now.at - time.time()) > SKEW_S_MAX:
            raise _WrongError(f"the store's clock differs from this machine's by {now.at - time.time():.0f} s")

    def clean_up(self) -> None:
        with contextlib.suppress(DrystoneError):
            for entry in list(self.objects.list(f"{self.prefix}/")):
                self.objects.delete(entry.name)


def check_store(data: Path, rng: Randomness) -> tuple[str, tuple[Finding, ...]]:
    """Try the store of a data directory, served or not; return where it is, and what was found.

    Raises:
        DrystoneError: The configuration is wrong.
    """
    place = store_place(Config.load(data))
    return str(place), check_objects(open_objects(place, attempts=2), f"check-{IdSource(rng).hex128()}")


def check_objects(objects: ObjectStore, prefix: str) -> tuple[Finding, ...]:
    """Try a store; what is tried has names that begin with `prefix`, and goes at the end."""
    check = _Check(objects=objects, prefix=prefix)
    nothing = "no snapshot can be made or read"
    check.tried("list", check.list_nothing, nothing)
    if check.findings[0].works:
        check.tried("put", check.put, nothing)
        check.tried("read", check.read, nothing)
        check.tried("read a range", check.read_range, nothing)
        check.tried("replace", check.replacing, "names and deadlines in the store would be old ones after a recovery")
        check.tried("list after put", check.listing, "nothing can be deleted: space never comes back")
        check.tried("delete", check.deletion, "space never comes back")
        check.tried(
            "refuse a second put", check.put_twice, "names are used once, so nothing is lost; a fault of the program "
            "that used one twice would not be noticed", needed=False,
        )  # fmt: skip
        check.tried(
            "clock", check.clock, "nothing bears witness when this machine's clock leaps; requests may be refused",
            needed=False,
        )  # fmt: skip
    check.clean_up()
    return tuple(check.findings)


def _same(found: bytes, wanted: bytes) -> None:
    if found != wanted:
        raise _WrongError(f"{len(found)} bytes were read and are not the {len(wanted)} that were written")

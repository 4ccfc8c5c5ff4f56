"""`drystone store check`: all that a store must do is tried, on objects of its own; what it means where it does not.

It changes nothing that is there: its objects have a name of their own, and go at the end.
"""

import contextlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from drystone.catalog.backup import read_meta
from drystone.config import Config
from drystone.domain.errors import DrystoneError, IntegrityError, RetainedError
from drystone.domain.ids import IdSource, Randomness
from drystone.engine.layout import Layout
from drystone.objects.address import ObjectsAddress, S3Address, open_objects
from drystone.objects.contract import NotFoundError, ObjectStore
from drystone.objects.s3_rules import S3Rules
from drystone.offline.bucket_check import check_rules
from drystone.offline.findings import Finding, WrongError, tried
from drystone.server.store_opening import STORE_ID
from drystone.server.store_place import store_place

LISTED: Final = 10
BYTES: Final = 4 << 20
SKEW_S_MAX: Final = 300.0
"""Services refuse requests whose time is further from theirs than 15 minutes."""
_NOTHING: Final = "no snapshot can be made or read"
_GUIDE: Final = "see `When something is wrong` in docs/use/s3.md"
_FIRST: Final = (
    "correct store_url, store_endpoint and store_region in DIR/drystone.toml or the keys in DIR/store.env, or make the "
    f"bucket, whichever it says; {_GUIDE}"
)
_PASSES: Final = re.compile("Connection refused|no answer in time|unreachable|SlowDown")
_WAIT: Final = (
    "look whether the service runs and whether this machine reaches it, or wait: everything goes on by itself. "
    f"Where it never answered, store_endpoint may be wrong; {_GUIDE}"
)
_OTHER: Final = f"use another service; {_GUIDE}"


@dataclass(slots=True, kw_only=True)
class _Check:
    objects: ObjectStore
    prefix: str
    findings: list[Finding] = field(default_factory=list)

    def tried(self, name: str, ask: Callable[[], str | None], means: str, do: str, *, needed: bool = True) -> None:
        self.findings.append(tried(name, ask, means, do, needed=needed))

    def named(self, name: str) -> str:
        return f"{self.prefix}/{name}"

    def list_nothing(self) -> None:
        if next(self.objects.list(f"{self.prefix}/"), None) is not None:
            raise WrongError("something is listed that nobody has written")

    def put(self) -> None:
        self.objects.put(self.named("pack"), bytes(BYTES))

    def put_twice(self) -> None:
        with contextlib.suppress(IntegrityError):
            self.objects.put(self.named("pack"), b"another")
            raise WrongError("a name that was taken was written again")

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
                raise WrongError("an object that was just written is not listed")
        if len(list(self.objects.list(self.named("list/")))) != LISTED:
            raise WrongError("a listing is not complete")

    def replacing(self) -> None:
        for content in (b"1", b"22"):
            self.objects.replace(self.named("mutable"), content)
            _same(self.objects.get(self.named("mutable")), content)

    def deletion(self) -> str | None:
        name = self.named("list/0")
        try:
            self.objects.delete(name)
        except RetainedError as error:
            # The bucket's own rules, which are looked at next.
            return str(error)
        try:
            self.objects.get(name)
        except NotFoundError:
            pass
        else:
            raise WrongError("an object that was deleted is still read")
        if name in {entry.name for entry in self.objects.list(self.named("list/"))}:
            raise WrongError("an object that was deleted is still listed")
        return None

    def clock(self) -> None:
        now = self.objects.clock()
        ahead = 0.0 if now is None else time.time() - now.at
        if abs(ahead) > SKEW_S_MAX:
            side = "ahead of" if ahead > 0 else "behind"
            raise WrongError(f"this machine's clock is {abs(ahead):.0f} s {side} the store's")

    def clean_up(self) -> None:
        with contextlib.suppress(DrystoneError):
            for entry in list(self.objects.list(f"{self.prefix}/")):
                with contextlib.suppress(RetainedError):
                    self.objects.delete(entry.name)


def check_store(data: Path, rng: Randomness) -> tuple[str, tuple[Finding, ...]]:
    """Try the store of a data directory, served or not; return where it is, and what was found.

    Raises:
        DrystoneError: The configuration is wrong.
    """
    config = Config.load(data)
    place, layout = store_place(config), Layout(config.data)
    known = None
    if config.catalog_url is None and layout.catalog.exists():
        known = read_meta(layout.catalog, STORE_ID)
    return str(place), check_place(place, f"check-{IdSource(rng).hex128()}", store_id=known)


def check_place(place: ObjectsAddress, prefix: str, *, store_id: str | None = None) -> tuple[Finding, ...]:
    """Try the store at an address; if it is a bucket, look at its rules, too."""
    rules = S3Rules(place) if isinstance(place, S3Address) else None
    return check_objects(open_objects(place, attempts=2), prefix, rules=rules, store_id=store_id)


def check_objects(
    objects: ObjectStore, prefix: str, *, rules: S3Rules | None = None, store_id: str | None = None
) -> tuple[Finding, ...]:
    """Try a store; what is tried has names that begin with `prefix`, and goes at the end.

    Args:
        objects: The store.
        prefix: No other names have it.
        rules: Of the bucket; None where there is none.
        store_id: What the catalog calls the store that must be there; None if it has none yet.
    """
    check = _Check(objects=objects, prefix=prefix)
    check.tried("list", check.list_nothing, _NOTHING, _FIRST)
    if not check.findings[0].works:
        if _PASSES.search(check.findings[0].seen):
            check.findings[0] = replace(check.findings[0], do=_WAIT)
        return tuple(check.findings)
    if store_id is not None:
        check.tried(
            "store", lambda: _there(objects, store_id),
            "the server makes no snapshot and deletes nothing, and makes no store anew: the snapshots are elsewhere",
            "see whether store_url and store_endpoint name the right place; if the bucket was emptied or made anew, "
            "put its objects back from a copy, or begin with another data directory",
        )  # fmt: skip
    check.tried("put", check.put, _NOTHING, "allow the key to put objects")
    check.tried("read", check.read, _NOTHING, "allow the key to get objects")
    check.tried("read a range", check.read_range, _NOTHING, _OTHER)
    check.tried(
        "replace", check.replacing, "names and deadlines in the store would be old ones after a recovery", _OTHER
    )  # fmt: skip
    check.tried(
        "list after put", check.listing,
        "the listing is behind: the server makes no snapshot and deletes nothing there, as it cannot see whose the "
        "store is", _OTHER,
    )  # fmt: skip
    check.tried("delete", check.deletion, "space never comes back", "allow the key to delete objects")
    check.tried(
        "refuse a second put", check.put_twice, "names are used once, so nothing is lost; a fault of the program "
        "that used one twice would not be noticed", "nothing must be done", needed=False,
    )  # fmt: skip
    check.tried(
        "clock", check.clock, "nothing bears witness when this machine's clock leaps; requests are refused from 15 "
        "minutes on", "set the clock that is wrong, and keep it right by NTP", needed=False,
    )  # fmt: skip
    if rules is not None:
        check.findings += check_rules(rules, objects, f"{prefix}/locked")
    check.clean_up()
    return tuple(check.findings)


def _there(objects: ObjectStore, store_id: str) -> None:
    try:
        objects.size(f"{store_id}/owner")
    except NotFoundError:
        raise WrongError(f"the snapshot store {store_id} of this catalog is not there") from None


def _same(found: bytes, wanted: bytes) -> None:
    if found != wanted:
        raise WrongError(f"{len(found)} bytes were read and are not the {len(wanted)} that were written")

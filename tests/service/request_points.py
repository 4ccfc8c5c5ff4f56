"""A fault at each request of each operation on the store: `python -m tests.service.request_points`.

The scripts are those of `crash_points`. Here the server lives on: one request in turn is not done, is done without an
answer, or is done late, after everything has ended; once, so that it is made again and works, or so often that whoever
asked gives up. Then what was begun goes on. In the end nothing is lost, wrong or left over.
"""

import argparse
import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

import structlog

from drystone.domain.errors import DrystoneError, IntegrityError, UnavailableError
from drystone.objects.around import Around, Kind
from drystone.objects.contract import ObjectEntry
from drystone.objects.retrying import Retrying
from drystone.service.upkeep import collection, compaction, sweep
from tests.service import parts
from tests.service.crash_points import (
    SCRIPTS,
    Scene,
    Script,
    built,
    compact,
    holds_in_the_end,
    quick_directory,
    restart,
    run,
)
from tests.service.records_world import NOW

R = TypeVar("R")
BEFORE, AFTER, LATE = "not done", "done, and not answered", "done late"
FAULTS = (BEFORE, AFTER, LATE)
CHANGES = frozenset({"put", "replace", "delete"})
ATTEMPTS = 2
REQUESTS_MAX = 600
WEEK = sweep.KEPT_SECONDS
NAMES = ("upload", "delete", "delete the base", "compact", "sweep", "reconcile")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tripping(Around):
    """An `ObjectStore` that fails at one request, and at those that repeat it.

    Attributes:
        state: `at`, the number of that request from now on, and `times`, how often it fails still.
        fault: How it fails.
        late: What is still to be done.
    """

    state: dict[str, int]
    fault: str
    late: list[Callable[[], object]] = field(default_factory=list)

    def request(self, kind: Kind, name: str, sent_bytes: int, ask: Callable[[], R]) -> R:
        """Make a request, or not."""
        del sent_bytes
        if not self._trips():
            return ask()
        if kind in CHANGES and self.fault == LATE:
            self.late.append(ask)
        elif kind in CHANGES and self.fault == AFTER:
            ask()
        raise UnavailableError(f"{kind} {name}: {self.fault}")

    def pages(self, prefix: str) -> Iterator[ObjectEntry]:
        """List, or not."""
        if self._trips():
            raise UnavailableError(f"list {prefix}: no answer")
        return self.inner.list(prefix)

    def _trips(self) -> bool:
        self.state["at"] -= 1
        if self.state["at"] >= 0 or self.state["times"] == 0:
            return False
        self.state["times"] -= 1
        return True

    def calm(self) -> bool:
        """Have no more faults; return whether there was none."""
        untouched = self.state["at"] >= 0
        self.state["times"] = 0
        return untouched

    def land(self) -> None:
        """Have what was given up be done now."""
        while self.late:
            with contextlib.suppress(IntegrityError):
                self.late.pop(0)()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def trip(scene: Scene, fault: str, at: int, times: int) -> Tripping:
    """Have the server and its workers ask a store that fails."""
    tripping = Tripping(inner=scene.objects, state={"at": at, "times": times}, fault=fault)
    scene.objects = cast("Any", tripping)
    asked = replace(scene.made.store, objects=Retrying(inner=tripping, attempts=ATTEMPTS, pause=lambda _seconds: None))
    scene.made.kept.proven = asked
    cast("Any", scene.made.workers)._store = asked
    return tripping


async def go_on(scene: Scene) -> None:
    """Do what is begun, and what a day and a week do."""
    await restart(scene)
    made = scene.made
    for passed in (0.0, WEEK + 1, 2 * WEEK + 2):
        made.transactions.steady = lambda passed=passed: NOW + passed  # type: ignore[misc]
        made.kept.claimed.manifests_known_at = None
        assert await collection.stopped(made.transactions, made.kept) is None
        rounds = parts.compaction(made)
        await rounds.once()
        if scene.db.read_sync(compaction.running) is not None:
            await compact(scene)
        await rounds.once()
        await parts.sweep(made).tidy()


def one_fault(script: Script, begin: Scene, fault: str, at: int, times: int) -> bool:
    """Do a script with a fault; return whether there was such a request.

    Raises:
        AssertionError, DrystoneError: Something does not hold.
    """
    scene = begin.copy(begin.content)
    scene.open()
    tripping = trip(scene, fault, at, times)
    with contextlib.suppress(DrystoneError):
        run(scene, script.act)
    missed = tripping.calm()
    if not missed:
        try:
            run(scene, restart)
            tripping.land()
            run(scene, go_on)
            scene.stale = False
            script.ended(scene)
            holds_in_the_end(scene)
        except BaseException as error:
            error.add_note(f"{script.name}, request {at}, {fault}, {times} times")
            raise
    scene.objects = cast("Any", tripping.inner)
    scene.close()
    return not missed


def enumerate_requests(script: Script, begin: Scene, *, step: int = 1) -> int:
    """Fail at each request of a script in each way; return how many there are.

    Args:
        script: What is done.
        begin: What it begins with.
        step: Only every so many of the requests, and then each in one way, in turn.

    Raises:
        AssertionError, DrystoneError: Something does not hold.
    """
    scene = begin.copy(begin.content)
    scene.open()
    script.prepare(scene)
    scene.close()
    ways = [(fault, times) for fault in FAULTS for times in (ATTEMPTS, 1)]
    for at in range(0, REQUESTS_MAX, step):
        for fault, times in ways if step == 1 else [ways[at // step % len(ways)]]:
            if not one_fault(script, scene, fault, at, times):
                return at
    raise AssertionError(f"{script.name} never came to its end")


def main(arguments: Sequence[str] | None = None) -> int:
    """Enumerate all scripts."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    parser = argparse.ArgumentParser(prog="python -m tests.service.request_points", description=__doc__)
    parser.add_argument("--only", choices=NAMES)
    parser.add_argument("--step", type=int, default=1)
    options = parser.parse_args(arguments)
    with quick_directory() as place, built(place) as begin:
        for script in SCRIPTS:
            if script.name in NAMES and options.only in {None, script.name}:
                began = time.monotonic()
                count = enumerate_requests(script, begin, step=options.step)
                print(f"{script.name}: {count} requests, {time.monotonic() - began:.1f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

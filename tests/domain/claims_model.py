"""Catalogs and their copies on one store, from a seed: `python -m tests.domain.claims_model --seeds N`.

A catalog is rows; a process runs on rows and makes one change of rows or one request of the store in each step. A
process may die in any step. Rows are copied and put back; a copy is also started while the first still runs. A claim
that was given up may land later, and a listing may be one of an earlier moment, as a whole.

What must hold: a snapshot that was said to be NORMAL, and that nobody deleted, has all its packs (S200, S201).
"""

import argparse
import copy
import random
import sys
from collections import Counter
from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass, field

from drystone.domain.claim import Claim, Claimant, Standing, standing, standing_before

Task = Generator[None, None, None]


class ViolationError(Exception):
    """A pack that a snapshot needs is gone."""


class GivenUpError(Exception):
    """The store did not answer, or the process must not go on."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a planted bug changes."""

    standing: Callable[[Claimant, int, Collection[Claim]], Standing] = standing
    before: Callable[[Claimant, int, Collection[Claim]], Standing] = standing_before
    claim_first: bool = True
    """The claim is in the store before the snapshot is NORMAL."""
    list_after: bool = True
    """Claims are listed after the own one was written, not before."""
    advance: bool = True
    """A deletion claims before anything goes."""
    new_incarnation: bool = True
    """Each start has another."""


@dataclass
class Rows:
    """A catalog."""

    claimant: Claimant
    epoch: int = 0
    snapshots: dict[int, frozenset[int]] = field(default_factory=dict)
    """The packs that each NORMAL one needs."""
    doomed: set[int] = field(default_factory=set)
    """Packs that nobody needs any more."""
    busy: bool = False
    """Whether something is under way that a copy would not know of."""


class World:
    def __init__(self, seed: int, rules: Rules) -> None:
        self.rng = random.Random(seed)
        self.rules = rules
        self.claims: set[Claim] = set()
        self.history: list[frozenset[Claim]] = [frozenset()]
        self.late: list[Claim] = []
        self.packs: set[int] = set()
        self.truth: dict[int, frozenset[int]] = {}
        self.count = 0
        self.still = -1
        self.rows = [Rows(claimant=Claimant(owner="o"))]
        """Catalogs on some disk; each may run once."""
        self.running: dict[int, tuple[Task | None, bool]] = {}
        self.events: Counter[str] = Counter()

    def number(self) -> int:
        self.count += 1
        return self.count

    # --- the store ---

    def put(self, claim: Claim) -> None:
        luck = self.rng.random()
        if luck < 0.1:
            self.late.append(claim)
            raise GivenUpError
        self.land(claim)
        if luck < 0.15:
            raise GivenUpError

    def land(self, claim: Claim) -> None:
        self.claims.add(claim)
        self.history.append(frozenset(self.claims))

    def listed(self) -> frozenset[Claim]:
        if self.rng.random() < 0.25:
            return self.history[-self.rng.randrange(1, min(4, len(self.history)) + 1)]
        return self.history[-1]

    # --- what a process does ---

    def start(self, rows: Rows) -> Task:
        if self.rules.before(rows.claimant, rows.epoch, self.history[-1]) is not Standing.HELD:
            self.events["refused"] += 1
            raise GivenUpError
        yield
        rows.epoch += 1
        if self.rules.new_incarnation or rows.claimant.current is None:
            rows.claimant = rows.claimant.begun(f"i{self.number()}", rows.epoch)
        yield
        yield from self.publish(rows)
        self.events["started"] += 1

    def publish(self, rows: Rows) -> Task:
        listed = self.listed()
        claim = rows.claimant.claim(rows.epoch)
        self.put(claim)
        yield
        if self.rules.list_after:
            listed = self.listed()
        else:
            listed |= {claim}
        yield
        found = self.rules.standing(rows.claimant, rows.epoch, listed)
        if found is not Standing.HELD:
            self.events[found.name] += 1
            if found is Standing.TAKEN:
                self.claims.discard(claim)
                self.history.append(frozenset(self.claims))
            raise GivenUpError
        rows.claimant = rows.claimant.seen()
        lower = {one for one in self.claims if one.epoch < claim.epoch}
        if len(lower) > 3:
            self.claims -= lower
            self.history.append(frozenset(self.claims))

    def take(self, rows: Rows) -> Task:
        """A snapshot on top of another one."""
        name, base = self.number(), self.rng.choice([None, *rows.snapshots])
        rows.busy = True
        yield
        pack = self.number()
        self.packs.add(pack)
        needs = frozenset({pack} | (rows.snapshots.get(base, frozenset()) if base is not None else frozenset()))
        if self.rules.claim_first:
            rows.epoch += 1
            yield
            yield from self.publish(rows)
        # No step between: who has the store until here has it. A process that is stopped here and goes on after
        # another state of its catalog was started cannot be told from one that runs.
        rows.snapshots[name] = self.truth[name] = needs
        rows.busy = False
        self.events["taken"] += 1
        if not self.rules.claim_first:
            rows.epoch += 1
            yield
            yield from self.publish(rows)

    def delete(self, rows: Rows) -> Task:
        name = self.rng.choice([None, *rows.snapshots])
        if name is not None:
            needs = rows.snapshots.pop(name)
            self.truth.pop(name, None)
            rows.doomed |= needs - {pack for other in rows.snapshots.values() for pack in other}
            rows.epoch += 1
        yield
        if self.rules.advance:
            rows.epoch += 1
            yield
            yield from self.publish(rows)
        for pack in sorted(rows.doomed):
            self.packs.discard(pack)
            for other, wanted in self.truth.items():
                if pack in wanted:
                    raise ViolationError(f"snapshot {other} needs pack {pack}")
            yield
        rows.doomed.clear()
        self.events["deleted"] += 1

    # --- all of it ---

    def step(self) -> None:
        at = self.rng.randrange(len(self.rows))
        # One process may stand still while others go on.
        if at == self.still and self.rng.random() < 0.9:
            return
        if self.rng.random() < 0.05:
            self.still = self.rng.randrange(-1, len(self.rows))
        rows, luck = self.rows[at], self.rng.random()
        if luck < 0.02 and self.late:
            self.land(self.late.pop(self.rng.randrange(len(self.late))))
        elif luck < 0.03:
            self.kill(at)
        elif luck < 0.045 and not rows.busy and len(self.rows) < 3:
            # A backup, or a fork of the data directory.
            self.rows.append(copy.deepcopy(rows))
            self.events["copied"] += 1
        elif luck < 0.08 and len(self.rows) > 1:
            # What was put back takes the place of what was there.
            other = self.rng.randrange(len(self.rows))
            if other != at and not self.rows[other].busy:
                self.kill(at)
                self.rows[at] = copy.deepcopy(self.rows[other])
        else:
            self.advance(at, rows)

    def kill(self, at: int) -> None:
        task, _ = self.running.pop(at, (None, False))
        if task is not None:
            task.close()
        # What was not NORMAL is given up.
        self.rows[at].busy = False

    def advance(self, at: int, rows: Rows) -> None:
        if at not in self.running:
            self.running[at] = (self.start(rows), False)
        task, held = self.running[at]
        if task is None:
            task = self.rng.choice((self.take, self.delete))(rows)
        try:
            next(task)
        except StopIteration:
            self.running[at] = (None, True)
        except GivenUpError:
            # What was not said to be NORMAL is not; the process ends, and may be started again.
            rows.busy = False
            del self.running[at]
        else:
            self.running[at] = (task, held)


def run(seed: int, rules: Rules = Rules(), *, steps: int = 600) -> Counter[str]:
    """Live one life.

    Raises:
        ViolationError: A snapshot lost a pack.
    """
    world = World(seed, rules)
    for _ in range(steps):
        world.step()
    return world.events


def main(arguments: Sequence[str] | None = None) -> int:
    """Live many lives, and print the seed of each that goes wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.domain.claims_model", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000)
    options = parser.parse_args(arguments)
    wrong, events = 0, Counter[str]()
    for seed in range(options.seeds):
        try:
            events += run(seed)
        except ViolationError as error:
            wrong += 1
            print(f"seed {seed}: {error}", flush=True)
    print(f"{options.seeds} seeds, {wrong} wrong; {dict(events)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

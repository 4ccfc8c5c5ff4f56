"""Fuzz the API: `python -m tests.fuzz --seconds 3600`, or `./dev fuzz --seconds 3600`. The seed is printed."""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.fuzz.judge import ViolationError
from tests.fuzz.plants import PLANTS
from tests.fuzz.run import fuzz

RUN_SECONDS = 300.0
"""Of one run; then everything is deleted, and another one begins."""


def main() -> int:
    """Run; return 1 if something was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, help="of the first run; the next ones count on")
    parser.add_argument("--steps", type=int, help="of each run, at most")
    parser.add_argument("--plant", choices=sorted(PLANTS), help="a fault that must be found")
    parser.add_argument("--focus", help="an action to call about every second time")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if given.seed is None else given.seed
    until = time.monotonic() + given.seconds
    steps = asked = commands = runs = 0
    codes: Counter[str] = Counter()
    while time.monotonic() < until or runs == 0:
        with tempfile.TemporaryDirectory() as directory:
            seconds = min(RUN_SECONDS, max(1.0, until - time.monotonic()))
            print(f"run {runs + 1}, seed {seed}, {seconds:.0f} s", flush=True)
            try:
                outcome = fuzz(
                    Path(directory) / "data", seed=seed, seconds=seconds, steps=given.steps, plant=given.plant,
                    focus=given.focus, with_commands=True,
                )  # fmt: skip
            except ViolationError as error:
                print(f"VIOLATION: {error}", flush=True)
                return 1
        runs, seed = runs + 1, seed + 1
        steps, asked = steps + outcome.steps, asked + outcome.asked
        commands += outcome.commands
        codes += outcome.codes
    print(f"{runs} runs, {steps} calls, {asked} lists asked for, {commands} commands, 0 violations")
    for code, count in codes.most_common():
        print(f"{count:8}  {code}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

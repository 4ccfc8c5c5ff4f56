"""The command of programs that enumerate cuts and hunt planted bugs."""

import argparse
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar


class Named(Protocol):
    """A script or a planted bug."""

    @property
    def name(self) -> str:
        """By which it can be asked for."""


S = TypeVar("S", bound=Named)
P = TypeVar("P", bound=Named)


def hunt(
    arguments: Sequence[str] | None,
    *,
    program: str,
    description: str | None,
    scripts: Sequence[S],
    cuts: Callable[[S], int],
    planted: Sequence[P],
    find: Callable[[P], str | None],
) -> int:
    """Enumerate the cuts of all scripts, then hunt all planted bugs; return the exit code.

    Args:
        arguments: Of the command line.
        program: What is called, for its help.
        description: The same.
        scripts: What is cut.
        cuts: Cuts one everywhere and returns at how many places; raises what does not hold.
        planted: What must be found.
        find: Returns how one shows, None if it does not.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description=description)
    parser.add_argument("--only", help="the name of one script or planted bug")
    only = parser.parse_args(arguments).only
    missed = 0
    for script in scripts:
        if only in {None, script.name}:
            began = time.monotonic()
            try:
                print(f"{script.name}: {cuts(script)} cuts, {time.monotonic() - began:.1f} s", flush=True)
            except Exception:  # noqa: BLE001 - the other scripts are told, too
                missed += 1
                print(f"{script.name}:\n{traceback.format_exc()}", flush=True)
    for bug in planted:
        if only in {None, bug.name}:
            found = find(bug)
            missed += found is None
            print(f"planted, {bug.name}: {found or 'NOT FOUND'}", flush=True)
    return 1 if missed else 0

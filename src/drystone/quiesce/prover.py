"""`python -m drystone.quiesce.prover`: opens what is on block devices of a throw-away clone, and says what it saw.

Standard input: a line with the plan. Standard output: a line for each step, then `end`. It runs in namespaces of its
own (`sandbox.command`): when it ends, or is killed, its mounts and all that it started go with it.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from drystone.domain.opening import Finding, OpeningStep
from drystone.quiesce import prove_databases, prove_files, sandbox
from drystone.quiesce.prove_databases import PLACES, Place
from drystone.quiesce.prover_plan import END, LINE_BYTES_MAX, ProverPlan, decode_plan, encode_step
from drystone.quiesce.trial import Trials, not_proven

SWAP = "swap"
BTRFS = Path("/sys/fs/btrfs")
OPENERS: dict[str, Callable[[Trials, Path], str]] = {
    "mariadb": prove_databases.open_mariadb,
    "postgresql": prove_databases.open_postgresql,
}


def main() -> int:
    """Carry out one plan."""
    plan = decode_plan(sys.stdin.buffer.readline(LINE_BYTES_MAX))
    mounted = frozenset(entry.name for entry in BTRFS.iterdir()) if BTRFS.is_dir() else frozenset[str]()
    try:
        sandbox.enter([device for _, device in plan.volumes])
    except sandbox.SandboxError as error:
        _tell(OpeningStep(title="sandbox", finding=Finding.NOT_PROVEN, seconds=0.0, detail=str(error)))
    else:
        Prover(plan, mounted).run()
    os.write(1, END)
    return 0


def _tell(step: OpeningStep) -> None:
    os.write(1, encode_step(step))


class Prover:
    """Goes through the volumes, then the databases on them."""

    def __init__(self, plan: ProverPlan, mounted_uuids: frozenset[str]) -> None:
        self._plan = plan
        self._mounted_uuids = mounted_uuids
        self._trials = Trials(plan.seconds_max, plan.path, _tell)
        self._roots: list[Path] = []

    def run(self) -> None:
        """Do everything; each step is told when it has ended."""
        volumes = self._plan.volumes
        kinds = [self._volume(index, title, device) for index, (title, device) in enumerate(volumes)]
        if not set(kinds) - {"", SWAP}:
            self._trials.step("content", _nothing_known)
            volumes = ()
        for (title, device), kind in zip(volumes, kinds, strict=False):
            # A file system beside it that opens says nothing of what may have been one.
            if kind == "" and not prove_files.is_blank(device):
                self._trials.step(f"{title}: content", _not_recognised)
        for kind in self._plan.databases:
            self._databases(PLACES[kind])

    def _volume(self, index: int, title: str, device: str) -> str:
        """Open one volume; return what was found on it, empty if that is nothing known."""
        trials, where = self._trials, Path("/disk") / str(index)
        contents: list[prove_files.Content] = []

        def look() -> str:
            contents.append(prove_files.look(trials, device))
            return contents[0].kind or "nothing known is on it"

        if not trials.step(f"{title}: look", look):
            return "what cannot be told"
        (content,) = contents
        kind = content.kind
        if kind in {"", SWAP}:
            return kind
        if kind not in prove_files.OPTIONS:
            trials.step(f"{title}: {kind}", lambda: _unknown(kind))
            return kind

        def replay() -> str:
            prove_files.refuse_twin(content, self._mounted_uuids)
            prove_files.mount(trials, device, kind, where)
            prove_files.unmount(trials, where)
            return "mounted on the clone and unmounted"

        # A checker that changes nothing calls a journal that was not replayed an error.
        replayed = trials.step(f"{title}: replay the journal of {kind}", replay)
        checked = trials.step(f"{title}: check {kind}", lambda: prove_files.check(trials, device, kind))
        if replayed and checked:
            mounted = trials.step(f"{title}: mount", lambda: prove_files.mount(trials, device, kind, where))
            self._roots += [where] if mounted else []
        return kind

    def _databases(self, place: Place) -> None:
        found = [(root, directory) for root in self._roots for directory in prove_databases.find(root, place)]
        if not found:
            self._trials.step(place.title, lambda: _missing(place))
        for root, directory in found:
            title = f"{place.title} in /{directory.relative_to(root)}"
            self._trials.step(title, lambda directory=directory: OPENERS[place.kind](self._trials, directory))  # type: ignore[misc]


def _nothing_known() -> str:
    raise not_proven("there is no file system that is known here, nor a table of partitions")


def _not_recognised() -> str:
    raise not_proven("something is on it, which is not known here")


def _unknown(kind: str) -> str:
    raise not_proven(f"what is inside of {kind} is not looked at")


def _missing(place: Place) -> str:
    raise not_proven(f"the profile names it, and no data directory ({', '.join(place.marks)}) was found")


if __name__ == "__main__":
    sys.exit(main())

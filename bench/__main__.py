"""One run of the benchmarks: `python -m bench`, from the root of the repository.

Everything is measured on this machine, in one run, side by side with what it is compared with. Figures go to stdout
as a table and to a file as JSON; what is going on goes to stderr. The exit status is 1 if a row could not be measured.
"""

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from bench import machine
from bench.figures import Figure, as_object, as_table
from bench.rows_changes import incremental
from bench.rows_control import api, takeover
from bench.rows_data import full_snapshot, rescan, restore, rollback
from bench.rows_floor import floor
from bench.rows_guest import create_snapshot, guest_during_upload
from bench.rows_image import image_format
from bench.stalls import Stalls
from bench.world import World, plan

ROWS: Mapping[str, Callable[[World], Iterator[Figure]]] = {
    row.__name__: row
    for row in (
        create_snapshot, guest_during_upload, full_snapshot, incremental, rescan, restore, rollback, api, takeover,
        floor, image_format,
    )
}  # fmt: skip
RESULTS = Path(__file__).parent / "results"
PROGRAMS = ("fio", "nbdcopy", "mkfs.ext4", "zstd", "restic", "borg", "qemu-storage-daemon")


def parser() -> argparse.ArgumentParser:
    """Return what the command line understands."""
    made = argparse.ArgumentParser(prog="./dev bench", description="Measure Drystone beside what it is compared with.")
    made.add_argument("--only", nargs="+", metavar="ROW", choices=sorted(ROWS), help=", ".join(ROWS))
    made.add_argument("--quick", action="store_true", help="2 GB and few repeats instead of 5 GB and medians of 3")
    made.add_argument("--json", type=Path, metavar="FILE", help="where the figures go; default: bench/results/")
    made.add_argument("--size-gb", type=_size, metavar="N", help="size of the file tree, in 10^9 bytes")
    made.add_argument("--image", type=Path, metavar="FILE", help="a raw image of real data, instead of making one")
    made.add_argument("--directory", type=Path, metavar="DIR", default=Path("/var/tmp"), help="where to work")
    return made


def _size(text: str) -> float:
    size = float(text)
    if not 0.01 <= size <= 1000:
        raise argparse.ArgumentTypeError("must be from 0.01 to 1000")
    return size


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    options = parser().parse_args(arguments)
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        print(f"bench: not installed: {', '.join(missing)}; ./dev bench installs them", file=sys.stderr)
        return 2
    # A terminated run cleans up as an interrupted one does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    work = Path(tempfile.mkdtemp(prefix="dbench-", dir=options.directory))
    try:
        about = machine.describe(work)
        with Stalls(work) as stalls:
            amount = plan(quick=options.quick, size_gb=options.size_gb)
            world = World(plan=amount, work=work, say=_say, stalls=stalls, given=options.image)
            began = time.time()
            figures, failures = measure(world, options.only or list(ROWS))
            about["stood_still_percent"] = round(100 * stalls.stood_s(began, time.time()) / (time.time() - began), 1)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    target = options.json or RESULTS / f"{time.strftime('%Y-%m-%d-%H%M%S', time.gmtime())}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(as_object(about, figures, failures), indent=1) + "\n")
    console = Console(width=None if sys.stdout.isatty() else 170, highlight=False)
    console.print(", ".join(f"{name} {value}" for name, value in about.items()))
    console.print(as_table(figures))
    for name, failure in failures.items():
        console.print(f"[red]{name} could not be measured:[/] {failure.splitlines()[-1]}", soft_wrap=True)
    console.print(f"figures: {target}", soft_wrap=True)
    return 1 if failures else 0


def measure(world: World, names: Sequence[str]) -> tuple[list[Figure], dict[str, str]]:
    """Run rows one after the other; return their figures, and the traceback of each row that failed."""
    figures: list[Figure] = []
    failures: dict[str, str] = {}
    for name in names:
        _say(name)
        began = time.monotonic()
        try:
            for figure in ROWS[name](world):
                _say(f"{figure.row}: {figure.what}: {figure.value:.4g} {figure.unit} {figure.note}")
                figures.append(figure)
        except Exception:  # noqa: BLE001 - one row that fails must not cost the others
            failures[name] = traceback.format_exc()
            print(failures[name], file=sys.stderr)
        _say(f"{name} took {time.monotonic() - began:.1f} s")
    return figures, failures


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

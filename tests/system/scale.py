"""What a snapshot of little change costs on large disks, late in their history: `python -m tests.system.scale`.

A real server on this host. Prints, for each case: objects and bytes that the store gained, bytes that the record says
were read of the disk, bytes that the workers read, seconds from call to NORMAL (by the clock, and less what the machine
itself stood still, which `bench/stalls.py` measures), and the most memory that a worker and a storage daemon had.
`--goals` fails if a goal is missed.

It takes long, most of it for histories to become long: `--part` does one part alone, `--seconds` ends the growing of a
history early, and with `--place DIRECTORY` the next run goes on where the last one ended.
"""

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from bench.stalls import Stalls

from tests.system.harness import Installation, installation, random_bytes

GIB, MIB, BLOCK = 1 << 30, 1 << 20, 4096
TAKES = 5
CHANGED_BYTES = 10 * MIB
SECONDS_MAX = 3600.0
"""For one snapshot: the first of a full disk takes long."""
SETTINGS = "rescan_after_s = 86400\nscrub_days = 0\nsnapshots_per_disk = 10000\nsnapshots_per_region = 10000\n"
"""Nothing else runs beside what is measured, and histories are longer than is usual."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one snapshot cost."""

    objects: int
    stored_bytes: int
    read_bytes: int
    store_read_bytes: int
    called_at: float
    """Seconds since the epoch."""
    seconds: float
    """From the call to NORMAL, by the clock."""
    running_s: float = 0.0
    """The same, less what the machine stood still."""
    memory_bytes: int
    daemon_bytes: int
    audited_blocks: int

    def told(self) -> str:
        return (
            f"{self.objects} objects, {self.stored_bytes / MIB:.2f} MiB stored, {self.read_bytes / MIB:.2f} MiB read "
            f"of the disk, {self.store_read_bytes / MIB:.2f} MiB of the store, {self.seconds:.2f} s, "
            f"{self.running_s:.2f} s less stalls of the machine, "
            f"worker {self.memory_bytes / MIB:.0f} MiB, daemon {self.daemon_bytes / MIB:.0f} MiB, "
            f"{self.audited_blocks} blocks audited"
        )


def objects(system: Installation) -> dict[str, int]:
    root = system.data / "store"
    found = {}
    for path in root.glob("*/[mps]*/**/*"):
        with contextlib.suppress(FileNotFoundError):
            if path.is_file():
                found[str(path.relative_to(root))] = path.stat().st_size
    return found


def workers(system: Installation) -> Iterator[Path]:
    assert system.process is not None
    for task in Path(f"/proc/{system.process.pid}/task").iterdir():
        for pid in (task / "children").read_text().split():
            if b"drystone.transfer.worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                yield Path(f"/proc/{pid}")


def number(path: Path, key: str) -> int:
    line = next(one for one in path.read_text().splitlines() if one.startswith(key))
    return int(line.split()[1])


def take(
    system: Installation, disk_id: str, tracking: frozenset[str] = frozenset({"delta", "full"})
) -> tuple[str, Cost]:
    system.wait_idle()
    before, read = objects(system), sum(number(one / "io", "rchar") for one in workers(system))
    called_at, began = time.time(), time.monotonic()
    snapshot_id = str(system.call("CreateSnapshot", DiskId=disk_id).SnapshotId)
    system.wait_normal(snapshot_id, SECONDS_MAX)
    seconds = time.monotonic() - began
    system.wait_idle()
    # `attributes` is written behind the snapshot, by another loop: it is not counted.
    gained = {name: size for name, size in objects(system).items()
              if name not in before and not name.endswith("attributes")}  # fmt: skip
    record = system.record(snapshot_id)
    assert record["Tracking"] in tracking, record
    return snapshot_id, Cost(
        objects=len(gained), stored_bytes=sum(gained.values()), read_bytes=record["ReadBytes"],
        store_read_bytes=sum(number(one / "io", "rchar") for one in workers(system)) - read,
        called_at=called_at, seconds=seconds,
        memory_bytes=max(number(one / "status", "VmHWM") for one in workers(system)) << 10,
        daemon_bytes=max(number(Path(f"/proc/{pid}/status"), "VmHWM") for pid in system.daemons().values()) << 10,
        audited_blocks=record["AuditedBlocks"] or 0,
    )  # fmt: skip


def write(system: Installation, disk_id: str, blocks: Sequence[int], rng: np.random.Generator) -> None:
    with system.nbd(disk_id) as client:
        for _ in client.write_ranges(((block * BLOCK, random_bytes(rng, BLOCK)) for block in blocks), depth=16):
            pass
        client.flush()


def new_disk(system: Installation, size_gib: int) -> str:
    disk_id = system.create_disk(size_gib, DiskType="CLOUD_SSD")
    system.wait_state(disk_id, "UNATTACHED")
    system.attach(disk_id)
    return disk_id


def scattered(system: Installation, rng: np.random.Generator) -> Cost:
    """10,000 scattered blocks of a disk of 100 GiB."""
    disk_id = new_disk(system, 100)
    write(system, disk_id, range(64), rng)
    take(system, disk_id)
    blocks = np.unique(rng.integers(0, 100 * GIB // BLOCK, 10_000))
    write(system, disk_id, blocks.tolist(), rng)
    return take(system, disk_id)[1]


def changed(system: Installation, disk_id: str, size_gib: int, rng: np.random.Generator) -> list[Cost]:
    """10 MiB changed, in pieces of 64 KiB anywhere on the disk, some times."""
    costs = []
    for _ in range(TAKES):
        pieces = np.unique(rng.integers(0, size_gib * GIB // (16 * BLOCK), CHANGED_BYTES // (16 * BLOCK)))
        write(system, disk_id, [int(piece) * 16 + at for piece in pieces for at in range(16)], rng)
        costs.append(take(system, disk_id)[1])
    return costs


def killed(system: Installation, rng: np.random.Generator, filled_bytes: int) -> tuple[Cost, int]:
    """10 MiB changed here and there on a disk of 20 GiB before its storage daemon is killed; with what was changed."""
    disk_id = new_disk(system, 20)
    with system.nbd(disk_id) as client:
        for at in range(0, filled_bytes, 16 * MIB):
            client.pwrite(at, random_bytes(rng, 16 * MIB))
        client.flush()
    take(system, disk_id)
    blocks = np.unique(rng.integers(0, filled_bytes // BLOCK, CHANGED_BYTES // BLOCK))
    write(system, disk_id, blocks.tolist(), rng)
    before = system.detail(disk_id)["Epoch"]
    system.kill_daemons()
    system.wait(lambda: system.detail(disk_id)["Epoch"] > before, "the disk opened again")
    snapshot_id, cost = take(system, disk_id, frozenset({"rescan"}))
    print(f"the record: {system.record(snapshot_id)['TrackingReason']}", flush=True)
    return cost, len(blocks) * BLOCK


def grow(system: Installation, disk_id: str, count: int, rng: np.random.Generator, seconds: float) -> int:
    """Take some snapshots of one changed block; return how many, for time may be up."""
    began = time.monotonic()
    for done in range(count):
        if time.monotonic() - began > seconds:
            return done
        write(system, disk_id, [int(rng.integers(0, 1 << 20))], rng)
        system.take(disk_id)
    return count


# --- parts ----------------------------------------------------------------------------------------------------------


class Results:
    """What was found so far, beside the installations that it was found in."""

    def __init__(self, place: Path, stalls: Stalls) -> None:
        self.place = place
        self._stalls = stalls
        self._file = place / "results.json"
        self.costs: dict[str, Cost] = {}
        self.disks: dict[str, str] = {}
        """By size in GiB."""
        self.taken: dict[str, int] = {}
        self.changed_bytes = 0
        if self._file.exists():
            found = json.loads(self._file.read_text())
            self.costs = {name: Cost(**fields) for name, fields in found.pop("costs").items()}
            self.disks, self.taken, self.changed_bytes = found["disks"], found["taken"], found["changed_bytes"]

    def keep(self) -> None:
        told = {name: asdict(cost) for name, cost in self.costs.items()}
        rest = {"disks": self.disks, "taken": self.taken, "changed_bytes": self.changed_bytes}
        self._file.write_text(json.dumps({"costs": told, **rest}, indent=1))

    def add(self, name: str, costs: Sequence[Cost]) -> None:
        """Keep the median of what a case cost, one after the other."""
        timed = [replace(one, running_s=self._stalls.running_s(one.called_at, one.seconds)) for one in costs]
        middle = sorted(timed, key=lambda one: one.running_s)[len(timed) // 2]
        self.costs[name] = replace(middle, seconds=statistics.median(one.seconds for one in costs))
        print(f"{name}: {self.costs[name].told()}", flush=True)
        self.keep()


@contextlib.contextmanager
def kept(results: Results, name: str) -> Iterator[Installation]:
    """Serve a data directory that stays; its disks are stopped in good order, so that the next run goes on."""
    system = Installation(results.place / name, SETTINGS)
    try:
        system.start()
        yield system
        system.wait_idle()
        system.host_stop()
    finally:
        system.clean_up()


def part_scattered(results: Results, rng: np.random.Generator, _options: argparse.Namespace) -> None:
    with installation(results.place / "scattered", SETTINGS) as system:
        results.add(SCATTERED, [scattered(system, rng)])


def part_killed(results: Results, rng: np.random.Generator, options: argparse.Namespace) -> None:
    with installation(results.place / "killed", SETTINGS) as system:
        cost, results.changed_bytes = killed(system, rng, options.filled_mib * MIB)
        results.add(KILLED, [cost])


def part_size(size_gib: int, results: Results, rng: np.random.Generator, options: argparse.Namespace) -> None:
    """10 MiB changed on a disk of this size, early and late in its history."""
    with kept(results, str(size_gib)) as system:
        key = str(size_gib)
        if key not in results.disks:
            results.disks[key] = new_disk(system, size_gib)
            write(system, results.disks[key], range(64), rng)
            take(system, results.disks[key])
            results.add(case(size_gib, 1), changed(system, results.disks[key], size_gib, rng))
            results.taken[key] = 1 + TAKES
            results.keep()
        began = time.monotonic()
        wanted = options.snapshots - results.taken[key]
        more = grow(system, results.disks[key], wanted, rng, options.seconds)
        results.taken[key] += more
        results.keep()
        print(f"{size_gib} GiB: {results.taken[key]} snapshots, {more} in {time.monotonic() - began:.0f} s", flush=True)
        if more == wanted:
            results.add(case(size_gib, options.snapshots), changed(system, results.disks[key], size_gib, rng))
            results.taken[key] += TAKES
            results.keep()


def case(size_gib: int, before: int) -> str:
    return f"10 MiB changed, {size_gib} GiB, {'few' if before == 1 else 'many'} snapshots before"


SCATTERED = "10,000 scattered blocks, 100 GiB"
KILLED = "10 MiB changed, 20 GiB, the daemon killed"
SIZES = (100, 10 * 1024)
PARTS: dict[str, Callable[[Results, np.random.Generator, argparse.Namespace], None]] = {
    "scattered": part_scattered,
    "killed": part_killed,
    **{str(size_gib): partial(part_size, size_gib) for size_gib in SIZES},
}


def judged(results: Results) -> list[str]:
    """Return the goals that what was found so far misses."""
    missed = []
    costs = results.costs
    if (one := costs.get(SCATTERED)) and (one.stored_bytes > 1.1 * 10_000 * BLOCK or one.objects > 10):
        missed.append(SCATTERED)
    if (one := costs.get(KILLED)) and one.stored_bytes > 1.1 * results.changed_bytes:
        missed.append(f"{KILLED}: {one.stored_bytes} bytes stored, {results.changed_bytes} changed")
    cases = {(size, before): costs.get(case(size, before)) for size in SIZES for before in (1, 2)}
    found = [one for one in cases.values() if one is not None]
    for name in ("objects", "stored_bytes", "read_bytes") if found else ():
        values = [getattr(one, name) for one in found]
        if max(values) > 1.2 * min(values):
            missed.append(f"{name} {values}")
    for name in ("seconds", "running_s") if found else ():
        values = [getattr(one, name) for one in found]
        if max(values) - min(values) > 0.5:
            missed.append(f"{name} {values}")
    small, large = cases[SIZES[0], 1], cases[SIZES[1], 2] or cases[SIZES[1], 1]
    if small is not None and large is not None:
        # A bit for each block, and as much again while one bitmap stands beside the next.
        bitmaps = 2 * SIZES[1] * GIB // BLOCK // 8
        pairs = {name: (getattr(small, name), getattr(large, name)) for name in ("memory_bytes", "daemon_bytes")}
        missed += [f"{name} {low} and {high}" for name, (low, high) in pairs.items() if high > low + bitmaps]
    return missed


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print one line for each case."""
    parser = argparse.ArgumentParser(prog="python -m tests.system.scale", description=__doc__)
    parser.add_argument("--part", choices=[*PARTS, "judge"], help="one part alone; judge: only compare what was found")
    parser.add_argument("--place", type=Path, help="where to keep everything for the next run")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="how long a history may grow at a time")
    parser.add_argument("--snapshots", type=int, default=500, help="how many snapshots are late in a history")
    parser.add_argument("--filled-mib", type=int, default=20 * 1024, help="data on the disk whose daemon is killed")
    parser.add_argument("--goals", action="store_true", help="fail if a goal is missed")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="drystone-scale-") as scratch:
        place = options.place or Path(scratch)
        place.mkdir(parents=True, exist_ok=True)
        with Stalls(Path(scratch)) as stalls:
            results = Results(place, stalls)
            for name, part in PARTS.items():
                if options.part in {None, name}:
                    part(results, np.random.default_rng(3 + sum(results.taken.values())), options)
    missed = judged(results)
    print("every goal is met" if not missed else f"missed: {'; '.join(missed)}")
    return 1 if missed and options.goals else 0


if __name__ == "__main__":
    sys.exit(main())

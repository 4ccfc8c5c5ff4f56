"""What a history of snapshots costs in a bucket, beside restic and kopia: bytes, requests, seconds, processor time.

Usage: python -m bench.store_cost [--mb N] [--rtt MS ...] [--mbit N] [--programs NAME ...] [--data files|random].
Each program keeps the same raw image on the same S3 server, through a link of its own (`bench/link.py`) that counts for
all of them alike. A full backup; ten increments of 1,000 x 4 KiB, random bytes at random places; deletion of every
second snapshot with the space freed; a restore of the last one, which is compared. `BENCH_SETTINGS` in the environment
has further settings of Drystone, to compare.

restic and kopia run as they come, with their caches; kopia's compression, which is off by default, is zstd-fastest.
kopia is built by `go build github.com/kopia/kopia`; one that is not there is left out.
"""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from tests.s3_server import S3Server, s3_server

from bench import rivals
from bench.client import wait
from bench.link import Link, link
from bench.tree import build_image
from bench.world import BLOCK, GIB, MIB, Server

INCREMENTS = 10
BLOCKS = 1000
BUCKET = "bench"
SETTINGS = os.environ.get("BENCH_SETTINGS", "")
"""Further lines of Drystone's configuration, to compare."""


class Program(Protocol):
    """A program that keeps snapshots of an image."""

    name: str

    def prepare(self, image: Path) -> None:
        """Make the repository."""

    def change(self, image: Path, blocks: Sequence[int], data: bytes) -> None:
        """Do what a guest does; the image has it already."""

    def take(self, image: Path) -> None:
        """Take a snapshot."""

    def settle(self) -> None:
        """Wait for what follows it."""

    def delete_half(self) -> None:
        """Delete every second snapshot, and free its space."""

    def restore(self) -> None:
        """Restore the last snapshot."""

    def restored(self, out: Path) -> Path:
        """Return a file with what was restored."""
        ...

    def cpu_seconds(self) -> float:
        """Return the processor time that it has used."""
        ...


class Drystone:
    """A server of its own, with a disk that is written over NBD."""

    name = "drystone"

    def __init__(self, work: Path, s3: S3Server, port: int) -> None:
        self._server = Server(work / "d", (
            f'rate_limits = false\nthrottle = false\nstore_url = "s3://{BUCKET}/drystone"\n'
            f'store_endpoint = "http://127.0.0.1:{port}"\n{SETTINGS}'
        ))  # fmt: skip
        s3.keys_file(self._server.data / "store.env")
        self._snapshots: list[str] = []
        self._disk = self._copy = ""

    def prepare(self, image: Path) -> None:
        self._server.start()
        self._disk = self._server.new_disk(max(20, -(-image.stat().st_size // GIB)))
        self._server.fill(self._disk, image)

    def change(self, image: Path, blocks: Sequence[int], data: bytes) -> None:
        del image
        items = ((block * BLOCK, data[at * BLOCK : (at + 1) * BLOCK]) for at, block in enumerate(blocks))
        self._server.write_all(self._disk, items)

    def take(self, image: Path) -> None:
        del image
        self._snapshots.append(self._server.timed_take(self._disk).id)

    def settle(self) -> None:
        self._server.wait_idle()
        time.sleep(1)

    def delete_half(self) -> None:
        self._server.drop_snapshots(self._snapshots[1::2])
        # Compaction may have begun by itself.
        with contextlib.suppress(Exception):
            self._server.own("CollectGarbage")
        self._server.wait_idle()

    def restore(self) -> None:
        self._copy = self._server.create_disk(SnapshotId=self._snapshots[-1], DiskType="CLOUD_SSD")
        wait(lambda: self._server.client.disk_state(self._copy) == "UNATTACHED", "made")
        self._server.attach(self._copy)
        wait(lambda: not self._server.client.detail(self._copy)["Hydrating"], "filled", every_s=0.1)

    def restored(self, out: Path) -> Path:
        subprocess.run(["nbdcopy", self._server.uri(self._copy), str(out)], check=True)
        return out

    def cpu_seconds(self) -> float:
        return self._server.cpu_seconds()

    def end(self) -> None:
        self._server.clean_up()


class Command:
    """A program that is run for each step."""

    name = ""

    def __init__(self, work: Path, s3: S3Server, port: int) -> None:
        self.work, self.s3, self.port = work, s3, port
        self.out = work / "restored"
        self.environment: dict[str, str] = {"HOME": str(work / "home")}

    def run(self, *words: str) -> str:
        done = subprocess.run(
            [self.name, *words], capture_output=True, text=True, check=False, env={**os.environ, **self.environment}
        )
        if done.returncode:
            raise RuntimeError(f"{self.name} {words[0]} failed: {done.stderr[-800:]}")
        return done.stdout

    def change(self, image: Path, blocks: Sequence[int], data: bytes) -> None:
        del image, blocks, data

    def settle(self) -> None:
        return

    def restored(self, out: Path) -> Path:
        del out
        return next(path for path in sorted(self.out.rglob("*")) if path.is_file())

    def cpu_seconds(self) -> float:
        return rivals.cpu_seconds()

    def end(self) -> None:
        return


class Restic(Command):
    name = "restic"

    def prepare(self, image: Path) -> None:
        del image
        self.environment |= {
            "AWS_ACCESS_KEY_ID": self.s3.key, "AWS_SECRET_ACCESS_KEY": self.s3.secret, "RESTIC_PASSWORD": "bench",
            "RESTIC_REPOSITORY": f"s3:http://127.0.0.1:{self.port}/{BUCKET}/restic",
        }  # fmt: skip
        self.run("init", "-q")

    def take(self, image: Path) -> None:
        self.run("backup", "-q", str(image))

    def delete_half(self) -> None:
        found = [one["short_id"] for one in json.loads(self.run("snapshots", "--json"))]
        self.run("forget", "-q", "--prune", *found[1::2])

    def restore(self) -> None:
        self.run("restore", "-q", "latest", "--target", str(self.out))


class Kopia(Command):
    name = "kopia"
    _snapshots: list[str]

    def prepare(self, image: Path) -> None:
        del image
        self._snapshots = []
        self.environment |= {
            "KOPIA_PASSWORD": "bench", "KOPIA_CHECK_FOR_UPDATES": "false",
            "KOPIA_CONFIG_PATH": str(self.work / "kopia.config"), "KOPIA_LOG_DIR": str(self.work / "kopia-logs"),
            "KOPIA_CACHE_DIRECTORY": str(self.work / "kopia-cache"),
            "AWS_ACCESS_KEY_ID": self.s3.key, "AWS_SECRET_ACCESS_KEY": self.s3.secret,
        }  # fmt: skip
        self.run(
            "repository", "create", "s3", f"--bucket={BUCKET}", "--prefix=kopia/", f"--endpoint=127.0.0.1:{self.port}",
            "--disable-tls",
        )  # fmt: skip
        self.run("policy", "set", "--global", "--compression=zstd-fastest")

    def take(self, image: Path) -> None:
        made = json.loads(self.run("snapshot", "create", "--no-progress", "--json", str(image)))
        self._snapshots.append(str(made["id"]))

    def delete_half(self) -> None:
        self.run("snapshot", "delete", "--delete", *self._snapshots[1::2])
        self.run("maintenance", "run", "--full", "--safety=none")

    def restore(self) -> None:
        self.out.mkdir()
        self.run("snapshot", "restore", "--no-progress", self._snapshots[-1], str(self.out / "image"))


PROGRAMS: dict[str, Callable[[Path, S3Server, int], Program]] = {
    one.name: one for one in (Drystone, Restic, Kopia)
}  # fmt: skip


class Steps:
    """Does steps of one program, and prints what each cost."""

    def __init__(self, program: Program, way: Link, about: str, stored: Callable[[], int]) -> None:
        self._program, self._way, self._about, self._stored = program, way, about, stored

    def step(self, what: str, acts: Sequence[tuple[Callable[[], None], Callable[[], None]]]) -> None:
        """Do something some times: what counts, and what comes before it and does not."""
        seconds = cpu = 0.0
        sent = received = 0
        requests: Counter[str] = Counter()
        for before, act in acts:
            before()
            self._way.take()
            used, began = self._program.cpu_seconds(), time.perf_counter()
            act()
            seconds += time.perf_counter() - began
            self._program.settle()
            cpu += self._program.cpu_seconds() - used
            traffic = self._way.take()
            sent += traffic.sent_bytes
            received += traffic.received_bytes
            requests.update(traffic.requests)
        kinds = " ".join(f"{kind} {count}" for kind, count in sorted(requests.items()))
        print(
            f"{self._about} {self._program.name:9} {what:22} {seconds:8.2f} s  cpu {cpu:7.2f} s  sent "
            f"{sent / 1e6:9.2f} MB  received {received / 1e6:9.2f} MB  stored {self._stored() / 1e6:9.2f} MB  "
            f"load {os.getloadavg()[0]:.1f}  requests {requests.total()}: {kinds}",
            flush=True,
        )  # fmt: skip


def nothing() -> None:
    """What comes before a step that needs nothing."""


def run(name: str, original: Path, work: Path, s3: S3Server, way: Link, about: str) -> None:
    """Do all steps with one program."""
    image = work / "disk.img"
    shutil.copyfile(original, image)
    place = s3.bucket(BUCKET)
    program = PROGRAMS[name](work, s3, way.port)
    rng = np.random.default_rng(9)

    def stored() -> int:
        return sum(path.stat().st_size for path in (place / name).rglob("*") if path.is_file())

    def change() -> None:
        blocks = np.sort(rng.choice(image.stat().st_size // BLOCK, BLOCKS, replace=False)).tolist()
        data = rng.bytes(BLOCKS * BLOCK)
        with image.open("r+b") as file:
            for at, block in enumerate(blocks):
                file.seek(block * BLOCK)
                file.write(data[at * BLOCK : (at + 1) * BLOCK])
        program.change(image, blocks, data)
        rivals.settle()

    steps = Steps(program, way, about, stored)
    try:
        program.prepare(image)
        rivals.settle()
        steps.step("full", [(nothing, lambda: program.take(image))])
        steps.step(f"{INCREMENTS} increments", [(change, lambda: program.take(image))] * INCREMENTS)
        steps.step("delete every second", [(nothing, program.delete_half)])
        steps.step("restore", [(nothing, program.restore)])
        subprocess.run(
            ["cmp", "-n", str(image.stat().st_size), str(image), str(program.restored(work / "out"))], check=True
        )
    finally:
        getattr(program, "end", nothing)()


def make(kind: str, size: int, work: Path) -> Path:
    """Make an image of files of this machine, or of random bytes."""
    image = work / "original.img"
    if kind == "files":
        build_image(image, work / "staging", size)
        return image
    rng = np.random.default_rng(1)
    with image.open("wb") as file:
        for _ in range(size // MIB):
            file.write(rng.bytes(MIB))
    return image


@contextlib.contextmanager
def scratch(directory: Path) -> Iterator[Path]:
    """Have a directory; its path is short, for sockets."""
    made = Path(tempfile.mkdtemp(prefix="cost-", dir=directory))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mb", type=int, default=1000)
    parser.add_argument("--rtt", type=float, nargs="+", default=[0.0, 20.0, 200.0])
    parser.add_argument("--mbit", type=float, default=1000.0)
    parser.add_argument("--data", default="files", choices=("files", "random"))
    parser.add_argument("--programs", nargs="+", default=list(PROGRAMS), choices=list(PROGRAMS))
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"))
    options = parser.parse_args()
    programs = [name for name in options.programs if name == "drystone" or shutil.which(name)]
    with scratch(options.directory) as place:
        original = make(options.data, options.mb * 1_000_000, place)
        print(f"{original.stat().st_size / 1e6:.0f} MB, {options.mbit:.0f} Mbit/s; programs: {', '.join(programs)}")
        for rtt_ms in options.rtt:
            for name in programs:
                with (
                    scratch(place) as work,
                    s3_server(work, keep_alive=True) as s3,
                    link(s3.port, rtt_ms=rtt_ms, mbit_per_s=options.mbit) as way,
                ):
                    run(name, original, work, s3, way, f"{rtt_ms:g} ms")


if __name__ == "__main__":
    main()

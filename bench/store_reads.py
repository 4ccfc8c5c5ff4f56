"""What reading snapshots from a bucket costs beside a directory: requests, seconds, processor time.

Usage: python -m bench.store_reads [--mib N] [--deltas N] [--data random|usr] [--link RTT_MS:MBIT[:LOSS] ...]. The
directory comes first; losses are in percent. `--plain` reads a bucket as a directory is read; `--served` measures the
snapshot server alone; `--boots` reads as a system does that starts, with and without the order of the last start;
`--uploads` writes instead; `--capped` is as in `bench/link.py`. It needs versitygw (`./dev s3` builds it) and nbdcopy.
"""

import argparse
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random, SystemRandom

import msgspec
import numpy as np
from tests.s3_server import s3_server
from tests.snapstore.model_snapshots import manifest_of

from bench.link import link
from bench.store_pipeline import cpu_seconds
from drystone.domain.blocks import BLOCK_BYTES
from drystone.domain.ids import SessionId, StoreId
from drystone.nbd.client import NbdClient
from drystone.nbd.connection import ServerLimits
from drystone.nbd.server import NbdServer
from drystone.objects.contract import ObjectStore
from drystone.objects.local import LocalStore
from drystone.objects.measured import Measured, Tally
from drystone.objects.s3 import S3Store
from drystone.snapstore.far import Far
from drystone.snapstore.local_cache import LocalCache
from drystone.snapstore.manifests import write_manifest
from drystone.snapstore.reader import SnapshotReader
from drystone.snapstore.store import Store, create_store, hex128, open_store
from drystone.snapstore.writer import SnapshotWriter
from drystone.transfer.snapserver import SnapshotProvider

MIB = 1 << 20
STORE = StoreId("bench")
BOOT_FILES = 300
Open = Callable[[ObjectStore], Store]


def content(kind: str, size: int, rng: Random) -> Iterator[bytes]:
    """Yield a disk's content, a MiB at a time."""
    if kind == "random":
        yield from (rng.randbytes(MIB) for _ in range(size // MIB))
        return
    command = ["tar", "-C", "/usr", "-cf", "-", "lib", "bin", "share"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as tar:
        assert tar.stdout is not None
        yield from (tar.stdout.read(MIB).ljust(MIB, b"\0") for _ in range(size // MIB))
        tar.kill()


def make(root: Path, kind: str, size: int, deltas: int) -> list[str]:
    """Write a full snapshot and deltas of 1,000 blocks; return the names of their manifests."""
    rng = Random(1)
    store = create_store(LocalStore(root, floor_bytes=0), STORE, "0" * 32, rng.randbytes(32))
    names: list[str] = []
    base: SnapshotReader | None = None
    for number in range(1 + deltas):
        session = SessionId(hex128(rng))
        writer = SnapshotWriter(store=store, session=session, rng=rng, base=base)
        if base is None:
            for at, data in enumerate(content(kind, size, rng)):
                writer.write(at * MIB // BLOCK_BYTES, data)
        else:
            for block in sorted(rng.sample(range(size // BLOCK_BYTES), 1000)):
                writer.write(block, rng.randbytes(BLOCK_BYTES))
        manifest = manifest_of(
            store, snapshot=f"snap-{number:08d}", session=session, written=writer.finish(), size_bytes=size, base=base
        )  # fmt: skip
        names.append(write_manifest(store, manifest))
        base = SnapshotReader.open(store, names[-1])
    return names


class Place:
    """Where snapshots are read from, and what was asked of it."""

    def __init__(self, name: str, inner: ObjectStore, opened: Open, size: int, work: Path) -> None:
        self._name, self._opened, self._size, self._work = name, opened, size, work
        self._tally = Tally()
        self._objects = Measured(inner=inner, store=name, tally=self._tally)

    def timed(self, what: str, act: Callable[[Store], object], *, moved: int = 0, times: int = 1) -> None:
        """Do something some times, each with a store that was opened anew, and print the median."""
        taken, spent, done = [], 0.0, Tally()
        for _ in range(times):
            store = self._opened(self._objects)
            self._tally.take()  # Of opening the store.
            began, cpu = time.perf_counter(), cpu_seconds()
            act(store)
            taken.append(time.perf_counter() - began)
            spent += cpu_seconds() - cpu
            done.add(*self._tally.take())
        counts = done.counts()
        requests = " ".join(f"{one.kind} {one.requests / times:.0f}" for one in counts)
        got = sum(one.bytes for one in counts) / times / MIB
        seconds = statistics.median(taken)
        rate = f"{moved / seconds / MIB:6.1f} MiB/s" if moved else " " * 12
        print(
            f"{self._name:30} {what:34} {seconds:7.3f} s {rate} cpu {spent / times:5.2f} s {got:7.2f} MiB  {requests}",
            flush=True,
        )  # fmt: skip

    def measure(self, first: str, late: str, times: int, *, served: bool) -> None:
        """Do all measurements, of the first snapshot and of the last; or those of the snapshot server alone."""
        size = self._size
        if served:
            self.timed("snapshot server, 8 x 1 MiB", lambda store: self._served(store, first), moved=size, times=times)
            return

        def read(name: str, at: int = size // 2) -> Callable[[Store], object]:
            return lambda store: SnapshotReader.open(store, name).read(at, BLOCK_BYTES)

        def scattered(store: Store) -> None:
            reader = SnapshotReader.open(store, late)
            for block in np.random.default_rng(3).integers(0, size // BLOCK_BYTES, 50).tolist():
                reader.read(block * BLOCK_BYTES, BLOCK_BYTES)

        def sequential(store: Store) -> None:
            reader = SnapshotReader.open(store, first)
            for at in range(0, size, MIB):
                reader.read(at, MIB)

        self.timed("open", lambda store: SnapshotReader.open(store, first), times=times)
        self.timed("first 4 KiB, one map", read(first), times=times)
        self.timed("first 4 KiB, late snapshot", read(late), times=times)
        self.timed("base check of a delta: all maps", lambda store: SnapshotReader.open(store, late).packs, times=times)
        self.timed("50 x 4 KiB, scattered", scattered, times=times)
        self.timed("sequential read, 1 MiB each", sequential, moved=size, times=times)
        self.timed("snapshot server, 8 x 1 MiB", lambda store: self._served(store, first), moved=size, times=times)
        self.timed("the same, late snapshot", lambda store: self._served(store, late), moved=size, times=times)

    def uploads(self, times: int) -> None:
        """Write a full snapshot of random bytes, which are made before."""
        rng = Random(2)
        pieces = [rng.randbytes(MIB) for _ in range(64)]

        def act(store: Store) -> None:
            writer = SnapshotWriter(store=store, session=SessionId(hex128(SystemRandom())), rng=SystemRandom())
            for at in range(self._size // MIB):
                writer.write(at * MIB // BLOCK_BYTES, pieces[at % 64])
            writer.finish()

        self.timed("upload of a full snapshot", act, moved=self._size, times=times)

    def boots(self, name: str, cache: Path, times: int) -> None:
        """Read what a start reads, one after the other; with the order of the last start, and without."""
        rng = np.random.default_rng(4)
        files = rng.integers(0, self._size // (256 << 10), BOOT_FILES)
        trace = [
            (int(file) * (256 << 10) + at * (16 << 10), 16 << 10)
            for file in files.tolist()
            for at in range(int(rng.integers(1, 5)))
        ]

        def act(store: Store) -> None:
            socket = self._work / "nbd.sock"
            export = "/".join(name.removesuffix(".manifest").split("/")[-2:])
            limits = ServerLimits(request_threads=16)
            with NbdServer(socket, SnapshotProvider(store), limits=limits), NbdClient(socket, export) as client:
                for at, length in trace:
                    client.pread(at, length)

        order = cache / LocalCache(cache)._path("boot/disk-aaaaaaaa", "order").name  # noqa: SLF001 - to remove it
        moved = sum(length for _, length in trace)
        act(self._opened(self._objects))  # Maps and indexes are in the cache for both.
        assert order.exists(), "the order was not noted"
        for _ in range(times):
            order.unlink()
            self.timed("a start, order not known", act, moved=moved)
            self.timed("a start, order known", act, moved=moved)

    def _served(self, store: Store, name: str) -> None:
        """Read a snapshot through the snapshot server, as a storage daemon does that hydrates a disk."""
        socket = self._work / "nbd.sock"
        export = "/".join(name.removesuffix(".manifest").split("/")[-2:])
        with NbdServer(socket, SnapshotProvider(store)):
            subprocess.run(
                ["nbdcopy", "--requests=8", "--connections=1", f"--request-size={MIB}", "--no-extents",
                 f"nbd+unix:///{export}?socket={socket}", "null:"], check=True,
            )  # fmt: skip


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--deltas", type=int, default=23)
    parser.add_argument("--data", default="random", choices=("random", "usr"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--link", nargs="*", default=["20:1000"])
    parser.add_argument("--capped", action="store_true")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--served", action="store_true")
    parser.add_argument("--boots", action="store_true")
    parser.add_argument("--uploads", action="store_true")
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="store-reads-", dir="/var/tmp"))
    size = options.mib * MIB

    def near(objects: ObjectStore) -> Store:
        return open_store(objects, STORE)

    def far(objects: ObjectStore) -> Store:
        return open_store(objects, STORE, Far())

    def cached(objects: ObjectStore) -> Store:

        return open_store(objects, STORE, Far(LocalCache(work / "cache")))

    try:
        with s3_server(work, keep_alive=True) as server:
            address = server.address("bucket", work / "keys")
            root = server.bucket("bucket")
            names = make(root, options.data, size, options.deltas)
            directory = Place("directory", LocalStore(root, 0), near, size, work)
            if options.uploads:
                directory.uploads(options.repeats)
            elif not options.boots:
                directory.measure(names[0], names[-1], options.repeats, served=options.served)
            for one in options.link:
                rtt, rate, loss = (*one.split(":"), "0", "0")[:3]
                with link(
                    server.port, rtt_ms=float(rtt), mbit_per_s=float(rate), loss_percent=float(loss),
                    capped=options.capped,
                ) as way:  # fmt: skip
                    objects = S3Store(msgspec.structs.replace(address, endpoint=f"http://127.0.0.1:{way.port}"))
                    for what, opened in (("", near),) if options.plain else (("", far), (", cache", cached)):
                        about = f"{rtt} ms {rate} Mbit/s {loss} %{' capped' if options.capped else ''}{what}"
                        place = Place(about, objects, opened, size, work)
                        if options.uploads:
                            if opened is far:
                                place.uploads(options.repeats)
                        elif not options.boots:
                            place.measure(names[0], names[-1], options.repeats, served=options.served)
                        elif opened is cached:
                            place.boots(names[-1], work / "cache", options.repeats)
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()

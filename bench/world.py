"""What the rows share: how much to do, where, one image of real data, and installations to do it on."""

import contextlib
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tests.system.harness import Installation

from bench.client import CallError, Client, wait
from bench.figures import Figure, Goal
from bench.stalls import Stalls
from bench.tree import build_image
from drystone.nbd.client import NbdClient

MIB = 1 << 20
GIB = 1 << 30
BLOCK = 4096
LARGE_GIB = 10 * 1024
LARGE_TYPE = "CLOUD_SSD"
REFUSED_S_MAX = 10
"""How long a disk may refuse its next snapshot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured."""

    quick: bool
    data_bytes: int
    repeats: int
    """How often what takes long is measured."""
    short_repeats: int
    """How often what takes a second or less is measured."""
    freezes: int
    quiet_s: float
    """How long a guest is measured without a snapshot."""
    load_s: float
    many_snapshots: int
    history: int
    """How many snapshots a disk has when it is late in its history."""


def plan(*, quick: bool, size_gb: float | None) -> Plan:
    """Return what a quick or a full run does; `size_gb` overrides the size of the file tree, in 10^9 bytes."""
    size = int((size_gb or (2 if quick else 5)) * 1e9)
    if quick:
        return Plan(
            quick=True, data_bytes=size, repeats=1, short_repeats=3, freezes=15, quiet_s=4, load_s=2,
            many_snapshots=20_000, history=7,
        )  # fmt: skip
    return Plan(
        quick=False, data_bytes=size, repeats=3, short_repeats=7, freezes=50, quiet_s=10, load_s=5,
        many_snapshots=100_000, history=29,
    )  # fmt: skip


class Server(Installation):
    """An installation with a lean client and the steps that rows share."""

    def __init__(self, data: Path, settings: str) -> None:
        super().__init__(data)
        (data / "drystone.toml").write_text(settings)
        self._client: Client | None = None

    @property
    def client(self) -> Client:
        """A client of the server as it runs now."""
        if self._client is None:
            self._client = Client(self.environment)
        return self._client

    def start(self) -> float:
        """Start it; the client is a new one, since the port is."""
        if self._client is not None:
            self._client.close()
            self._client = None
        return super().start()

    def cpu_seconds(self) -> float:
        """Return the processor time that server, workers and daemons have used; a busy machine changes it little."""
        assert self.process is not None
        server = self.process.pid
        children = [int(pid) for pid in Path(f"/proc/{server}/task/{server}/children").read_text().split()]
        total = 0.0
        for pid in (server, *children, *self.daemons().values()):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                # utime, stime, and those of children that have ended; the name before ")" may hold blanks.
                total += sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")
        return total

    def new_disk(self, size_gib: int = 20, disk_type: str = LARGE_TYPE) -> str:
        """Make and attach an empty disk."""
        disk_id = self.create_disk(size_gib, DiskType=disk_type)
        wait(lambda: self.client.disk_state(disk_id) == "UNATTACHED", f"{disk_id} made")
        self.attach(disk_id)
        return disk_id

    def uri(self, disk_id: str) -> str:
        """Return the NBD URI of an attached disk."""
        return str(self.client.detail(disk_id)["NbdUri"])

    def fill(self, disk_id: str, image: Path) -> None:
        """Write an image to an attached disk, and settle."""
        subprocess.run(["nbdcopy", "--flush", str(image), self.uri(disk_id)], check=True, capture_output=True)
        subprocess.run(["sync"], check=True)

    def scatter(self, disk_id: str, blocks: Sequence[int], rng: np.random.Generator) -> None:
        """Write random bytes to these blocks, and flush."""
        self.write_all(disk_id, ((int(block) * BLOCK, rng.bytes(BLOCK)) for block in blocks))

    def write_all(self, disk_id: str, items: Iterable[tuple[int, bytes]]) -> None:
        """Write (start byte, data) items of at most 32 MiB, and flush."""
        with self.nbd(disk_id) as client:
            for _ in client.write_ranges(items, depth=16):
                pass
            client.flush()

    def limit(self, disk_id: str, settings: str) -> None:
        """Serve with other settings, which an attached disk has from now on: filling it at its limits takes minutes."""
        self.detach(disk_id)
        self.stop()
        (self.data / "drystone.toml").write_text(settings)
        self.start()
        self.attach(disk_id)

    def timed_take(self, disk_id: str) -> "Taken":
        """Take a snapshot and wait until it is NORMAL; the clock starts with the call that is accepted."""
        deadline = time.monotonic() + REFUSED_S_MAX
        snapshot_id, began, called = "", 0.0, 0.0
        while not snapshot_id:
            began, called = time.monotonic(), time.time()
            try:
                snapshot_id = str(self.client.call("CreateSnapshot", DiskId=disk_id)["SnapshotId"])
            except CallError as error:
                # The one before is NORMAL a moment before its frozen view is gone.
                if error.code != "ResourceUnavailable.SnapshotCreating" or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        replied = time.monotonic()
        ended = wait(lambda: self.client.snapshot_is_normal(snapshot_id), f"{snapshot_id} NORMAL")
        return Taken(
            id=snapshot_id, called_at=called, reply_ms=(replied - began) * 1000, seconds=ended - began,
        )  # fmt: skip

    def drop_snapshots(self, ids: Sequence[str]) -> None:
        """Delete snapshots and wait until it is done."""
        self.client.call("DeleteSnapshots", SnapshotIds=list(ids))
        self.wait_idle()

    def drop_disk(self, disk_id: str) -> None:
        """Detach and terminate a disk."""
        self.detach(disk_id)
        self.client.call("TerminateDisks", DiskIds=[disk_id])
        wait(lambda: self.client.disk_state(disk_id) == "", f"{disk_id} gone")


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A snapshot, timed."""

    id: str
    called_at: float
    """Seconds since the epoch."""
    reply_ms: float
    seconds: float
    """From the call to NORMAL, as a client sees it."""

    @property
    def replied_at(self) -> float:
        """When the reply was there, seconds since the epoch."""
        return self.called_at + self.reply_ms / 1000

    @property
    def normal_at(self) -> float:
        """When it was seen NORMAL, seconds since the epoch."""
        return self.called_at + self.seconds


@dataclass(slots=True, kw_only=True)
class World:
    """What a row is given. The only state is the image, which is made when a row first wants it."""

    plan: Plan
    work: Path
    say: Callable[[str], None]
    stalls: Stalls
    given: Path | None = None
    """An image that is there already; nobody writes to it."""
    _image: Path | None = field(default=None, init=False)

    def image(self) -> Path:
        """Return the raw image of real data, in the page cache."""
        if self._image is None and self.given is not None:
            self._image = self.given
        if self._image is None:
            made = self.work / "disk.img"
            self.say(f"making an image of about {self.plan.data_bytes / 1e9:g} GB of files")
            build_image(made, self.work / "staging", self.plan.data_bytes)
            self._image = made
        with self._image.open("rb") as file:
            while file.read(8 << 20):
                pass
        return self._image

    def image_gb(self) -> float:
        """Return the size of the image in GB."""
        return self.image().stat().st_size / 1e9

    @contextlib.contextmanager
    def server(self, settings: str = "rate_limits = false\nthrottle = false\n") -> Iterator[Server]:
        """Start an installation of its own; nothing of it is left when this returns."""
        # Short: unix sockets are below it.
        made = Server(self.work / "d", settings)
        try:
            made.start()
            yield made
        except CallError:
            # Its directory is about to go.
            self.say(f"the last lines of the server's log:\n{made.log()[-4000:]}")
            raise
        finally:
            made.clean_up()
            shutil.rmtree(made.data, ignore_errors=True)

    @contextlib.contextmanager
    def scratch(self, name: str) -> Iterator[Path]:
        """Make a directory, and remove it at the end."""
        path = self.work / name
        path.mkdir(parents=True, exist_ok=True)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def median(
    row: str, what: str, samples: Sequence[float], unit: str, goal: Goal | None = None, note: str = ""
) -> Figure:
    """Return the figure that is the median of samples."""
    return Figure(
        row=row, what=what, value=statistics.median(samples), unit=unit, goal=goal, note=note, samples=tuple(samples)
    )


def first_bytes(uri: str, disk_id: str, start: int, length: int) -> bytes:
    """Connect to a disk, read, and leave."""
    with NbdClient(Path(uri.partition("socket=")[2]), disk_id) as client:
        return bytes(client.pread(start, length))

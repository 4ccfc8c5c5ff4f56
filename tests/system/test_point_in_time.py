"""P1: the image of a snapshot is the disk at one instant between the call and its reply, under concurrent writes.

Lanes write stamped blocks, each lane one request at a time, and note when each request was sent and acknowledged.
An image is right if there is one instant T, from the sending of CreateSnapshot to its reply, such that every lane's
part of the image is what a prefix of its requests leaves, the last of which was sent before T and the next of which was
acknowledged after T. So every request acknowledged before the call is in, none sent after the reply is, and no request
is in that was sent after one that is not in was acknowledged, across all lanes.
"""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pytest

from drystone.nbd.client import NbdClient
from tests.system.harness import SECONDS, Installation

BLOCK = 4096
CHUNK_BLOCKS = 16
"""A lane's unit: 64 KiB, a cluster of the image, so that a whole one can be trimmed to zeros."""
LANES = 6
CHUNKS_PER_LANE = 16
AREA = LANES * CHUNKS_PER_LANE * CHUNK_BLOCKS * BLOCK
CYCLES, CYCLES_LONG = 5, 20
REQUESTS_BETWEEN = 300
REQUESTS_MAX = 100_000
"""A lane that got so far would have filled memory: the test hangs."""
Stamps = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a lane did: `blocks` blocks from `first` (numbered within the lane) became `stamp`, or zeros (0)."""

    first: int
    blocks: int
    stamp: int
    sent: float
    acked: float


@dataclass(slots=True)
class Lane:
    """One writer."""

    number: int
    log: list[Request] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A snapshot and the times around its call."""

    snapshot_id: str
    sent: float
    replied: float


NOISE = np.random.default_rng(99).integers(1, 1 << 63, BLOCK // 8, dtype=np.uint64)
"""What a stamp is multiplied with, so that blocks differ in every word and do not compress; zero stays zero."""


def stamped(first: int, count: int, stamp: int) -> bytes:
    """Return blocks; each says which it is (low 16 bits), and who wrote it when."""
    stamps = np.arange(first, first + count, dtype=np.uint64) | np.uint64(stamp << 16)
    return ((stamps[:, None] if stamp else np.zeros((count, 1), np.uint64)) * (NOISE | np.uint64(1))).tobytes()


def disk_block(lane: int, block: int) -> int:
    """Lanes take turns, chunk by chunk, so that neighbours in the image belong to different lanes."""
    chunk, rest = divmod(block, CHUNK_BLOCKS)
    return (chunk * LANES + lane) * CHUNK_BLOCKS + rest


def stamps_of(image: bytes, lane: int) -> Stamps:
    """Return which request each block of a lane shows; fails on a block that no request wrote so."""
    words = np.frombuffer(image, np.uint64).reshape(-1, CHUNK_BLOCKS, BLOCK // 8)[lane::LANES].reshape(-1, BLOCK // 8)
    odd = NOISE | np.uint64(1)
    inverse = np.uint64(pow(int(odd[0]), -1, 1 << 64))
    values = words[:, 0] * inverse
    assert (words == values[:, None] * odd).all(), f"lane {lane} shows a block that was never written"
    blocks = np.arange(len(values), dtype=np.uint64)
    assert ((values == 0) | (values & np.uint64(0xFFFF) == blocks)).all(), f"lane {lane} shows a block of elsewhere"
    return values >> np.uint64(16)


def possible(log: list[Request], seen: Stamps, sent: float, replied: float) -> list[tuple[float, float]]:
    """Return, for each prefix of the log that leaves `seen`, the instants at which it may have been cut."""
    state = np.zeros_like(seen)
    found = []
    for count in range(len(log) + 1):
        if count:
            request = log[count - 1]
            if request.sent > replied:
                break
            state[request.first : request.first + request.blocks] = request.stamp
        earliest = max(sent, log[count - 1].sent if count else sent)
        latest = min(replied, log[count].acked if count < len(log) else replied)
        if earliest <= latest and (state == seen).all():
            found.append((earliest, latest))
    return found


def instant(image: bytes, lanes: list[Lane], sent: float, replied: float) -> float:
    """Return an instant at which the disk was as the image; fails if there was none between the call and its reply."""
    ranges = []
    for lane in lanes:
        found = possible(lane.log, stamps_of(image, lane.number), sent, replied)
        assert found, f"no prefix of lane {lane.number} leaves this image"
        ranges.append(found)
    for at in sorted({earliest for found in ranges for earliest, _ in found}):
        if all(any(earliest <= at <= latest for earliest, latest in found) for found in ranges):
            return at
    raise AssertionError("each lane has a prefix that fits, but at no common instant")


def write_lane(lane: Lane, client: NbdClient, stop: threading.Event) -> None:
    rng = np.random.default_rng(1000 + lane.number)
    while not stop.is_set():
        number = len(lane.log) + 1
        assert number < REQUESTS_MAX
        chunk = int(rng.integers(0, CHUNKS_PER_LANE))
        start = int(rng.integers(0, CHUNK_BLOCKS))
        count = int(rng.integers(1, CHUNK_BLOCKS - start + 1))
        kind = rng.random()
        if kind < 0.05:
            start, count = 0, CHUNK_BLOCKS
        first = chunk * CHUNK_BLOCKS + start
        stamp = 0 if kind < 0.10 else number
        data = stamped(first, count, stamp)
        at, length = disk_block(lane.number, first) * BLOCK, count * BLOCK
        sent = time.monotonic()
        if kind < 0.05:
            client.trim(at, length)
        elif kind < 0.10:
            client.zero(at, length)
        else:
            client.pwrite(at, data)
        acked = time.monotonic()
        lane.log.append(Request(first=first, blocks=count, stamp=stamp, sent=sent, acked=acked))


@contextmanager
def writing(system: Installation, disk_id: str, lanes: list[Lane]) -> Iterator[None]:
    """Run all lanes beside the block; what one of them raises is raised at the end."""
    stop, errors = threading.Event(), list[BaseException]()

    def run(lane: Lane) -> None:
        try:
            with system.nbd(disk_id) as client:
                write_lane(lane, client, stop)
        except BaseException as error:  # noqa: BLE001 - handed to the test, which raises it
            errors.append(error)

    threads = [threading.Thread(target=run, args=(lane,)) for lane in lanes]
    try:
        for thread in threads:
            thread.start()
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(SECONDS)
        assert not errors, errors


def more_requests(lanes: list[Lane]) -> Callable[[], bool]:
    """Return a condition: every lane has made some requests since now."""
    wanted = [len(lane.log) + REQUESTS_BETWEEN // LANES for lane in lanes]
    return lambda: all(len(lane.log) >= count for lane, count in zip(lanes, wanted, strict=True))


def take_cuts(system: Installation, disk_id: str, lanes: list[Lane], cycles: int) -> list[Cut]:
    cuts = []
    for _ in range(cycles):
        system.wait(more_requests(lanes), "requests of all lanes")
        sent = time.monotonic()
        snapshot_id = str(system.call("CreateSnapshot", DiskId=disk_id).SnapshotId)
        cuts.append(Cut(snapshot_id=snapshot_id, sent=sent, replied=time.monotonic()))
        system.wait_normal(snapshot_id)
    system.wait(more_requests(lanes), "requests of all lanes")
    return cuts


def test_every_snapshot_is_the_disk_at_one_instant_of_its_call(system: Installation, *, long: bool) -> None:
    cycles = CYCLES_LONG if long else CYCLES
    disk_id = system.create_disk()
    system.attach(disk_id)
    lanes = [Lane(number) for number in range(LANES)]
    with writing(system, disk_id, lanes):
        cuts = take_cuts(system, disk_id, lanes, cycles)
    final = time.monotonic()
    last = system.take(disk_id)
    live = system.read(disk_id, 0, AREA)
    assert instant(live, lanes, final, final) == final
    assert system.stored(last).read(0, AREA) == live
    images = [bytes(system.stored(cut.snapshot_id).read(0, AREA)) for cut in cuts]
    for cut, image in zip(cuts, images, strict=True):
        assert cut.sent <= instant(image, lanes, cut.sent, cut.replied) <= cut.replied
    records = [system.record(cut.snapshot_id) for cut in cuts]
    assert [record["Tracking"] for record in records] == ["full", *["delta"] * (cycles - 1)]
    assert [record["ParentSnapshotId"] for record in records[1:]] == [cut.snapshot_id for cut in cuts[:-1]]
    # The check itself sees a snapshot that was cut too early or too late.
    for early, late in itertools.pairwise(cuts):
        with pytest.raises(AssertionError):
            instant(images[cuts.index(early)], lanes, late.sent, late.replied)
        with pytest.raises(AssertionError):
            instant(images[cuts.index(late)], lanes, early.sent, early.replied)
    # Any snapshot of the chain may go; the others read as before.
    system.call("DeleteSnapshots", SnapshotIds=[cut.snapshot_id for cut in cuts[::2]])
    system.wait_idle()
    for cut, image in zip(cuts[1::2], images[1::2], strict=True):
        assert system.stored(cut.snapshot_id).read(0, AREA) == image


def _history() -> tuple[list[Lane], bytes]:
    """Two lanes, each with three requests of one second; and the image at 2.5."""
    lanes = [Lane(0), Lane(1)]
    for lane in lanes:
        for number in (1, 2, 3):
            lane.log.append(Request(first=number, blocks=1, stamp=number, sent=number, acked=number + 0.75))
    image = bytearray(AREA)
    for lane in lanes:
        for request in lane.log[:2]:
            at = disk_block(lane.number, request.first) * BLOCK
            image[at : at + BLOCK] = stamped(request.first, 1, request.stamp)
    return lanes, bytes(image)


def test_the_check_accepts_only_an_instant() -> None:
    lanes, image = _history()
    assert 2.0 <= instant(image, lanes, 1.9, 3.1) <= 3.1
    with pytest.raises(AssertionError, match="no prefix"):
        instant(image, lanes, 0.0, 1.9)  # A request that was sent after the reply is in.
    with pytest.raises(AssertionError, match="no prefix"):
        instant(image, lanes, 3.8, 4.0)  # A request that was acknowledged before the call is missing.
    at = disk_block(1, 2) * BLOCK + 5
    with pytest.raises(AssertionError, match="never written"):
        instant(image[:at] + bytes([image[at] ^ 1]) + image[at + 1 :], lanes, 1.9, 3.1)
    # Lane 1 a second later: each lane has a prefix that fits, but lane 0's next was acknowledged before it was sent.
    lanes[1].log[:] = [replace(request, sent=request.sent + 2, acked=request.acked + 2) for request in lanes[1].log]
    with pytest.raises(AssertionError, match="no common instant"):
        instant(image, lanes, 1.9, 6.0)

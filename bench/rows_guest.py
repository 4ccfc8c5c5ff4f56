"""What a guest notices of snapshots."""

import math
import statistics
import time
from collections.abc import Iterator, Sequence

from bench.figures import Figure, Goal, at_least, at_most
from bench.guest import Guest, Requests
from bench.world import GIB, MIB, Taken, World, median

DEPTH = 8
AREA_BYTES = 256 * MIB


CASES = (
    ("as sold, CLOUD_SSD 20 GiB: 2,400 IOPS", "rate_limits = false\nthrottle = true\n"),
    ("free of limits", "rate_limits = false\nthrottle = false\n"),
)


def create_snapshot(world: World) -> Iterator[Figure]:
    """CreateSnapshot, again and again, while a guest writes at random; as its type is sold, then free of limits."""
    for name, settings in CASES:
        with world.server() as server, world.scratch("guest") as directory:
            disk_id = server.new_disk()
            # Allocated before: a freeze is measured, not the growth of a file.
            piece = bytes(range(256)) * (MIB // 256)
            server.write_all(disk_id, ((start, piece) for start in range(0, AREA_BYTES, MIB)))
            server.timed_take(disk_id)
            server.limit(disk_id, settings)
            with Guest(
                uri=server.uri(disk_id), directory=directory, pattern="randwrite", size_bytes=AREA_BYTES, depth=DEPTH
            ) as fio:
                began = time.time()
                time.sleep(world.plan.quiet_s)
                quiet = time.time()
                taken = [server.timed_take(disk_id) for _ in range(world.plan.freezes)]
                writes = fio.finish()
            freeze_ms = [float(server.client.record(one.id)["FreezeMs"]) for one in taken]
        stalls = world.stalls.spans()
        row = f"create_snapshot, {name}"
        stood = world.stalls.stood_s(began, taken[-1].normal_at) / (taken[-1].normal_at - began)
        note = (
            f"{len(taken)} times, guest at {writes.rate(began, quiet):,.0f} writes/s without snapshots, depth {DEPTH}"
        )
        replies = [
            (one.reply_ms, one.reply_ms - world.stalls.stood_s(one.called_at, one.replied_at) * 1000) for one in taken
        ]
        yield from _spread(row, "reply", replies, at_most(50), note)
        yield median(row, "freeze as recorded, median", freeze_ms, "ms", None, f"slowest {max(freeze_ms):.3g} ms")
        across = [writes.slowest_across(one.called_at, one.replied_at, stalls) for one in taken]
        yield from _spread(row, "slowest guest write across a freeze", across, at_most(25))
        # What the machine itself does to a write: the same span of time, with no snapshot anywhere.
        span = statistics.median(one.reply_ms for one in taken) / 1000
        control = [
            writes.slowest_across(began + i * span, began + (i + 1) * span, stalls)
            for i in range(int((quiet - began) / span))
        ]
        yield from _spread(row, "slowest guest write in as long a span, no snapshot", control)
        yield Figure(row=row, what="of the time, the machine stood still", value=stood * 100, unit="%")


def _spread(
    row: str, what: str, pairs: Sequence[tuple[float, float]], goal: Goal | None = None, note: str = ""
) -> Iterator[Figure]:
    """Return median and maximum of times in ms, as the clock has them, and less the times when the machine stood."""
    for index, name in enumerate(("", ", less stalls of the machine")):
        samples = [pair[index] for pair in pairs if not math.isnan(pair[index])]
        if samples:
            yield median(row, f"{what}{name}, median", samples, "ms", goal, note)
            yield Figure(row=row, what=f"{what}{name}, maximum", value=max(samples), unit="ms", goal=goal)


def guest_during_upload(world: World) -> Iterator[Figure]:
    """A guest before, during and after the upload of a full snapshot; free of limits, then as its type is sold."""
    row = "guest_during_upload"
    for name, settings in CASES:
        with world.server() as server, world.scratch("guest") as directory:
            disk_id = server.new_disk()
            server.fill(disk_id, world.image())
            server.limit(disk_id, settings)
            size = min(GIB, world.image().stat().st_size)
            with Guest(
                uri=server.uri(disk_id), directory=directory, pattern="randrw", size_bytes=size, depth=DEPTH
            ) as fio:
                began = time.time()
                time.sleep(world.plan.quiet_s)
                taken = server.timed_take(disk_id)
                after = time.time()
                time.sleep(world.plan.quiet_s)
                ended = time.time()
                requests = fio.finish()
        yield from _compare(row, name, requests, (began, after, ended), taken)


def _compare(
    row: str, name: str, requests: Requests, times: tuple[float, float, float], taken: Taken
) -> Iterator[Figure]:
    began, after, ended = times
    before = requests.rate(began, taken.called_at)
    during = requests.rate(taken.replied_at, taken.normal_at)
    later = requests.rate(after, ended)
    p99 = requests.percentile(began, taken.called_at, 99)
    p99_during = requests.percentile(taken.replied_at, taken.normal_at, 99)
    note = f"{before:,.0f}/s before, {during:,.0f}/s during {taken.seconds:.2f} s, {later:,.0f}/s after"
    yield Figure(
        row=row, what=f"throughput kept, {name}", value=during / before, unit="x", goal=at_least(0.8), note=note
    )
    note = f"{p99:.3g} ms before, {p99_during:.3g} ms during; 4k, 70 % reads, depth {DEPTH}"
    yield Figure(row=row, what=f"p99 latency, {name}", value=p99_during / p99, unit="x", goal=at_most(2), note=note)

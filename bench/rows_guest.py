"""What a guest notices of snapshots."""

import time
from collections.abc import Iterator

from bench.figures import Figure, at_least, at_most
from bench.guest import Guest, Requests
from bench.world import GIB, MIB, Taken, World, median

DEPTH = 8
AREA_BYTES = 256 * MIB


def create_snapshot(world: World) -> Iterator[Figure]:
    """CreateSnapshot, again and again, while a guest writes at random."""
    row = "create_snapshot"
    with world.server() as server, world.scratch("guest") as directory:
        disk_id = server.new_disk()
        # Allocated before: a freeze is measured, not the growth of a file.
        piece = bytes(range(256)) * (MIB // 256)
        server.write_all(disk_id, ((start, piece) for start in range(0, AREA_BYTES, MIB)))
        server.timed_take(disk_id)
        with Guest(
            uri=server.uri(disk_id), directory=directory, pattern="randwrite", size_bytes=AREA_BYTES, depth=DEPTH
        ) as fio:
            began = time.time()
            time.sleep(world.plan.quiet_s)
            quiet = time.time()
            taken = [server.timed_take(disk_id) for _ in range(world.plan.freezes)]
            writes = fio.finish()
        freeze_ms = [float(server.client.record(one.id)["FreezeMs"]) for one in taken]
    replies = [one.reply_ms for one in taken]
    slowest = [writes.slowest_across(one.called_at, one.replied_at) for one in taken]
    note = f"{len(taken)} times, guest at {writes.rate(began, quiet):,.0f} writes/s without snapshots, depth {DEPTH}"
    yield median(row, "reply, median", replies, "ms", at_most(50), note)
    yield Figure(row=row, what="reply, slowest", value=max(replies), unit="ms", goal=at_most(50))
    yield median(row, "freeze as recorded, median", freeze_ms, "ms", None, f"slowest {max(freeze_ms):.3g} ms")
    yield median(row, "slowest guest write across a freeze, median", slowest, "ms", at_most(25))
    yield Figure(row=row, what="slowest guest write across any freeze", value=max(slowest), unit="ms", goal=at_most(25))
    # What the machine itself does to a write: the same span of time, with no snapshot anywhere.
    span = sorted(replies)[len(replies) // 2] / 1000
    spells = int((quiet - began) / span)
    control = [writes.slowest_across(began + i * span, began + (i + 1) * span) for i in range(spells)]
    yield median(
        row, "slowest guest write in as long a span, no snapshot", control, "ms", None, f"max {max(control):.3g} ms"
    )


def guest_during_upload(world: World) -> Iterator[Figure]:
    """A guest before, during and after the upload of a full snapshot; free of limits, then as its type is sold."""
    cases = (
        ("free of limits", "rate_limits = false\nthrottle = false\n"),
        ("CLOUD_SSD 20 GiB: 2,400 IOPS", "rate_limits = false\nthrottle = true\n"),
    )
    row = "guest_during_upload"
    for name, settings in cases:
        with world.server() as server, world.scratch("guest") as directory:
            disk_id = server.new_disk()
            server.fill(disk_id, world.image())
            if "throttle = true" in settings:
                # The limits are set when a disk is attached; filling at them would take minutes.
                server.detach(disk_id)
                server.stop()
                (server.data / "drystone.toml").write_text(settings)
                server.start()
                server.attach(disk_id)
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

"""Snapshots of little change."""

from collections.abc import Iterator

import numpy as np

from bench.figures import Figure, at_most
from bench.world import BLOCK, GIB, LARGE_GIB, LARGE_TYPE, MIB, Server, Taken, World, median

WRITES = 1000


def incremental(world: World) -> Iterator[Figure]:
    """1,000 scattered writes, then a snapshot: on a small and a huge disk, early and late in its history."""
    row = "incremental"
    for name, size_gib, disk_type, goal_s in (
        ("10 GiB", 10, "CLOUD_PREMIUM", 0.5),
        ("10 TiB", LARGE_GIB, LARGE_TYPE, 1.0),
    ):
        rng = np.random.default_rng(17)
        with world.server() as server:
            disk_id = server.new_disk(size_gib, disk_type)
            server.write_all(disk_id, ((start * MIB, rng.bytes(MIB)) for start in range(64)))
            server.timed_take(disk_id)
            repeats = world.plan.short_repeats
            taken, stored = _take(server, disk_id, size_gib, rng, repeats)
            yield from _seconds(world, f"{name}, 1 to {repeats} snapshots before", taken, goal_s)
            yield median(row, f"{name}, stored per byte changed", stored, "", at_most(1.1))
            late = world.plan.history
            if repeats < late:
                _take(server, disk_id, size_gib, rng, late - repeats)
            taken, stored = _take(server, disk_id, size_gib, rng, repeats)
            yield from _seconds(world, f"{name}, {late + 1} to {late + repeats} snapshots before", taken, goal_s)
            yield median(row, f"{name}, stored per byte changed, late", stored, "", at_most(1.1))


def _seconds(world: World, what: str, taken: list[Taken], goal_s: float) -> Iterator[Figure]:
    row = "incremental"
    yield median(row, what, [one.seconds for one in taken], "s", at_most(goal_s))
    running = [world.stalls.running_s(one.called_at, one.seconds) for one in taken]
    yield median(row, f"{what}, less stalls of the machine", running, "s", at_most(goal_s))


def _take(
    server: Server, disk_id: str, size_gib: int, rng: np.random.Generator, many: int
) -> tuple[list[Taken], list[float]]:
    """Change and take a snapshot, again and again; return them, and bytes stored per byte changed."""
    snapshots, stored = [], []
    for _ in range(many):
        # Few blocks of many: that one is chosen twice hardly happens, and costs nothing.
        blocks = np.sort(rng.integers(0, size_gib * GIB // BLOCK, WRITES))
        server.scatter(disk_id, blocks.tolist(), rng)
        taken = server.timed_take(disk_id)
        record = server.client.record(taken.id)
        if record["Tracking"] != "delta":
            raise RuntimeError(f"not a delta: {record}")
        snapshots.append(taken)
        stored.append(record["StoredBytes"] / record["ChangedBytes"])
    return snapshots, stored

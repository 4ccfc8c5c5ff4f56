"""The control plane: how fast it answers, and how soon it is back."""

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.client import CallError
from bench.figures import Figure, at_least, at_most
from bench.world import MIB, Server, World, median

CONNECTIONS = 16


def api(world: World) -> Iterator[Figure]:
    """Describe calls, signed before, from another process."""
    row = "api"
    settings = "rate_limits = false\nthrottle = false\nsnapshots_per_region = 1_000_000\n"
    with world.server(settings) as server, world.scratch("load") as directory:
        disk_id = server.new_disk()
        server.write(disk_id, 0, bytes(range(256)) * 4096)
        server.timed_take(disk_id)
        for rows in (100, world.plan.many_snapshots):
            server.stop()
            _grow(server, rows)
            server.start()
            for name, raw in (
                ("DescribeSnapshots", server.client.raw("DescribeSnapshots")),
                ("DescribeSnapshots by disk", server.client.raw("DescribeSnapshots", Filters=_filter(disk_id))),
                ("DescribeDisks", server.client.raw("DescribeDisks", DiskIds=[disk_id])),
            ):
                cpu = server.cpu_seconds()
                result = _load(server, directory, raw, world.plan.load_s)
                cpu_ms = (server.cpu_seconds() - cpu) * 1000 / result["calls"]
                shape = f"{rows:,} snapshots"
                yield Figure(
                    row=row, what=f"{name}, {shape}", value=result["calls_per_s"], unit="calls/s", goal=at_least(1000),
                    note=f"p50 {result['p50_ms']:.3g} ms, p99 {result['p99_ms']:.3g} ms, "
                    f"{cpu_ms:.3g} ms of processor per call, {CONNECTIONS} connections",
                )  # fmt: skip
        server.fill(disk_id, world.image())
        raw = server.client.raw("DescribeSnapshots")
        snapshot_id = str(server.client.call("CreateSnapshot", DiskId=disk_id)["SnapshotId"])
        time.sleep(0.2)
        results: list[dict[str, float]] = []
        while not server.client.snapshot_is_normal(snapshot_id) and len(results) < 100:
            results.append(_load(server, directory, raw, 1.0))
        # The last may have outlived the upload.
        during = results[:-1] or results
    worst = max(result["p99_ms"] for result in during)
    rate = sum(result["calls_per_s"] for result in during) / len(during)
    note = f"{rate:,.0f} calls/s, worst of {len(during)} seconds, unlimited load on {CONNECTIONS} connections"
    yield Figure(row=row, what="p99 while a snapshot uploads", value=worst, unit="ms", goal=at_most(50), note=note)


def _filter(disk_id: str) -> list[dict[str, object]]:
    return [{"Name": "disk-id", "Values": [disk_id]}]


def _load(server: Server, directory: Path, raw: bytes, seconds: float) -> dict[str, float]:
    request = directory / "request"
    request.write_bytes(raw)
    command = [sys.executable, "-m", "bench.load", server.endpoint, str(seconds), str(CONNECTIONS), str(request)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout)
    if result["errors"]:
        raise CallError(f"{result['errors']:.0f} calls of the load failed")
    return result


def _grow(server: Server, rows: int) -> None:
    """Copy the oldest snapshot's row, with the server stopped, until the account has so many; other disks own them."""
    connection = sqlite3.connect(server.data / "catalog.db")
    try:
        columns = [str(column[1]) for column in connection.execute("PRAGMA table_info(snapshot)")]
        (have,) = connection.execute("SELECT count(*) FROM snapshot").fetchone()
        new = {
            "id": "printf('snap-%08x', n + 1000000)", "disk_id": "printf('disk-%08x', n / 50)", "session_id": "NULL",
            "created_at": "created_at - n", "parent_id": "NULL",
        }  # fmt: skip
        chosen = ", ".join(new.get(column, column) for column in columns)
        with connection:
            connection.execute(
                f"WITH RECURSIVE counter(n) AS "
                f"(SELECT {have} UNION ALL SELECT n + 1 FROM counter WHERE n < {rows - 1}) "
                f"INSERT INTO snapshot ({', '.join(columns)}) SELECT {chosen} FROM "
                "(SELECT * FROM snapshot ORDER BY created_at DESC LIMIT 1), counter"
            )
    finally:
        connection.close()


def takeover(world: World) -> Iterator[Figure]:
    """The server is killed, and started again, with four disks attached."""
    seconds = []
    with world.server() as server:
        disks = [server.new_disk() for _ in range(4)]
        for number, disk_id in enumerate(disks):
            server.write(disk_id, 0, bytes([number + 1]) * MIB)
        daemons = server.daemons()
        for _ in range(world.plan.short_repeats):
            server.kill()
            seconds.append(server.start())
            if server.daemons() != daemons:
                raise RuntimeError(f"daemons changed: {daemons} became {server.daemons()}")
        for number, disk_id in enumerate(disks):
            if server.read(disk_id, 0, MIB) != bytes([number + 1]) * MIB:
                raise RuntimeError(f"{disk_id} has other bytes than were written")
    note = f"start of the process included; slowest {max(seconds):.3g} s"
    yield median("takeover", "ready after kill -9, 4 disks attached", seconds, "s", at_most(2), note)

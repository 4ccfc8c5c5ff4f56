"""Moving much data: full snapshots, rescans, restores, rollbacks. Real data, side by side with the tools people use."""

import json
import time
from collections.abc import Iterator

import numpy as np

from bench import rivals
from bench.client import wait
from bench.figures import Figure, at_least, at_most
from bench.world import BLOCK, GIB, LARGE_GIB, LARGE_TYPE, MIB, Server, World, first_bytes, median


def full_snapshot(world: World) -> Iterator[Figure]:
    """The first snapshot of a disk, alternated with zstd, restic and borg on the same bytes."""
    row = "full_snapshot"
    image, size = world.image(), world.image_gb()
    ours: list[float] = []
    nothing: list[float] = []
    to_file: list[float] = []
    restic: list[float] = []
    borg: list[float] = []
    stored: dict[str, float] = {}
    spent: dict[str, float] = {}
    turns: list[float] = []
    read_gb = 0.0
    with world.server() as server, world.scratch("rivals") as directory:
        for turn in range(world.plan.repeats):
            world.say(f"full_snapshot {turn + 1} of {world.plan.repeats}")
            disk_id = server.new_disk(_fitting(size))
            server.fill(disk_id, image)
            rivals.settle()
            nothing.append(size / rivals.zstd_to_nothing(image))
            rivals.settle()
            cpu = server.cpu_seconds()
            taken = server.timed_take(disk_id)
            spent["drystone"] = server.cpu_seconds() - cpu
            turns.append(spent["drystone"] / size)
            record = server.client.record(taken.id)
            stored["drystone"] = float(record["StoredBytes"])
            read_gb = float(record["ReadBytes"]) / 1e9
            ours.append(read_gb / taken.seconds)
            rivals.settle()
            cpu = rivals.cpu_seconds()
            to_file.append(size / rivals.zstd_to_file(image, directory / "image.zst"))
            spent["zstd"] = rivals.cpu_seconds() - cpu
            stored["zstd"] = (directory / "image.zst").stat().st_size
            (directory / "image.zst").unlink()
            rivals.settle()
            cpu = rivals.cpu_seconds()
            seconds, stored["restic"] = rivals.restic_backup(image, directory)
            restic.append(size / seconds)
            spent["restic"] = rivals.cpu_seconds() - cpu
            rivals.settle()
            cpu = rivals.cpu_seconds()
            seconds, stored["borg"] = rivals.borg_create(image, directory)
            borg.append(size / seconds)
            spent["borg"] = rivals.cpu_seconds() - cpu
            server.drop_disk(disk_id)
            server.drop_snapshots([taken.id])
    read = f"{size:.2f} GB image, {read_gb:.2f} GB read by Drystone"
    drystone = median(row, "Drystone, call to NORMAL", ours, "GB/s", None, read)
    yield drystone
    # Repositories' first set-up is in the processor time of restic and borg; it is small.
    share = {
        name: f"stores {bytes_ / size / 1e9:.3f} per byte, {spent[name] / size:.3g} s of processor per GB"
        for name, bytes_ in stored.items()
    }
    pairs = (
        ("zstd -1 -T2 to a file with fsync", to_file, 0.75, share["zstd"]),
        ("zstd -1 -T2 to /dev/null", nothing, None, ""),
        ("restic backup", restic, 4.0, share["restic"]),
        ("borg create, 4 MiB fixed, lz4", borg, 1.4, share["borg"]),
    )
    for name, rates, goal, note in pairs:
        rival = median(row, name, rates, "GB/s", None, note)
        yield rival
        yield Figure(
            row=row, what=f"Drystone / {name}", value=drystone.value / rival.value, unit="x",
            goal=None if goal is None else at_least(goal),
        )  # fmt: skip
    yield median(row, "processor time", turns, "s per GB", None, share["drystone"])


def rescan(world: World) -> Iterator[Figure]:
    """The next snapshot after the storage daemon was killed: all is read, what differs is stored."""
    row = "rescan"
    image = world.image()
    rng = np.random.default_rng(11)
    rates, running, stored, spent = [], [], [], []
    # Drystone would compare disk and base by itself before long; what a snapshot needs for it is measured here.
    settings = "rate_limits = false\nthrottle = false\nrescan_after_s = 86_400\n"
    with world.server(settings) as server:
        disk_id = server.new_disk(_fitting(world.image_gb()))
        server.fill(disk_id, image)
        server.timed_take(disk_id)
        for _ in range(world.plan.repeats):
            changed = rng.choice(image.stat().st_size // BLOCK, 100, replace=False)
            server.scatter(disk_id, np.sort(changed).tolist(), rng)
            server.kill_daemons()
            wait(lambda: server.client.detail(disk_id)["Tracking"] == "LOST", "tracking LOST")
            wait(lambda: server.client.detail(disk_id)["NbdUri"] is not None, "served again")
            rivals.settle()
            cpu = server.cpu_seconds()
            taken = server.timed_take(disk_id)
            used = server.cpu_seconds() - cpu
            record = server.client.record(taken.id)
            if record["Tracking"] != "rescan":
                raise RuntimeError(f"not a rescan: {record}")
            read_gb = float(record["ReadBytes"]) / 1e9
            rates.append(read_gb / taken.seconds)
            running.append(read_gb / world.stalls.running_s(taken.called_at, taken.seconds))
            stored.append(float(record["StoredBytes"]) / (100 * BLOCK))
            spent.append(used / read_gb)
    what = "of what is allocated, call to NORMAL"
    yield median(row, what, rates, "GB/s", at_least(1), f"{world.image_gb():.2f} GB")
    yield median(row, f"{what}, less stalls of the machine", running, "GB/s", at_least(1))
    yield median(row, "processor time", spent, "s per GB", None, "server, worker and storage daemon")
    yield median(row, "stored per byte that differs", stored, "", None, "100 blocks of 4 KiB, random bytes")


def restore(world: World) -> Iterator[Figure]:
    """A disk from a snapshot: how soon it can be read, and how soon it stands alone."""
    row = "restore"
    image, size = world.image(), world.image_gb()
    rates, ours = [], []
    with world.server() as server, world.scratch("rivals") as directory:
        disk_id = server.new_disk(_fitting(size))
        server.fill(disk_id, image)
        small = server.timed_take(disk_id)
        data_gb = float(server.client.record(small.id)["ReadBytes"]) / 1e9
        server.drop_disk(disk_id)
        compressed = directory / "image.zst"
        rivals.zstd_to_file(image, compressed)
        for _ in range(world.plan.repeats):
            rivals.settle()
            rates.append(size / rivals.unzstd_to_file(compressed, directory / "out"))
            rivals.settle()
            began = time.monotonic()
            made = server.create_disk(SnapshotId=small.id)
            wait(lambda one=made: _hydrated(server, one), f"{made} hydrated", every_s=0.02)  # type: ignore[misc]
            ours.append(data_gb / (time.monotonic() - began))
            server.client.call("TerminateDisks", DiskIds=[made])
            server.wait_idle()
        nothing = size / rivals.unzstd_to_nothing(compressed)
        yield from _first_reads(world, server, small.id, f"{data_gb:.2f} GB of data")
        large_id = server.new_disk(LARGE_GIB)
        server.write(large_id, (LARGE_GIB * GIB) // 2, np.random.default_rng(5).bytes(MIB))
        large = server.timed_take(large_id)
        server.drop_disk(large_id)
        yield from _first_reads(world, server, large.id, "10 TiB")
    drystone = median(row, "hydration, call to its end", ours, "GB/s", None, f"{data_gb:.2f} GB of data")
    rival = median(row, "zstd -d to a file with fsync", rates, "GB/s", None, f"{nothing:.3g} GB/s to /dev/null")
    yield drystone
    yield rival
    yield Figure(row=row, what="hydration / zstd -d", value=drystone.value / rival.value, unit="x", goal=at_least(0.8))


def _first_reads(world: World, server: Server, snapshot_id: str, name: str) -> Iterator[Figure]:
    samples = []
    client = server.client
    for _ in range(world.plan.short_repeats):
        began = time.monotonic()
        placement = {"Zone": server.environment["DRYSTONE_ZONE"]}
        answer = client.call(
            "CreateDisks", Placement=placement, DiskChargeType="POSTPAID_BY_HOUR", DiskType=LARGE_TYPE,
            SnapshotId=snapshot_id,
        )  # fmt: skip
        disk_id = str(answer["DiskIdSet"][0])
        wait(lambda one=disk_id: client.disk_state(one) == "UNATTACHED", f"{disk_id} made", every_s=0.002)  # type: ignore[misc]
        client.call("AttachDisks", InstanceId=server.nbd_instance, DiskIds=[disk_id])
        wait(lambda one=disk_id: client.disk_state(one) == "ATTACHED", f"{disk_id} attached", every_s=0.002)  # type: ignore[misc]
        first_bytes(server.uri(disk_id), disk_id, 0, BLOCK)
        samples.append((time.monotonic() - began) * 1000)
        wait(lambda one=disk_id: _hydrated(server, one), f"{disk_id} hydrated", every_s=0.05)  # type: ignore[misc]
        server.drop_disk(disk_id)
        server.wait_idle()
    yield median(
        "restore", f"CreateDisks to first read, {name}", samples, "ms", at_most(150), f"max {max(samples):.0f} ms"
    )


def _hydrated(server: Server, disk_id: str) -> bool:
    return server.client.disk_state(disk_id) not in {"", "CREATING"} and not server.client.detail(disk_id)["Hydrating"]


def rollback(world: World) -> Iterator[Figure]:
    """Back to a snapshot: how much is written for how much that differs."""
    row = "rollback"
    image = world.image()
    rng = np.random.default_rng(13)
    with world.server() as server:
        disk_id = server.new_disk(_fitting(world.image_gb()))
        server.fill(disk_id, image)
        target = server.timed_take(disk_id)
        for name, lost in (("tracked", False), ("tracking lost", True)):
            blocks = image.stat().st_size // BLOCK
            chosen = np.sort(rng.choice(blocks, 2000, replace=False))
            with image.open("rb") as file:
                same = [(int(b) * BLOCK, _at(file, int(b))) for b in chosen[::2]]
            server.scatter(disk_id, chosen[1::2].tolist(), rng)
            # Rewritten with what they hold: a rollback must leave them alone.
            server.write_all(disk_id, same)
            if lost:
                server.kill_daemons()
                wait(lambda: server.client.detail(disk_id)["NbdUri"] is not None, "served again")
            server.detach(disk_id)
            rivals.settle()
            began = time.monotonic()
            server.client.call("ApplySnapshot", SnapshotId=target.id, DiskId=disk_id)
            wait(lambda: server.client.disk_state(disk_id) == "UNATTACHED", "rolled back")
            seconds = time.monotonic() - began
            written = _rolled_back_bytes(server)
            note = f"1,000 blocks differ, 1,000 were rewritten with the same; {seconds:.2f} s"
            yield Figure(
                row=row, what=f"written per byte that differs, {name}", value=written / (1000 * BLOCK), unit="",
                goal=at_most(1.05), note=note,
            )  # fmt: skip
            server.attach(disk_id)
            if not _equals(server, disk_id, image.stat().st_size, world):
                raise RuntimeError("the disk is not what the snapshot holds")


def _at(file: "object", block: int) -> bytes:
    file.seek(block * BLOCK)  # type: ignore[attr-defined]
    return bytes(file.read(BLOCK))  # type: ignore[attr-defined]


def _rolled_back_bytes(server: Server) -> int:
    """Return what the last rollback wrote, as its log line has it."""
    lines = [line for line in (server.data / "server.log").read_text().splitlines() if "disk.rolled_back" in line]
    return int(json.loads(lines[-1])["written_bytes"])


def _equals(server: Server, disk_id: str, size: int, world: World) -> bool:
    with server.nbd(disk_id) as client, world.image().open("rb") as file:
        return all(bytes(piece) == file.read(len(piece)) for _, piece in client.read_ranges([(0, size)]))


def _fitting(size_gb: float) -> int:
    """Return the size, GiB, of a disk that holds an image of `size_gb`."""
    return max(20, int(size_gb * 1e9 / GIB / 10 + 1) * 10)

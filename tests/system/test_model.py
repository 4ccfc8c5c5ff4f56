"""The whole product against a model: disks are byte arrays, and a snapshot is a copy of one.

A seeded sequence of writes, zeroes, discards, snapshots, deletions in any order, restores, rollbacks, resizes,
attaches, detaches, restarts and killed daemons. After every few steps each remaining snapshot is read from the store's
directory, and each attached disk over NBD. DRYSTONE_SYSTEM_SEED in the environment chooses another history, `--long`
a longer one.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from drystone.domain.blocks import BLOCK_BYTES
from drystone.nbd.client import NbdClient
from tests.system.harness import GIB, Installation, installation, random_bytes

MIB = 1 << 20
SECTOR = 512
SIZES_GIB = (10, 11, 12)
EDGE = 128 << 10
WINDOWS = {0: 8 * MIB} | {gib * GIB - EDGE: 2 * EDGE for gib in SIZES_GIB}
"""The parts of a disk that are used: its beginning, and what is around each end that it may have."""
DISKS_MAX = 4
SNAPSHOTS_MAX = 14
CHECK_EVERY = 6
HYDRATION_BYTES_PER_S = 6 * MIB
"""Slow enough that disks are written, snapshotted and restarted while they are filled."""
SEED = int(os.environ.get("DRYSTONE_SYSTEM_SEED", "3"))
STEPS, STEPS_LONG = 20, 150


@dataclass(slots=True)
class Content:
    """What the windows of a disk or snapshot hold; everything outside of them is zero."""

    size_gib: int
    windows: dict[int, bytearray] = field(
        default_factory=lambda: {start: bytearray(length) for start, length in WINDOWS.items()}
    )

    def copy(self) -> "Content":
        return Content(self.size_gib, {start: bytearray(data) for start, data in self.windows.items()})

    def parts(self) -> list[tuple[int, bytes]]:
        """Return the windows, as far as they are below the disk's end."""
        end = self.size_gib * GIB
        return [(start, bytes(data[: end - start])) for start, data in self.windows.items() if start < end]


@dataclass(slots=True)
class Disk:
    """A disk of the model."""

    content: Content
    attached: bool = False
    taking: str | None = None
    """Its snapshot that is not known to be NORMAL."""
    may_fail: bool = False
    """Its daemon went while that snapshot was taken: failing is then right."""


def first_difference(held: bytes, wanted: bytes) -> str:
    at = np.flatnonzero(np.frombuffer(held, np.uint8) != np.frombuffer(wanted, np.uint8))
    return f"{len(at)} bytes differ, from {at[0]} to {at[-1]}" if len(at) else "equal"


class Model:
    """An installation and what it must hold."""

    def __init__(self, system: Installation, seed: int) -> None:
        self.system = system
        self.rng = np.random.default_rng(seed)
        self.disks: dict[str, Disk] = {}
        self.snapshots: dict[str, tuple[str, Content]] = {}
        self.steps: tuple[tuple[int, Callable[[], str | None]], ...] = (
            (20, self.write), (14, self.take), (8, self.delete), (6, self.restore), (5, self.roll_back),
            (3, self.resize), (3, self.detach), (6, self.attach), (2, self.terminate), (2, self.initialize),
            (2, self.restart), (1, self.host_stop), (2, self.kill_daemons),
        )  # fmt: skip
        self._add(self.system.create_disk(SIZES_GIB[0]), Content(SIZES_GIB[0]))

    def step(self) -> str:
        """Do one thing and return what it was."""
        weights = np.array([weight for weight, _ in self.steps], dtype=float)
        done = None
        while done is None:
            done = self.steps[int(self.rng.choice(len(self.steps), p=weights / weights.sum()))][1]()
        return done

    # --- choices ---

    def _add(self, disk_id: str, content: Content) -> None:
        self.disks[disk_id] = Disk(content)
        self._attach(disk_id)

    def _attach(self, disk_id: str) -> None:
        self.system.attach(disk_id)
        self.disks[disk_id].attached = True

    def _detach(self, disk_id: str) -> None:
        if self.disks[disk_id].attached:
            self.system.detach(disk_id)
            self.disks[disk_id].attached = False

    def _any(self, *, attached: bool | None = None) -> str | None:
        """Return a random disk; restored ones are named by the server, so the order is that of their making."""
        found = [disk_id for disk_id, disk in self.disks.items() if attached in {None, disk.attached}]
        return found[int(self.rng.integers(0, len(found)))] if found else None

    def _any_normal(self) -> str | None:
        for disk_id in self.disks:
            self._settle(disk_id, wait=False)
        taking = {disk.taking for disk in self.disks.values()}
        found = [snapshot_id for snapshot_id in self.snapshots if snapshot_id not in taking]
        return found[int(self.rng.integers(0, len(found)))] if found else None

    def _settle(self, disk_id: str, *, wait: bool) -> None:
        """Learn what became of the snapshot being taken of a disk."""
        disk = self.disks[disk_id]
        snapshot_id = disk.taking
        if snapshot_id is None:
            return

        def settled() -> bool:
            found = self.system.snapshot(snapshot_id)
            return found is None or found.SnapshotState == "NORMAL"

        if wait:
            self.system.wait(settled, f"{snapshot_id} settled")
        elif not settled():
            return
        if self.system.snapshot(snapshot_id) is None:
            assert disk.may_fail, f"{snapshot_id} failed: {self.system.disk(disk_id).ErrorPrompt}"
            del self.snapshots[snapshot_id]
        disk.taking, disk.may_fail = None, False

    def _rest(self, disk_id: str, *, filled: bool = False) -> None:
        """Wait until a disk has no snapshot in the making; and, if asked, needs its source no more."""
        self._settle(disk_id, wait=True)
        if filled:
            self.system.wait(lambda: not self.system.detail(disk_id)["Hydrating"], f"{disk_id} filled")
        self.system.wait(lambda: not self._busy(disk_id), f"{disk_id} at rest")

    def _busy(self, disk_id: str) -> bool:
        filters = [{"Name": "state", "Values": ["RUNNING"]}]
        found = self.system.own("DescribeOperations", Filters=filters, Limit=100)["OperationSet"]
        return any(one["DiskId"] == disk_id and one["Kind"] != "hydrate" for one in found)

    # --- steps ---

    def write(self) -> str | None:
        disk_id = self._any(attached=True)
        if disk_id is None:
            return None
        content = self.disks[disk_id].content
        with self.system.nbd(disk_id) as client:
            assert client.size_bytes == content.size_gib * GIB
            count = int(self.rng.integers(1, 13))
            for _ in range(count):
                self._write_one(client, content)
            client.flush()
        return f"{count} writes to {disk_id}"

    def _write_one(self, client: NbdClient, content: Content) -> None:
        parts = content.parts()
        window, held = parts[0 if self.rng.random() < 0.7 else int(self.rng.integers(0, len(parts)))]
        unit = SECTOR if self.rng.random() < 0.4 else BLOCK_BYTES
        start = int(self.rng.integers(0, len(held) // unit)) * unit
        length = min(int(self.rng.integers(1, 64)) * unit, len(held) - start)
        kind = int(self.rng.integers(0, 8))
        target = content.windows[window]
        if kind == 0:
            client.zero(window + start, length)
            target[start : start + length] = bytes(length)
        elif kind == 1:
            client.trim(window + start, length)
            # A discard is a hint: each byte stays or becomes zero. From now on it must be what it is now.
            after = bytes(client.pread(window + start, length))
            now, before = np.frombuffer(after, np.uint8), np.frombuffer(held[start : start + length], np.uint8)
            assert ((now == before) | (now == 0)).all(), "a discard made other bytes"
            target[start : start + length] = after
        else:
            data = bytes(length) if kind == 2 else random_bytes(self.rng, length)
            client.pwrite(window + start, data)
            target[start : start + length] = data

    def take(self) -> str | None:
        """Take a snapshot of an attached or a detached disk; more often than not it is not waited for."""
        disk_id = self._any()
        assert disk_id is not None
        disk = self.disks[disk_id]
        self._rest(disk_id)
        if len(self.snapshots) >= SNAPSHOTS_MAX:
            return self.delete()
        snapshot_id = str(self.system.call("CreateSnapshot", DiskId=disk_id).SnapshotId)
        disk.taking = snapshot_id
        self.snapshots[snapshot_id] = (disk_id, disk.content.copy())
        if self.rng.random() < 0.4:
            self._settle(disk_id, wait=True)
        return f"{snapshot_id} of {disk_id}"

    def delete(self) -> str | None:
        snapshot_id = self._any_normal()
        if snapshot_id is None:
            return None
        self.system.call("DeleteSnapshots", SnapshotIds=[snapshot_id])
        del self.snapshots[snapshot_id]
        return f"deleted {snapshot_id}"

    def restore(self) -> str | None:
        """Make a disk from a snapshot, sometimes larger, and use it at once."""
        snapshot_id = self._any_normal()
        if snapshot_id is None:
            return None
        if len(self.disks) >= DISKS_MAX:
            return self.terminate()
        content = self.snapshots[snapshot_id][1].copy()
        larger = content.size_gib < SIZES_GIB[-1] and self.rng.random() < 0.3
        content.size_gib += larger
        fields = {"DiskSize": content.size_gib} if larger else {}
        disk_id = self.system.create_disk(SnapshotId=snapshot_id, **fields)
        self._add(disk_id, content)
        self.check_disk(disk_id)
        return f"{disk_id} from {snapshot_id}"

    def roll_back(self) -> str | None:
        fitting = [
            snapshot_id
            for snapshot_id, (disk_id, content) in self.snapshots.items()
            if disk_id in self.disks and content.size_gib == self.disks[disk_id].content.size_gib
        ]
        if not fitting:
            return None
        snapshot_id = fitting[int(self.rng.integers(0, len(fitting)))]
        disk_id, content = self.snapshots[snapshot_id]
        self._detach(disk_id)
        self._rest(disk_id, filled=True)
        if snapshot_id not in self.snapshots:
            return f"{snapshot_id} failed"
        self.system.call("ApplySnapshot", SnapshotId=snapshot_id, DiskId=disk_id)
        self.disks[disk_id].content = content.copy()
        self.system.wait_state(disk_id, "UNATTACHED")
        self._attach(disk_id)
        self.check_disk(disk_id)
        return f"{disk_id} rolled back to {snapshot_id}"

    def resize(self) -> str | None:
        disk_id = self._any()
        assert disk_id is not None
        content = self.disks[disk_id].content
        if content.size_gib == SIZES_GIB[-1]:
            return None
        self._rest(disk_id)
        before = self.system.disk(disk_id).DiskState
        content.size_gib += 1
        self.system.call("ResizeDisk", DiskId=disk_id, DiskSize=content.size_gib)
        self.system.wait_state(disk_id, before)
        assert self.system.disk(disk_id).DiskSize == content.size_gib
        return f"{disk_id} has {content.size_gib} GiB"

    def detach(self) -> str | None:
        disk_id = self._any(attached=True)
        if disk_id is None:
            return None
        self._detach(disk_id)
        return f"detached {disk_id}"

    def attach(self) -> str | None:
        disk_id = self._any(attached=False)
        if disk_id is None:
            return None
        self._attach(disk_id)
        self.check_disk(disk_id)
        return f"attached {disk_id}"

    def terminate(self) -> str | None:
        disk_id = self._any()
        if disk_id is None or len(self.disks) == 1:
            return None
        self._detach(disk_id)
        self._rest(disk_id)
        self.system.call("TerminateDisks", DiskIds=[disk_id])
        del self.disks[disk_id]
        return f"terminated {disk_id}"

    def initialize(self) -> str | None:
        """Empty a disk that was not made from a snapshot."""
        disk_id = self._any(attached=False)
        if disk_id is None or self.system.detail(disk_id)["SourceSnapshotId"] is not None:
            return None
        self._rest(disk_id)
        self.system.call("InitializeDisks", DiskIds=[disk_id])
        self.system.wait_state(disk_id, "UNATTACHED")
        self.disks[disk_id].content = Content(self.disks[disk_id].content.size_gib)
        return f"emptied {disk_id}"

    def restart(self) -> str:
        """End the server, in order or not; daemons go on, so no snapshot may fail."""
        orderly = bool(self.rng.random() < 0.5)
        if orderly:
            self.system.stop()
        else:
            self.system.kill()
        self.system.start()
        return "restarted" if orderly else "killed the server"

    def host_stop(self) -> str:
        for disk in self.disks.values():
            disk.may_fail = True
        self.system.host_stop()
        assert self.system.daemons() == {}
        self.system.start()
        return "host stop"

    def kill_daemons(self) -> str | None:
        """Every write was flushed: none of them is lost."""
        for disk in self.disks.values():
            disk.may_fail = True
        before = self.system.daemons()
        store = bool(self.rng.random() < 0.5)
        killed = self.system.kill_daemons(store=store)
        if not killed:
            return None
        self.system.wait(
            lambda: not any(self.system.daemons().get(name) == before[name] for name in killed), "daemons dead"
        )
        return f"killed {', '.join(killed)}"

    # --- checks ---

    def check(self) -> None:
        """Compare every snapshot that is NORMAL and every attached disk."""
        for disk_id in self.disks:
            self._settle(disk_id, wait=False)
        taking = {disk.taking for disk in self.disks.values()}
        for snapshot_id in self.snapshots:
            if snapshot_id not in taking:
                self.check_snapshot(snapshot_id)
        for disk_id, disk in self.disks.items():
            if disk.attached:
                self.check_disk(disk_id)

    def check_snapshot(self, snapshot_id: str) -> None:
        """Read a snapshot from the store; outside of the windows it must hold nothing."""
        content = self.snapshots[snapshot_id][1]
        reader = self.system.stored(snapshot_id)
        assert reader.size_bytes == content.size_gib * GIB
        for start, wanted in content.parts():
            held = bytes(reader.read(start, len(wanted)))
            assert held == wanted, f"{snapshot_id}, at {start}: {first_difference(held, wanted)}"
        spans = [(start // BLOCK_BYTES, (start + length) // BLOCK_BYTES) for start, length in WINDOWS.items()]
        for first, stop in reader.data_ranges().tolist():
            assert any(low <= first and stop <= high for low, high in spans), f"{snapshot_id} has {first} to {stop}"

    def check_disk(self, disk_id: str) -> None:
        """Read an attached disk."""
        content = self.disks[disk_id].content
        with self.system.nbd(disk_id) as client:
            assert client.size_bytes == content.size_gib * GIB
            for start, wanted in content.parts():
                held = bytes(client.pread(start, len(wanted)))
                assert held == wanted, f"{disk_id}, at {start}: {first_difference(held, wanted)}"

    def finish(self) -> None:
        """Check everything, also detached disks; then delete all, in random order: nothing may be left in the store."""
        for disk_id, disk in self.disks.items():
            self._settle(disk_id, wait=True)
            if not disk.attached:
                self._attach(disk_id)
        self.check()
        self.system.wait_idle()
        self.check()
        order = list(self.snapshots)
        self.rng.shuffle(order)
        for snapshot_id in order:
            self.system.call("DeleteSnapshots", SnapshotIds=[snapshot_id])
            del self.snapshots[snapshot_id]
            if len(self.snapshots) % 4 == 1:
                self.system.wait_idle()
                self.check()
        for disk_id in list(self.disks):
            self._detach(disk_id)
        self.system.call("TerminateDisks", DiskIds=list(self.disks))
        self.system.wait_idle()
        # What a compaction replaced goes when its last reader has ended, in the next round that looks.
        try:
            self.system.wait(lambda: not self._left(), "the store to be empty", seconds=60)
        except AssertionError:
            print("left in the store:", *self._left(), sep="\n")
            raise
        assert list((self.system.data / "disks").iterdir()) == []

    def _left(self) -> list[Path]:
        # A tombstone stays for a week, in case a write of its manifest lands late (S210).
        left = [path for kind in ("packs", "maps", "snapshots") for path in self._objects(kind)]
        return [path for path in left if path.suffix != ".deleted"]

    def _objects(self, kind: str) -> list[Path]:
        return [path for path in (self.system.data / "store").glob(f"*/{kind}/**/*") if path.is_file()]


@pytest.mark.parametrize("seed", [SEED])
def test_snapshots_and_disks_are_what_the_model_says(tmp_path: Path, seed: int, *, long: bool) -> None:
    settings = f"hydration_bytes_per_s = {HYDRATION_BYTES_PER_S}\n"
    with installation(tmp_path / "data", settings) as system:
        model = Model(system, seed)
        for number in range(STEPS_LONG if long else STEPS):
            # Shown when it fails: what happened before.
            print(f"{number} {model.step()}", flush=True)
            if number % CHECK_EVERY == CHECK_EVERY - 1:
                model.check()
        model.finish()


def test_the_model_sees_a_wrong_byte(system: Installation) -> None:
    model = Model(system, 1)
    (disk_id,) = model.disks
    system.write(disk_id, 0, b"x" * BLOCK_BYTES)
    model.disks[disk_id].content.windows[0][:BLOCK_BYTES] = b"x" * BLOCK_BYTES
    model.take()
    model._rest(disk_id)
    model.check()
    (snapshot_id,) = model.snapshots
    model.snapshots[snapshot_id][1].windows[0][4000] ^= 1
    with pytest.raises(AssertionError, match="1 bytes differ, from 4000"):
        model.check_snapshot(snapshot_id)
    model.disks[disk_id].content.windows[0][7 * MIB] ^= 1
    with pytest.raises(AssertionError, match="1 bytes differ"):
        model.check_disk(disk_id)

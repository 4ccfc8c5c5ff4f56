"""`kill -9` at random moments of a snapshot, a restore and a rollback, with a model of every byte.

`python -m tests.system.crash_loop --rounds 20 --seed 1` kills the control plane, the storage daemons, and everything,
20 times each in each of the three; `tests/system/test_crash.py` runs a few rounds of it. After each kill:

- the server starts again and every operation ends by itself;
- every snapshot that was NORMAL is there, restores bit for bit, and so does one that became NORMAL meanwhile;
- every disk opens; what was acknowledged and flushed before the kill is there (and no other bytes than those that
  were written);
- the next snapshot of each disk restores bit for bit.
"""

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from tests.system.harness import Installation, installation, random_bytes

AREA = 24 << 20
"""The part of each disk that is used: small, so that every byte is compared every time."""
BLOCK = 4096
ACTIONS = ("snapshot", "restore", "rollback")
VICTIMS = ("control plane", "daemons", "everything")
SNAPSHOTS_KEPT = 4
SETTINGS = "rescan_after_s = 0\n"
"""Comparisons in the background begin at once, so that they are killed too."""


class Loop:
    """One installation and what it must hold."""

    def __init__(self, system: Installation, seed: int) -> None:
        self.system = system
        self.rng = np.random.default_rng(seed)
        self.snapshots: dict[str, bytes] = {}
        self.disk_id = system.create_disk()
        self.model = bytearray(AREA)
        system.attach(self.disk_id)
        self._overwrite(64)
        self._take()

    # --- the disk and its model ---

    def _overwrite(self, writes: int) -> None:
        with self.system.nbd(self.disk_id) as client:
            for _ in range(writes):
                start = int(self.rng.integers(0, AREA // BLOCK)) * BLOCK
                data = random_bytes(self.rng, int(self.rng.integers(1, 17)) * BLOCK)[: AREA - start]
                client.pwrite(start, data)
                self.model[start : start + len(data)] = data
            client.flush()

    def _take(self) -> str:
        content = bytes(self.model)
        snapshot_id = self.system.take(self.disk_id)
        self.snapshots[snapshot_id] = content
        return snapshot_id

    def _ensure(self, state: str) -> None:
        found = self.system.disk(self.disk_id).DiskState
        if found != state and state == "ATTACHED":
            self.system.attach(self.disk_id)
        elif found != state:
            self.system.detach(self.disk_id)

    # --- one round ---

    def round(self, action: str, victim: str) -> str:
        """Begin an action, kill the victim at a random moment of it, start again, check; return what happened."""
        system = self.system
        self._ensure("UNATTACHED" if action == "rollback" else "ATTACHED")
        if action == "snapshot":
            self._overwrite(200)
        before = {snapshot.SnapshotId for snapshot in system.call("DescribeSnapshots", Limit=100).SnapshotSet}
        started: list[str] = []
        target = sorted(self.snapshots)[int(self.rng.integers(0, len(self.snapshots)))]
        worker = threading.Thread(target=self._act, args=(action, target, started))
        delay = float(self.rng.random() ** 2 * self._usual_seconds(action))
        worker.start()
        time.sleep(delay)
        self._kill(victim)
        worker.join()
        if system.process is None:
            system.start()
        system.wait_idle()
        return f"{action}, {victim} killed after {delay * 1000:.0f} ms: {self._check(action, target, before)}"

    def _usual_seconds(self, action: str) -> float:
        return {"snapshot": 1.5, "restore": 2.0, "rollback": 2.0}[action]

    def _act(self, action: str, target: str, started: list[str]) -> None:
        system = self.system
        try:
            if action == "snapshot":
                started.append(system.call("CreateSnapshot", DiskId=self.disk_id).SnapshotId)
            elif action == "restore":
                disk_id = system.create_disk(SnapshotId=target)
                started.append(disk_id)
                system.call("AttachDisks", InstanceId=system.nbd_instance, DiskIds=[disk_id])
            else:
                system.call("ApplySnapshot", SnapshotId=target, DiskId=self.disk_id)
        except TencentCloudSDKException:
            return  # The server was killed before it answered: either outcome is right.

    def _kill(self, victim: str) -> None:
        if victim in {"control plane", "everything"}:
            self.system.kill()
        if victim in {"daemons", "everything"}:
            self.system.kill_daemons(store=True)

    # --- what must hold ---

    def _check(self, action: str, target: str, before: set[str]) -> str:
        system = self.system
        found = {snapshot.SnapshotId: snapshot for snapshot in system.call("DescribeSnapshots", Limit=100).SnapshotSet}
        lost = before - set(found)
        assert not lost, f"NORMAL snapshots are gone: {lost}"
        assert all(snapshot.SnapshotState == "NORMAL" for snapshot in found.values()), found
        outcome = "nothing came of it"
        for snapshot_id in set(found) - set(self.snapshots):
            # Nothing was written while it was taken: it must be exactly the model.
            self.snapshots[snapshot_id] = bytes(self.model)
            outcome = "the snapshot is NORMAL"
        if action == "rollback":
            outcome = self._check_rolled_back(target)
        if action == "restore":
            outcome = self._check_restored(target)
        self._ensure("ATTACHED")
        held = self.system.read(self.disk_id, 0, AREA)
        assert held == bytes(self.model), f"the disk differs at {_first_difference(held, bytes(self.model))}"
        newest = self._take()
        for snapshot_id in {newest, target, *(set(found) - before)}:
            content = bytes(system.stored(snapshot_id).read(0, AREA))
            want = self.snapshots[snapshot_id]
            assert content == want, f"{snapshot_id} differs at {_first_difference(content, want)}"
        self._trim()
        return f"{outcome}; next was {system.record(newest)['Tracking']}"

    def _check_rolled_back(self, target: str) -> str:
        self._ensure("ATTACHED")
        held = self.system.read(self.disk_id, 0, AREA)
        if held == self.snapshots[target]:
            self.model[:] = held
            return "rolled back"
        assert held == bytes(self.model), "neither the old content nor the target's"
        return "not rolled back"

    def _check_restored(self, target: str) -> str:
        others = [
            disk.DiskId for disk in self.system.call("DescribeDisks", Limit=100).DiskSet if disk.DiskId != self.disk_id
        ]
        for disk_id in others:
            if self.system.disk(disk_id).DiskState == "UNATTACHED":
                self.system.attach(disk_id)
            held = self.system.read(disk_id, 0, AREA)
            assert held == self.snapshots[target], f"{disk_id} differs from {target}"
            assert not self.system.detail(disk_id)["Hydrating"]
            self.system.detach(disk_id)
            self.system.call("TerminateDisks", DiskIds=[disk_id])
        return f"{len(others)} disks restored"

    def _trim(self) -> None:
        """Delete the oldest snapshots, so that deletion is part of the history too."""
        while len(self.snapshots) > SNAPSHOTS_KEPT:
            victim = next(iter(self.snapshots))
            self.system.call("DeleteSnapshots", SnapshotIds=[victim])
            del self.snapshots[victim]
        self.system.wait_idle()


def _first_difference(left: bytes, right: bytes) -> int:
    return int(np.flatnonzero(np.frombuffer(left, np.uint8) != np.frombuffer(right, np.uint8))[0])


def run(system: Installation, *, rounds: int, seed: int, most: int | None = None) -> None:
    """Run `rounds` of each action and victim, in a random order that the seed fixes; only the first `most` of them."""
    print(f"seed {seed}", flush=True)
    loop = Loop(system, seed)
    plan = [(action, victim) for action in ACTIONS for victim in VICTIMS for _ in range(rounds)]
    loop.rng.shuffle(plan)
    plan = plan[:most]
    for number, (action, victim) in enumerate(plan, start=1):
        print(f"{number}/{len(plan)} {loop.round(action, victim)}", flush=True)


def main() -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="kills per action and victim")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="drystone-crash-") as directory,
        installation(Path(directory), SETTINGS) as system,
    ):
        run(system, rounds=options.rounds, seed=options.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())

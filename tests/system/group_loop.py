"""Group snapshots under ordered writes: never data without its log.

`python -m tests.system.group_loop --groups 1000` takes so many; `tests/system/test_groups.py` takes a few.

Lanes write a number to the log disk, wait for the acknowledgement, and then write it to the data disk, as a database
does. At an instant every lane's log is at its data's number or one ahead. A log behind its data, or two ahead of it,
was cut at another time than the data.
"""

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from drystone.nbd.client import NbdClient
from tests.system.harness import SECONDS, Installation, installation

BLOCK = 4096
LANES = 4
SLOTS = 8
"""Blocks that a lane writes in turn, so that a snapshot has more than one block to get wrong."""
AREA = LANES * SLOTS * BLOCK
PAUSE_S = 0.002
TOLD_EACH = 50


@dataclass(slots=True)
class Lane:
    """One writer; numbers from 1."""

    number: int
    sent: int = 0
    acked: int = 0


@dataclass(slots=True)
class Pair:
    """A data and a log disk on one instance, and those who write to them."""

    system: Installation
    data: str = ""
    log: str = ""
    lanes: list[Lane] = field(default_factory=lambda: [Lane(number) for number in range(LANES)])
    caught: int = 0
    """How often an instant lay between a lane's two writes: what two instants would tear."""

    def make(self) -> None:
        """Make and attach both."""
        self.data, self.log = self.system.create_disk(), self.system.create_disk()
        self.system.call("AttachDisks", InstanceId=self.system.nbd_instance, DiskIds=[self.data, self.log])
        for disk_id in (self.data, self.log):
            self.system.wait_state(disk_id, "ATTACHED")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Run all lanes beside the block; what one of them raises is raised at the end."""
        stop, errors = threading.Event(), list[BaseException]()

        def run(lane: Lane) -> None:
            try:
                with self.system.nbd(self.data) as data, self.system.nbd(self.log) as log:
                    while not stop.is_set():
                        _write(lane, data, log)
            except BaseException as error:  # noqa: BLE001 - handed to the caller, which raises it
                errors.append(error)

        threads = [threading.Thread(target=run, args=(lane,)) for lane in self.lanes]
        try:
            for thread in threads:
                thread.start()
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join(SECONDS)
            assert not errors, errors

    def take(self) -> tuple[str, list[int], list[int]]:
        """Take a group; return its id, and each lane's number before the call and after the reply."""
        before = [lane.acked for lane in self.lanes]
        group = self.system.call("CreateSnapshotGroup", DiskIds=[self.data, self.log]).SnapshotGroupId
        return str(group), before, [lane.sent for lane in self.lanes]

    def check(self, group: str, before: list[int], after: list[int]) -> None:
        """Hold what the group shows against the order of the writes (P1)."""
        data, log = (self.newest(member) for member in self.members(group))
        ordered(data, log, before, after)
        self.caught += sum(in_log > in_data for in_data, in_log in zip(data, log, strict=True))

    def members(self, group: str) -> list[str]:
        """Return the snapshots of the data and of the log disk."""
        (record,) = self.system.own("DescribeSnapshotGroupRecords", SnapshotGroupIds=[group])["SnapshotGroupRecordSet"]
        by_disk = {member["DiskId"]: member["SnapshotId"] for member in record["MemberSet"]}
        return [by_disk[self.data], by_disk[self.log]]

    def newest(self, snapshot_id: str) -> list[int]:
        """Return each lane's newest number in a snapshot; what a lane wrote before it must be there too."""
        raw = self.system.stored(snapshot_id).read(0, AREA)
        words = np.frombuffer(raw, np.uint64).reshape(LANES, SLOTS, BLOCK // 8)
        assert (words == words[:, :, :1]).all(), f"{snapshot_id} has a torn block"
        newest = []
        for lane in range(LANES):
            numbers = [int(value) for value in words[lane, :, 0]]
            top = max(numbers)
            expected = [
                max((n for n in range(top, top - SLOTS, -1) if n % SLOTS == slot), default=0) for slot in range(SLOTS)
            ]
            assert numbers == [max(value, 0) for value in expected], f"{snapshot_id}, lane {lane}: {numbers}"
            newest.append(top)
        return newest

    def wait_normal(self, group: str) -> None:
        """Wait until a group is NORMAL; it must not disappear."""

        def normal() -> bool:
            found = self.find(group)
            assert found is not None, f"{group} disappeared:\n{self.system.log()}"
            return bool(found.SnapshotGroupState == "NORMAL")

        self.system.wait(normal, f"{group} NORMAL")

    def find(self, group: str) -> Any:
        """Return a group as DescribeSnapshotGroups has it; None if it is gone."""
        filters = [{"Name": "snapshot-group-id", "Values": [group]}]
        found = self.system.call("DescribeSnapshotGroups", Filters=filters).SnapshotGroupSet
        return found[0] if found else None

    def pause_ms(self, group: str) -> float:
        """Return how long the guests stood, as the record says."""
        (record,) = self.system.own("DescribeSnapshotGroupRecords", SnapshotGroupIds=[group])["SnapshotGroupRecordSet"]
        return float(record["PauseMs"])


def ordered(data: list[int], log: list[int], before: list[int], after: list[int]) -> None:
    """Hold the newest numbers of all lanes against the order of the writes, and against the call around the instant."""
    for lane, (in_data, in_log) in enumerate(zip(data, log, strict=True)):
        what = f"lane {lane}: data {in_data}, log {in_log}, acknowledged {before[lane]}, sent {after[lane]}"
        assert in_log >= in_data, f"data without its log: {what}"
        assert in_log <= in_data + 1, f"the log is of a later time: {what}"
        assert before[lane] <= in_data <= in_log <= after[lane], f"not within the call: {what}"


def _write(lane: Lane, data: NbdClient, log: NbdClient) -> None:
    number = lane.sent + 1
    block = np.full(BLOCK // 8, number, np.uint64).tobytes()
    at = (lane.number * SLOTS + number % SLOTS) * BLOCK
    lane.sent = number
    log.pwrite(at, block)
    data.pwrite(at, block)
    lane.acked = number
    # Without a pause the lanes would take all of the processor.
    time.sleep(PAUSE_S)


def run(pair: Pair, *, groups: int, kept: int = 4, seconds: float = float("inf")) -> list[float]:
    """Take and check so many groups while all lanes write, begin none after so many seconds; return the pauses, ms."""
    pauses: list[float] = []
    living: list[str] = []
    end = time.monotonic() + seconds
    with pair.writing():
        while len(pauses) < groups and time.monotonic() < end:
            group, before, after = pair.take()
            pair.wait_normal(group)
            pair.check(group, before, after)
            pauses.append(pair.pause_ms(group))
            living.append(group)
            if len(pauses) % TOLD_EACH == 0:
                print(f"{len(pauses)} groups, the last at {pauses[-1]:.1f} ms", flush=True)
            if len(living) > kept:
                pair.system.call("DeleteSnapshotGroup", SnapshotGroupId=living.pop(0))
    return pauses


def main() -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--groups", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no group after them")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="drystone-groups-") as directory, installation(Path(directory)) as system:
        pair = Pair(system)
        pair.make()
        began = time.monotonic()
        pauses = run(pair, groups=options.groups, seconds=60 * options.minutes)
        print(
            f"{len(pauses)} groups in {time.monotonic() - began:.0f} s, never data without its log; "
            f"{sum(lane.acked for lane in pair.lanes)} pairs of writes, {pair.caught} of them cut between the two; "
            f"pause median {statistics.median(pauses):.1f} ms, maximum {max(pauses):.1f} ms"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())

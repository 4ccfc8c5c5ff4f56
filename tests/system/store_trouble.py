"""A guest beside a bucket in trouble: `python -m tests.system.store_trouble`.

fio reads and writes an attached disk while snapshots of it are taken, and the way to the bucket is fine, slow, refuses
everything, or hangs. Told are the guest's latencies and errors beside those without snapshots; and of each snapshot how
long its view was held, what it said while it waited, and how it ended once the bucket was there again.
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from bench.guest import Guest, Requests
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from tests.s3_server import s3_server
from tests.system.harness import Installation, random_bytes
from tests.system.test_s3 import BUCKET, configured, settings
from tests.troubled_link import Trouble, TroubledLink

MIB = 1 << 20
LOOK_S = 0.3
STEPS: tuple[tuple[str, Trouble], ...] = (
    ("no snapshots", "fine"), ("fine", "fine"), ("slow", "slow"), ("refuses", "refuses"), ("hangs", "hangs")
)  # fmt: skip


@dataclass
class Taken:
    """One snapshot, as it was seen."""

    snapshot_id: str
    began_s: float
    phases: dict[str, float] = field(default_factory=dict)
    """When it was first seen in each."""
    said: list[str] = field(default_factory=list)
    ended: str = "RUNNING"
    ended_s: float = 0.0

    def see(self, row: dict[str, Any]) -> None:
        """Note what its operation says now."""
        now_s = time.monotonic()
        self.phases.setdefault(row["Phase"], now_s)
        text = str(row["ErrorMessage"])
        if row["ToSendBytes"] is not None:
            sent, all_bytes = row["SentBytes"] / 1e6, row["ToSendBytes"] / 1e6
            text = f"{sent:.0f} of {all_bytes:.0f} MB sent{'; ' if text else ''}{text}"
        if text and text not in self.said:
            self.said.append(text)
        if row["State"] != "RUNNING" and self.ended == "RUNNING":
            self.ended, self.ended_s = row["State"], now_s

    def told(self) -> str:
        """Return a line about it."""
        let_go = [at for phase, at in self.phases.items() if phase in {"SPOOLED", "COMMITTED", "FAILING"}]
        held = f"{min(let_go) - self.began_s:.1f} s" if let_go else "to the end"
        said = (
            self.said if len(self.said) < 5 else [*self.said[:2], f"... {len(self.said) - 4} more ...", *self.said[-2:]]
        )
        words = "".join(f'\n      said: "{one}"' for one in said)
        return (
            f"    {self.snapshot_id}: view held {held}; {self.ended} after {self.ended_s - self.began_s:.0f} s{words}"
        )


class Watcher:
    """Takes snapshots of a disk again and again, and looks at what becomes of them."""

    def __init__(self, system: Installation, disk_id: str, every_s: float) -> None:
        self._system, self._disk_id, self._every_s = system, disk_id, every_s
        self.taken: list[Taken] = []
        self.refused = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def look(self) -> bool:
        """Look at all; return whether one is under way."""
        rows = self._system.own("DescribeOperations", Filters=[{"Name": "kind", "Values": ["snapshot"]}], Limit=100)
        by_id = {row["SnapshotId"]: row for row in rows["OperationSet"]}
        for one in self.taken:
            if one.ended == "RUNNING" and one.snapshot_id in by_id:
                one.see(by_id[one.snapshot_id])
        return any(one.ended == "RUNNING" for one in self.taken)

    def _run(self) -> None:
        next_s = time.monotonic()
        while not self._stop.wait(LOOK_S):
            if time.monotonic() >= next_s:
                next_s += self._every_s
                try:
                    answer = self._system.call("CreateSnapshot", DiskId=self._disk_id)
                    self.taken.append(Taken(str(answer.SnapshotId), time.monotonic()))
                except TencentCloudSDKException:
                    self.refused += 1  # The one before is under way.
            self.look()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Do so within."""
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()


def step(
    system: Installation, link: TroubledLink, disk_id: str, place: Path, options: argparse.Namespace, name: str,
    trouble: Trouble,
) -> None:  # fmt: skip
    """Run one step and print what it came to."""
    seconds = options.hang if trouble == "hangs" else options.seconds
    uri = str(system.detail(disk_id)["NbdUri"])
    watcher = Watcher(system, disk_id, options.every)
    errors = 0
    requests: Requests | None = None
    with Guest(
        uri=uri, directory=place, pattern="randrw", size_bytes=options.mib * MIB, depth=4, iops=options.iops
    ) as one:
        link.trouble = trouble
        began = time.time()
        if name == "no snapshots":
            time.sleep(seconds)
        else:
            with watcher.watching():
                time.sleep(seconds)
        stopped = time.time()
        try:
            requests = one.finish()
        except RuntimeError as error:
            errors += 1
            print(f"  the guest: {error}", flush=True)
    peak_mb = sum(path.stat().st_blocks * 512 for path in system.layout.scratch.glob("disk-*.raw")) / 1e6
    spool_mb = sum(path.stat().st_size for path in system.layout.spool.rglob("*") if path.is_file()) / 1e6
    link.trouble = "fine"
    end = time.monotonic() + 900
    while watcher.look() and time.monotonic() < end:
        time.sleep(LOOK_S)
    if requests is not None:
        p50, p99 = (requests.percentile(began, stopped, percent) for percent in (50, 99))
        slowest = requests.within(began, stopped).latency_ms.max()
        rate = requests.rate(began, stopped)
        print(
            f"{name} ({stopped - began:.0f} s): guest {rate:.0f} requests/s, p50 {p50:.2f} ms, p99 {p99:.2f} ms, "
            f"slowest {slowest:.0f} ms, errors {errors}; {len(watcher.taken)} snapshots, {watcher.refused} refused as "
            f"one was under way; at the end scratch {peak_mb:.0f} MB, spool {spool_mb:.0f} MB",
            flush=True,
        )
    for one_taken in watcher.taken:
        print(one_taken.told(), flush=True)


def main() -> None:
    """Run all steps."""
    parser = argparse.ArgumentParser(prog="tests.system.store_trouble", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each step")
    parser.add_argument("--hang", type=float, default=60.0, help="seconds for which the bucket hangs; 600 says much")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two snapshots")
    parser.add_argument("--iops", type=int, default=300, help="requests per second of the guest, 30 %% of them writes")
    parser.add_argument("--mib", type=int, default=256, help="how much of the disk the guest uses")
    parser.add_argument("--slow-mb", type=float, default=1.0, help="MB/s of a slow bucket")
    parser.add_argument("--only", help="the name of one step; the first is always run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name, s3_server(Path(name) / "s3") as server:
        place = Path(name)
        with TroubledLink(server.port, bytes_per_s=options.slow_mb * 1e6) as link:
            server.bucket(BUCKET)
            with configured(place / "data", server, settings(f"http://127.0.0.1:{link.port}")) as system:
                try:
                    disk_id = system.create_disk()
                    system.attach(disk_id)
                    rng = np.random.default_rng(1)
                    for at in range(0, options.mib, 16):
                        system.write(disk_id, at * MIB, random_bytes(rng, 16 * MIB))
                    system.take(disk_id)
                    for label, trouble in STEPS:
                        if label == "no snapshots" or options.only in {None, label}:
                            step(system, link, disk_id, place / "fio", options, label, trouble)
                finally:
                    link.trouble = "fine"


if __name__ == "__main__":
    main()

"""What an account feels of another's flood: `python -m tests.system.tenants [--source NAME=DIR ...]`.

Each source tree's server is run in turn on the same machine with its ordinary limits. A neighbour asks for the
difference of two snapshots, for the space of snapshots, and takes snapshots, first alone and then while another account
creates disks, asks for differences and spaces, and sends calls that are refused, each as fast as it is let. The table
has p50 and p99 in milliseconds, and what the flood wrote to the audit trail.
"""

import argparse
import contextlib
import itertools
import os
import random
import shutil
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.client import CBS, OWN, CallError, Client

from drystone.nbd.client import NbdClient
from tests.system.harness import Installation

MIB = 1 << 20
SETTINGS = "throttle = false\nsnapshots_per_disk = 1000\nsnapshots_per_region = 10000\n"
HERE = Path(__file__).resolve().parents[2]


class Tenant:
    """An account with a disk of some scattered data and snapshots of it."""

    def __init__(self, installation: Installation, name: str, *, changed_mib: int, snapshots: int) -> None:
        made = installation.own("CreateAccount", AccountName=name)
        self.environment = {
            **installation.environment, "TENCENTCLOUD_SECRET_ID": made["SecretId"],
            "TENCENTCLOUD_SECRET_KEY": made["SecretKey"],
        }  # fmt: skip
        self.account_id = str(made["AccountId"])
        self.client = Client(self.environment)
        instance = self.client.call("CreateInstance", OWN, Kind="NBD")["InstanceId"]
        (self.disk,) = self.create(1)
        self.client.call("AttachDisks", InstanceId=instance, DiskIds=[self.disk])
        while self.client.disk_state(self.disk) != "ATTACHED":
            time.sleep(0.02)
        uri = str(self.client.detail(self.disk)["NbdUri"])
        rng = random.Random(name)
        self.snapshots = []
        with NbdClient(Path(uri.partition("socket=")[2]), self.disk) as nbd:
            for _ in range(snapshots):
                for _ in range(changed_mib * 16):
                    nbd.pwrite(rng.randrange(10 << 18) << 12, rng.randbytes(1 << 16))
                nbd.flush()
                self.snapshots.append(self.take())

    def create(self, count: int, client: Client | None = None) -> list[str]:
        """Make disks."""
        answer = (client or self.client).call(
            "CreateDisks", Placement={"Zone": self.environment["DRYSTONE_ZONE"]}, DiskChargeType="POSTPAID_BY_HOUR",
            DiskType="CLOUD_SSD", DiskSize=20, DiskCount=count,
        )  # fmt: skip
        return list(answer["DiskIdSet"])

    def take(self) -> str:
        """Take a snapshot and wait until it is NORMAL; it is tried again while the one before is being settled."""
        taken = ""
        while not taken:
            try:
                taken = str(self.client.call("CreateSnapshot", DiskId=self.disk)["SnapshotId"])
            except CallError as error:
                if error.code not in {"ResourceUnavailable.SnapshotCreating", "RequestLimitExceeded"}:
                    raise
                time.sleep(0.02)
        # No more often than an account may ask.
        while not self.client.snapshot_is_normal(taken):
            time.sleep(0.06)
        return taken

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Yield pairs of snapshots for ever."""
        return itertools.cycle([*itertools.permutations(self.snapshots, 2)])


def measured(tenant: Tenant, seconds: float) -> dict[str, list[float]]:
    """Let a tenant work for so long; return how many ms each call took."""
    found: dict[str, list[float]] = {"difference": [], "space": [], "snapshot": []}
    # A server may have cut a connection that was idle.
    tenant.client.close()
    tenant.client = Client(tenant.environment)
    end, pairs = time.monotonic() + seconds, tenant.pairs()
    while time.monotonic() < end:
        older, newer = next(pairs)
        began = time.monotonic()
        _differ(tenant.client, older, newer)
        differed = time.monotonic()
        _space(tenant.client, [older, newer])
        told = time.monotonic()
        tenant.snapshots.append(tenant.take())
        taken = time.monotonic()
        found["difference"].append((differed - began) * 1000)
        found["space"].append((told - differed) * 1000)
        found["snapshot"].append((taken - told) * 1000)
        # So that its own calls stay within the rate of an account.
        time.sleep(0.06)
    return found


def _differ(client: Client, older: str, newer: str) -> None:
    client.call("DescribeSnapshotDifference", OWN, From=older, To=newer)


def _space(client: Client, ids: list[str]) -> None:
    client.call("DescribeSnapshotSpace", OWN, SnapshotIds=ids)


@contextlib.contextmanager
def flood(tenant: Tenant, counts: dict[str, int]) -> Iterator[None]:
    """Ask for everything at once while the block runs; count the answers by kind and code."""
    end = threading.Event()
    pairs = tenant.pairs()
    refused = ["x" * 60 for _ in range(100)]

    def loop(name: str, call: Callable[[Client], object]) -> None:
        client = Client(tenant.environment)
        while not end.is_set():
            code = "OK"
            try:
                call(client)
            except CallError as error:
                code = error.code
                if code.startswith("RequestLimitExceeded"):
                    time.sleep(0.02)
            except OSError:
                return
            counts[f"{name} {code}"] = counts.get(f"{name} {code}", 0) + 1
        client.close()

    def differ(client: Client) -> None:
        _differ(client, *next(pairs))

    def space(client: Client) -> None:
        _space(client, random.sample(tenant.snapshots, 3))

    loops: list[tuple[str, Callable[[Client], object]]] = [
        *[("create 50 disks", lambda client: tenant.create(50, client))] * 10,
        *[("difference", differ)] * 24,
        *[("space", space)] * 24,
        *[("refused", lambda client: client.call("TerminateDisks", CBS, DiskIds=refused))] * 4,
    ]
    threads = [threading.Thread(target=loop, args=one) for one in loops]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        end.set()
        for thread in threads:
            thread.join()


def run(source: Path, work: Path, seconds: float) -> dict[str, Any]:
    """Measure the server of one source tree."""
    os.environ["PYTHONPATH"] = str(source / "src")
    installation = Installation(work / "d")
    (installation.data / "drystone.toml").write_text(SETTINGS)
    try:
        installation.start()
        neighbour = Tenant(installation, "neighbour", changed_mib=4, snapshots=3)
        rude = Tenant(installation, "rude", changed_mib=64, snapshots=6)
        alone = measured(neighbour, seconds)
        counts: dict[str, int] = {}
        with flood(rude, counts):
            time.sleep(2)
            beside = measured(neighbour, seconds)
        with sqlite3.connect(installation.data / "catalog.db") as catalog:
            asked = "SELECT count(*), sum(length(resource)) FROM audit WHERE account_id = ? AND code != 'OK'"
            trail = catalog.execute(asked, (rude.account_id,)).fetchone()
    finally:
        installation.clean_up()
        del os.environ["PYTHONPATH"]
    return {"alone": alone, "beside": beside, "counts": counts, "trail": trail}


def _shown(samples: list[float]) -> str:
    ordered = sorted(samples)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return f"p50 {statistics.median(ordered):7.0f}  p99 {p99:7.0f}  n {len(ordered):4d}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", action="append", metavar="NAME=DIR", help="a source tree; default: this one")
    parser.add_argument("--seconds", type=float, default=20)
    given = parser.parse_args()
    sources = [one.partition("=") for one in given.source or [f"here={HERE}"]]
    for name, _, directory in sources:
        work = Path(tempfile.mkdtemp(prefix="tenants-", dir="/var/tmp"))
        try:
            result = run(Path(directory).resolve(), work, given.seconds)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        print(f"== {name}")
        for kind in ("difference", "space", "snapshot"):
            for when in ("alone", "beside"):
                print(f"{kind:10} {when:6} {_shown(result[when][kind])}")
        print("flood:", ", ".join(f"{what}: {count}" for what, count in sorted(result["counts"].items())))
        print(f"trail of refused calls: {result['trail'][0]} rows, {result['trail'][1] or 0} bytes of resources")


if __name__ == "__main__":
    main()

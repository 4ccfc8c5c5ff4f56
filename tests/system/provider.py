"""A client that calls as Terraform's provider for Tencent Cloud does: in parallel, and with its rule of what to retry.

Source: the provider at f6970a90 (services/cbs, common/common.go), as recorded against this service. Of its rule: codes
that begin with one of three words are retried for five minutes, and the rate limit; everything else ends the run.

    python -m tests.system.provider --runs 20
"""

import argparse
import concurrent.futures
import random
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from drystone.api.refusals import retried
from tests.system.harness import Installation, installation

T = TypeVar("T")
RETRY_SECONDS = 300.0
PARALLELISM = 20
"""Of `terraform apply -parallelism`; its default is 10."""


class Provider:
    """The calls of one run.

    Attributes:
        retries: Codes of refusals that were tried again.
    """

    def __init__(self, system: Installation) -> None:
        self._system = system
        self.retries: list[str] = []

    def _call(self, action: str, **parameters: Any) -> Any:
        until = time.monotonic() + RETRY_SECONDS
        while True:
            try:
                return self._system.call(action, **parameters)
            except TencentCloudSDKException as error:
                if not retried(error.code) or time.monotonic() > until:
                    raise
                self.retries.append(error.code)
                time.sleep(0.5)

    def _wait(self, condition: Callable[[], bool]) -> None:
        self._system.wait(condition, "what the provider waits for")

    def disk(self, name: str, **more: Any) -> str:
        """Create a disk, and wait until it is listed; its tags come in any order."""
        tags = [{"Key": f"key-{number}", "Value": name} for number in range(4)]
        random.shuffle(tags)
        made = self._system.create_disk(DiskName=name, Tags=tags, **more)
        self._wait(lambda: self._system.disk(made).DiskState in {"UNATTACHED", "ATTACHED"})
        return made

    def attachment(self, disk_id: str) -> None:
        """Attach a disk, and wait."""
        self._call("AttachDisks", InstanceId=self._system.nbd_instance, DiskIds=[disk_id])
        self._wait(lambda: bool(self._system.disk(disk_id).Attached))

    def snapshot(self, disk_id: str) -> str:
        """Take a snapshot, and wait."""
        made = str(self._call("CreateSnapshot", DiskId=disk_id, SnapshotName=f"of-{disk_id}").SnapshotId)
        self._wait(lambda: self._system.snapshot(made).SnapshotState == "NORMAL")
        return made

    def detach(self, disk_id: str) -> None:
        """Destroy an attachment: the provider does not wait for the end of it."""
        self._call("DetachDisks", DiskIds=[disk_id], InstanceId=self._system.nbd_instance)

    def destroy_disk(self, disk_id: str) -> None:
        """Destroy a disk, without a look at its state."""
        self._call("TerminateDisks", DiskIds=[disk_id])

    def destroy_snapshot(self, snapshot_id: str) -> None:
        """Delete a snapshot."""
        self._call("DeleteSnapshots", SnapshotIds=[snapshot_id])


def together(calls: Iterable[Callable[[], T]]) -> list[T]:
    """Make calls at once, as Terraform walks a graph; return what each returned."""
    with concurrent.futures.ThreadPoolExecutor(PARALLELISM) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def apply_and_destroy(system: Installation, count: int) -> list[str]:
    """Make `count` disks with an attachment, a snapshot and a copy each, then destroy all; return what was retried."""
    provider = Provider(system)

    def resources(number: int) -> tuple[str, str, str]:
        disk_id = provider.disk(f"disk-{number}")
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            attached = pool.submit(provider.attachment, disk_id)
            snapshot_id = pool.submit(provider.snapshot, disk_id).result()
            attached.result()
        return disk_id, snapshot_id, provider.disk(f"copy-{number}", SnapshotId=snapshot_id)

    def destroy(made: tuple[str, str, str]) -> None:
        disk_id, snapshot_id, copy_id = made
        provider.destroy_disk(copy_id)
        provider.detach(disk_id)
        provider.destroy_snapshot(snapshot_id)
        provider.destroy_disk(disk_id)

    made = together([lambda number=number: resources(number) for number in range(count)])  # type: ignore[misc]
    together([lambda one=one: destroy(one) for one in made])  # type: ignore[misc]
    assert system.call("DescribeDisks").TotalCount == 0
    assert system.call("DescribeSnapshots").TotalCount == 0
    return provider.retries


def main() -> None:
    """Run it over and over; print what each run retried."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--count", type=int, default=18, help="disks with an attachment, a snapshot and a copy each")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, installation(Path(directory) / "data") as system:
        for run in range(1, given.runs + 1):
            begun = time.monotonic()
            retries = apply_and_destroy(system, given.count)
            print(f"run {run}: green, {time.monotonic() - begun:.1f} s, retried {len(retries)}: {sorted(set(retries))}")


if __name__ == "__main__":
    main()

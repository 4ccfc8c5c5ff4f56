"""A real installation for tests: `drystone serve` as a process, the official SDK as its client, NBD for the bytes.

Everything that it starts is ended when the `with` block ends, whatever happened: the server, storage daemons, mounts,
loop devices.
"""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from tencentcloud.cbs.v20170312 import cbs_client, models
from tencentcloud.common.common_client import CommonClient
from tencentcloud.common.credential import Credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile

from drystone.client_settings import parse_credentials
from drystone.domain.errors import UnavailableError
from drystone.domain.ids import StoreId
from drystone.engine import device_use, host_device, loop, process
from drystone.engine.layout import Layout
from drystone.nbd.client import NbdClient
from drystone.objects.local import LocalStore
from drystone.snapstore.reader import SnapshotReader
from drystone.snapstore.store import open_store

GIB = 1 << 30
PIECE = 16 << 20
"""Bytes of one request; NBD servers take at most 32 MiB."""
POLL_S_MIN = 0.02
POLL_S_MAX = 0.3
WORKERS = 2
SNAPSHOT_NICE = "10"
"""How many processes take snapshots, and their nice value."""
SECONDS = 120.0
"""How long anything may take on a loaded machine before a test says that it hangs."""


class Installation:
    """One data directory, its server process, and clients of it."""

    def __init__(self, data: Path, settings: str = "") -> None:
        self.data = data
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        (data / "drystone.toml").write_text("rate_limits = false\nthrottle = false\n" + settings)
        self.layout = Layout(data)
        self.stderr = data / "server.log"
        """Where the server's log goes."""
        self.process: subprocess.Popen[str] | None = None
        self.environment: dict[str, str] = {}

    # --- processes ---

    def start(self) -> float:
        """Start the server, wait until it is ready, and return how many seconds that took."""
        assert self.process is None
        began = time.monotonic()
        log_file = self.stderr.open("a")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "drystone", "serve", "--data", str(self.data), "--port", "0"],
            stdout=subprocess.PIPE, stderr=log_file, text=True,
        )  # fmt: skip
        log_file.close()
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("ready http://127.0.0.1:"), (line, self.log())
        self.environment = parse_credentials((self.data / "credentials.env").read_text())
        return time.monotonic() - began

    def stop(self) -> None:
        """SIGTERM to the server, and wait; daemons go on."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to the server; daemons go on."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(SECONDS)
            if self.process.stdout is not None:
                self.process.stdout.close()
            self.process = None

    def daemons(self) -> dict[str, int]:
        """Return the storage daemons (and the snapshot server, as `store`) that run, with their pids."""
        found = {}
        for directory in self.layout.run.iterdir() if self.layout.run.is_dir() else ():
            # A test may have broken the file system beneath.
            with contextlib.suppress(OSError):
                running = process.adopt(directory)
                if running is not None:
                    found[directory.name] = running.pid
        return found

    def kill_daemons(self, *, store: bool = False) -> list[str]:
        """SIGKILL to all storage daemons (and the snapshot server); return which."""
        victims = {name: pid for name, pid in self.daemons().items() if store or name != "store"}
        for pid in victims.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return sorted(victims)

    @contextlib.contextmanager
    def paused_workers(self) -> Iterator[None]:
        """Hold all worker processes: what was frozen stays frozen, and no snapshot becomes NORMAL meanwhile."""
        # Of those that snapshots wait for, one that started later would not be held; the others start when needed.
        self.wait(lambda: [*self._workers().values()].count(SNAPSHOT_NICE) == WORKERS, "all workers")
        workers = list(self._workers())
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def _workers(self) -> dict[int, str]:
        """Return the worker processes and their nice values."""
        assert self.process is not None
        found = {}
        for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                # Empty while it is forked and not yet a program of its own.
                command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
                if command[-3:-2] == ["drystone.transfer.worker"]:
                    found[int(pid)] = command[-2]
        return found

    def host_stop(self) -> None:
        """Run `drystone host stop`."""
        subprocess.run(
            [sys.executable, "-m", "drystone", "host", "stop", "--data", str(self.data)], check=True, timeout=SECONDS,
            capture_output=True,
        )  # fmt: skip
        self._end(signal.SIGTERM)

    def clean_up(self) -> None:
        """End everything that this data directory has running, and what is mounted from it."""
        with contextlib.suppress(Exception):
            self._end(signal.SIGKILL)
        self.kill_daemons(store=True)
        deadline = time.monotonic() + 10
        while self.daemons() and time.monotonic() < deadline:
            time.sleep(0.02)
        for device, file in loop.standing():
            if self.layout.run in file.parents:
                loop.give_up(device)
        for directory in (self.data / "disks").glob("disk-*"):
            # Without the right to remove it there was none to make it.
            with contextlib.suppress(OSError):
                for link in host_device.LINKS.glob(f"virtio-{directory.name}*"):
                    link.unlink()
        for mount in device_use.mounts():
            if mount.place.startswith((f"{self.data}/", f"{self.layout.run}/")):
                subprocess.run(["umount", "-l", mount.place], check=False, capture_output=True)
        # It lies outside the data directory where that one's path is long.
        shutil.rmtree(self.layout.run, ignore_errors=True)

    def log(self) -> str:
        """Return the end of the server's log."""
        return "\n".join((self.data / "server.log").read_text().splitlines()[-20:])

    # --- clients ---

    @property
    def endpoint(self) -> str:
        """host:port of the server."""
        return self.environment["DRYSTONE_ENDPOINT"].removeprefix("http://")

    def _profile(self) -> tuple[Credential, ClientProfile]:
        key = Credential(self.environment["TENCENTCLOUD_SECRET_ID"], self.environment["TENCENTCLOUD_SECRET_KEY"])
        http = HttpProfile(protocol="http", endpoint=self.endpoint, reqTimeout=60)
        return key, ClientProfile(httpProfile=http)

    def call(self, action: str, **parameters: Any) -> Any:
        """Call a CBS action with the official SDK's typed client; return its response object.

        Raises:
            TencentCloudSDKException: With the service's code.
        """
        key, profile = self._profile()
        client = cbs_client.CbsClient(key, self.environment["TENCENTCLOUD_REGION"], profile)
        request = getattr(models, f"{action}Request")()
        request.from_json_string(json.dumps(parameters))
        return getattr(client, action)(request)

    def own(self, action: str, **parameters: Any) -> dict[str, Any]:
        """Call an action of the second service; return its response."""
        key, profile = self._profile()
        client = CommonClient("drystone", "2026-11-01", key, self.environment["TENCENTCLOUD_REGION"], profile)
        response: dict[str, Any] = client.call_json(action, parameters)["Response"]
        return response

    def code(self, action: str, **parameters: Any) -> str:
        """Return the error code of a call, or `OK`."""
        try:
            self.call(action, **parameters)
        except TencentCloudSDKException as error:
            return str(error.get_code())
        return "OK"

    # --- disks and snapshots ---

    @property
    def nbd_instance(self) -> str:
        """The instance whose disks are served as NBD."""
        return self.environment["DRYSTONE_NBD_INSTANCE_ID"]

    @property
    def host_instance(self) -> str:
        """The instance whose disks become block devices."""
        return self.environment["DRYSTONE_HOST_INSTANCE_ID"]

    def create_disk(self, size_gib: int = 10, **parameters: Any) -> str:
        """Make a disk; return its id."""
        fields: dict[str, Any] = {
            "Placement": {"Zone": self.environment["DRYSTONE_ZONE"]}, "DiskChargeType": "POSTPAID_BY_HOUR",
            "DiskType": "CLOUD_PREMIUM", **parameters,
        }  # fmt: skip
        if "SnapshotId" not in fields:
            fields["DiskSize"] = size_gib
        return str(self.call("CreateDisks", **fields).DiskIdSet[0])

    def disk(self, disk_id: str) -> Any:
        """Return a disk as DescribeDisks has it; None if it is gone."""
        found = self.call("DescribeDisks", DiskIds=[disk_id]).DiskSet
        return found[0] if found else None

    def detail(self, disk_id: str) -> dict[str, Any]:
        """Return a disk as the second service has it."""
        return dict(self.own("DescribeDiskDetails", DiskIds=[disk_id])["DiskDetailSet"][0])

    def snapshot(self, snapshot_id: str) -> Any:
        """Return a snapshot as DescribeSnapshots has it; None if it is gone."""
        found = self.call("DescribeSnapshots", SnapshotIds=[snapshot_id]).SnapshotSet
        return found[0] if found else None

    def record(self, snapshot_id: str) -> dict[str, Any]:
        """Return a snapshot's record (P7)."""
        return dict(self.own("DescribeSnapshotRecords", SnapshotIds=[snapshot_id])["SnapshotRecordSet"][0])

    def attach(self, disk_id: str, instance: str | None = None) -> None:
        """Attach to the NBD instance, or another, and wait."""
        self.call("AttachDisks", InstanceId=instance or self.nbd_instance, DiskIds=[disk_id])
        self.wait_state(disk_id, "ATTACHED")

    def detach(self, disk_id: str) -> None:
        """Detach and wait."""

        def asked() -> bool:
            try:
                self.call("DetachDisks", DiskIds=[disk_id])
            except TencentCloudSDKException as error:
                # A sandbox that began while it was mounted has a copy of every mount of the host, until it ends.
                if "another mount namespace" in str(error.get_message()):
                    return False
                raise
            return True

        self.wait(asked, f"{disk_id} is free")
        self.wait_state(disk_id, "UNATTACHED")

    def take(self, disk_id: str, **parameters: Any) -> str:
        """Take a snapshot and wait until it is NORMAL."""
        snapshot_id = str(self.call("CreateSnapshot", DiskId=disk_id, **parameters).SnapshotId)
        self.wait_normal(snapshot_id)
        return snapshot_id

    def events(self) -> set[tuple[str, str]]:
        """Return kind and subject of the events that are not over, but for space, which the machine may lack."""
        unresolved = [{"Name": "resolved", "Values": ["false"]}]
        found = self.own("DescribeEvents", Filters=unresolved, Limit=100)["EventSet"]
        return {(one["Kind"], one["SubjectId"]) for one in found if one["Kind"] != "space_low"}

    def wait_normal(self, snapshot_id: str, seconds: float = SECONDS) -> None:
        """Wait until a snapshot is NORMAL; it must not disappear."""

        def normal() -> bool:
            found = self.snapshot(snapshot_id)
            assert found is not None, f"{snapshot_id} disappeared:\n{self.log()}"
            return bool(found.SnapshotState == "NORMAL")

        self.wait(normal, f"{snapshot_id} NORMAL", seconds)

    def wait_state(self, disk_id: str, state: str) -> None:
        """Wait until a disk has this state."""
        self.wait(lambda: self.disk(disk_id).DiskState == state, f"{disk_id} {state}")

    def wait_idle(self) -> None:
        """Wait until no operation is running; comparisons in the background yield to all else, so it may take long."""

        def running() -> Any:
            filters = [{"Name": "state", "Values": ["RUNNING"]}]
            return self.own("DescribeOperations", Filters=filters)["OperationSet"]

        try:
            self.wait(lambda: not running(), "no operation running", 5 * SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}\nrunning: {running()}\ndaemons: {self.daemons()}") from None

    def wait(self, condition: Any, what: str, seconds: float = SECONDS) -> None:
        """Wait until a condition holds."""
        deadline = time.monotonic() + seconds
        pause = POLL_S_MIN
        while not condition():
            assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}:\n{self.log()}"
            time.sleep(pause)
            # A call costs client and server more than what they wait for may get meanwhile: the longer, the fewer.
            pause = min(pause * 1.5, POLL_S_MAX)

    @contextlib.contextmanager
    def nbd(self, disk_id: str) -> Iterator[NbdClient]:
        """Open an attached disk over NBD; wait for it if its daemon has just died."""
        deadline = time.monotonic() + SECONDS
        while (client := self._connected(disk_id)) is None:
            assert time.monotonic() < deadline, f"{disk_id} is not served:\n{self.log()}"
            time.sleep(0.05)
        with client:
            yield client

    def _connected(self, disk_id: str) -> NbdClient | None:
        uri = self.detail(disk_id)["NbdUri"]
        if uri is None:
            return None
        try:
            return NbdClient(Path(unquote(uri.partition("socket=")[2])), disk_id)
        except UnavailableError:
            return None

    def is_served(self, disk_id: str) -> bool:
        """Tell whether an attached disk can be opened over NBD now."""
        client = self._connected(disk_id)
        if client is not None:
            client.close()
        return client is not None

    def write(self, disk_id: str, start: int, data: bytes) -> None:
        """Write, in pieces that one request may carry, and flush."""
        with self.nbd(disk_id) as client:
            for at in range(0, len(data), PIECE):
                client.pwrite(start + at, data[at : at + PIECE])
            client.flush()

    def read(self, disk_id: str, start: int, length: int) -> bytes:
        """Read, in pieces that one request may carry."""
        with self.nbd(disk_id) as client:
            pieces = [client.pread(start + at, min(PIECE, length - at)) for at in range(0, length, PIECE)]
        return b"".join(pieces)

    def stored(self, snapshot_id: str) -> SnapshotReader:
        """Open a snapshot straight from the store's directory, without the server: what is durable, and no more.

        By the manifest that its row names: an attempt that was given up may have left another.
        """
        root = self.data / "store"
        with contextlib.closing(sqlite3.connect(self.data / "catalog.db")) as catalog:
            row = catalog.execute("SELECT manifest FROM snapshot WHERE id = ?", (snapshot_id,)).fetchone()
        (store_id,) = [entry.name for entry in root.iterdir() if not entry.name.startswith(".")]
        return SnapshotReader.open(open_store(LocalStore(root, 0), StoreId(store_id)), row[0])

    def content(self, snapshot_id: str, length: int) -> bytes:
        """Restore a snapshot to a new disk, read its first bytes, and destroy the disk."""
        disk_id = self.create_disk(SnapshotId=snapshot_id)
        self.attach(disk_id)
        try:
            return self.read(disk_id, 0, length)
        finally:
            self.detach(disk_id)
            self.call("TerminateDisks", DiskIds=[disk_id])


@contextlib.contextmanager
def installation(data: Path, settings: str = "") -> Iterator[Installation]:
    """Start an installation; everything of it has ended when this returns."""
    made = Installation(data, settings)
    try:
        made.start()
        yield made
    finally:
        made.clean_up()


def flip(file: Path, at: int) -> None:
    """Change one bit of a file, as a disk that rots does; an object of the store is read-only."""
    file.chmod(0o600)
    with file.open("r+b") as opened:
        opened.seek(at)
        (byte,) = opened.read(1)
        opened.seek(at)
        opened.write(bytes([byte ^ 0x10]))


def random_bytes(rng: np.random.Generator, length: int) -> bytes:
    """Return bytes that do not compress."""
    return rng.bytes(length)

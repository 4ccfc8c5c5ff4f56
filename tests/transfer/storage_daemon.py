"""A qemu-storage-daemon for tests: QMP over a socket, a disk with the graph of the design, frozen views of it."""

import contextlib
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from drystone.transfer.addresses import Endpoint

BLOCK = 4096


class StorageDaemon:
    """One daemon with one disk `d0` (qcow2), throttle node `t0`, exports `disk` (writable) and frozen views."""

    def __init__(self, directory: Path, process: subprocess.Popen[bytes]) -> None:
        self.directory = directory
        self.process = process
        self.nbd = directory / "nbd.sock"
        self.trim = directory / "trim.sock"
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20)
        self._socket.connect(str(directory / "qmp.sock"))
        self._file = self._socket.makefile("rwb")
        self._events: list[str] = []
        self._read()
        self.qmp("qmp_capabilities")

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def _read(self) -> dict[str, Any]:
        line = self._file.readline()
        assert line, "QMP is gone"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def qmp(self, command: str, **arguments: Any) -> Any:
        named = {key.replace("_", "-"): value for key, value in arguments.items()}
        self._file.write(json.dumps({"execute": command, "arguments": named}).encode() + b"\n")
        self._file.flush()
        while True:
            answer = self._read()
            if "error" in answer:
                raise RuntimeError(f"{command} {named}: {answer['error']}")
            if "return" in answer:
                return answer["return"]
            self._events.append(answer.get("event", ""))

    def wait_event(self, name: str) -> None:
        # It may have come before the answer of the command that caused it.
        while name not in self._events:
            self._events.append(self._read().get("event", ""))
        self._events.remove(name)

    def endpoint(self, export: str, timeout_s: float = 20) -> Endpoint:
        return Endpoint(socket=str(self.nbd), export=export, timeout_s=timeout_s)

    def open_disk(self, image: Path, *, backing: Endpoint | None = None) -> None:
        """Build file <- qcow2 <- throttle <- export, and start bitmap `b0`."""
        below: str | None = None
        if backing is not None:
            self.qmp(
                "blockdev-add", driver="nbd", node_name="back", export=backing.export, read_only=True,
                server={"type": "unix", "path": backing.socket}, reconnect_delay=300,
            )  # fmt: skip
            below = "back"
        self.qmp("object-add", qom_type="throttle-group", id="tg0")
        self.qmp(
            "blockdev-add", driver="file", node_name="d0-file", filename=str(image), discard="unmap",
            cache={"direct": True},
        )  # fmt: skip
        self.qmp(
            "blockdev-add", driver="qcow2", node_name="d0", file="d0-file", backing=below, discard="unmap",
            detect_zeroes="unmap",
        )  # fmt: skip
        self.qmp("blockdev-add", driver="throttle", node_name="t0", throttle_group="tg0", file="d0", discard="unmap")
        self.add_bitmap("b0")
        self.qmp("block-export-add", id="disk", type="nbd", node_name="t0", name="disk", writable=True)

    def add_bitmap(self, name: str) -> None:
        self.qmp("block-dirty-bitmap-add", node="d0", name=name, granularity=BLOCK, persistent=False)

    def export_lower(self) -> Endpoint:
        """Export the qcow2 node itself, read-only, for hydration and allocation depth."""
        self.qmp(
            "block-export-add", id="lower", type="nbd", node_name="d0", name="lower", writable=False,
            allocation_depth=True,
        )  # fmt: skip
        return self.endpoint("lower")

    @contextlib.contextmanager
    def pulled_file(self, path: Path) -> Iterator[Path]:
        """Export a copy-on-read view of the disk as a file (FUSE); unmounted at the end, also if the daemon is dead."""
        path.touch()
        self.qmp("blockdev-add", driver="copy-on-read", node_name="pull", file="d0", discard="unmap")
        self.qmp("block-export-add", id="pull", type="fuse", node_name="pull", mountpoint=str(path), writable=False)
        try:
            yield path
        finally:
            subprocess.run(["umount", "--lazy", str(path)], check=True)

    def freeze(self, size: int, *, old: str = "b0", new: str = "b1") -> Endpoint:
        """Freeze (recipe B): the view is export `view`, its bitmap `old`."""
        scratch = self.directory / f"scratch-{old}"
        scratch.touch()
        with scratch.open("r+b") as file:
            file.truncate(size)
        self.qmp(
            "blockdev-add", driver="file", node_name="fl", filename=str(scratch), discard="unmap",
            cache={"direct": False, "no-flush": True},
        )  # fmt: skip
        self.qmp(
            "blockdev-add", driver="copy-before-write", node_name="cbw", file="d0", target="fl", discard="unmap",
            on_cbw_error="break-snapshot", cbw_timeout=2,
        )  # fmt: skip
        self.add_bitmap(new)
        self.reopen_top("cbw")
        self.qmp("block-dirty-bitmap-disable", node="d0", name=old)
        self.qmp("blockdev-add", driver="snapshot-access", node_name="sa", file="cbw", discard="unmap")
        self.qmp(
            "block-export-add", id="view", type="nbd", node_name="sa", name="view", writable=False,
            bitmaps=[{"node": "d0", "name": old}],
        )  # fmt: skip
        self.qmp(
            "block-export-add", id="trim", type="vhost-user-blk", node_name="sa", writable=True,
            addr={"type": "unix", "path": str(self.trim)},
        )  # fmt: skip
        return self.endpoint("view")

    def reopen_top(self, below: str) -> None:
        options = {
            "driver": "throttle", "node-name": "t0", "throttle-group": "tg0", "discard": "unmap", "file": below,
        }  # fmt: skip
        self.qmp("blockdev-reopen", options=[options])

    def release(self, *, old: str = "b0") -> None:
        """Take the frozen view away and drop its bitmap: the snapshot is NORMAL."""
        for export in ("trim", "view"):
            self.qmp("block-export-del", id=export, mode="hard")
            self.wait_event("BLOCK_EXPORT_DELETED")
        self.qmp("blockdev-del", node_name="sa")
        self.reopen_top("d0")
        self.qmp("blockdev-del", node_name="cbw")
        self.qmp("blockdev-del", node_name="fl")
        (self.directory / f"scratch-{old}").unlink()
        self.qmp("block-dirty-bitmap-remove", node="d0", name=old)


@contextlib.contextmanager
def storage_daemon(directory: Path) -> Iterator[StorageDaemon]:
    """Run a daemon with its sockets in `directory`; it is killed at the end, whatever happened."""
    directory.mkdir(parents=True, exist_ok=True)
    pidfile = directory / "pid"
    process = subprocess.Popen([
        "qemu-storage-daemon",
        "--nbd-server", f"addr.type=unix,addr.path={directory}/nbd.sock,max-connections=32",
        "--chardev", f"socket,id=qmp,path={directory}/qmp.sock,server=on,wait=off",
        "--monitor", "chardev=qmp",
        "--pidfile", str(pidfile),
    ])  # fmt: skip
    try:
        deadline_s = time.monotonic() + 10
        while not pidfile.exists():
            assert process.poll() is None, "qemu-storage-daemon died"
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        daemon = StorageDaemon(directory, process)
        try:
            yield daemon
        finally:
            daemon.close()
    finally:
        process.kill()
        process.wait()
        pidfile.unlink(missing_ok=True)


def qcow2(path: Path, size: int, backing: Endpoint | None = None) -> Path:
    """Make an image."""
    more = []
    if backing is not None:
        more = ["-u", "-b", f"nbd+unix:///{backing.export}?socket={backing.socket}", "-F", "raw"]
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *more, str(path), str(size)], check=True)
    return path

"""`kill -9` of the server, of a proof's machine, and of its clone's storage daemon, at every step of a proof (S90).

The steps are those that a proof passes here, found out by one that is left alone. The machine is a script that says
what a prover says: what is looked at is what Drystone leaves. With `--long` every step is cut; `test_proving.py` kills
real machines.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drystone.prove import machine
from tests.prove.machines import PATH
from tests.prove.test_appliance import kernel_of
from tests.quiesce.databases import short_directory
from tests.system.harness import SECONDS, Installation, installation

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(os.geteuid() != 0, reason="machines run as users of their own, which needs root"),
]
EMULATOR = """#!/usr/bin/python3
import os, re, sys, time
channel = int(re.search(r"id=channel,fd=([0-9]+)", " ".join(sys.argv))[1])
lines = ("hello", "opens\\t0.001\\tdisk: look\\text4", "opens\\t0.001\\tdisk: mount\\t", "end")
for number, line in enumerate(lines, start=1):
    while f"before _Conversation._line {number}\\n" not in open("BASE/points/passed").read():
        time.sleep(0.005)
    try:
        os.write(channel, f"{line}\\n".encode())
    except OSError:
        pass
time.sleep(1000)
"""
"""Says each line when it is waited for, and lives on when nobody hears it, as an emulator does."""
LATE = """#!/bin/sh
sleep 0.2
exec /usr/bin/setpriv "$@"
"""
"""On a busy host it takes a while until the emulator is asked to die with the server."""
PACKAGES = """#!/bin/sh
if [ "$1" = -W ]; then printf 'python3\\tinstalled\\t1\\t\\t\\t\\n'; else echo /usr/bin/true; fi
"""
SETTINGS = 'prove_kvm = false\nprove_images = "{base}/images"\nprove_kernels = "{base}/kernels"\n'
AT_A_START = "server after LiveDisk.export_nbd 1"
"""What is left by this cut a start takes away (S193)."""
QUICK = (
    ("server after create_subprocess_exec 2",), ("server after _fill 1",), ("server after put 1",),
    (AT_A_START, "server before Detached.end 1"),
    ("machine before _Conversation._line 2",), ("daemon after _Conversation._line 2",),
)  # fmt: skip
"""What the ordinary suite cuts: once in each part of a proof."""


class Points:
    """An installation whose proofs can be cut, and what is left of them."""

    def __init__(self, system: Installation, base: Path) -> None:
        self.system = system
        self.base = base
        self.servers: set[int] = set()
        assert "sitecustomize" not in system.log(), system.log()
        disk_id = system.create_disk()
        system.attach(disk_id)
        system.write(disk_id, 0, b"x" * 4096)
        self.snapshot_id = system.take(disk_id)

    def prove(self, *cuts: str) -> str:
        """Prove with these cuts, starting the server again wherever it was killed; return what was found."""
        for image in (self.base / "images").glob("programs-*"):
            image.unlink()
        for name in ("passed", "killed"):
            (self.base / "points" / name).write_text("")
        self._note_server()
        (self.base / "points/cuts").write_text("".join(f"{cut}\n" for cut in cuts))
        self.system.own("ProveSnapshot", SnapshotId=self.snapshot_id)
        if cuts[:1] and cuts[0].startswith("server "):
            assert self.system.process is not None
            self.system.process.wait(SECONDS)
            self._start_again()
        self.system.wait_idle()
        assert (self.base / "points/cuts").read_text() == "", "a cut was not reached"
        opening: dict[str, Any] = self.system.record(self.snapshot_id)["Opening"]
        return str(opening["Finding"])

    def _start_again(self) -> None:
        """Start the server, again and again if it is killed while it starts."""
        while True:
            killed = len(self.read("killed"))
            self.system.kill()
            try:
                self.system.start()
            except AssertionError:
                self._note_server()
                assert len(self.read("killed")) > killed
                continue
            self._note_server()
            return

    def _note_server(self) -> None:
        assert self.system.process is not None
        self.servers.add(self.system.process.pid)

    def read(self, name: str) -> list[str]:
        return (self.base / "points" / name).read_text().splitlines()

    def left(self) -> list[str]:
        """Everything that a proof consists of, as it is there; the image of programs stays for the next one."""
        layout = self.system.layout
        found = [str(path) for path in (*layout.run.glob("proof-*"), *layout.scratch.glob("*"))]
        found += [
            path.name
            for path in (self.base / "images").iterdir()
            if path.name != "lock" and not (path.name.startswith("programs-") and path.suffix == ".img")
        ]
        users = {user for pid in self.servers for user in machine.users(pid, machine.USERS_EACH)}
        marks = (f"{layout.run}/proof-", f"{self.base}/images", f"{self.base}/bin")
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                status = (entry / "status").read_text()
                line = (entry / "cmdline").read_bytes().decode(errors="replace")
                user = int(status.partition("Uid:")[2].split()[0])
                ours = any(mark in line for mark in marks)
                if (user in users or ours) and "State:\tZ" not in status:
                    found.append(f"{entry.name}: {line[:200]}")
        return found


@contextlib.contextmanager
def points_of(monkeypatch: pytest.MonkeyPatch, settings: str, path: str) -> Iterator[Points]:
    with short_directory() as base:
        (base / "points").mkdir()
        for name in ("passed", "killed", "cuts"):
            (base / "points" / name).touch()
        (base / "kernels").mkdir()
        kernel_of(base / "kernels", "6.1")
        (base / "bin").mkdir()
        scripts = {machine.architecture().emulator: EMULATOR, "dpkg-query": PACKAGES, "setpriv": LATE}
        for name, script in scripts.items():
            (base / "bin" / name).write_text(script.replace("BASE", str(base)))
            (base / "bin" / name).chmod(0o755)
        here = str(Path(__file__).with_name("proof_points"))
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, str(Path(machine.__file__).parents[2])]))
        monkeypatch.setenv("PROOF_POINTS", str(base / "points"))
        monkeypatch.setenv("PATH", path.format(base=base))
        with installation(base / "data", settings.format(base=base)) as system:
            yield Points(system, base)


@pytest.fixture(scope="module")
def points() -> Iterator[Points]:
    with pytest.MonkeyPatch.context() as monkeypatch, points_of(monkeypatch, SETTINGS, f"{{base}}/bin:{PATH}") as made:
        yield made


def outcome(points: Points, passed: list[str], cuts: tuple[str, ...]) -> str:
    """Cut one proof; return what is wrong then: something is left, or what is said of the snapshot is not so."""
    victim, _, step = cuts[0].partition(" ")
    finding = points.prove(*cuts)
    if left := points.left():
        return f"{cuts}: {left}"
    # Once all was said and the clone was seen alive, nothing is lost by their death.
    last = "before Daemon.alive 1" if victim == "daemon" else "before _Conversation._line 4"
    hit = victim != "server" and points.read("killed") != []
    expected = "not proven" if hit and passed.index(step) <= passed.index(last) else "opens"
    return "" if finding == expected else f"{cuts}: {finding}"


def test_a_proof_is_cut(points: Points, *, long: bool) -> None:
    for _ in range(2):  # The first starts the snapshot server, which stays.
        assert points.prove() == "opens"
    passed = points.read("passed")
    assert points.left() == []
    every = [(f"{victim} {step}",) for victim in ("server", "machine", "daemon") for step in passed]
    assert len(every) > 3 * 40
    tidied = ("before remove_clone 1", "before Detached.end 1", "after Detached.end 1", "after remove_clone 1")
    twice = [(AT_A_START, f"server {step}") for step in tidied]
    assert set(QUICK) <= {*every, *twice}, passed
    chosen = [*every, *twice] if long else QUICK
    assert [wrong for cuts in chosen if (wrong := outcome(points, passed, cuts))] == []
    # And it is let go of.
    points.system.call("DeleteSnapshots", SnapshotIds=[points.snapshot_id])
    points.system.wait(lambda: points.system.snapshot(points.snapshot_id) is None, "the snapshot's end")
    print(f"{len(chosen)} proofs were cut")

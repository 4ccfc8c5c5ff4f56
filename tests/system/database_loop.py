"""Real databases under write load, with their data on an attached disk: snapshots of all kinds, each opened again.

`./dev databases --each 30` takes 30 snapshots with the profile, 30 by hand as docs/consistency.md says, and 30 with
nothing held, of a MariaDB and of a PostgreSQL; `tests/system/test_databases.py` takes a few.

Lanes commit numbers one after the other, through the database's own client, and count outside what was acknowledged.
Each snapshot is restored to a disk of its own, its file system checked, and the database started on it: without a
repair, every number that was acknowledged before the call must be there, and none that was begun after the reply. What
was taken with the profile must have a file system with nothing to replay. With `--prove` each is opened by `snapshot
prove` too, in its machine, which must say that it opens.
"""

import argparse
import contextlib
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.prove.machines import IMAGES
from tests.quiesce.databases import HARMS, PATH, SECONDS, MariaDb, PostgreSql
from tests.system.harness import Installation, installation

LANES = 4
PROOF_SECONDS_MAX = 4000.0
MOUNT_OPTIONS = "-E nodiscard,lazy_itable_init=1,lazy_journal_init=1"
TCCLI = Path(sys.executable).parent / "tccli"
MANNERS = ("profile", "hand", "nothing")
REPAIRED = re.compile(r"corrupt|repair|marked as crashed|PANIC", re.IGNORECASE)
COPIES = {
    "clean": ("stopped", "opens", "nothing to recover"), "dirty": ("running", "opens", "recovered from its log"),
    "page": ("stopped", "damaged", ""), "log": ("running", "damaged", ""), "file": ("stopped", "damaged", ""),
    "no log": ("stopped", "not proven", ""),
}  # fmt: skip
"""Of what each copy is made, and what its proof must say. The last four are `HARMS`."""
Counts = dict[int, int]


@dataclass(slots=True)
class Lane:
    """One client that commits its numbers in order, from 1."""

    number: int
    sent: int = 0
    acked: int = 0
    stall_s: float = 0.0
    """The longest commit since somebody set this to zero."""

    def run(self, client: "subprocess.Popen[str]", stop: threading.Event) -> None:
        """Commit until told to stop."""
        assert client.stdin is not None
        assert client.stdout is not None
        while not stop.is_set():
            self.sent += 1
            began = time.monotonic()
            client.stdin.write(f"INSERT INTO t (lane, n) VALUES ({self.number}, {self.sent}); SELECT {self.sent};\n")
            client.stdin.flush()
            answer = client.stdout.readline()
            assert answer.strip() == str(self.sent), f"lane {self.number}: {answer!r}"
            self.stall_s = max(self.stall_s, time.monotonic() - began)
            self.acked = self.sent


class MariaDbLoad(MariaDb):
    """MariaDB as the load and the snapshots see it."""

    kind = "mariadb"
    table = "CREATE DATABASE d; CREATE TABLE d.t (lane INT, n INT, PRIMARY KEY (lane, n)) ENGINE=InnoDB"
    counts = "SELECT lane, COUNT(*), MAX(n) FROM d.t GROUP BY lane"
    check = "CHECK TABLE d.t"
    sound = "d.t check status OK"

    def client(self) -> tuple[str, ...]:
        """Return the command of one lane's client."""
        return (
            "mariadb", f"--defaults-extra-file={self.options}", "--batch", "--skip-column-names", "--unbuffered", "d",
        )  # fmt: skip

    def steps(self) -> list[dict[str, Any]]:
        """Return the steps of a profile, without the file system's."""
        return [{"Kind": "mariadb", "OptionFile": str(self.options), "SecondsMax": 30}]

    def by_hand(self, system: Installation, disk_id: str, bounds: "Bounds") -> str:
        """As the guide has it: lock, call, unlock as soon as the call has returned, in one session."""
        with subprocess.Popen(
            ["mariadb", f"--defaults-extra-file={self.options}", "--batch", "--skip-column-names", "--unbuffered"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={"PATH": f"{TCCLI.parent}:{PATH}", "HOME": str(self.scratch), **_keys(system)},
        ) as client:  # fmt: skip
            assert client.stdin is not None
            assert client.stdout is not None
            bounds.begin()
            client.stdin.write(
                "FLUSH TABLES WITH READ LOCK;\nSHOW MASTER STATUS;\n"
                f"SYSTEM tccli cbs CreateSnapshot --DiskId {disk_id} --endpoint http://{system.endpoint}\n"
                "SELECT 'returned';\n"
            )
            client.stdin.flush()
            said = ""
            while not said.endswith("returned\n"):
                line = client.stdout.readline()
                assert line, said
                said += line
            bounds.end()
            client.stdin.write("UNLOCK TABLES;\n")
        found = re.search(r"snap-[a-z0-9]{8}", said)
        assert found is not None, said
        return found[0]


class PostgreSqlLoad(PostgreSql):
    """PostgreSQL as the load and the snapshots see it."""

    kind = "postgresql"
    table = "CREATE TABLE t (lane INT, n INT, PRIMARY KEY (lane, n))"
    counts = "SELECT lane, count(*), max(n) FROM t GROUP BY lane"
    check = (
        "CREATE EXTENSION amcheck; SELECT * FROM verify_heapam('t'); SELECT bt_index_check('t_pkey', true); "
        "SELECT 'checked'"
    )
    sound = "checked"

    def client(self) -> tuple[str, ...]:
        """Return the command of one lane's client."""
        return ("psql", "--no-psqlrc", "-Atq", "-d", self.connection)

    def steps(self) -> list[dict[str, Any]]:
        """Return the steps of a profile, without the file system's."""
        return [{"Kind": "postgresql", "Connection": self.connection, "SecondsMax": 30}]

    def by_hand(self, system: Installation, disk_id: str, bounds: "Bounds") -> str:
        """As the guide has it: a checkpoint, then the call."""
        self.query("CHECKPOINT")
        bounds.begin()
        snapshot_id = str(system.call("CreateSnapshot", DiskId=disk_id).SnapshotId)
        bounds.end()
        return snapshot_id


Server = MariaDbLoad | PostgreSqlLoad


def _keys(system: Installation) -> dict[str, str]:
    return {name: value for name, value in system.environment.items() if name.startswith("TENCENTCLOUD_")}


@dataclass(slots=True)
class Bounds:
    """What was acknowledged before a call, and what was begun before its reply."""

    lanes: Sequence[Lane]
    before: list[int] = field(default_factory=list)
    after: list[int] = field(default_factory=list)

    def begin(self) -> None:
        """Note what is acknowledged now."""
        self.before = [lane.acked for lane in self.lanes]

    def end(self) -> None:
        """Note what is begun now."""
        self.after = [lane.sent for lane in self.lanes]


@dataclass(slots=True, kw_only=True)
class Taken:
    """One snapshot and what must be in it."""

    snapshot_id: str
    manner: str
    bounds: Bounds
    record: dict[str, Any]
    stall_ms: float


@contextlib.contextmanager
def mounted(device: str, where: Path) -> Iterator[Path]:
    """Mount a device; it is unmounted however the block is left."""
    where.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", device, str(where)], check=True)
    try:
        assert where.is_mount()
        yield where
    finally:
        subprocess.run(["umount", str(where)], check=True)


class World:
    """An installation, a database on one of its disks, and clients that write to it."""

    def __init__(self, system: Installation, kind: type[Server], base: Path) -> None:
        self.system = system
        self.base = base
        self.kind = kind
        self.lanes = [Lane(number) for number in range(LANES)]
        self.taken: list[Taken] = []
        """What was taken, opened and found right so far."""
        self.proofs: list[tuple[str, float]] = []
        """What proofs found, and how many seconds each took."""
        self.told: list[tuple[str, bool, float]] = []
        """Copies, whether they were told for what they are, and how many seconds each took."""
        self.disk_id = system.create_disk()

    @contextlib.contextmanager
    def running(self) -> Iterator[Server]:
        """Attach the disk, make a file system and a database on it, and have it served while the block runs."""
        self.system.attach(self.disk_id, self.system.host_instance)
        device = str(self.system.detail(self.disk_id)["Device"])
        subprocess.run(["mkfs.ext4", "-q", *MOUNT_OPTIONS.split(), device], check=True, capture_output=True)
        with mounted(device, self.base / "mount") as where:
            server = self.kind(where / "data", self.base / "run")
            server.install()
            try:
                server.start()
                server.query(server.table)
                yield server
            finally:
                server.stop()

    @contextlib.contextmanager
    def writing(self, server: Server) -> Iterator[None]:
        """Run all lanes beside the block; what one of them raises is raised at the end."""
        stop, errors = threading.Event(), list[BaseException]()

        def run(lane: Lane) -> None:
            try:
                with subprocess.Popen(
                    server.client(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={"PATH": PATH}
                ) as client:
                    lane.run(client, stop)
            except BaseException as error:  # noqa: BLE001 - handed to the caller, which raises it
                errors.append(error)

        threads = [threading.Thread(target=run, args=(lane,)) for lane in self.lanes]
        try:
            for thread in threads:
                thread.start()
            self.system.wait(lambda: all(lane.acked for lane in self.lanes) or errors, "the first commits")
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join(SECONDS)
            assert not errors, errors

    def take(self, server: Server, manner: str) -> Taken:
        """Take one snapshot in one manner, and let the lanes go on until each has committed after it."""
        if manner == "profile":
            files = {"Kind": "filesystem", "Mount": str(self.base / "mount"), "SecondsMax": 30}
            self.system.own(
                "SetQuiesceProfile", ResourceId=self.disk_id, Mode="require", FreezeSecondsMax=60,
                Steps=[*server.steps(), files],
            )  # fmt: skip
        else:
            self.system.own("DeleteQuiesceProfile", ResourceId=self.disk_id)
        for lane in self.lanes:
            lane.stall_s = 0.0
        bounds = Bounds(self.lanes)
        if manner == "hand":
            snapshot_id = server.by_hand(self.system, self.disk_id, bounds)
        else:
            bounds.begin()
            snapshot_id = str(self.system.call("CreateSnapshot", DiskId=self.disk_id).SnapshotId)
            bounds.end()
        passed = [lane.sent + 1 for lane in self.lanes]
        self.system.wait(
            lambda: all(lane.acked >= least for lane, least in zip(self.lanes, passed, strict=True)), "later commits"
        )
        stall_ms = max(lane.stall_s for lane in self.lanes) * 1000
        self.system.wait_normal(snapshot_id)
        record = self.system.record(snapshot_id)
        expected = {"profile": "application", "hand": "crash", "nothing": "crash"}[manner]
        assert record["Consistency"] == expected, record["Transcript"]
        return Taken(snapshot_id=snapshot_id, manner=manner, bounds=bounds, record=record, stall_ms=stall_ms)

    def open(self, taken: Taken) -> None:
        """Restore a snapshot to a disk of its own, open it, and hold it against the bounds."""
        # What the profile held has a journal with nothing to replay: a checker that changes nothing finds it clean.
        with self._copy(taken.snapshot_id, clean=taken.manner == "profile") as (_, server):
            server.start()
            self._check(taken, server)

    def prove(self, taken: Sequence[Taken], server: Server) -> None:
        """Have snapshots opened in their machines, by a profile that names the database."""
        for one in taken:
            opening, seconds = self._proof(self.disk_id, one.snapshot_id, server)
            self.proofs.append((str(opening["Finding"]), seconds))
            print(f"{one.snapshot_id} ({one.manner}): {opening['Finding']} {opening['Reason']}", flush=True)

    def _proof(self, disk_id: str, snapshot_id: str, server: Server) -> tuple[dict[str, Any], float]:
        self.system.own("SetQuiesceProfile", ResourceId=disk_id, Mode="prefer", Steps=server.steps())
        began = time.monotonic()
        self.system.own("ProveSnapshot", SnapshotId=snapshot_id)
        while (opening := self.system.record(snapshot_id)["Opening"]) is None:
            assert time.monotonic() - began < PROOF_SECONDS_MAX
            time.sleep(0.2)
        return opening, time.monotonic() - began

    def tell_apart(self, server: Server) -> None:
        """Make whole and damaged copies, and have each proven."""
        self.system.own("DeleteQuiesceProfile", ResourceId=self.disk_id)
        with self.writing(server):
            bases = {"running": self.system.take(self.disk_id)}
        with self._copy(bases["running"]) as (disk_id, copy):
            copy.start()
            copy.stop()
            subprocess.run(["sync", "-f", str(copy.data)], check=True)
            bases["stopped"] = self.system.take(disk_id)
        for name, (base, finding, detail) in COPIES.items():
            with self._copy(bases[base]) as (disk_id, copy):
                if name in HARMS:
                    copy.harm(name)
                subprocess.run(["sync", "-f", str(copy.data.parent)], check=True)
                snapshot_id = self.system.take(disk_id)
                opening, seconds = self._proof(disk_id, snapshot_id, copy)
            said = opening["Steps"][-1]["Detail"]
            right = opening["Finding"] == finding and detail in said
            self.told.append((name, right, seconds))
            print(f"{self.kind.kind} {name}: {opening['Finding']}: {said}{'' if right else ' WRONG'}", flush=True)
            self.system.call("DeleteSnapshots", SnapshotIds=[snapshot_id])
        self.system.call("DeleteSnapshots", SnapshotIds=[*bases.values()])

    @contextlib.contextmanager
    def _copy(self, snapshot_id: str, *, clean: bool = False) -> Iterator[tuple[str, Server]]:
        """Restore a snapshot to a disk of its own; yield that and the database on it, which does not run."""
        disk_id = self.system.create_disk(SnapshotId=snapshot_id)
        self.system.attach(disk_id, self.system.host_instance)
        try:
            device = str(self.system.detail(disk_id)["Device"])
            if clean:
                subprocess.run(["e2fsck", "-fn", device], check=True, capture_output=True)
            with mounted(device, self.base / f"mount-{snapshot_id}") as where:
                server = self.kind(where / "data", self.base / f"run-{snapshot_id}")
                # It names a process of this host, the source's server, which runs: as the guide says.
                (server.data / "postmaster.pid").unlink(missing_ok=True)
                try:
                    yield disk_id, server
                finally:
                    server.stop()
        finally:
            self._detach(disk_id)
            self.system.call("TerminateDisks", DiskIds=[disk_id])

    def _detach(self, disk_id: str) -> None:
        """Detach, again if somebody else on this machine has just looked at the device: then it stays attached."""
        for _ in range(10):
            self.system.call("DetachDisks", DiskIds=[disk_id])
            self.system.wait(lambda: self.system.disk(disk_id).DiskState != "DETACHING", f"{disk_id} detached or not")
            if self.system.disk(disk_id).DiskState == "UNATTACHED":
                return
        raise AssertionError(f"{disk_id} is held open: {self.system.disk(disk_id).ErrorPrompt}")

    def _check(self, taken: Taken, server: Server) -> None:
        found: Counts = dict.fromkeys(range(LANES), 0)
        for line in server.query(server.counts).splitlines():
            lane, count, newest = (int(word) for word in re.split(r"[\t|]", line))
            assert count == newest, f"{taken.snapshot_id}: lane {lane} has {count} rows and number {newest}"
            found[lane] = newest
        for lane, (low, high) in enumerate(zip(taken.bounds.before, taken.bounds.after, strict=True)):
            what = f"{taken.snapshot_id} ({taken.manner}), lane {lane}: {found[lane]}, not within {low} and {high}"
            assert low <= found[lane] <= high, what
        checked = server.query(server.check)
        assert " ".join(checked.split()) == server.sound, (checked, server.log())
        assert not REPAIRED.search(server.log()), server.log()


def run(world: World, *, each: int, seconds_max: float, prove: bool) -> None:
    """Take and open so many snapshots in each manner, in turn, as long as there is time."""
    deadline = time.monotonic() + seconds_max
    with world.running() as server:
        for number in range(each):
            if time.monotonic() > deadline:
                break
            world.taken += round_of(world, server, prove=prove)
            print(f"{world.kind.kind}: round {number + 1} of {each}", flush=True)
        if prove:
            world.tell_apart(server)


def round_of(world: World, server: Server, *, prove: bool = False) -> list[Taken]:
    """Take a snapshot in each manner under load, open each of them, delete them; return them."""
    with world.writing(server):
        some = [world.take(server, manner) for manner in MANNERS]
    for one in some:
        world.open(one)
    if prove:
        world.prove(some, server)
    world.system.call("DeleteSnapshots", SnapshotIds=[one.snapshot_id for one in some])
    return some


def figures(taken: Sequence[Taken], lanes: Sequence[Lane], kind: str) -> list[str]:
    """Return what was measured, a line for each manner."""
    lines = [f"{kind}: {sum(lane.acked for lane in lanes)} transactions committed"]
    for manner in MANNERS:
        some = [one for one in taken if one.manner == manner]
        if not some:
            continue
        held = [float(one.record["QuiesceMs"]) for one in some if one.record["QuiesceMs"] is not None]
        text = f"{kind}, {manner}: {len(some)} snapshots, all opened, labelled {some[0].record['Consistency']}"
        for name, values in (
            ("held", held),
            ("disk stood", [float(one.record["FreezeMs"]) for one in some]),
            ("longest client stall", [one.stall_ms for one in some]),
        ):
            if values:
                text += f"; {name} median {statistics.median(values):.0f} ms, maximum {max(values):.0f} ms"
        lines.append(text)
    return lines


def tell(world: World) -> bool:
    """Print what proofs said; return whether all of it was right."""
    opened = [finding == "opens" for finding, _ in world.proofs]
    if opened:
        seconds = ", ".join(f"{seconds:.0f}" for _, seconds in world.proofs)
        print(f"{world.kind.kind}: {sum(opened)} of {len(opened)} proofs say that it opens; seconds {seconds}")
    if world.told:
        named = ", ".join(f"{name} {seconds:.0f}" for name, _, seconds in world.told)
        right = sum(right for _, right, _ in world.told)
        print(f"{world.kind.kind}: {right} of {len(world.told)} copies were told for what they are; seconds: {named}")
    return all(opened) and all(right for _, right, _ in world.told)


def main() -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=30)
    parser.add_argument("--minutes", type=float, default=24 * 60, help="of each database; begin no round after them")
    parser.add_argument("--kind", choices=("mariadb", "postgresql"), action="append")
    parser.add_argument("--prove", action="store_true", help="have each opened by `snapshot prove` too")
    options = parser.parse_args()
    assert os.geteuid() == 0, "block devices need root"
    right = True
    for kind in (MariaDbLoad, PostgreSqlLoad):
        if options.kind and kind.kind not in options.kind:
            continue
        with tempfile.TemporaryDirectory(prefix="drystone-db-") as directory:
            base = Path(directory)
            base.chmod(0o755)
            began = time.monotonic()
            with installation(base / "data", f'prove_kvm = false\nprove_images = "{IMAGES}"\n') as system:
                world = World(system, kind, base)
                try:
                    run(world, each=options.each, seconds_max=options.minutes * 60, prove=options.prove)
                finally:
                    print("\n".join(figures(world.taken, world.lanes, kind.kind)), flush=True)
                    right &= tell(world)
            print(f"{kind.kind}: {time.monotonic() - began:.0f} s")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())

"""The prover on images of this directory: what opens, what is damaged, and what it cannot tell, each told apart."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from drystone.domain.opening import Finding, OpeningStep, conclusion
from drystone.quiesce import sandbox
from drystone.quiesce.prove_databases import open_mariadb, open_postgresql, page_bytes
from drystone.quiesce.prover_plan import ProverPlan, decode_plan, decode_step, encode_plan, encode_step
from drystone.quiesce.proving import prove
from drystone.quiesce.trial import TrialError, Trials
from tests.quiesce.databases import PATH, POSTGRES, SECONDS, MariaDb, PostgreSql, short_directory

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="block devices need root")
MIB = 1 << 20
OPENS, DAMAGED, NOT_PROVEN = Finding.OPENS, Finding.DAMAGED, Finding.NOT_PROVEN


@contextlib.contextmanager
def loop(image: Path) -> Iterator[str]:
    device = subprocess.run(
        ["losetup", "--find", "--show", str(image)], check=True, capture_output=True, text=True
    ).stdout.strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


@contextlib.contextmanager
def mounted(image: Path, where: Path) -> Iterator[Path]:
    where.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(where)], check=True)
    try:
        assert where.is_mount()
        yield where
    finally:
        subprocess.run(["umount", str(where)], check=True)


def made(image: Path, kind: str = "ext4", size: int = 64 * MIB, *options: str) -> Path:
    with image.open("wb") as file:
        file.truncate(size)
    subprocess.run([f"mkfs.{kind}", "-q", *options, str(image)], check=True, capture_output=True)
    return image


def copied(image: Path, name: str) -> Path:
    target = image.with_name(name)
    subprocess.run(["cp", "--sparse=always", str(image), str(target)], check=True)
    return target


def opened(*images: Path, databases: tuple[str, ...] = (), seconds: float = SECONDS) -> tuple[OpeningStep, ...]:
    async def run() -> tuple[OpeningStep, ...]:
        async def note(_step: OpeningStep) -> None: ...

        with contextlib.ExitStack() as stack:
            devices = [stack.enter_context(loop(image)) for image in images]
            plan = ProverPlan(
                volumes=tuple((f"volume {index}", device) for index, device in enumerate(devices)),
                databases=databases, seconds_max=seconds, path=PATH,
            )  # fmt: skip
            steps = await prove(plan, seconds_max=3 * SECONDS, environment={"PATH": PATH}, on_step=note)
            await _free(devices)
            return steps

    return asyncio.run(run())


async def _free(devices: list[str]) -> None:
    """Wait until nobody has the devices mounted: the prover's mounts go with its last process."""
    deadline = time.monotonic() + SECONDS
    for device in devices:
        while True:
            with contextlib.suppress(OSError):
                os.close(os.open(device, os.O_RDWR | os.O_EXCL))
                break
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)


# --- file systems ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files() -> Iterator[dict[str, tuple[OpeningStep, ...]]]:
    """What one run of the prover says of many images, each for itself."""
    with short_directory(memory=True) as base:
        images = _file_systems(base)
        with mounted(images.pop("btrfs source"), base / "twin"):
            steps = opened(*images.values())
        yield {
            name: tuple(step for step in steps if step.title.startswith(f"volume {index}: "))
            for index, name in enumerate(images)
        }


def _file_systems(base: Path) -> dict[str, Path]:
    good = made(base / "good", "ext4", 256 * MIB, "-b", "4096")
    told = subprocess.run(["dumpe2fs", str(good)], check=True, capture_output=True, text=True).stdout
    table = int(told.partition("Inode table at ")[2].partition("-")[0])
    with mounted(good, base / "mount") as where:
        for number in range(200):
            (where / f"{number}").write_text("x" * 1000)
        subprocess.run(["sync", "-f", str(where)], check=True)
        crashed = copied(good, "crashed")
    images = {"good": good, "crashed": crashed, "inodes": copied(good, "inodes"), "first": copied(good, "first")}
    overwrite(images["inodes"], table * 4096 + 4096, 8192)
    with images["first"].open("r+b") as file:
        file.write(bytes(4096))
    xfs = made(base / "xfs", "xfs", 320 * MIB)
    with mounted(xfs, base / "mount") as where:
        (where / "file").write_bytes(b"x" * 100_000)
        subprocess.run(["sync", "-f", str(where)], check=True)
        images["xfs crashed"] = copied(xfs, "xfs-crashed")
    images["xfs bad"] = copied(xfs, "xfs-bad")
    overwrite(images["xfs bad"], 4096, 65536)  # The roots of the first group's trees.
    btrfs = made(base / "btrfs", "btrfs", 128 * MIB)
    images["btrfs bad"] = copied(btrfs, "btrfs-bad")
    overwrite(images["btrfs bad"], 20 * MIB, 32 * MIB)  # A part of the trees of a new file system.
    images["btrfs"] = copied(btrfs, "btrfs-twin")
    images["btrfs source"] = btrfs
    images["xfs lost"] = copied(xfs, "xfs-lost")
    overwrite(images["xfs lost"], 0, 4096)
    images["empty"] = base / "empty"
    with images["empty"].open("wb") as file:
        file.truncate(8 * MIB)
    images["luks"] = base / "luks"
    images["luks"].write_bytes(b"LUKS\xba\xbe\0\x01".ljust(8 * MIB, b"\0"))
    return images


def overwrite(image: Path, start: int, length: int) -> None:
    with image.open("r+b") as file:
        file.seek(start)
        file.write(b"\xa5" * length)


@pytest.mark.parametrize(
    ("name", "expected", "reason"),
    [
        ("good", OPENS, ""), ("crashed", OPENS, ""), ("inodes", DAMAGED, "check ext4: e2fsck"),
        ("first", DAMAGED, "superblock"), ("xfs crashed", OPENS, ""), ("xfs bad", DAMAGED, "xfs"),
        ("btrfs bad", DAMAGED, "btrfs"), ("btrfs", NOT_PROVEN, "UUID"), ("luks", NOT_PROVEN, "crypto_LUKS"),
        ("xfs lost", NOT_PROVEN, "not known here"),
    ],
)  # fmt: skip
def test_each_file_system_is_told_apart(
    files: dict[str, tuple[OpeningStep, ...]], name: str, expected: Finding, reason: str
) -> None:
    found, why = conclusion(files[name])
    assert found is expected, files[name]
    assert reason in why


def test_what_is_done_with_a_file_system(files: dict[str, tuple[OpeningStep, ...]]) -> None:
    assert [step.title.partition(": ")[2] for step in files["crashed"]] == [
        "look", "replay the journal of ext4", "check ext4", "mount"
    ]  # fmt: skip
    assert [step.detail for step in files["empty"]] == ["nothing known is on it"]


def test_what_cannot_be_told() -> None:
    with short_directory(memory=True) as base:
        empty = base / "empty"
        empty.write_bytes(bytes(8 * MIB))
        steps = opened(empty, databases=("postgresql",))
    assert [(step.title, step.finding) for step in steps[1:]] == [("content", NOT_PROVEN), ("PostgreSQL", NOT_PROVEN)]
    steps = (
        OpeningStep(title="a", finding=NOT_PROVEN, seconds=0, detail="x"),
        OpeningStep(title="b", finding=DAMAGED, seconds=0, detail="y"),
    )
    assert conclusion(steps) == (DAMAGED, "b: y")
    assert conclusion(())[0] is NOT_PROVEN


def test_lines_survive() -> None:
    plan = ProverPlan(volumes=(("disk", "/dev/loop0"),), databases=("mariadb",), seconds_max=3.0, path="/bin")
    assert decode_plan(encode_plan(plan)) == plan
    step = OpeningStep(title="a", finding=DAMAGED, seconds=1.5, detail="x")
    assert decode_step(encode_step(step)) == step


# --- the place ------------------------------------------------------------------------------------------------------

LOOK = """
import os, sys
from drystone.quiesce import sandbox
sandbox.enter([])
assert sorted(os.listdir("/")) == sorted([name for name in sandbox.SYSTEM if os.path.lexists("/" + name)]
    + ["dev", "disk", "proc", "run", "tmp"]), os.listdir("/")
for path in ("/usr/x", "/etc/x"):
    try:
        open(path, "w")
    except OSError as error:
        assert error.errno == 30, error
    else:
        raise SystemExit("writable: " + path)
assert {name for name in os.listdir("/dev")} == {*sandbox.DEVICES, "shm"}
assert open("/proc/net/dev").read().count(":") == 1
print("alone", flush=True)
sys.stdin.read()
"""


def test_the_place_has_nothing_of_this_host_to_write_and_dies_with_whoever_started_it() -> None:
    import_path = os.pathsep.join(sys.path)
    command = sandbox.command((sys.executable, "-c", LOOK))
    starter = (
        "import subprocess, sys; p = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE); print(p.pid, flush=True);"
        "p.wait()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", starter, *command], stdout=subprocess.PIPE, text=True,
        env={"PATH": PATH, "PYTHONPATH": import_path},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert process.stdout.readline() == "alone\n"
        child = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
        process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + SECONDS
    while any(Path(f"/proc/{one}").exists() for one in (pid, child)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


# --- databases ------------------------------------------------------------------------------------------------------


def _postgresql(base: Path) -> dict[str, Path]:
    image = made(base / "postgresql", "ext4", 512 * MIB)
    with mounted(image, base / "mount") as where:
        server = PostgreSql(where / "main" / "15", base / "run-postgresql")
        server.install()
        try:
            server.start("-c", "fsync=off", "-c", "max_wal_size=64MB")
            server.query("CREATE TABLE t AS SELECT n, repeat('x', 200) AS text FROM generate_series(1, 5000) AS n")
            server.query("CREATE INDEX i ON t (n)")
            server.query("CHECKPOINT")
            server.query("INSERT INTO t SELECT n, 'y' FROM generate_series(5001, 5100) AS n")
            subprocess.run(["sync", "-f", str(where)], check=True)
            images = {"PostgreSQL crashed": copied(image, "postgresql-crashed")}
            file = server.data / server.query("SELECT pg_relation_filepath('t')")
        finally:
            server.stop()
        subprocess.run(["sync", "-f", str(where)], check=True)
        images["PostgreSQL stopped"] = copied(image, "postgresql-stopped")
        overwrite(file, 20 * 8192 + 4096, 4096)
        subprocess.run(["sync", "-f", str(where)], check=True)
        images["PostgreSQL torn"] = copied(image, "postgresql-torn")
        os.truncate(server.data / "global" / "pg_control", 100)
    return {**images, "PostgreSQL control": image}


def _mariadb(base: Path) -> dict[str, Path]:
    image = made(base / "mariadb", "ext4", 512 * MIB)
    with mounted(image, base / "mount") as where:
        server = MariaDb(where / "mysql", base / "run-mariadb")
        server.install()
        try:
            server.start()
            server.query("CREATE DATABASE d; CREATE TABLE d.t (n INT PRIMARY KEY, x CHAR(200))")
            server.query("USE d; INSERT INTO t SELECT seq, REPEAT('x', 200) FROM seq_1_to_5000")
            server.query("CREATE TABLE d.a (n INT) ENGINE=Aria; INSERT INTO d.a VALUES (1)")
            assert server.query("SELECT COUNT(*) FROM d.t, d.a") == "5000"
            subprocess.run(["sync", "-f", str(where)], check=True)
            images = {"MariaDB crashed": copied(image, "mariadb-crashed")}
        finally:
            server.stop()
        overwrite(server.data / "d" / "t.ibd", 20 * 16384 + 8192, 8192)
        subprocess.run(["sync", "-f", str(where)], check=True)
        images["MariaDB torn"] = copied(image, "mariadb-torn")
        overwrite(server.data / "ibdata1", 5 * 16384 + 4096, 16384)
    return {**images, "MariaDB system": image}


@pytest.fixture(scope="module")
def databases() -> dict[str, OpeningStep]:
    """What one run of the prover says of several databases; of all of them the file systems are whole."""
    with short_directory(memory=True) as base:
        images = {**_mariadb(base), **_postgresql(base)}
        steps = opened(*images.values(), databases=("mariadb", "postgresql"))
    about = [step for step in steps if step.title.startswith(("MariaDB", "PostgreSQL"))]
    assert all(step.finding is OPENS for step in steps if step not in about), steps
    return dict(zip(images, about, strict=True))


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "expected", "detail"),
    [
        ("MariaDB crashed", OPENS, "recovered from its log"), ("MariaDB torn", DAMAGED, ""),
        ("MariaDB system", DAMAGED, ""), ("PostgreSQL crashed", OPENS, "recovered from its log"),
        ("PostgreSQL stopped", OPENS, "nothing to recover"), ("PostgreSQL torn", DAMAGED, "pg_amcheck"),
        ("PostgreSQL control", DAMAGED, "pg_control"),
    ],
)  # fmt: skip
def test_each_database_is_told_apart(
    databases: dict[str, OpeningStep], name: str, expected: Finding, detail: str
) -> None:
    step = databases[name]
    assert (step.finding, detail in step.detail) == (expected, True), step
    assert step.title == {"M": "MariaDB in /mysql", "P": "PostgreSQL in /main/15"}[name[0]]


@pytest.mark.long
def test_a_path_that_leads_elsewhere_is_not_followed(tmp_path: Path) -> None:
    """Neither of them gets as far as a server: what it would open may be the source's."""
    trials = Trials(SECONDS, PATH, lambda _: None)
    postgresql, mariadb = tmp_path / "postgresql", tmp_path / "mariadb"
    for path in (postgresql / "pg_tblspc", mariadb / "d"):
        path.mkdir(parents=True)
    assert POSTGRES is not None
    (postgresql / "PG_VERSION").write_text(f"{POSTGRES.parent.parent.name}\n")
    (postgresql / "pg_tblspc" / "16999").symlink_to("/var/lib/elsewhere")
    (mariadb / "d" / "t.isl").write_text("/var/lib/elsewhere/t.ibd")
    for directory, opener in ((postgresql, open_postgresql), (mariadb, open_mariadb)):
        with pytest.raises(TrialError, match="belongs to root"):
            opener(trials, directory)
        os.chown(directory, 65534, 65534)
        with pytest.raises(TrialError, match="other file systems") as error:
            opener(trials, directory)
        assert error.value.finding is NOT_PROVEN


@pytest.mark.parametrize(
    ("flags", "size"), [(0x15, 16384), (0x13, 4096), (0, 16384), (3 << 6, 4096), (0x1F, 16384), (7 << 6, 65536)]
)
def test_innodb_tells_its_page_size(tmp_path: Path, flags: int, size: int) -> None:
    file = tmp_path / "ibdata1"
    file.write_bytes(bytes(54) + flags.to_bytes(4, "big"))
    assert page_bytes(file) == size
    file.write_bytes(b"")
    assert page_bytes(file) == 16384

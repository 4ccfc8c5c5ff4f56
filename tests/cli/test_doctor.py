"""`drystone doctor`: what is well, what is not, and that nothing is changed by looking."""

import fcntl
import json
import random
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from drystone.catalog import meta
from drystone.catalog.backup import back_up
from drystone.catalog.sqlite import SqliteDatabase
from drystone.cli.app import run
from drystone.cli.session import Outside
from drystone.client_settings import ClientSettings
from drystone.engine.layout import Layout
from drystone.engine.space import Space
from drystone.main import build_program
from drystone.offline import doctor, store_check
from drystone.offline.doctor import Checked, Machine, examine
from drystone.offline.findings import Finding
from drystone.server.store_opening import STORE_ID

NOW = 1_700_000_000.0
QEMU = "qemu-storage-daemon version 10.0.2 (Debian)\n"


def printed(*words: str) -> str | None:
    return QEMU if words[0] == "qemu-storage-daemon" else ""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    for name in ("dev/fuse", "dev/loop-control"):
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).touch()
    return Machine(
        clock=lambda: NOW, printed=printed, root=tmp_path / "root", release="6.12.1", is_root=True, files=(1024, 20000),
        library=lambda _name: True, synchronised=lambda: True, answers=lambda _host, _port: False,
    )  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory as a server leaves it."""
    made = tmp_path / "data"
    made.mkdir(mode=0o700)
    layout = Layout(made)
    database = SqliteDatabase.open(layout.catalog)
    database.write_sync(lambda conn: meta.put(conn, STORE_ID, "st-1"))
    database.close()
    for path in made.glob("catalog.db*"):
        path.chmod(0o600)
    (layout.store / "st-1").mkdir(parents=True, mode=0o700)
    (layout.store / "st-1" / "owner").write_text("{}")
    back_up(layout.catalog, layout.backups, kind="catalog", at=NOW - 600, kept=3)
    (made / "credentials.env").touch(mode=0o600)
    return made


def states(findings: list[Checked]) -> dict[str, str]:
    return {one.name: one.state for one in findings}


def test_all_is_well_but_that_no_server_runs(data: Path, machine: Machine) -> None:
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*") if path.is_file()}
    findings = examine(data, machine)
    assert {name for name, state in states(findings).items() if state != "ok"} == {"server"}
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert all(one.do for one in findings if one.state != "ok")
    assert all("\n" not in one.found + one.do for one in findings)


MACHINES: list[tuple[str, str, Callable[[Machine], Machine]]] = [
    ("QEMU", "fail", lambda m: replace(m, printed=lambda *words: None if "daemon" in words[0] else "")),
    ("QEMU", "fail", lambda m: replace(m, printed=lambda *_: "qemu-storage-daemon version 8.2.0\n")),
    ("fusermount3", "fail", lambda m: replace(m, printed=lambda *w: None if w[0] == "fusermount3" else printed(*w))),
    ("losetup", "warn", lambda m: replace(m, printed=lambda *w: None if w[0] == "losetup" else printed(*w))),
    ("libnbd.so.0", "fail", lambda m: replace(m, library=lambda _name: False)),
    ("FUSE", "fail", lambda m: replace(m, root=Path("/nowhere"))),
    ("loop devices", "warn", lambda m: replace(m, root=Path("/nowhere"))),
    ("kernel", "warn", lambda m: replace(m, release="4.19.0-generic")),
    ("user", "warn", lambda m: replace(m, is_root=False)),
    ("open files", "warn", lambda m: replace(m, files=(256, 1024))),
    ("clock", "warn", lambda m: replace(m, synchronised=lambda: False)),
    ("clock", "warn", lambda m: replace(m, synchronised=lambda: None)),
    ("server", "fail", lambda m: replace(m, answers=lambda _host, _port: True)),
    ("copies of the catalog", "warn", lambda m: replace(m, clock=lambda: NOW + 86_400)),
]


@pytest.mark.parametrize(("name", "state", "change"), MACHINES)
def test_what_the_machine_lacks(
    data: Path, machine: Machine, name: str, state: str, change: Callable[[Machine], Machine]
) -> None:
    assert states(examine(data, change(machine)))[name] == state


def damage(data: Path) -> None:
    raw = bytearray((data / "catalog.db").read_bytes())
    raw[4096 : 4096 * 3] = b"\xa5" * (4096 * 2)
    (data / "catalog.db").write_bytes(raw)


DAMAGES: list[tuple[str, str, Callable[[Path], object]]] = [
    ("configuration", "fail", lambda data: (data / "drystone.toml").write_text("port = 'x'")),
    ("data directory", "warn", lambda data: data.chmod(0o755)),
    ("secrets", "fail", lambda data: (data / "credentials.env").chmod(0o644)),
    ("secrets", "fail", lambda data: next((data / "backups").glob("*.db")).chmod(0o640)),
    ("catalog", "fail", damage),
    ("catalog", "fail", lambda data: (data / "catalog.db").write_text("no database" * 1000)),
    ("snapshot store", "fail", lambda data: (data / "store" / "st-1" / "owner").unlink()),
    ("snapshot store", "fail", lambda data: (data / "store").rename(data / "gone")),
    ("copies of the catalog", "warn", lambda data: next((data / "backups").glob("*.db")).unlink()),
]


@pytest.mark.parametrize(("name", "state", "change"), DAMAGES)
def test_what_the_installation_lacks(
    data: Path, machine: Machine, name: str, state: str, change: Callable[[Path], object]
) -> None:
    change(data)
    assert states(examine(data, machine))[name] == state


@pytest.mark.parametrize(("above", "state"), [(0, "fail"), (100 << 20, "warn"), (2 << 30, "ok")])
def test_free_space(data: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch, above: int, state: str) -> None:
    space = Space(total_bytes=1 << 40, free_bytes=(1 << 30) + above, floor_bytes=1 << 30)
    monkeypatch.setattr(doctor, "look", lambda *_given, **_named: space)
    assert states(examine(data, machine))["free space"] == state


def test_a_newer_catalog_is_told(data: Path, machine: Machine) -> None:
    database = SqliteDatabase.open(data / "catalog.db")
    database.write_sync(lambda conn: conn.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    (one,) = [one for one in examine(data, machine) if one.name == "catalog"]
    assert (one.state, "schema 9999 is newer" in one.found) == ("fail", True)


def test_a_server_that_runs_answers_or_not(data: Path, machine: Machine) -> None:
    with (data / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # It was started with another port than is configured, and says so in its credentials.
        settings = ClientSettings(
            endpoint="http://127.0.0.1:7777", region="r", zone="z", secret_id="AKID", secret_key="no-secret"
        )
        (data / "credentials.env").write_text(settings.credentials())
        assert states(examine(data, machine))["server"] == "warn"
        answering = replace(machine, answers=lambda _host, port: port == 7777)
        assert states(examine(data, answering))["server"] == "ok"


def test_what_cannot_be_looked_at_is_a_finding(data: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_given: object, **_named: object) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(doctor, "look", refused)
    findings = examine(data, machine)
    assert states(findings)["space"] == "fail"
    assert states(findings)["catalog"] == "ok"


def test_the_command_says_one_line_each_and_ends_with_what_failed(
    data: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = build_program(Outside(clock=lambda: NOW, monotonic=lambda: 0.0, sleep=lambda _: None), random.Random(1))
    monkeypatch.setattr(doctor, "Machine", lambda **_: machine)
    assert run(app, ["doctor", "--data", str(data)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line[:6] in {"ok    ", "warn  "} for line in lines)
    (data / "credentials.env").chmod(0o644)
    assert run(app, ["doctor", "--data", str(data), "--json"]) == 1
    told = capsys.readouterr()
    assert {one["state"] for one in json.loads(told.out)} == {"ok", "warn", "fail"}
    assert told.err == f"drystone: 1 of {len(lines)} checks failed: secrets\n"


def test_the_data_directory_is_the_one_that_the_environment_names(
    data: Path, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = build_program(Outside(clock=lambda: NOW, monotonic=lambda: 0.0, sleep=lambda _: None), random.Random(1))
    monkeypatch.setattr(doctor, "Machine", lambda **_: machine)
    (tmp_path / "elsewhere" / "data").mkdir(parents=True, mode=0o700)
    monkeypatch.chdir(tmp_path / "elsewhere")
    for named, meant in ((str(data), data), ("", tmp_path / "elsewhere" / "data")):
        monkeypatch.setenv("DRYSTONE_DATA", named)
        assert run(app, ["doctor"]) == 0
        assert f"data directory: {meant}\n" in capsys.readouterr().out
        assert run(app, ["store", "check"]) == 0
        assert f"store is {meant}" in capsys.readouterr().err


def test_what_a_store_lacks_is_told_in_sentences(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = build_program(Outside(clock=lambda: NOW, monotonic=lambda: 0.0, sleep=lambda _: None), random.Random(1))
    lacking = Finding(name="list", works=False, needed=True, ms=1.0, seen="It is gone.", means="nothing", do="make it")
    monkeypatch.setattr(store_check, "check_store", lambda *_: ("s3://b", (lacking,)))
    assert run(app, ["store", "check", "--data", str(data)]) == 1
    assert "list: It is gone. It means: nothing. What to do: make it.\n" in capsys.readouterr().err


def test_the_server_s_address_is_a_setting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app = build_program(Outside(clock=lambda: NOW, monotonic=lambda: 0.0, sleep=lambda _: None), random.Random(1))
    assert run(app, ["serve", "--data", str(tmp_path / "new"), "--host", "0.0.0.0"]) == 2
    told = capsys.readouterr().err
    assert f"{tmp_path}/new/drystone.toml" in told
    assert "docs/use/security.md" in told
    assert not (tmp_path / "new").exists()


def test_this_machine_can_be_asked() -> None:
    assert doctor._printed("true") == ""
    assert doctor._printed("false") is None
    assert doctor._printed("no-such-program") is None
    assert not doctor._library("libno-such-library.so.7")
    assert doctor._synchronised() in {True, False, None}
    assert isinstance(Machine(clock=lambda: NOW).is_root, bool)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert doctor._answers("0.0.0.0", port)
    assert not doctor._answers("127.0.0.1", port)

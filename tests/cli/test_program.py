"""The whole program: the client's commands with those of the server and of a data directory."""

import hashlib
import json
import random
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import pytest

from drystone.cli.app import run
from drystone.cli.session import Outside
from drystone.codec.key_text import key_text, parse_key
from drystone.main import build_program
from drystone.offline import maintenance
from drystone.server import serve
from drystone.snapstore.key_files import new_key
from drystone.snapstore.reader_copy import reader_sha256

from .test_process import walk

APP = build_program(Outside(clock=lambda: 7.0, monotonic=lambda: 0.0, sleep=lambda _: None), random.Random(1))
STRAY = maintenance.Stray(
    object="s/snapshots/a.manifest", snapshot="snap-aaaaaaaa", reason="it is incomplete", lost="one", kept_as=Path("/b")
)


def test_every_command_but_serve_and_completion_takes_json() -> None:
    leaves = {path: app for path, app in walk(APP) if app.default_command is not None}
    assert {("store", "backup"), ("host", "stop"), ("version",), ("disk", "list")} <= set(leaves)
    without = {
        path[0]
        for path, app in leaves.items()
        if not any("--json" in argument.names for argument in app.assemble_argument_collection())
    }
    assert without == {"serve", "completion"}


STOPPED = "stopped: all disks are closed; `drystone serve --data /d` serves them again\n"


def test_what_the_server_s_own_commands_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped: list[Path] = []
    monkeypatch.setattr(serve, "stop", stopped.append)
    monkeypatch.setattr(maintenance, "back_up_catalog", lambda data, *, at: data / f"backups/{at:.0f}.db")
    for tokens, line, value in (
        (["version"], f"{version('drystone')}\n", {"version": version("drystone")}),
        (["host", "stop", "--data", "/d"], STOPPED, {"stopped": "/d"}),
        (["store", "backup", "--data", "/d"], "/d/backups/7.db\n", {"path": "/d/backups/7.db"}),
    ):
        assert run(APP, tokens) == 0
        assert capsys.readouterr().out == line
        assert run(APP, [*tokens, "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == value
    assert stopped == [Path("/d"), Path("/d")]


def test_discarding_needs_yes_where_nobody_can_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    discarded: list[str] = []

    def discard(_data: Path, name: str, _outside: object) -> maintenance.Stray:
        discarded.append(name)
        return STRAY

    monkeypatch.setattr(maintenance, "stray_manifests", lambda *_: [STRAY])
    monkeypatch.setattr(maintenance, "discard_manifest", discard)
    assert run(APP, ["store", "discard", STRAY.object]) == 2
    told = capsys.readouterr()
    assert (told.out, len(told.err.splitlines())) == ("", 1)
    assert "it is incomplete. Lost for good: one." in told.err
    assert "--yes" in told.err
    assert discarded == []
    assert run(APP, ["store", "discard", STRAY.object, "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{**asdict(STRAY), "kept_as": "/b"}]
    assert discarded == [STRAY.object]
    assert run(APP, ["store", "discard"]) == 0
    assert STRAY.object in capsys.readouterr().out


def test_keys_on_paper_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """S244."""
    kek = new_key(0.0)
    sheet = tmp_path / "sheet"
    sheet.write_text(key_text(kek))
    data = ["--data", str(tmp_path / "data")]

    def answer(*tokens: str, code: int = 0) -> str:
        assert run(APP, [*tokens, *data]) == code
        printed = capsys.readouterr()
        return printed.err if code else printed.out

    assert "there is no key in" in answer("key", "export", code=1)
    assert answer("key", "import", str(sheet)) == f"{kek.key.key_id}\n"
    assert json.loads(answer("key", "import", str(sheet), "--json")) == {"id": kek.key.key_id, "new": False}
    listed = json.loads(answer("key", "list", "--json"))
    assert listed["keys"] == [
        {"id": kek.key.key_id, "name": "installation", "made": kek.made, "default": True, "data_keys": None}
    ]
    assert kek.key.secret.hex()[:16] not in answer("key", "list").replace(" ", "")
    assert parse_key(answer("key", "export")) == kek
    assert parse_key(json.loads(answer("key", "export", kek.key.key_id, "--json"))["sheet"]) == kek
    for key, said in (("x", "there is no key x"), ("ab" * 16, "there is no key")):
        assert said in answer("key", "export", key, code=1)
    digits = kek.key.secret.hex()[:4]
    sheet.write_text(key_text(kek).replace(digits, "".join(reversed(digits)) if digits != digits[::-1] else "0f0f"))
    assert "typing error" in answer("key", "import", str(sheet), code=1)
    sheet.write_bytes(b"\xff")
    assert "is no text" in answer("key", "import", str(sheet), code=1)
    assert "No such file" in answer("key", "import", str(tmp_path / "none"), code=1)
    assert "has no catalog.db" in answer("key", "rotate", code=1)
    (tmp_path / "data/keys" / f"{kek.key.key_id}.key").write_text("damaged")
    assert "this is no key of Drystone" in answer("key", "list", code=1)


def test_the_reader_that_is_printed_is_the_one_of_the_sheet(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(APP, ["store", "reader"]) == 0
    printed = capsys.readouterr()
    digest = hashlib.sha256(printed.out.encode()).hexdigest()
    assert f"sha256 {digest}" in printed.err
    assert digest == reader_sha256()
    assert run(APP, ["store", "reader", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sha256"] == digest

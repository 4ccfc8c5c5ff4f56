"""The whole program: the client's commands with those of the server and of a data directory."""

import json
import random
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import pytest

from drystone import maintenance, serve
from drystone.cli.app import run
from drystone.cli.session import Outside
from drystone.main import build_program

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

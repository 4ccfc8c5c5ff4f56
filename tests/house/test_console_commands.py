"""What the console shows as commands is taken by the programs that it is for; its own tests write the examples."""

import ast
import json
import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from tencentcloud.cbs.v20170312 import models
from tencentcloud.common.common_client import CommonClient

from drystone.cli.quiesce import _read
from tests.guides import pages
from tests.guides.pages import ROOT
from tests.house.test_documents import refused

EXAMPLES: list[dict[str, Any]] = json.loads((ROOT / "console/src/commands/examples.json").read_text())
IDS = [f"{number}-{one['calls'][-1]['action']}" for number, one in enumerate(EXAMPLES)]
every_example = pytest.mark.parametrize("example", EXAMPLES, ids=IDS)


def words_of(line: str) -> list[str]:
    """Return the arguments of the `drystone` of a line as bash hands them over."""
    script = f'drystone() {{ printf \'%s\\0\' "$@" > "$WORDS"; }}\n{line}\n'
    read, write = os.pipe()
    environment = {"WORDS": f"/dev/fd/{write}", "PATH": "/usr/bin:/bin"}
    subprocess.run(["/bin/bash", "-c", script], pass_fds=[write], env=environment, cwd="/tmp", check=True)
    os.close(write)
    with os.fdopen(read) as told:
        return told.read().split("\0")[:-1]


def strings(value: object) -> set[str]:
    """Return all strings of a value, without those that are words of the API."""
    if isinstance(value, str):
        return {value}
    if isinstance(value, dict):
        return set().union(*(strings(one) for name, one in value.items() if name not in UNSAID))
    return set().union(*(strings(one) for one in value)) if isinstance(value, list) else set()


UNSAID = {"Placement", "DiskChargeType", "Steps", "Mode", "ApplyDisks"}
"""Of one zone and one way of paying, and what stands in the profile's file."""


@every_example
def test_the_command_line_takes_it_with_every_value(example: dict[str, Any]) -> None:
    commands = [words_of(line) for line in example["line"].splitlines() if line.startswith("drystone ")]
    assert commands
    assert [refused(words, whole=True) for words in commands] == [None] * len(commands)
    if len(example["calls"]) > 1:
        return
    (words,) = commands
    said = {part for word in words for part in (word, word.partition("=")[2], *word.partition("=")[2].split("=", 1))}
    assert strings(example["calls"][0]["parameters"]) <= said


def test_a_profile_is_read_as_it_was_shown(tmp_path: Path) -> None:
    (example,) = (one for one in EXAMPLES if one["calls"][0]["action"] == "SetQuiesceProfile")
    subprocess.run(["/bin/bash", "-c", f"drystone() {{ :; }}\n{example['line']}"], cwd=tmp_path, check=True)
    assert tomllib.loads((tmp_path / "profile.toml").read_text())["mode"] == "require"
    assert {"ResourceId": "disk-1a2b3c4d", **_read(tmp_path / "profile.toml")} == example["calls"][0]["parameters"]


@every_example
def test_the_python_program_calls_what_the_dialog_does(
    example: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    called: list[tuple[str, str, object]] = []

    def call_json(self: Any, action: str, params: object) -> None:
        called.append((self._service, action, params))

    monkeypatch.setattr(CommonClient, "call_json", call_json)
    for name, value in {
        "DRYSTONE_ENDPOINT": "http://127.0.0.1:8080", "TENCENTCLOUD_REGION": "ap-local",
        "TENCENTCLOUD_SECRET_ID": "a", "TENCENTCLOUD_SECRET_KEY": "b",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    exec(compile(ast.parse(example["python"]), "shown", "exec"), {})
    assert capsys.readouterr().out.split() == ["None"] * len(called)
    assert called == [(one["service"], one["action"], one["parameters"]) for one in example["calls"]]


@pytest.mark.parametrize(
    "example", [one for one in EXAMPLES if one["tccli"]], ids=lambda one: one["calls"][-1]["action"]
)
def test_tccli_is_given_every_parameter(example: dict[str, Any]) -> None:
    lines = [line for line in example["tccli"].splitlines() if not line.startswith("#")]
    for line, call in zip(lines, example["calls"], strict=True):
        words = words_of("drystone" + line.removeprefix("tccli"))
        assert words[:2] == ["cbs", call["action"]]
        assert words[-2] == "--endpoint"
        given = dict(zip(words[2:-2:2], words[3:-2:2], strict=True))
        asked = {f"--{name}": value for name, value in call["parameters"].items()}
        assert set(given) == set(asked)
        for name, value in asked.items():
            told = given[name]
            assert told == value or json.loads(told.lower() if isinstance(value, bool) else told) == value
        # The official SDK knows each of them, and no other.
        request = getattr(models, f"{call['action']}Request")()
        request.from_json_string(json.dumps(call["parameters"]))
        assert given_of(json.loads(request.to_json_string())) == call["parameters"]


def given_of(value: Any) -> Any:
    """Return a value of the SDK without what was not given."""
    if isinstance(value, dict):
        return {name: given_of(one) for name, one in value.items() if one is not None}
    return [given_of(one) for one in value] if isinstance(value, list) else value


def test_the_first_steps_of_the_console_are_taken() -> None:
    source = (ROOT / "console/src/pages/overview/FirstSteps.tsx").read_text()
    lists = re.findall(r"commands=\{\[(.*)\]\}", source)
    texts = [text[1:-1] for one in lists for text in re.findall(r"'[^']*'|\"[^\"]*\"", one)]
    calls = list(pages.calls("\n".join(texts)))
    assert [words[:2] for words in calls] == [["disk", "create"], ["disk", "attach"], ["snapshot", "create"]]
    assert [refused(words, whole=True) for words in calls] == [None] * 3

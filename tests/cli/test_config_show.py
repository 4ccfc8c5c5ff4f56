"""`drystone config show`: every setting with where it comes from, and no secret."""

import json
import random
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

from drystone.cli.app import run
from drystone.cli.session import Outside
from drystone.client_settings import ClientSettings
from drystone.config import Config
from drystone.main import build_program

SECRETS = ("the-secret-key", "the-password", "the-token", "pg-secret")
CREDENTIALS = """TENCENTCLOUD_SECRET_ID=AKIDone
TENCENTCLOUD_SECRET_KEY=the-secret-key
DRYSTONE_CONSOLE_PASSWORD=the-password
DRYSTONE_METRICS_TOKEN=the-token
DRYSTONE_ENDPOINT=http://127.0.0.1:7777
"""
Show = Callable[..., dict[str, dict[str, dict[str, object]]]]


@pytest.fixture
def program() -> Callable[..., int]:
    outside = Outside(clock=lambda: 7.0, monotonic=lambda: 0.0, sleep=lambda _: None)
    return lambda *tokens: run(build_program(outside, random.Random(1)), list(tokens))


@pytest.fixture
def show(program: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> Show:
    def call(*options: str) -> dict[str, dict[str, dict[str, object]]]:
        assert program("config", "show", "--json", *options) == 0
        printed = capsys.readouterr().out
        assert not any(secret in printed for secret in SECRETS)
        found: dict[str, dict[str, dict[str, object]]] = {"commands": {}, "server": {}}
        for row in json.loads(printed):
            found[row["for"]][row["setting"]] = row
        return found

    return call


def test_each_value_says_where_it_comes_from(show: Show, tmp_path: Path) -> None:
    (tmp_path / "credentials.env").write_text(CREDENTIALS)
    (tmp_path / "drystone.toml").write_text(
        'workers = 3\nexperimental = ["postgresql"]\n'
        'catalog_url = "postgresql+psycopg://drystone:pg-secret@h/d?sslmode=require&password=pg-secret"\n'
    )
    found = show("--data", str(tmp_path))
    of_client, of_server = found["commands"], found["server"]
    assert of_client["endpoint"]["value"] == "http://127.0.0.1:7777"
    assert {row["source"] for row in of_client.values()} == {str(tmp_path / "credentials.env")}
    assert {name for name, row in of_client.items() if row["value"] == "(hidden)"} == {
        "secret_key", "console_password", "metrics_token"
    }  # fmt: skip
    assert set(of_server) == {field.name for field in fields(Config)}
    assert (of_server["workers"]["value"], of_server["port"]["value"]) == (3, 8080)
    assert of_server["workers"]["source"] == str(tmp_path / "drystone.toml")
    assert of_server["port"]["source"] == "default"
    shown = "postgresql+psycopg://drystone:(hidden)@h/d?sslmode=require&password=(hidden)"
    assert of_server["catalog_url"]["value"] == shown
    assert set(show("--data", str(tmp_path), "--changed")["server"]) == {
        "data", "workers", "experimental", "catalog_url"
    }  # fmt: skip


def test_the_environment_and_a_machine_without_a_server(
    show: Show, program: Callable[..., int], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for name in ("DRYSTONE_DATA", "DRYSTONE_ENDPOINT", "TENCENTCLOUD_SECRET_ID", "TENCENTCLOUD_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("drystone.client_settings.DATA_PLACES", (Path("data"),))
    assert program("config", "show") == 2
    assert "no server known" in capsys.readouterr().err
    for line in CREDENTIALS.splitlines():
        name, _, value = line.partition("=")
        monkeypatch.setenv(name, value)
    found = show()
    assert found["server"] == {}
    assert {row["source"] for row in found["commands"].values()} == {"the environment"}


def test_what_a_server_would_not_start_with_is_refused(
    program: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "credentials.env").write_text(CREDENTIALS)
    (tmp_path / "drystone.toml").write_text("workers = true\n")
    assert program("config", "show", "--data", str(tmp_path)) == 1
    printed = capsys.readouterr()
    assert (printed.out, "workers must be of type int" in printed.err) == ("", True)


def test_a_secret_of_the_settings_is_one_that_is_never_printed() -> None:
    secret = {field.name for field in fields(ClientSettings) if not field.repr}
    assert secret == {"secret_key", "console_password", "metrics_token"}

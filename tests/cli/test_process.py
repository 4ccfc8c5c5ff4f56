"""What a shell sees: exit codes, help, signals, pipes, an unreachable server."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import App

from drystone.cli.app import build_app, run
from drystone.cli.session import Outside

from .conftest import Command
from .fake_service import FakeService

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys, time
from drystone.cli.app import build_app, run
from drystone.cli.session import Outside
sys.exit(run(build_app(Outside(clock=time.time, monotonic=time.monotonic, sleep=time.sleep))))
"""


def environment(endpoint: str) -> dict[str, str]:
    return os.environ | {
        "DRYSTONE_ENDPOINT": endpoint,
        "TENCENTCLOUD_SECRET_ID": "AKIDtest",
        "TENCENTCLOUD_SECRET_KEY": "hidden-key",
        # A proxy must not come between this machine and itself.
        "HTTP_PROXY": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
        "NO_PROXY": "",
        "no_proxy": "",
    }


def process(endpoint: str, *tokens: str, **options: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *tokens],
        env=environment(endpoint), capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


def walk(app: App, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], App]]:
    for name in app:
        if name.startswith("-"):
            continue
        child = app[name]
        yield (*path, name), child
        yield from walk(child, (*path, name))


COMMANDS = dict(walk(build_app(Outside(clock=lambda: 0.0, monotonic=lambda: 0.0, sleep=lambda _: None))))


@pytest.mark.parametrize("path", list(COMMANDS), ids=" ".join)
def test_help_has_an_example_of_this_very_command(
    path: tuple[str, ...], real_time_outside: Outside, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(build_app(real_time_outside), [*path, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Example:" in text
    leaf = COMMANDS[path].default_command is not None
    if leaf:
        words = path if path[-1] != "apply" else (*path[:-1], "rollback")
        assert f"drystone {' '.join(words)}" in text.partition("Example:")[2]
        assert "Common options" in text or path[0] == "completion"


@pytest.mark.parametrize("path", list(COMMANDS), ids=" ".join)
def test_every_command_and_option_is_in_the_manual(path: tuple[str, ...]) -> None:
    manual = (ROOT / "docs/cli.md").read_text()
    app = COMMANDS[path]
    if app.default_command is None:
        return
    assert f"drystone {' '.join(path)}" in manual
    for argument in app.assemble_argument_collection():
        for name in argument.names:
            if name.startswith("--") and not name.startswith("--no-"):
                assert f"`{name}" in manual or f" {name}" in manual, name


def test_usage_errors(command: Command) -> None:
    for tokens in (
        ("disk", "frobnicate"), ("disk", "show"), ("disk", "create"), ("disk", "create", "--size", "x"),
        ("disk", "create", "--size", "0"), ("disk", "create", "--size", "10", "--tag", "x"), ("disk", "attach"),
        ("disk", "detach"), ("disk", "delete", "--yes"), ("disk", "modify", "disk-aaaaaaaa"),
        ("snapshot", "delete"), ("operation", "list", "--state", "MAYBE"), ("disk", "list", "--nope"),
    ):  # fmt: skip
        ended = command(*tokens, data=False)
        assert ended.code == 2, tokens
        assert ended.out == ""
        assert len(ended.err.splitlines()) == 1, tokens
        assert ended.err.startswith("drystone: ")


def test_exit_codes_are_in_the_manual() -> None:
    manual = (ROOT / "docs/cli.md").read_text()
    assert set(re.findall(r"^\| (\d+) \|", manual, re.MULTILINE)) == set("01234567") | {"130", "141"}


def test_a_proxy_of_the_environment_is_not_used_for_this_machine(service: FakeService) -> None:
    ended = process(service.endpoint, "disk", "list")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "disk-aaaaaaaa" in ended.stdout
    assert "hidden-key" not in ended.stdout


def test_nothing_answers() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        ended = process(f"http://127.0.0.1:{taken.getsockname()[1]}", "disk", "list")
    assert ended.returncode == 6
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1
    assert "nothing answers at http://127.0.0.1:" in ended.stderr
    assert "hidden-key" not in ended.stderr


@pytest.mark.parametrize("answer", [b"HTTP/1.0 404 Not Found\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n<html>", b""])
def test_something_else_answers(command: Command, service: FakeService, answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "disk", "list"],
            env=environment(f"http://127.0.0.1:{listener.getsockname()[1]}"),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        listener.settimeout(30)
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(answer)
            connection.shutdown(socket.SHUT_WR)
            # Closed with bytes that nobody read, a connection is reset, and the answer may be lost.
            while connection.recv(65536):
                pass
        _, err = client.communicate(timeout=120)
    assert client.returncode == 6
    assert len(err.splitlines()) == 1
    assert ("check before you try again" in err) == (answer == b"")
    assert ("is not a Drystone server" in err) == (answer != b"")
    assert "<" not in err


def test_interrupt_while_waiting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = subprocess.Popen(
            # Whoever runs the tests in the background ignores SIGINT, and its children would, too.
            ["env", "--default-signal=INT", sys.executable, "-c", PROGRAM, "disk", "list"],
            env=environment(f"http://127.0.0.1:{listener.getsockname()[1]}"),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        listener.settimeout(30)
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)  # now it waits for the answer
            client.send_signal(signal.SIGINT)
            out, err = client.communicate(timeout=120)
    assert (client.returncode, out) == (130, "")
    assert err.startswith("drystone: interrupted")
    assert len(err.splitlines()) == 1


def test_the_reader_of_a_pipe_goes_away(service: FakeService) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = subprocess.run(
            [sys.executable, "-c", PROGRAM, "disk", "list"],
            env=environment(service.endpoint), stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120,
            check=False,
        )  # fmt: skip
    finally:
        os.close(writer)
    assert (ended.returncode, ended.stderr) == (141, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed(shell: str, real_time_outside: Outside, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(build_app(real_time_outside), ["completion", "print", shell]) == 0
    assert "snapshot" in capsys.readouterr().out

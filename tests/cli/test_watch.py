"""`--watch` shows a list or a record again and again, in its place."""

import io
import re
from collections.abc import Callable

import pytest

from drystone.cli import watch
from drystone.cli.app import build_app, run
from drystone.cli.session import Outside
from drystone.cli.watch import _fitting, _Place

from .conftest import Command, Ended, Time
from .fake_service import FakeService, RefusalError

ROUNDS = 3
Watching = Callable[..., tuple[Ended, "Terminal"]]


class Terminal(io.StringIO):
    """A terminal that keeps what its user sees, line by line."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = [""]
        self.row = self.column = 0

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        for part in re.findall(r"\x1b\[\d+F|\x1b\[K|\x1b\[J|\x1b\[[\d;]*m|\n|[^\x1b\n]+", text):
            if part.endswith("F") and part.startswith("\x1b"):
                self.row -= int(part[2:-1])
                assert self.row >= 0
            elif part == "\x1b[J":
                del self.lines[self.row :]
                self.lines.append("")
            elif part == "\n":
                self.row += 1
                self.lines += [""] * (self.row + 1 - len(self.lines))
            elif part == "\x1b[K":
                self.lines[self.row] = self.lines[self.row][: self.column]
            elif not part.startswith("\x1b"):
                old = self.lines[self.row]
                self.lines[self.row] = old[: self.column] + part + old[self.column + len(part) :]
            self.column = 0 if part == "\n" or (part.endswith("F") and part.startswith("\x1b")) else self.column
            self.column += 0 if part == "\n" or part.startswith("\x1b") else len(part)
        return len(text)


@pytest.fixture
def watching(command: Command, clock: Time, monkeypatch: pytest.MonkeyPatch) -> Watching:
    """Watch with a command until Ctrl-C after some rounds; `meanwhile` is called between them."""

    def go(
        *tokens: str,
        meanwhile: Callable[[int], None] = lambda _round: None,
        terminal: Terminal | None = None,
        columns: int = 200,
        rows: int = 40,
    ) -> tuple[Ended, Terminal]:
        terminal, rounds = terminal or Terminal(), iter(range(1, ROUNDS + 1))
        monkeypatch.setattr("sys.stdout", terminal)
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("LINES", str(rows))

        def slept() -> None:
            assert clock.slept[-1] == watch.WATCH_SECONDS
            now = next(rounds)
            meanwhile(now)
            if now == ROUNDS:
                raise KeyboardInterrupt

        clock.meanwhile = slept
        return command(*tokens, "--watch"), terminal

    return go


def test_a_list_is_shown_in_its_place(watching: Watching, service: FakeService) -> None:
    seen: list[int] = []
    ended, terminal = watching("disk", "list", meanwhile=seen.append)
    assert (ended.code, ended.err, seen) == (0, "", [1, 2, 3])
    heads = [line for line in terminal.lines if line.startswith("DISK ID")]
    assert len(heads) == 1, terminal.lines
    assert any("Ctrl-C ends" in line for line in terminal.lines)
    assert [action for action, _ in service.calls].count("DescribeDisks") == ROUNDS


def test_without_a_terminal_it_is_refused(command: Command, service: FakeService) -> None:
    for tokens in (("disk", "list"), ("host", "show"), ("store", "status", "--json")):
        ended = command(*tokens, "--watch")
        assert (ended.code, ended.out) == (2, "")
        assert "--watch needs a terminal" in ended.err
    assert service.calls == []


def test_a_server_that_is_away_ends_nothing(watching: Watching, service: FakeService) -> None:
    terminal = Terminal()
    there = service.rules["DescribeDisks"]
    said: list[str] = []

    def meanwhile(now: int) -> None:
        service.rules["DescribeDisks"] = [RefusalError("ClientNetworkError", "refused")] if now == 1 else there
        said.append(terminal.lines[-2])

    ended, _ = watching("disk", "list", terminal=terminal, meanwhile=meanwhile)
    assert ended.code == 0
    assert [("trying again" in text, "nothing answers" in text) for text in said] == [
        (False, False), (True, True), (False, False)
    ]  # fmt: skip
    assert sum(line.startswith("DISK ID") for line in terminal.lines) == 1


def test_events_are_followed_or_watched(watching: Watching, service: FakeService) -> None:
    ended, _ = watching("events", "--follow")
    assert (ended.code, service.calls) == (2, [])
    assert "give --follow or --watch, not both" in ended.err


def test_what_is_not_there_ends_it(watching: Watching) -> None:
    ended, terminal = watching("disk", "show", "disk-zzzzzzzz")
    assert ended.code == 3
    assert "disk-zzzzzzzz" in ended.err
    assert "".join(terminal.lines) == ""


def test_what_shows_can_be_watched(real_time_outside: Outside, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (("disk", "list"), ("disk", "show"), ("operation", "logs"), ("host", "show"), ("store", "status"),
                 ("snapshot", "overview"), ("protection",), ("events", "list")):  # fmt: skip
        run(build_app(real_time_outside), [*path, "--help"])
        assert "--watch" in capsys.readouterr().out, path
    run(build_app(real_time_outside), ["disk", "delete", "--help"])
    assert "--watch" not in capsys.readouterr().out


def test_what_has_no_room_is_counted() -> None:
    assert _fitting(["a", "b", "last"], 10, 3) == ["a", "b", "last"]
    assert _fitting(["a", "b", "c", "last"], 80, 3) == ["a", "b", "1 more lines; last"]
    # A long line takes two rows, a wide character two columns.
    assert _fitting(["a" * 15, "b", "last"], 10, 3) == ["a" * 15, "1 more lines; last"]
    assert _fitting(["盘" * 6, "b", "last"], 10, 3) == ["盘" * 6, "1 more lines; last"]


def test_a_shorter_frame_leaves_nothing_of_a_longer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    terminal = Terminal()
    place = _Place(terminal)
    place.draw(["one", "two", "three", "last"])
    place.draw(["1", "last"])
    assert terminal.lines == ["1", "last", ""]

"""What a person meets first: help that fits a terminal, and what is said of wrong input."""

import itertools
import random
import re

import pytest
from cyclopts import App

from drystone.cli.app import run
from drystone.cli.session import Outside
from drystone.main import build_program
from tests.cli.conftest import Command
from tests.cli.fake_service import FakeService, disk, paged
from tests.cli.test_process import walk

COLUMNS = 80
FRAME = re.compile(r"[╭│╰]")
APP = build_program(Outside(clock=lambda: 0.0, monotonic=lambda: 0.0, sleep=lambda _: None), random.Random(1))
COMMANDS: dict[tuple[str, ...], App] = {(): APP, **dict(walk(APP))}


@pytest.mark.parametrize("path", list(COMMANDS), ids=lambda path: " ".join(path) or "drystone")
def test_help_fits_eighty_columns_and_breaks_no_line_twice(
    path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    assert run(APP, [*path, "--help"]) == 0
    text = capsys.readouterr().out
    # What is written to be typed stays in one line, however long.
    lines = [line.rstrip() for line in text.partition("Example:")[0].splitlines()]
    assert max(map(len, lines)) <= COLUMNS
    for line, after in itertools.pairwise(lines):
        if line and after and not FRAME.match(line) and not FRAME.match(after):
            # The first word of the next line had no room in this one: nothing but the terminal broke it.
            assert len(line) + 1 + len(after.split()[0]) > COLUMNS, (line, after)


@pytest.mark.parametrize("path", list(COMMANDS), ids=lambda path: " ".join(path) or "drystone")
def test_what_is_said_of_an_option_is_broken_by_the_terminal_alone(path: tuple[str, ...]) -> None:
    if COMMANDS[path].default_command is not None:
        for argument in COMMANDS[path].assemble_argument_collection():
            assert "\n" not in (argument.parameter.help or ""), argument.name


WRONG = [
    ("", ("disk", "show"), "parameter DISK requires an argument. See `drystone disk show --help`"),
    ("", ("disk", "list", "--nope"), "--nope"),
    ("", ("disc", "list"), "disc"),
    ("", ("disk", "lst"), "lst"),
    ("", ("--json", "disk", "list"), "there is no command before --json; options stand behind it"),
    ("", ("disk", "create"), "a new disk needs --size GIB or --from-snapshot SNAPSHOT"),
    ("", ("disk", "create", "--size", "10X"), "`10X` is no size: write GiB, as 10, or with a unit, as 10G or 1.5T"),
    ("", ("disk", "create", "--size", "0"), "sizes are whole GiB from 10 to 32000"),
    ("", ("disk", "create", "--size", "10", "--count", "0"), "Must be >= 1"),
    ("", ("disk", "create", "--size", "10", "--tag", "team"), "--tag team must have the form key=value"),
    ("", ("disk", "create", "--size", "10", "more"), "unexpected argument: more"),
    ("", ("disk", "attach", "db"), "--instance"),
    ("served", ("disk", "delete", "--yes"), "give the id or the name of at least one disk"),
    ("", ("disk", "modify", "db"), "nothing to change: give --name, --type or --delete-with-instance"),
    ("", ("disk", "list", "-o", "xml"), "xml"),
    ("", ("disk", "list", "--limit", "0"), "Must be >= 1"),
    ("served", ("disk", "list", "--sort", "nope"), "there is no column `nope`; there are disk_id"),
    ("served", ("disk", "show", "web"), "2 disks have the name web (disk-bbbbbbbb, disk-cccccccc): give the id"),
    ("served", ("disk", "delete", "db"), "There is no terminal to ask at: add --yes to confirm"),
    ("", ("snapshot", "create", "db", "--deadline", "soon"), "`soon` is no time: write 7d, 4w, 2027-01-31"),
    ("", ("snapshot", "create", "db", "--keep-days", "7", "--deadline", "7d"), "give --deadline or --keep-days"),
    ("", ("snapshot", "modify", "a", "--permanent", "--keep-days", "7"), "give --permanent or a deadline, not both"),
    ("", ("operation", "list", "--state", "MAYBE"), "MAYBE"),
    ("", ("operation", "wait", "op-aaaaaaaa", "--timeout", "-1"), "Must be >= 0"),
    ("", ("quiesce", "set", "db", "--file", "/nowhere.toml"), "/nowhere.toml cannot be read: No such file"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "tokens", "told"), WRONG, ids=[" ".join(tokens) for _, tokens, _ in WRONG])
def test_wrong_input_is_answered_in_one_line_that_says_what_is_wrong(
    command: Command, service: FakeService, data: str, tokens: tuple[str, ...], told: str
) -> None:
    named = (("disk-aaaaaaaa", "db"), ("disk-bbbbbbbb", "web"), ("disk-cccccccc", "web"))
    rows = [disk(identity, DiskName=name) for identity, name in named]
    service.on("DescribeDisks", paged("DiskSet", rows, "DiskId", "DiskIds"))
    ended = command(*tokens, data=bool(data))
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (2, "", 1)
    assert told in ended.err
    assert all(name.startswith("Describe") for name, _ in service.calls)

"""How guides are followed: what a block is, what a failure is, what counts as the output that a page shows."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.guides.expected import missing
from tests.guides.pages import GUIDES, ROOT, blocks
from tests.guides.terminals import GuideError, Terminal

RUN = {"skip", "terminal", "until", "seconds"}, {"guest", "ends", "seconds"}


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """Open a terminal in a directory of the test's own."""
    made = Terminal("own", tmp_path, {"PATH": "/usr/bin:/bin"}, tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("page", GUIDES)
def test_blocks_of_guides_are_run_or_say_why_not(page: str) -> None:
    found = blocks((ROOT / page).read_text())
    assert any(block.language == "sh" and "skip" not in block.words for block in found)
    for block in found:
        if block.language == "sh":
            assert any(set(block.words) <= known for known in RUN), block
            assert block.words.get("skip", "why") != "", block
        else:
            assert block.words == {}, block
    for before, block in pairwise(found):
        if block.language == "text":
            assert before.language == "sh", "output stands right behind what prints it"
            assert "skip" not in before.words, block


def test_words_behind_a_language() -> None:
    found = blocks('a\n```sh terminal="x y" until="ready"\none\n```\n```text\ntwo\n```\n  ```sh\n  three\n  ```\n')
    assert [(block.language, block.words, block.text, block.line) for block in found] == [
        ("sh", {"terminal": "x y", "until": "ready"}, "one\n", 3), ("text", {}, "two\n", 6),
        ("sh", {}, "  three\n", 9),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="what does this mean: run=yes"):
        blocks("```sh run=yes\n```\n")


@pytest.mark.parametrize(
    ("shown", "printed", "line"),
    [
        ("disk-1a2b3c4d  NORMAL\n", "10 %\ndisk-zzzzzzzz NORMAL\n", None),
        ("snap-1a2b3c4d NORMAL\n", "snap-zzzzzzzz DAMAGED\n", "snap-1a2b3c4d NORMAL"),
        ("at 2026-01-01T00:00:00+00:00, … MB\n", "at 2026-12-31T23:59:59+08:00, 17 MB\n", None),
        ("one\ntwo\n", "two\none\n", "two"),
        ("a.b\n", "axb\n", "a.b"),
    ],
)
def test_what_a_page_shows_must_be_printed(shown: str, printed: str, line: str | None) -> None:
    assert list(missing(shown, printed))[:1] == ([] if line is None else [line])


def test_a_terminal_keeps_what_was_set_and_returns_what_was_printed(terminal: Terminal) -> None:
    assert terminal.run("ID=$(echo disk)\ncd /\n", seconds=20) == ""
    assert terminal.run('echo "$ID at $PWD"; echo no >&2\nfalse || true\n', seconds=20) == "disk at /\nno\n"


@pytest.mark.parametrize("script", ["ID=$(false)\necho on\n", "true\nnosuch x\n", "for i in 1; do false; done\n"])
def test_a_command_that_fails_ends_a_guide(terminal: Terminal, script: str) -> None:
    with pytest.raises(GuideError, match="a command failed"):
        terminal.run(script, seconds=20)


def test_a_program_that_stays_is_waited_for_until_it_is_ready(terminal: Terminal) -> None:
    assert "ready 1" in terminal.run("echo ready 1; cat\n", seconds=20, until="ready")
    with pytest.raises(GuideError, match="not seen within 0 s: later"):
        terminal.run("", seconds=0, until="later")


def test_a_shell_in_a_terminal_is_typed_into_line_by_line(terminal: Terminal) -> None:
    terminal.run("echo ready; exec sh -i\n", seconds=20, until="ready")
    assert "first\n" in terminal.type("echo first\nX=2\n", seconds=20)
    with pytest.raises(GuideError, match="failed in the guest: false"):
        terminal.type("echo $X\nfalse\ntrue\n", seconds=20)


def test_what_is_typed_last_ends_a_program_and_its_terminal_goes_on(terminal: Terminal) -> None:
    terminal.run("echo ready; sh -i\n", seconds=20, until="ready")
    terminal.type_last("exit\n", seconds=20)
    assert terminal.run("echo back\n", seconds=20).endswith("back\n")

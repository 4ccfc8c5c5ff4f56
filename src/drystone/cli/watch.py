"""`--watch`: a list or a record that is shown again and again, in its place on the terminal."""

import contextlib
import functools
import inspect
import io
import math
import shutil
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, TextIO

from cyclopts import App
from rich.cells import cell_len
from rich.text import Text

from drystone.cli.failure import CliError, Exit, one_line
from drystone.cli.session import Outside, Shown

WATCH_SECONDS: Final = 2.0
"""The pause between two looks."""
START_OF_ROW: Final = "\x1b[{}F"
"""Goes to the start of the line so many rows above."""
REST_OF_LINE: Final = "\x1b[K"
REST_OF_SCREEN: Final = "\x1b[J"


def make_watchable(app: App, outside: Outside) -> None:
    """Let every command that takes `--watch` be done again and again if it is given."""
    for name in app:
        if name.startswith("-"):
            continue
        child, command = app[name], app[name].default_command
        if command is None:
            make_watchable(child, outside)
        elif isinstance(_default_of(command), Shown):
            child.default_command = _watchable(command, outside)


def _default_of(command: Callable[..., Any]) -> object:
    common = inspect.signature(command).parameters.get("common")
    return None if common is None else common.default


def _watchable(command: Callable[..., Any], outside: Outside) -> Callable[..., Any]:
    @functools.wraps(command)
    def once_or_again(*arguments: object, **options: object) -> object:
        once = functools.partial(command, *arguments, **options)
        common = options.get("common")
        if not (isinstance(common, Shown) and common.watch):
            return once()
        watch(once, outside)
        return None

    return once_or_again


def watch(once: Callable[[], object], outside: Outside) -> None:
    """Show what a command prints, anew every `WATCH_SECONDS`, until Ctrl-C.

    What was shown last stays on the terminal. A server that is away for a while ends nothing: that is said below what
    was last seen.

    Raises:
        CliError: There is no terminal; or the command failed, for another reason than that.
    """
    if not sys.stdout.isatty():
        raise CliError(
            Exit.USAGE,
            "--watch needs a terminal; a program calls the command again and again, or reads "
            "`drystone events --follow --json`",
        )
    place, seen = _Place(sys.stdout), list[str]()
    try:
        while True:
            last = f"every {WATCH_SECONDS:g} s; Ctrl-C ends"
            try:
                seen = _printed(once)
            except CliError as error:
                if error.code is not Exit.UNREACHABLE or not seen:
                    raise
                last = one_line(f"drystone: {error.message}; trying again")
            place.draw([*seen, last])
            outside.sleep(WATCH_SECONDS)
    except KeyboardInterrupt:
        print(file=sys.stdout)  # Below what the terminal shows of the key.


class _Screen(io.StringIO):
    """What is printed for a terminal."""

    def isatty(self) -> bool:
        """Return True: it goes to one."""
        return True


def _printed(once: Callable[[], object]) -> list[str]:
    """Return the lines that a command prints: its data, then its talk."""
    data, talk = _Screen(), _Screen()
    with contextlib.redirect_stdout(data), contextlib.redirect_stderr(talk):
        once()
    return data.getvalue().splitlines() + talk.getvalue().splitlines()


class _Place:
    """The last rows of a terminal, which are written anew each time; the cursor stands below them.

    No mode of the terminal is changed, so that nothing is to be undone however the program ends.
    """

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal
        self._rows = 0

    def draw(self, lines: Sequence[str]) -> None:
        """Show these lines instead of those before; of many as many as the terminal has room for, and the last one."""
        columns, rows = shutil.get_terminal_size()
        shown = _fitting(lines, columns, max(2, rows - 1))
        back = START_OF_ROW.format(self._rows) if self._rows else ""
        text = "".join(f"{line}{REST_OF_LINE}\n" for line in shown)
        self._terminal.write(f"{back}{text}{REST_OF_SCREEN}")
        self._terminal.flush()
        self._rows = sum(_rows(line, columns) for line in shown)


def _fitting(lines: Sequence[str], columns: int, rows: int) -> list[str]:
    """Return the first lines that fit these rows with the last one; how many are left out, it says."""
    *body, last = lines
    left = rows - _rows(last, columns)
    shown: list[str] = []
    for line in body:
        left -= _rows(line, columns)
        if left < 0:
            break
        shown.append(line)
    missing = len(body) - len(shown)
    return [*shown, f"{missing} more lines; {last}" if missing else last]


def _rows(line: str, columns: int) -> int:
    return max(1, math.ceil(cell_len(Text.from_ansi(line).plain) / columns))

"""Data to standard output, talk to standard error."""

import datetime as dt
import getpass
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from drystone.cli.failure import CliError, Exit, one_line
from drystone.cli.lists import Listing, Record, as_csv, fitting
from drystone.cli.shown import Reading, age, exact

ALL = Listing()
Report = Callable[[float | None, str], None]
"""Takes how far a wait is, in percent if known, and a word for the phase."""

NO_WIDTHS: Mapping[str, int] = {}
PIPE_WIDTH = 400
"""Columns of a table that goes to a file or a pipe: no id is ever cut."""
PLAIN_PERCENT_STEP = 10.0
SECRET_CHARS_MAX = 1000


class Output:
    """How one command answers.

    Args:
        stdout: Where data goes.
        stderr: Where talk, questions and progress go.
        zone: Of the times that people read; None: this machine's.
        clock: Seconds since the epoch, UTC.
    """

    def __init__(
        self,
        *,
        json_wanted: bool,
        stdin: TextIO,
        stdout: TextIO,
        stderr: TextIO,
        listing: Listing = ALL,
        zone: dt.tzinfo | None = None,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._json = json_wanted or listing.form == "json"
        self._listing = listing
        self._stdin = stdin
        self._stdout = stdout
        self._stderr = stderr
        self._exact = Reading(lambda text: exact(text, zone))
        self._aged = Reading(lambda text: age(text, clock()))

    def records(self, records: Sequence[Record], columns: Sequence[str], *, key: str | None = None) -> None:
        """Print a list as it was asked for: a table of these columns, or JSON of whole records.

        Args:
            records: The list.
            columns: What is worth most comes first.
            key: The column with the id; without it, the first.

        Raises:
            CliError: A column was asked for that does not exist.
        """
        listing = self._listing
        records, shown = listing.ordered(records), listing.shown(records, columns)
        if self._json:
            self._print_json(records)
        elif listing.form == "name":
            self.result([str(record[key or columns[0]]) for record in records], None)
        elif listing.form == "csv":
            self._stdout.write(as_csv(records, shown))
        else:
            self._print_list(records, shown, whole=listing.form == "wide" or bool(listing.columns))

    def _print_list(self, records: Sequence[Record], columns: Sequence[str], *, whole: bool) -> None:
        if whole or not self._stdout.isatty():
            self._print_whole(_rows(records, columns, self._exact))
            return
        if not records:
            self.say("none")
            return
        kept = fitting(records, columns, self._console(self._stdout).width, self._aged)
        self._print_table(_rows(records, tuple(kept), self._aged, widths=kept))
        if len(kept) < len(columns):
            self.say(f"not shown: {', '.join(columns[len(kept) :])}; use -o wide, or --columns")

    def record(self, record: Record, *, read: Record | None = None) -> None:
        """Print one thing: a JSON object, or its fields one under the other; those of `read`, if people get others."""
        if self._json:
            self._print_json(record)
            return
        self._print_table(_fields(record if read is None else read, self._exact))

    def result(self, lines: Sequence[str], value: object) -> None:
        """Print what a command made: `value` as JSON, or plain lines, which a shell can keep in a variable."""
        if self._json:
            self._print_json(value)
        else:
            for line in lines:
                print(one_line(line), file=self._stdout)

    def line(self, text: str, value: object) -> None:
        """Print one line of many that come over time, at once: `value` as JSON, or text."""
        shown = json.dumps(value, ensure_ascii=False) if self._json else one_line(text)
        print(shown, file=self._stdout, flush=True)

    def say(self, text: str) -> None:
        """Tell the person something; it is no data."""
        print(one_line(text), file=self._stderr)

    def confirm(self, question: str, *, yes: bool, tell: bool = False) -> None:
        """Go on only if somebody agrees.

        Args:
            question: What will be lost.
            yes: Agreed beforehand, with --yes.
            tell: Say it also then: it is more than the command's words say.

        Raises:
            CliError: Nobody agreed, or nobody can be asked.
        """
        if yes:
            if tell:
                self.say(question)
            return
        if not (self._stdin.isatty() and self._stderr.isatty()):
            raise CliError(Exit.USAGE, f"{question} There is no terminal to ask at: add --yes to confirm")
        print(f"{one_line(question)} Go on? [y/N] ", end="", file=self._stderr, flush=True)
        if self._stdin.readline().strip().lower() not in {"y", "yes"}:
            raise CliError(Exit.USAGE, "nothing was changed")

    def secret(self, prompt: str) -> str:
        """Return a line that nobody sees: typed without an echo at a terminal, else read from standard input.

        Raises:
            CliError: It is empty, or too long to be meant.
        """
        if self._stdin.isatty():
            text = getpass.getpass(prompt, self._stderr)
        else:
            text = self._stdin.readline(SECRET_CHARS_MAX + 2).rstrip("\r\n")
        if not 0 < len(text) <= SECRET_CHARS_MAX:
            raise CliError(Exit.USAGE, f"standard input must give one line of 1 to {SECRET_CHARS_MAX} characters")
        return text

    @contextmanager
    def progress(self, title: str) -> Iterator[Report]:
        """Show a wait: a bar on a terminal, else a line at the start and then at each new phase or tenth."""
        if not self._stderr.isatty():
            yield self._plain_progress(title)
            return
        bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=self._console(self._stderr),
            transient=True,
        )
        with bar:
            task = bar.add_task(title, total=None)

            def report(percent: float | None, phase: str) -> None:
                total = None if percent is None else 100.0
                bar.update(task, description=one_line(f"{title} {phase}"), total=total, completed=percent or 0)

            yield report

    def _plain_progress(self, title: str) -> Report:
        shown: tuple[str, int] | None = None

        def report(percent: float | None, phase: str) -> None:
            nonlocal shown
            now = (phase, int((percent or 0) // PLAIN_PERCENT_STEP))
            if now != shown:
                shown = now
                self.say(f"{title} {phase}" + ("" if percent is None else f" {percent:.0f}%"))

        return report

    def _print_json(self, value: object) -> None:
        print(json.dumps(value, ensure_ascii=False, indent=2), file=self._stdout)

    def _print_table(self, table: Table) -> None:
        if self._stdout.isatty():
            self._console(self._stdout).print(table)
        else:
            self._print_whole(table)

    def _print_whole(self, table: Table) -> None:
        rendered = io.StringIO()
        self._console(rendered).print(table)
        # Cells are padded to their column's width, which is of no use at the end of a line in a file.
        self._stdout.writelines(f"{line.rstrip()}\n" for line in rendered.getvalue().splitlines())

    def _console(self, stream: TextIO) -> Console:
        width = None if stream.isatty() else PIPE_WIDTH
        return _Console(file=stream, width=width, markup=False, emoji=False, highlight=False)


class _Console(Console):
    """A console whose reader may go away: the one place that decides what then happens is `run`."""

    def on_broken_pipe(self) -> None:
        """Raise, where rich would end the process with exit code 1."""
        raise BrokenPipeError


def _rows(
    records: Sequence[Record],
    columns: Sequence[str],
    readable: Reading,
    *,
    wrap: bool = False,
    widths: Mapping[str, int] = NO_WIDTHS,
) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        numeric = column.endswith(("_gib", "_bytes", "_percent", "percent", "_ms", "count", "seconds", "calls"))
        table.add_column(
            column.replace("_", " ").upper(),
            justify="right" if numeric else "left",
            no_wrap=not wrap,
            overflow="fold" if wrap else "ellipsis",
            width=widths.get(column),
        )
    for record in records:
        table.add_row(*(readable(column, record.get(column)) for column in columns))
    return table


def _fields(record: Record, readable: Reading) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in record.items():
        table.add_row(name, _field(name, value, readable))
    return table


def _field(name: str, value: object, readable: Reading) -> str | Table:
    """Return one value, or where it has parts of its own, a table of them."""
    if isinstance(value, int | float) and name.endswith(("_gib", "_gib_max")):
        # A list says it in the column's title; here nothing else does for figures with fractions.
        return f"{value:g} GiB"
    if isinstance(value, Mapping) and any(isinstance(part, Mapping | list) for part in value.values()):
        return _fields(value, readable)
    if isinstance(value, list) and value and all(isinstance(part, Mapping) for part in value):
        return _rows(value, tuple(value[0]), readable, wrap=True)
    return readable(name, value)

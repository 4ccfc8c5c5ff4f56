"""How a list is shown: which columns, in which order, in which form. Pure: text in, text out."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from drystone.cli.failure import CliError, Exit

Record = Mapping[str, object]
Form = Literal["table", "wide", "name", "csv", "json"]
GAP: Final = 2
"""Spaces between two columns of a table."""
ELASTIC: Final = {
    "name": 16, "error_message": 24, "resource": 24, "kinds": 16, "phase": 10, "message": 40, "value": 20, "source": 20,
}  # fmt: skip
"""Columns that may be cut, and what is left of them at least; all others are shown whole or not at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What the person asked for.

    Attributes:
        form: A table that fits the terminal, one that has all columns, ids alone, or a format for programs.
        columns: Which columns; none for those that the list has by itself.
        sort: The column to sort by, with a minus in front for the last first.
    """

    form: Form = "table"
    columns: tuple[str, ...] = ()
    sort: str | None = None

    def ordered(self, records: Sequence[Record]) -> list[Record]:
        """Return the records as asked for; those without a value come last.

        Raises:
            CliError: There is no such column.
        """
        if self.sort is None:
            return list(records)
        name, last_first = self.sort.removeprefix("-"), self.sort.startswith("-")
        check_columns(records, [name])
        known = [record for record in records if record.get(name) is not None]
        known.sort(key=lambda record: _order(record[name]), reverse=last_first)
        return known + [record for record in records if record.get(name) is None]

    def shown(self, records: Sequence[Record], columns: Sequence[str]) -> Sequence[str]:
        """Return the columns to show.

        Raises:
            CliError: One of those that were asked for does not exist.
        """
        check_columns(records, self.columns)
        return self.columns or columns


def check_columns(records: Sequence[Record], names: Sequence[str]) -> None:
    """Refuse a column that the records do not have; an empty list has any.

    Raises:
        CliError: It does not exist; the message says which there are.
    """
    for name in names if records else ():
        if name not in records[0]:
            raise CliError(Exit.USAGE, f"there is no column `{name[:40]}`; there are {', '.join(records[0])}")


def _order(value: object) -> tuple[int, float, str]:
    """Numbers by size, all else by its text, without regard to case."""
    if isinstance(value, bool | int | float):
        return 0, float(value), ""
    return 1, 0.0, str(value).casefold()


def fitting(
    records: Sequence[Record], columns: Sequence[str], width: int, readable: Callable[[str, object], str]
) -> Mapping[str, int]:
    """Return the columns, from the first on, that a terminal has room for, with their widths; the first always.

    Columns stand in the order of what they are worth. None is shown in part, but those of `ELASTIC`.
    """
    whole = {
        column: max([len(column), *(len(readable(column, record.get(column))) for record in records)])
        for column in columns
    }
    left, kept = width + GAP, dict[str, int]()
    for column in columns:
        least = min(whole[column], ELASTIC.get(column, whole[column]))
        if kept and least + GAP > left:
            break
        left -= least + GAP
        kept[column] = least
    for column in kept:
        more = max(0, min(left, whole[column] - kept[column]))
        kept[column] += more
        left -= more
    return kept


def as_csv(records: Sequence[Record], columns: Sequence[str]) -> str:
    """Return CSV with a head (RFC 4180): numbers as they are, nothing for no value, JSON for what has parts."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([_cell(record.get(column)) for column in columns] for record in records)
    return text.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, ensure_ascii=False)
    # A sheet must not take a name for a formula.
    return f"'{value}" if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"} else value

"""What was measured, against what is aimed at: as a table and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich import box
from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A bound that a figure should keep."""

    value: float
    at_most: bool
    """Whether smaller is better."""

    def met(self, measured: float) -> bool:
        """Tell whether a figure keeps the bound."""
        return measured <= self.value if self.at_most else measured >= self.value

    def gap(self, measured: float) -> float:
        """Return by which factor a figure misses the bound; at most 1 if it keeps it."""
        better, worse = (self.value, measured) if self.at_most else (measured, self.value)
        return worse / better if better > 0 else float("inf")


def at_most(value: float) -> Goal:
    """Return the goal of a figure that should be small."""
    return Goal(value=value, at_most=True)


def at_least(value: float) -> Goal:
    """Return the goal of a figure that should be large."""
    return Goal(value=value, at_most=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number of one row."""

    row: str
    what: str
    value: float
    unit: str
    goal: Goal | None = None
    note: str = ""
    samples: tuple[float, ...] = ()
    """All measurements of which `value` is the median, in the order taken; empty if it is not a median."""

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without a goal."""
        return None if self.goal is None else self.goal.met(self.value)


def as_table(figures: Sequence[Figure]) -> Table:
    """Return a table for people."""
    table = Table(box=box.SIMPLE, pad_edge=False)
    for name in ("row", "what", "measured", "goal", "", "note"):
        table.add_column(name, justify="right" if name in {"measured", "goal"} else "left", overflow="fold")
    previous = ""
    for figure in figures:
        goal, verdict = "", ""
        if figure.goal is not None:
            goal = f"{'≤' if figure.goal.at_most else '≥'} {_short(figure.goal.value)}"
            verdict = "[green]met[/]" if figure.met else f"[red]missed {figure.goal.gap(figure.value):.2g} x[/]"
        name = figure.row if figure.row != previous else ""
        previous = figure.row
        table.add_row(name, figure.what, f"{_short(figure.value)} {figure.unit}", goal, verdict, figure.note)
    return table


def as_object(machine: dict[str, Any], figures: Sequence[Figure], failures: dict[str, str]) -> dict[str, Any]:
    """Return all that a run found, for JSON."""
    rows = [
        {**asdict(figure), "met": figure.met, "gap": None if figure.goal is None else figure.goal.gap(figure.value)}
        for figure in figures
    ]
    return {"machine": machine, "figures": rows, "failures": failures}


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"

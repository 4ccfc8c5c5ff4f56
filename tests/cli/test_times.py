"""Times: with a zone for programs, in the reader's for people, as ages where a list has no room."""

import datetime as dt
import io
import json
import re
import time
from typing import Any

import pytest

from drystone.cli.lists import Listing
from drystone.cli.output import Output
from drystone.cli.shown import age, exact
from tests.cli.conftest import Command
from tests.cli.test_lists import DISKS, Terminal

NOW = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("ago", "text"),
    [
        ({"seconds": 0}, "now"), ({"seconds": 12}, "12s ago"), ({"seconds": 59}, "59s ago"),
        ({"minutes": 1}, "1m ago"), ({"minutes": 59, "seconds": 59}, "59m ago"), ({"hours": 3}, "3h ago"),
        ({"hours": 47}, "47h ago"), ({"days": 2}, "2d ago"), ({"days": 89}, "89d ago"), ({"days": 92}, "3mo ago"),
        ({"days": 800}, "2y ago"), ({"seconds": -30}, "in 30s"), ({"days": -3}, "in 3d"),
    ],
)  # fmt: skip
def test_ages(ago: dict[str, int], text: str) -> None:
    assert age((NOW - dt.timedelta(**ago)).isoformat(), NOW.timestamp()) == text


@pytest.mark.parametrize("text", ["", "t", "tomorrow", "2026-11-22 17:36:07"])
def test_what_is_no_time_with_a_zone_stays_as_it_is(text: str) -> None:
    assert exact(text, dt.UTC) == text
    assert age(text, 0.0) == text


def test_exact_times_are_in_the_reader_s_zone_with_its_offset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    try:
        assert exact("2026-11-22T09:36:07+00:00", None) == "2026-11-22 17:36:07+08:00"
        assert exact("2026-11-22T09:36:07+00:00", dt.UTC) == "2026-11-22 09:36:07+00:00"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("what", ["disk", "snapshot", "instance", "operation"])
@pytest.mark.parametrize("form", ["json", "csv"])
def test_programs_get_rfc_3339_with_a_zone(command: Command, what: str, form: str) -> None:
    out = command(what, "list", "-o", form).out
    for found in re.findall(r"\d{4}-\d\d-\d\d[T ][\d:]{8}(?:[^\d\s\",]\d\d:\d\d)?", out):
        assert dt.datetime.fromisoformat(found).tzinfo is not None, found
    if form == "json" and what in {"disk", "snapshot"}:
        assert json.loads(out)[0]["created_at"] == "2026-11-22T09:36:07+00:00"


def test_show_says_the_zone_and_utc_is_an_option(command: Command) -> None:
    assert "2026-11-22 09:36:07+00:00" in command("disk", "show", "disk-aaaaaaaa", "--utc").out
    assert "2026-11-22 09:36:07+00:00" in command("snapshot", "list", "-o", "wide", "--utc").out


def test_a_terminal_shows_ages_and_wide_exact_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    records: list[dict[str, Any]] = [{**DISKS[0], "created_at": (NOW - dt.timedelta(hours=3)).isoformat()}]

    def shown(out: Any, listing: Listing) -> str:
        Output(
            json_wanted=False, stdin=Terminal(), stdout=out, stderr=Terminal(), listing=listing, zone=dt.UTC,
            clock=NOW.timestamp,
        ).records(records, ("disk_id", "created_at"))  # fmt: skip
        text: str = out.getvalue()
        return text

    assert "3h ago" in shown(Terminal(), Listing())
    assert "2026-11-30 09:00:00+00:00" in shown(Terminal(), Listing(form="wide"))
    # A pipe has room for everything, and somebody reads it later.
    assert "2026-11-30 09:00:00+00:00" in shown(io.StringIO(), Listing())

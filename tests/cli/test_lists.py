"""How lists are shown: what fits a terminal, what programs read, and what was asked for."""

import csv
import io
import json
import random
import re
from typing import Any

import pytest

from drystone.cli.failure import CliError
from drystone.cli.lists import ELASTIC, Listing, as_csv, fitting
from drystone.cli.output import Output
from drystone.cli.records import DISK_COLUMNS, EVENT_COLUMNS, OPERATION_COLUMNS, SNAPSHOT_COLUMNS, event_record
from drystone.cli.shown import RANGES_MAX, Reading, age, changed_ranges
from tests.cli.conftest import Command
from tests.cli.fake_service import FakeService, disk_detail

WIDTHS = (80, 120, 200)
readable = Reading(lambda text: age(text, 0.0))
STYLE = re.compile(r"\x1b\[[0-9;]*m")
Records = list[dict[str, Any]]
DISKS: Records = [
    {
        "disk_id": f"disk-{number:08}", "name": "db" * number, "state": "ATTACHED", "size_gib": 10 * number,
        "tracking": "LIVE", "instance_id": "ins-00000001", "device": "/dev/disk/by-id/virtio-disk-00000001",
        "type": "CLOUD_PREMIUM", "created_at": "2026-11-30 12:00:00",
    }
    for number in (1, 2, 30)
]  # fmt: skip
SNAPSHOTS: Records = [
    {
        "snapshot_id": "snap-00000001", "name": "a long name of a snapshot that somebody gave", "state": "CREATING",
        "disk_id": "disk-00000001", "size_gib": 32000, "created_at": "2026-11-30 12:00:00", "changed_bytes": 1 << 40,
        "stored_bytes": 1 << 33, "percent": 100, "tracking": "delta", "unique_bytes": None,
    }
]  # fmt: skip
OPERATIONS: Records = [
    {
        "operation_id": "op-00000001", "kind": "snapshot_group", "state": "RUNNING", "percent": 5,
        "sent_bytes": None, "to_send_bytes": None,
        "error_message": "the storage daemon does not answer " * 4, "disk_id": "disk-00000001",
        "snapshot_id": "snap-00000001", "phase": "PROVING", "updated_at": "2026-11-30T12:00:00+00:00",
        "instance_id": None,
    }
]  # fmt: skip


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def printed(
    records: Records, columns: tuple[str, ...], width: int, listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[str], str]:
    monkeypatch.setenv("COLUMNS", str(width))
    out, talk = Terminal(), io.StringIO()
    Output(json_wanted=False, stdin=io.StringIO(), stdout=out, stderr=talk, listing=listing).records(records, columns)
    return [STYLE.sub("", line).rstrip() for line in out.getvalue().splitlines()], talk.getvalue()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    ("records", "columns"), [(DISKS, DISK_COLUMNS), (SNAPSHOTS, SNAPSHOT_COLUMNS), (OPERATIONS, OPERATION_COLUMNS)]
)
def test_a_table_fits_the_terminal_and_cuts_no_id_and_no_figure(
    records: Records, columns: tuple[str, ...], width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines, talk = printed(records, columns, width, Listing(), monkeypatch)
    assert len(lines) == len(records) + 1
    assert max(map(len, lines)) <= width
    kept = fitting(records, columns, width, readable)
    assert list(kept) == list(columns[: len(kept)])
    for record, line in zip(records, lines[1:], strict=True):
        for column in kept:
            if column not in ELASTIC:
                assert readable(column, record[column]) in line, (column, line)
    left = columns[len(kept) :]
    assert bool(talk) == bool(left)
    assert all(name in talk for name in left)


def test_at_eighty_columns_a_disk_shows_what_is_asked_first() -> None:
    kept = fitting(DISKS, DISK_COLUMNS, 80, readable)
    assert {"disk_id", "name", "state", "size_gib", "tracking"} <= set(kept)


def test_at_eighty_columns_an_event_shows_what_it_says_and_whether_it_is_over() -> None:
    message = "The snapshot snap-aaaaaaaa of disk-aaaaaaaa failed: there is no space left for it on this host."
    told = {
        "EventId": "evt-aaaaaaaa", "Kind": "snapshot_failed", "Severity": "warning", "SubjectId": "disk-aaaaaaaa",
        "Message": message, "Count": 12, "LastSeenTime": "2026-11-22T09:36:07+00:00", "ResolvedTime": None,
    }  # fmt: skip
    records = [event_record(told), event_record({**told, "ResolvedTime": "2026-11-22T09:38:07+00:00"})]
    kept = fitting(records, EVENT_COLUMNS, 80, readable)
    assert {"severity", "message", "resolved_at"} <= set(kept)
    assert kept["message"] >= 25
    out = io.StringIO()
    Output(
        json_wanted=False, stdin=io.StringIO(), stdout=out, stderr=io.StringIO(), listing=Listing(form="name")
    ).records(records, EVENT_COLUMNS, key="event_id")
    assert out.getvalue() == "evt-aaaaaaaa\nevt-aaaaaaaa\n"


def test_wide_and_chosen_columns_are_never_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    lines, talk = printed(DISKS, DISK_COLUMNS, 80, Listing(form="wide"), monkeypatch)
    assert talk == ""
    assert "CREATED AT" in " ".join(lines)
    lines, talk = printed(DISKS, DISK_COLUMNS, 80, Listing(columns=("type", "disk_id")), monkeypatch)
    assert lines[0].split() == ["TYPE", "DISK", "ID"]
    assert talk == ""


@pytest.mark.parametrize(
    ("buckets", "shown"),
    [
        ([0, 0, 0], []),
        ([0, 5, 6, 0, 7], [("10-30 MiB", 11), ("40-45 MiB", 7)]),
        # Every second of 100 has a change: taken by twos they are one range.
        ([1, 0] * 50, [("0-1000 MiB", 50)]),
    ],
)
def test_what_changed_is_told_by_ranges(buckets: list[int], shown: list[tuple[str, int]]) -> None:
    size_bytes = 45 << 20 if len(buckets) == 5 else 1000 << 20
    assert [tuple(one.values()) for one in changed_ranges(10 << 20, buckets, size_bytes)] == shown


def test_ranges_are_few_and_lose_nothing() -> None:
    rng = random.Random(7)
    buckets = [rng.choice((0, 0, 4096)) for _ in range(1024)]
    ranges = changed_ranges(4096, buckets, 4096 * 1024)
    assert 0 < len(ranges) <= RANGES_MAX
    assert sum(int(str(one["changed_bytes"])) for one in ranges) == sum(buckets)


def test_of_an_empty_list_a_terminal_says_that_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert printed([], DISK_COLUMNS, 80, Listing(), monkeypatch) == ([], "none\n")


def test_ids_alone_and_csv() -> None:
    out = io.StringIO()
    Output(
        json_wanted=False, stdin=io.StringIO(), stdout=out, stderr=io.StringIO(), listing=Listing(form="name")
    ).records(DISKS, DISK_COLUMNS)
    assert out.getvalue().splitlines() == [disk["disk_id"] for disk in DISKS]
    records = [{"id": "a", "name": '=cmd|"x", y', "tags": {"k": "v"}, "none": None, "number": -5, "lines": "a\nb"}]
    text = as_csv(records, tuple(records[0]))
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert row == {
        "id": "a", "name": '\'=cmd|"x", y', "tags": '{"k": "v"}', "none": "", "number": "-5", "lines": "a\nb"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("sort", "order"), [("size_gib", [10, 20, 300]), ("-size_gib", [300, 20, 10]), ("name", [10, 20, 300])]
)
def test_lists_are_sorted_by_size_or_text(sort: str, order: list[int]) -> None:
    assert [one["size_gib"] for one in Listing(sort=sort).ordered(DISKS)] == order


def test_what_has_no_value_comes_last_either_way() -> None:
    records: Records = [{"n": None}, {"n": 2}, {"n": 1}]
    assert [one["n"] for one in Listing(sort="n").ordered(records)] == [1, 2, None]
    assert [one["n"] for one in Listing(sort="-n").ordered(records)] == [2, 1, None]


@pytest.mark.parametrize("listing", [Listing(sort="nope"), Listing(sort="-nope"), Listing(columns=("disk_id", "nope"))])
def test_a_column_that_does_not_exist_is_named_with_those_that_do(listing: Listing) -> None:
    out = Output(json_wanted=False, stdin=io.StringIO(), stdout=io.StringIO(), stderr=io.StringIO(), listing=listing)
    with pytest.raises(CliError, match=r"there is no column `nope`; there are disk_id, name, state") as refused:
        out.records(DISKS, DISK_COLUMNS)
    assert refused.value.code == 2
    assert listing.shown([], DISK_COLUMNS)
    assert listing.ordered([]) == []


def test_lists_of_the_program_take_the_options(command: Command, service: FakeService) -> None:
    plain = command("disk", "list", "-o", "name")
    assert plain.out.splitlines()[0].startswith("disk-")
    as_json = command("disk", "list", "--output", "json")
    assert json.loads(as_json.out) == json.loads(command("disk", "list", "--json").out)
    assert command("disk", "list", "-o", "csv", "--columns", "disk_id, state").out.splitlines()[0] == "disk_id,state"
    refused = command("disk", "list", "--sort", "nope")
    assert (refused.code, refused.out) == (2, "")
    assert command("disk", "list", "-o", "xml").code == 2


def test_a_search_is_the_server_s_in_its_order(command: Command, service: FakeService) -> None:
    found = [disk_detail("disk-bbbbbbbb"), disk_detail("disk-gone0000"), disk_detail("disk-aaaaaaaa")]
    service.on("DescribeDiskDetails", {"TotalCount": 3, "DiskDetailSet": found})
    ended = command("disk", "list", "--search", "db team", "-o", "name")
    assert ended.out.split() == ["disk-bbbbbbbb", "disk-aaaaaaaa"]
    assert service.asked("DescribeDiskDetails")[0]["Filters"] == [{"Name": "search", "Values": ["db team"]}]
    assert service.asked("DescribeDisks")[0]["DiskIds"] == ["disk-bbbbbbbb", "disk-gone0000", "disk-aaaaaaaa"]

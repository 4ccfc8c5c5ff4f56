"""What people write for sizes and times."""

import datetime as dt

import pytest

from drystone.cli.disks import DiskCommands
from drystone.cli.given import deadline, size_gib
from drystone.domain.disk_types import DISK_TYPES, SOLD_TYPES
from tests.cli.conftest import Command
from tests.cli.fake_service import FakeService

NOW = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "gib"),
    [("10", 10), ("10G", 10), ("10g", 10), ("10GB", 10), ("10 GiB", 10), ("1T", 1024), ("1.5T", 1536), ("20480M", 20)],
)
def test_sizes(text: str, gib: int) -> None:
    assert size_gib(text) == gib


def test_the_help_names_the_sizes_that_there_are() -> None:
    others = {(DISK_TYPES[name].size_gib_min, DISK_TYPES[name].size_gib_max) for name in SOLD_TYPES[1:]}
    assert (SOLD_TYPES[0], others) == ("CLOUD_PREMIUM", {(20, 32000)})
    assert "CLOUD_PREMIUM has 10 to 32000 GiB, the others 20 to 32000" in " ".join(
        (DiskCommands.create.__doc__ or "").split()
    )


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "1.5", "1.5G", "10X", "10GG", "512M", "1e3", "ten", "5", "32001", "9" * 400, "10 20", "٣"]
)
def test_what_is_no_size_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no size: write GiB, as 10|sizes are whole GiB from 10 to 32000"):
        size_gib(text)


@pytest.mark.parametrize(("text", "days"), [("7d", 7), ("4w", 28), ("36h", 1.5), ("1D", 1)])
def test_deadlines_from_now_leave_a_minute_for_the_service(text: str, days: float) -> None:
    assert dt.datetime.fromisoformat(deadline(text, NOW)).timestamp() == NOW + days * 86_400 + 60


def test_a_date_ends_with_its_day_here_and_a_time_without_a_zone_is_here() -> None:
    at = dt.datetime.fromisoformat(deadline("2027-01-31", NOW))
    assert at == dt.datetime(2027, 1, 31, 23, 59, 59).astimezone()
    assert dt.datetime.fromisoformat(deadline("2027-01-31T08:00", NOW)) == dt.datetime(2027, 1, 31, 8).astimezone()
    assert deadline("2027-01-31T00:00:00+08:00", NOW) == "2027-01-31T00:00:00+08:00"


@pytest.mark.parametrize("text", ["", "tomorrow", "7", "7y", "0d", "999999w", "2027-13-01", "31.1.2027", "-7d"])
def test_what_is_no_deadline_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no time: write 7d|is out of bounds"):
        deadline(text, NOW)


def test_the_program_understands_them(command: Command, service: FakeService) -> None:
    assert command("disk", "create", "--size", "1T").code == 0
    assert service.asked("CreateDisks")[-1]["DiskSize"] == 1024
    assert command("snapshot", "create", "disk-aaaaaaaa", "--deadline", "7d").code == 0
    assert service.asked("CreateSnapshot")[-1]["Deadline"]


@pytest.mark.parametrize(
    ("tokens", "told"),
    [
        (("disk", "create", "--size", "10X"), "`10X` is no size: write GiB, as 10, or with a unit, as 10G or 1.5T."),
        (("disk", "create", "--size", "10", "more"), "unexpected argument: more."),
        (("disk", "list", "--nope"), "--nope"),
        (("disk", "show"), "DISK"),
    ],
)
def test_a_wrong_argument_is_said_with_the_command_whose_help_says_more(
    command: Command, tokens: tuple[str, ...], told: str
) -> None:
    ended = command(*tokens)
    assert (ended.code, ended.out) == (2, "")
    assert told in ended.err
    assert ended.err.endswith(f"See `drystone {' '.join(tokens[:2])} --help`.\n")


def test_the_version_is_an_option_too(command: Command) -> None:
    assert command("--version").code == 0

"""Parts of what runs in the machine, on files and words of this directory."""

import os
import stat
from pathlib import Path

import pytest

from drystone.domain.proof import Finding, ProofStep, conclusion
from drystone.prove.guest import databases
from drystone.prove.guest.databases import (
    MARIADB,
    POSTGRESQL,
    find,
    hand_over,
    open_mariadb,
    open_postgresql,
    page_bytes,
)
from drystone.prove.guest.main import ended_requests
from drystone.prove.guest.trial import Owner, TrialError, Trials, read_file
from drystone.prove.guest.volumes import Volume, parse_logical_volumes, partitions
from tests.prove.machines import PATH
from tests.quiesce.databases import SECONDS

NOBODY = Owner(65534, 65534)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "large", "endless", "socket"])
@pytest.mark.timeout(60)
def test_what_stands_in_place_of_a_file_is_told(tmp_path: Path, kind: str) -> None:
    """A link is not followed, a pipe is not waited for, nothing without an end is read."""
    path = tmp_path / "PG_VERSION"
    if kind == "link":
        path.symlink_to("/etc/shadow")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "large":
        with path.open("wb") as file:
            file.truncate(1 << 40)
    elif kind == "endless":
        if os.geteuid() != 0:
            pytest.skip("a device is made by root")
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    else:
        os.mknod(path, stat.S_IFSOCK | 0o600)
    with pytest.raises((TrialError, OSError)) as told:
        read_file(path, 16)
    assert not isinstance(told.value, TrialError) or told.value.finding is Finding.NOT_PROVEN
    path.unlink() if kind != "folder" else path.rmdir()
    path.write_text("15\n")
    assert read_file(path, 16) == b"15\n"


@pytest.mark.parametrize(("kind", "opener"), [("mariadb", open_mariadb), ("postgresql", open_postgresql)])
def test_a_database_of_links_pipes_and_parts_elsewhere_is_not_started(
    tmp_path: Path, kind: str, opener: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "SERVERS", tmp_path / "servers")
    (tmp_path / "servers/15/bin").mkdir(parents=True)
    (tmp_path / "servers/15/bin/postgres").touch()
    monkeypatch.setattr(Trials, "program", lambda *_: "/bin/false")
    trials, data = Trials(SECONDS, PATH, lambda _: None), tmp_path / "data"
    wrong = {"mariadb": ("d/t.isl", "ib_logfile0"), "postgresql": ("pg_tblspc/16999", "pg_wal")}[kind]
    for name in wrong:
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / "PG_VERSION").write_text("15\n")
        (data / name).symlink_to("/var/lib/elsewhere")
        with pytest.raises(TrialError, match="other file systems") as error:
            opener(trials, data, NOBODY)  # type: ignore[operator]
        assert error.value.finding is Finding.NOT_PROVEN
        (data / name).unlink()
    if kind == "postgresql":
        for version in ("../..", "15\n16", "x" * 100, ""):
            (data / "PG_VERSION").write_text(version)
            with pytest.raises(TrialError):
                opener(trials, data, NOBODY)  # type: ignore[operator]


@pytest.mark.skipif(os.geteuid() != 0, reason="owners are changed by root")
def test_files_are_handed_over_and_links_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("not theirs")
    data = tmp_path / "data"
    (data / "a").mkdir(parents=True)
    (data / "a" / "file").touch()
    (data / "link").symlink_to(elsewhere)
    (data / "folder").symlink_to(tmp_path)
    hand_over(data, NOBODY)
    assert {path.lstat().st_uid for path in (data, *data.rglob("*"))} == {NOBODY.uid}
    assert (elsewhere.stat().st_uid, tmp_path.stat().st_uid) == (0, 0)


def test_data_directories_are_found_by_their_marks_and_through_no_link(tmp_path: Path) -> None:
    for name in ("a/15", "b"):
        (tmp_path / name / "global").mkdir(parents=True)
        (tmp_path / name / "PG_VERSION").touch()
        (tmp_path / name / "global/pg_control").touch()
    (tmp_path / "c").symlink_to(tmp_path / "a")
    assert find(tmp_path, POSTGRESQL) == [tmp_path / "a/15", tmp_path / "b"]
    assert find(tmp_path, MARIADB) == []


@pytest.mark.parametrize(
    ("flags", "size"), [(0x15, 16384), (0x13, 4096), (0, 16384), (3 << 6, 4096), (0x1F, 16384), (7 << 6, 65536)]
)
def test_innodb_tells_its_page_size(tmp_path: Path, flags: int, size: int) -> None:
    file = tmp_path / "ibdata1"
    file.write_bytes(bytes(54) + flags.to_bytes(4, "big"))
    assert page_bytes(file) == size
    file.write_bytes(b"")
    assert page_bytes(file) == 16384


def test_partitions_are_those_that_the_kernel_sees(tmp_path: Path) -> None:
    clone = Path("/dev/vdb")
    (tmp_path / "vdb").mkdir()
    assert partitions(clone, tmp_path) == [Volume("disk", "/dev/vdb")]
    for number, sectors in ((10, 100), (2, 100), (1, 2)):
        entry = tmp_path / "vdb" / f"vdb{number}"
        entry.mkdir()
        (entry / "partition").write_text(f"{number}\n")
        (entry / "size").write_text(f"{sectors}\n")
    assert partitions(clone, tmp_path) == [Volume("partition 2", "/dev/vdb2"), Volume("partition 10", "/dev/vdb10")]
    for number in range(20, 200):
        entry = tmp_path / "vdb" / f"vdb{number}"
        entry.mkdir()
        (entry / "partition").write_text(f"{number}\n")
        (entry / "size").write_text("100\n")
    with pytest.raises(TrialError, match="182 partitions"):
        partitions(clone, tmp_path)


def test_logical_volumes_are_those_that_are_active() -> None:
    lines = ["  vg|root|/dev/mapper/vg-root|active", "  vg|a-b|/dev/mapper/vg-a--b|active", "  WARNING: x"]
    assert parse_logical_volumes(lines) == [
        Volume("logical volume vg/root", "/dev/mapper/vg-root"), Volume("logical volume vg/a-b", "/dev/mapper/vg-a--b"),
    ]  # fmt: skip
    with pytest.raises(TrialError, match="vg/far is not active"):
        parse_logical_volumes([*lines, "  vg|far||"])
    with pytest.raises(TrialError, match="there is none"):
        parse_logical_volumes(["  WARNING: x"])


def test_only_requests_that_have_ended_are_progress() -> None:
    """S192: one that waits for ever lets its disk's time run on."""
    line = " 254  {} vd{} {} 0 8 1 {} 0 8 1 {} {} {} {} 0 0 0 {} 2\n"
    before = line.format(0, "a", 5, 6, 0, 0, 0, 7, 8) + line.format(16, "b", 1, 2, 0, 10, 10, 3, 4)
    waits = line.format(0, "a", 5, 6, 0, 0, 0, 7, 8) + line.format(16, "b", 1, 2, 1, 9999, 9999, 3, 4)
    assert ended_requests(before) == ended_requests(waits) == 36
    assert ended_requests(waits + line.format(32, "c", 5, 5, 0, 0, 0, 5, 5)) == 36, "not one of its two"


def test_one_wrong_byte_outweighs_everything() -> None:
    steps = (
        ProofStep(title="a", finding=Finding.NOT_PROVEN, seconds=0, detail="x"),
        ProofStep(title="b", finding=Finding.DAMAGED, seconds=0, detail="y"),
    )
    assert conclusion(steps) == (Finding.DAMAGED, "b: y")
    assert conclusion(())[0] is Finding.NOT_PROVEN

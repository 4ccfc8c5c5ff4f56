"""The rule for udev: written where udev runs, and nowhere else."""

import asyncio
from pathlib import Path

import pytest

from drystone.domain.errors import UnavailableError
from drystone.engine import command, udev


def test_the_rule_is_written_once_where_udev_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[str, ...]] = []

    async def run(*words: str) -> str:
        ran.append(words)
        return ""

    monkeypatch.setattr(command, "run", run)
    monkeypatch.setattr(udev, "CONTROL", tmp_path / "control")
    monkeypatch.setattr(udev, "RULES", tmp_path / "rules.d" / "59-drystone.rules")
    asyncio.run(udev.leave_disks_alone())
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "control").touch()
    for _ in range(2):
        asyncio.run(udev.leave_disks_alone())
    assert ran == [("udevadm", "control", "--reload")]
    (rule,) = [line for line in udev.RULES.read_text().splitlines() if not line.startswith("#")]
    # Every loop device over a disk's export, and its partitions (ATTRS looks at parents too); nothing else.
    assert rule.startswith('SUBSYSTEM=="block", ATTRS{loop/backing_file}=="*/disk-????????.raw", ENV{UDEV_DISABLE_')
    flags = ("UDEV_DISABLE_PERSISTENT_STORAGE_RULES_FLAG", "DM_UDEV_DISABLE_OTHER_RULES_FLAG", "UDISKS_IGNORE")
    assert [word.split("=")[0] for word in rule.split(", ")[2:]] == [f"ENV{{{flag}}}" for flag in flags]


def test_a_rule_that_cannot_be_written_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(*words: str) -> str:
        raise UnavailableError(f"{words[0]} is not there")

    monkeypatch.setattr(command, "run", run)
    monkeypatch.setattr(udev, "CONTROL", tmp_path)
    monkeypatch.setattr(udev, "RULES", tmp_path / "file" / "59-drystone.rules")
    asyncio.run(udev.leave_disks_alone())
    (tmp_path / "file" / "59-drystone.rules").unlink()
    (tmp_path / "file").rmdir()
    (tmp_path / "file").touch()
    asyncio.run(udev.leave_disks_alone())

"""Disks that are behind what their policies promise, and disks that no policy covers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drystone.catalog import policies, policy_runs
from drystone.domain.ids import DiskId, PolicyId
from drystone.domain.policy import Policy, Run, RunReason, RunState, Trigger
from drystone.service.calls.metrics import _promises
from drystone.service.calls.protection import Protection
from drystone.service.requests import ProtectionQuery
from tests.service.parts import transactions
from tests.service.records_world import NOW, OTHER, OWNER, World, caller, run, with_accounts

HOUR, DAY = 3600, 86_400
SLOT = 1_700_006_400
"""The first midnight after NOW; so the promise is kept until noon."""
POLICY = PolicyId("asp-1")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with with_accounts(tmp_path / "catalog.db") as made:
        yield made


def bind(world: World, *disks: str, name: str = POLICY, **fields: Any) -> None:
    given: dict[str, Any] = {
        "account_id": OWNER, "zone": "UTC", "triggers": (Trigger(hours=(0,), interval_days=1),), "created_at": NOW,
        "modified_at": NOW, "anchored_at": NOW,
    }  # fmt: skip
    value = Policy(id=PolicyId(name), **(given | fields))

    def make(conn: Any) -> None:
        policies.insert(conn, value, cursor=NOW)
        for disk in disks:
            policies.bind(conn, value.id, DiskId(disk), NOW)

    world.db.write_sync(make)


def behind(world: World, **filters: str) -> list[str]:
    protection = Protection(transactions=transactions(world.db, clock=lambda: world.now))
    asked = tuple((name, (value,)) for name, value in (filters or {"behind": "true"}).items())
    return sorted(one.disk.id for one in run(protection.describe(caller(), ProtectionQuery(filters=asked))).items)


def test_a_disk_is_behind_once_its_run_is_tried_no_more(world: World) -> None:
    """S322."""
    world.disk("disk-a")
    world.disk("disk-b")
    bind(world, "disk-a", "disk-b")
    world.now = SLOT + DAY / 2
    assert behind(world) == []
    world.now += 1
    assert behind(world) == ["disk-a", "disk-b"]
    world.snapshot("snap-1", disk_id="disk-a", created_at=SLOT + HOUR)
    world.snapshot("snap-2", disk_id="disk-b", created_at=SLOT + HOUR, suspect=True)
    assert behind(world) == ["disk-b"]
    world.now = SLOT + 3 * DAY / 2 + 1
    assert behind(world) == ["disk-a", "disk-b"]


def test_a_run_that_found_it_unchanged_counts(world: World) -> None:
    """S322."""
    world.disk("disk-a")
    bind(world, "disk-a")
    world.snapshot("snap-1", disk_id="disk-a", created_at=SLOT)
    answered = Run(
        policy_id=POLICY, slot=SLOT + DAY, disk_id=DiskId("disk-a"), account_id=OWNER, state=RunState.SKIPPED,
        reason=RunReason.UNCHANGED, ended_at=SLOT + DAY,
    )  # fmt: skip
    world.db.write_sync(lambda conn: policy_runs.insert(conn, answered))
    world.now = SLOT + DAY + DAY / 2 + 1
    assert behind(world) == []


def test_the_strictest_policy_counts_and_those_that_are_off_do_not(world: World) -> None:
    world.disk("disk-a")
    world.disk("disk-b")
    world.disk("disk-c")
    bind(world, "disk-a", "disk-b")
    bind(world, "disk-a", name="asp-hourly", triggers=(Trigger(hours=tuple(range(24)), interval_days=1),))
    bind(world, "disk-c", name="asp-off", active=False)
    world.now = SLOT + 2 * HOUR
    assert behind(world) == ["disk-a"]
    assert behind(world, covered="false") == ["disk-c"]
    assert behind(world, covered="true", behind="false") == ["disk-b"]


def test_both_are_metrics_of_all_accounts(world: World) -> None:
    world.disk("disk-a")
    world.disk("disk-b", account_id=OTHER)
    world.disk("disk-c")
    bind(world, "disk-a")
    bind(world, "disk-b", name="asp-2", account_id=OTHER)
    found = world.db.read_sync(lambda conn: _promises(conn, SLOT + DAY))
    assert [one.samples[0].value for one in found] == [2.0, 1.0]

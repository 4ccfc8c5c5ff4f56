"""What expires of the snapshots of policies, and what does not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drystone.catalog import policies, policy_runs, proofs, sessions, snapshots
from drystone.domain.ids import DiskId, PolicyId, SnapshotId
from drystone.domain.policy import Policy, Retention, Run, RunReason, RunState, Spread, Trigger
from drystone.domain.proof import Finding, Proof
from drystone.domain.session import Session
from drystone.domain.snapshot import SnapshotState
from drystone.service.operations import Operations
from drystone.service.rows.quotas import SnapshotLimits
from drystone.service.transactions import Transactions
from drystone.service.upkeep import policy_retention
from drystone.service.upkeep.expiry import Expiry
from tests.service.machine import YEAR, Machine
from tests.service.records_world import NOW, OTHER, OWNER, World, run, with_accounts

HOUR, DAY = 3600, 86_400
POLICY = PolicyId("asp-1")
DAILY = (Trigger(hours=(0,), interval_days=1),)


class Server:
    def __init__(self, world: World) -> None:
        self.world, self.machine = world, Machine(world)
        self.start()

    def start(self, **quota: int) -> None:
        transactions = Transactions(
            db=self.world.db, clock=lambda: self.world.now, steady=lambda: self.machine.steady.now(),  # noqa: PLW0108 - a restart has another one
            rng=self.world.ids._rng,
        )  # fmt: skip
        self.expiry = Expiry(
            transactions=transactions, operations=Operations(transactions), clock=self.machine.steady,
            percent_per_hour=10, quota=SnapshotLimits(**quota),
        )  # fmt: skip

    def policy(self, retention: Retention, name: str = POLICY, account: Any = OWNER) -> None:
        value = Policy(
            id=PolicyId(name), account_id=account, zone="UTC", triggers=DAILY, retention=retention, created_at=NOW,
            modified_at=NOW, anchored_at=NOW,
        )  # fmt: skip
        self.world.db.write_sync(lambda conn: policies.insert(conn, value, cursor=NOW))

    def snapshot(self, number: int, disk: str = "disk-a", **fields: Any) -> None:
        """Have the policy's snapshot of the day before NOW that is so many days ago, the later the higher."""
        given = {
            "policy_id": POLICY,
            "slot": int(NOW) - (100 - number) * DAY,
            "policy_order": number,
            "permanent": False,
        }
        self.world.snapshot(f"snap-{disk[-1]}{number}", disk_id=disk, created_at=NOW, **(given | fields))

    def round(self) -> None:
        run(self.expiry.begin_due())

    def left(self) -> list[str]:
        rows = self.world.db.read_sync(lambda conn: snapshots.in_states(conn, [SnapshotState.NORMAL]))
        return sorted(row.id for row in rows)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with with_accounts(tmp_path / "catalog.db") as world:
        world.disk("disk-a")
        world.disk("disk-b")
        yield Server(world)


def test_the_newest_are_kept_of_each_disk_and_nothing_else_is_touched(server: Server) -> None:
    """S306."""
    server.policy(Retention(amount=2))
    for number in range(5):
        server.snapshot(number)
    server.snapshot(1, disk="disk-b")
    server.world.snapshot("snap-manual", disk_id="disk-a")
    server.snapshot(9, policy_id=PolicyId("asp-other"))
    server.round()
    assert server.left() == ["snap-a3", "snap-a4", "snap-a9", "snap-b1", "snap-manual"]


def test_a_deadline_does_not_take_the_newest_good_one_of_a_disk_that_is_there(server: Server) -> None:
    """S307, S320: whether or not its policy is there."""
    server.policy(Retention(days=1))
    for number in range(3):
        server.snapshot(number, deadline_at=NOW - 5)
        server.snapshot(number, disk="disk-b", deadline_at=NOW - 5, policy_id=PolicyId("asp-gone"))
        server.snapshot(number, disk="disk-x", deadline_at=NOW - 5)
    server.snapshot(3, suspect=True, deadline_at=NOW - 5)
    server.round()
    assert server.left() == ["snap-a2", "snap-b2"]


def test_what_somebody_relies_on_stays(server: Server) -> None:
    """S306."""
    server.policy(Retention(amount=1))
    for number in range(6):
        server.snapshot(number, permanent=number == 0, rolling_back=number == 1)
    opened = Proof(
        snapshot_id=SnapshotId("snap-a2"), account_id=OWNER, finding=Finding.OPENS, reason="", steps=(),
        began_at=NOW, ended_at=NOW,
    )  # fmt: skip
    reader = Session(id=server.world.ids.session(), kind="export", created_at=NOW)
    server.world.db.write_sync(lambda conn: proofs.put(conn, opened))
    server.world.db.write_sync(lambda conn: sessions.open(conn, reader, [SnapshotId("snap-a3")]))
    server.round()
    assert server.left() == ["snap-a0", "snap-a1", "snap-a2", "snap-a3", "snap-a5"]
    # The reader ends; nobody tells of that.
    server.world.db.write_sync(lambda conn: sessions.fence(conn, reader.id, at=NOW))
    server.machine.passes(policy_retention.AGAIN_S + 1)
    server.round()
    assert server.left() == ["snap-a0", "snap-a1", "snap-a2", "snap-a5"]


def test_a_calendar_goes_by_slots(server: Server) -> None:
    """S308."""
    server.policy(Retention(spread=Spread(days=2, months=2)))
    for number in range(40, 100):
        server.snapshot(number)
    for _ in range(20):
        server.machine.passes(HOUR + 1)
        server.round()
    # The last two days, and the last one of October: NOW is 2023-11-14.
    assert server.left() == ["snap-a86", "snap-a98", "snap-a99"]


def test_a_snapshot_that_answers_for_a_later_slot_is_kept_for_that(server: Server) -> None:
    """S309."""
    server.policy(Retention(days=3))
    server.snapshot(96, deadline_at=NOW - 5)
    server.snapshot(99, deadline_at=NOW + 3 * DAY)
    answer = Run(
        policy_id=POLICY, slot=int(NOW) - 2 * DAY, disk_id=DiskId("disk-a"), account_id=OWNER,
        state=RunState.SKIPPED, reason=RunReason.UNCHANGED, snapshot_id=SnapshotId("snap-a96"), ended_at=NOW - 2 * DAY,
    )  # fmt: skip
    server.world.db.write_sync(lambda conn: policy_runs.insert(conn, answer))
    server.round()
    assert server.left() == ["snap-a96", "snap-a99"]
    server.machine.passes(3 * DAY)
    server.round()
    assert server.left() == ["snap-a99"]


def test_so_many_go_in_an_hour_of_each_account_also_after_a_restart(server: Server) -> None:
    """S118, S320."""
    server.policy(Retention(amount=1))
    server.policy(Retention(amount=1), name="asp-2", account=OTHER)
    server.world.disk("disk-c", account_id=OTHER)
    for number in range(30):
        server.snapshot(number)
        server.snapshot(number, disk="disk-c", account_id=OTHER, policy_id=PolicyId("asp-2"))
    for _ in range(3):
        server.round()
        server.start()
    assert len(server.left()) == 40
    server.machine.passes(HOUR + 1)
    server.round()
    assert len(server.left()) == 20


def test_nobody_is_held_back_at_its_quota(server: Server) -> None:
    """S118."""
    server.start(per_disk=30)
    server.policy(Retention(amount=1))
    for number in range(30):
        server.snapshot(number)
    server.round()
    assert 0 < len(server.left()) < 20 + 1


def test_nothing_goes_by_a_clock_that_has_leapt(server: Server) -> None:
    """S116."""
    server.policy(Retention(days=30))
    for number in range(5):
        server.snapshot(number, deadline_at=NOW + 30 * DAY)
    server.machine.leaps(YEAR)
    for _ in range(3):
        server.machine.passes(60)
        server.round()
    server.machine.leaps(-YEAR)
    server.round()
    assert len(server.left()) == 5


def test_policies_are_looked_through_only_when_something_changed(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    real = policy_retention.going

    def noted(conn: Any, policy_id: PolicyId, until: float) -> Any:
        seen.append(policy_id)
        return real(conn, policy_id, until)

    monkeypatch.setattr(policy_retention, "going", noted)
    server.policy(Retention(amount=3))
    server.snapshot(1)
    for _ in range(3):
        server.round()
    assert len(seen) == 1
    server.snapshot(2)
    server.round()
    assert len(seen) == 2
    run(server.expiry.begin_due())
    changed = {"retention": Retention(amount=1)}
    server.world.db.write_sync(lambda conn: policies.compare_and_set(conn, POLICY, expected={}, values=changed))
    server.round()
    assert server.left() == ["snap-a2"]

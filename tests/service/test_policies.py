"""Snapshot policies as records: made, changed, bound, shown, and refused."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drystone.catalog import disks, policies, policy_runs
from drystone.domain.disk import DiskState
from drystone.domain.errors import Refusal
from drystone.domain.ids import DiskId, PolicyId
from drystone.domain.policy import Policy, Retention, Run, RunState, Spread, Trigger
from drystone.service.calls.policies import Policies
from drystone.service.requests import NewPolicy, PolicyChanges, PolicyOptions, PolicyQuery, RunQuery, SimulationQuery
from tests.service.parts import transactions
from tests.service.records_world import NOW, OTHER, OWNER, World, caller, refusal, refused, run, with_accounts

DAILY = (Trigger(hours=(23,), interval_days=1),)
"""NOW is 2023-11-15 06:13:20 by the zone of these tests."""
DAY = 86_400
FIRST = 1_700_060_400
"""2023-11-15 23:00 +08:00."""


class House:
    def __init__(self, world: World) -> None:
        self.world = world
        self.policies = Policies(transactions=transactions(world.db, clock=lambda: world.now), zone="+08:00")

    def make(self, **fields: Any) -> PolicyId:
        made, _ = run(self.policies.create(caller(), NewPolicy(triggers=DAILY, **fields)))
        assert made is not None
        return made

    def stored(self, policy_id: PolicyId) -> Policy:
        found = self.world.db.read_sync(lambda conn: policies.get(conn, policy_id))
        assert found is not None
        return found

    def disks_of(self, policy_id: PolicyId) -> list[DiskId]:
        return self.world.db.read_sync(lambda conn: policies.disks_of(conn, [policy_id]))[policy_id]

    def cursor(self, policy_id: PolicyId) -> float:
        return self.world.db.read_sync(policies.cursors)[policy_id]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with with_accounts(tmp_path / "catalog.db") as world:
        yield House(world)


def test_a_policy_is_made_with_the_documented_defaults(house: House) -> None:
    made, first = run(house.policies.create(caller(), NewPolicy(triggers=DAILY)))
    assert made is not None
    assert made.startswith("asp-")
    assert first == FIRST
    policy = house.stored(made)
    assert (policy.name, policy.zone, policy.active) == ("未命名", "+08:00", True)
    assert policy.retention == Retention(days=7)
    assert (policy.anchored_at, house.cursor(made)) == (NOW, NOW)


def test_a_dry_run_makes_nothing(house: House) -> None:
    new = NewPolicy(triggers=DAILY, dry_run=True, active=False)
    assert run(house.policies.create(caller(), new)) == (None, FIRST)
    assert run(house.policies.describe(caller(), PolicyQuery())).total == 0
    assert refusal(house.policies.create(caller(), replace(new, triggers=()))) == Refusal.MISSING


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"permanent": True, "retention_days": 7}, Refusal.BAD_VALUE),
        ({"retention_days": 0}, Refusal.BAD_VALUE),
        ({"name": "x" * 61}, Refusal.BAD_VALUE),
        ({"name": "快" * 21}, Refusal.BAD_VALUE),
        ({"name": "a\nb"}, Refusal.BAD_VALUE),
        ({"triggers": (Trigger(hours=(24,), interval_days=1),)}, Refusal.BAD_VALUE),
        ({"triggers": (Trigger(hours=(), interval_days=1),)}, Refusal.MISSING),
        ({"triggers": (Trigger(hours=(1,)),)}, Refusal.MISSING),
    ],
)
def test_what_cannot_be_a_policy_is_refused(house: House, fields: dict[str, Any], kind: Refusal) -> None:
    assert refusal(house.policies.create(caller(), NewPolicy(**({"triggers": DAILY} | fields)))) == kind


def test_an_account_has_at_most_thirty(house: House) -> None:
    for _ in range(30):
        house.make()
    assert refusal(house.policies.create(caller(), NewPolicy(triggers=DAILY))) == Refusal.POLICY_QUOTA
    assert run(house.policies.create(caller(OTHER), NewPolicy(triggers=DAILY)))[0] is not None


def test_retention_is_changed_as_the_documents_say(house: House) -> None:
    made = house.make(permanent=True)
    assert house.stored(made).retention == Retention(permanent=True)
    run(house.policies.modify(caller(), PolicyChanges(policy_id=made, permanent=False)))
    assert house.stored(made).retention == Retention(days=7)
    run(house.policies.modify(caller(), PolicyChanges(policy_id=made, retention_days=3)))
    run(house.policies.modify(caller(), PolicyChanges(policy_id=made, name="n", permanent=False)))
    assert (house.stored(made).retention, house.stored(made).name) == (Retention(days=3), "n")
    both = PolicyChanges(policy_id=made, permanent=True, retention_days=3)
    assert refusal(house.policies.modify(caller(), both)) == Refusal.BAD_VALUE
    assert refusal(house.policies.modify(caller(), PolicyChanges(policy_id=made))) == Refusal.MISSING


def test_a_changed_schedule_counts_from_now_on(house: House) -> None:
    made = house.make()
    house.world.now += 3 * DAY
    run(house.policies.modify(caller(), PolicyChanges(policy_id=made, triggers=DAILY)))
    assert house.stored(made).anchored_at == NOW
    every_other = (Trigger(hours=(1,), interval_days=2),)
    run(house.policies.modify(caller(), PolicyChanges(policy_id=made, triggers=every_other)))
    assert house.stored(made).anchored_at == house.world.now
    run(house.policies.set_options(caller(), PolicyOptions(policy_id=made, zone="Europe/Berlin")))
    assert house.stored(made).zone == "Europe/Berlin"


def test_what_was_due_while_it_was_off_was_not_missed(house: House) -> None:
    made = house.make()
    run(house.policies.modify(caller(), PolicyChanges(policy_id=made, active=False)))
    (view,) = run(house.policies.describe(caller(), PolicyQuery())).items
    assert view.next_slots == ()
    house.world.now += 3 * DAY
    run(house.policies.modify(caller(), PolicyChanges(policy_id=made, active=True)))
    assert house.cursor(made) == house.world.now
    (view,) = run(house.policies.describe(caller(), PolicyQuery())).items
    assert view.next_slots[:2] == (FIRST + 3 * DAY, FIRST + 4 * DAY)


def test_options_are_set_alone(house: House) -> None:
    made = house.make()
    amount = Retention(amount=5)
    run(house.policies.set_options(caller(), PolicyOptions(policy_id=made, retention=amount, group=True)))
    run(house.policies.set_options(caller(), PolicyOptions(policy_id=made, skip_unchanged=True)))
    policy = house.stored(made)
    assert (policy.retention, policy.group, policy.skip_unchanged) == (amount, True, True)
    for wrong in (
        {"retention": Retention(amount=5, days=3)}, {"retention": Retention(spread=Spread())}, {"zone": "Nowhere/X"},
    ):  # fmt: skip
        assert (
            refusal(house.policies.set_options(caller(), PolicyOptions(policy_id=made, **wrong))) == Refusal.BAD_VALUE
        )
    assert refusal(house.policies.set_options(caller(), PolicyOptions(policy_id=made))) == Refusal.MISSING
    assert house.stored(made) == policy


def test_disks_are_bound_all_or_none(house: House) -> None:
    made = house.make()
    for name in ("disk-a", "disk-b", "disk-c"):
        house.world.disk(name)
    house.world.disk("disk-bin", state=DiskState.TORECYCLE)
    house.world.disk("disk-other", account_id=OTHER)
    run(house.policies.bind(caller(), made, ["disk-b", "disk-a", "disk-b"]))
    assert house.disks_of(made) == ["disk-a", "disk-b"]
    for wrong, kind in (
        (["disk-c", "disk-a"], Refusal.ALREADY_BOUND), (["disk-c", "disk-bin"], Refusal.DISK_UNFIT),
        (["disk-c", "disk-other"], Refusal.NO_SUCH_DISK), (["disk-c", "disk-x"], Refusal.NO_SUCH_DISK),
        ([], Refusal.MISSING), ([f"disk-{n}" for n in range(81)], Refusal.TOO_MANY),
    ):  # fmt: skip
        assert refusal(house.policies.bind(caller(), made, wrong)) == kind
    assert house.disks_of(made) == ["disk-a", "disk-b"]
    run(house.policies.unbind(caller(), made, ["disk-a", "disk-x"], []))
    run(house.policies.unbind(caller(), made, [], ["ins-1"]))
    assert house.disks_of(made) == ["disk-b"]
    assert refusal(house.policies.unbind(caller(), made, [], [])) == Refusal.MISSING


def test_bindings_have_limits(house: House) -> None:
    made = house.make()
    for n in range(201):
        house.world.disk(f"disk-{n}")
    for first in range(0, 200, 50):
        run(house.policies.bind(caller(), made, [f"disk-{n}" for n in range(first, first + 50)]))
    assert refusal(house.policies.bind(caller(), made, ["disk-200"])) == Refusal.BIND_LIMIT
    for _ in range(9):
        run(house.policies.bind(caller(), house.make(), ["disk-0"]))
    assert "10 policies" in refused(house.policies.bind(caller(), house.make(), ["disk-0"])).message


def test_a_disk_that_goes_is_bound_to_nothing(house: House) -> None:
    """However it goes."""
    made = house.make()
    for name in ("disk-a", "disk-b"):
        house.world.disk(name)
    run(house.policies.bind(caller(), made, ["disk-a", "disk-b"]))
    going = {"state": DiskState.TERMINATING}
    house.world.db.write_sync(lambda conn: disks.compare_and_set(conn, "disk-a", expected={}, values=going))
    assert house.disks_of(made) == ["disk-b"]
    house.world.db.write_sync(lambda conn: disks.delete(conn, "disk-b"))
    assert house.disks_of(made) == []


def test_the_policies_of_a_disk(house: House) -> None:
    made, other = house.make(name="a"), house.make(name="b")
    house.world.disk("disk-a")
    for one in (other, made):
        house.world.now += 1
        run(house.policies.bind(caller(), one, ["disk-a"]))
    found = run(house.policies.of_disk(caller(), "disk-a"))
    assert ([view.policy.id for view in found.items], found.total) == ([other, made], 2)
    assert run(house.policies.of_disk(caller(OTHER), "disk-a")).items == ()
    assert run(house.policies.of_disk(caller(), "disk-x")).total == 0


def test_policies_are_found(house: House) -> None:
    names = [house.make(name=name) for name in "ab"]

    def found(**query: Any) -> list[str]:
        return [view.policy.id for view in run(house.policies.describe(caller(), PolicyQuery(**query))).items]

    assert sorted(found()) == sorted(names)
    assert found(policy_ids=(names[0], "asp-x")) == [names[0]]
    assert found(filters=(("auto-snapshot-policy-name", ("b",)), ("auto-snapshot-policy-id", tuple(names)))) == [
        names[1]
    ]
    assert sorted(found(filters=(("auto-snapshot-policy-state", ("NORMAL",)),))) == sorted(names)
    assert found(filters=(("auto-snapshot-policy-state", ("ISOLATED",)),)) == []
    assert refusal(house.policies.describe(caller(), PolicyQuery(order="UP"))) == Refusal.BAD_VALUE
    assert refusal(house.policies.describe(caller(), PolicyQuery(filters=(("x", ("y",)),)))) == Refusal.BAD_FILTER
    assert run(house.policies.describe(caller(OTHER), PolicyQuery())).total == 0


def test_policies_are_deleted_all_or_none(house: House) -> None:
    names = [house.make(), house.make()]
    house.world.disk("disk-a")
    run(house.policies.bind(caller(), names[0], ["disk-a"]))
    assert refusal(house.policies.delete(caller(), [*names, "asp-x"])) == Refusal.NO_SUCH_POLICY
    assert refusal(house.policies.delete(caller(OTHER), names)) == Refusal.NO_SUCH_POLICY
    run(house.policies.delete(caller(), [*names, names[0]]))
    assert run(house.policies.describe(caller(), PolicyQuery())).total == 0
    assert house.world.db.read_sync(policies.bindings) == {}


def test_another_account_is_given_policies_by_an_administrator(house: House) -> None:
    made = house.make(name="n", active=False)
    house.world.disk("disk-a")
    run(house.policies.bind(caller(), made, ["disk-a"]))
    house.world.now += 5
    assert refusal(house.policies.copy(caller(), [made], OTHER)) == Refusal.NOT_ALLOWED
    admin = caller(admin=True)
    for target in ("1", OWNER):
        assert refusal(house.policies.copy(admin, [made], target)) == Refusal.BAD_VALUE
    (copied,) = run(house.policies.copy(admin, [made], OTHER))
    (view,) = run(house.policies.describe(caller(OTHER), PolicyQuery())).items
    assert view.disk_ids == ()
    at = house.world.now
    assert view.policy == replace(
        house.stored(made), id=copied, account_id=OTHER, copied_from=OWNER, created_at=at, modified_at=at,
        anchored_at=at,
    )  # fmt: skip


def test_runs_are_shown_to_their_account(house: House) -> None:
    made = house.make()
    rows = [
        Run(policy_id=made, slot=FIRST + n * DAY, disk_id=DiskId("disk-a"), account_id=OWNER, state=state)
        for n, state in enumerate((RunState.DONE, RunState.FAILED))
    ]
    for row in rows:
        house.world.db.write_sync(lambda conn, row=row: policy_runs.insert(conn, row))  # type: ignore[misc]

    def found(**query: Any) -> tuple[Run, ...]:
        return run(house.policies.runs(caller(), RunQuery(**query))).items

    assert found() == (rows[1], rows[0])
    assert found(filters=(("state", ("done",)), ("disk-id", ("disk-a",)), ("policy-id", (made,)))) == (rows[0],)
    assert refusal(house.policies.runs(caller(), RunQuery(filters=(("state", ("x",)),)))) == Refusal.BAD_VALUE
    assert run(house.policies.runs(caller(OTHER), RunQuery())).total == 0
    (view,) = run(house.policies.describe(caller(), PolicyQuery())).items
    assert view.runs == (rows[1],)


def test_a_policy_is_tried_out_before_it_is_saved(house: House) -> None:
    made = house.make(retention_days=2)
    known = run(house.policies.simulate(caller(), SimulationQuery(policy_id=made, days=5)))
    assert [len(one.runs) for one in known.days] == [1] * 5
    assert [one.kept for one in known.days] == [1, 2, 2, 2, 2]
    other = run(
        house.policies.simulate(caller(), SimulationQuery(policy_id=made, retention=Retention(amount=1), days=3))
    )
    assert [one.kept for one in other.days] == [1, 1, 1]
    fresh = SimulationQuery(triggers=DAILY, retention=Retention(permanent=True), zone="UTC", days=4)
    assert run(house.policies.simulate(caller(), fresh)).kept == tuple(1_700_002_800 + n * DAY for n in range(4))
    assert refusal(house.policies.simulate(caller(), SimulationQuery(days=4))) == Refusal.MISSING
    assert refusal(house.policies.simulate(caller(), replace(fresh, days=0))) == Refusal.BAD_VALUE
    assert refusal(house.policies.simulate(caller(OTHER), SimulationQuery(policy_id=made))) == Refusal.NO_SUCH_POLICY
    assert run(house.policies.describe(caller(), PolicyQuery())).total == 1

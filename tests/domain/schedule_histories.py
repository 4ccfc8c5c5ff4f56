"""Random histories of schedules and retention: `python -m tests.domain.schedule_histories --seeds N`.

A server with policies, disks and a clock runs the whole loop: what is due, rows of runs, snapshots that end well or
badly, retention. It is killed after any transaction and is off for minutes or days; its clock leaps by minutes or a
year and comes back; disks are busy, full, detached, rolled back, recycled, deleted; people change policies, and delete,
lock or share snapshots; snapshots turn out to be suspect or damaged.

What must hold (`schedule_world.World`): each slot has one run on each disk, or somebody said why not; each run ends as
it says, with what is true; no snapshot is taken twice; retention is that of the slow reference after every day, and no
deletion takes what nobody may lose.
"""

import argparse
import random
import sys
import time
from collections import Counter
from dataclasses import replace

from drystone.domain.disk import DiskState
from drystone.domain.ids import AccountId, DiskId, InstanceId
from drystone.domain.policy import Retention, Trigger, changed
from drystone.domain.runs import RETRY_MAX_S
from drystone.domain.tracking import TrackingState
from tests.domain.schedule_cases import (
    DAY_S,
    HOUR_S,
    ZONES,
    change_of,
    random_policy,
    random_retention,
    random_trigger,
)
from tests.domain.schedule_parts import Drive, KilledError, Rules, ViolationError, a_drive
from tests.domain.schedule_world import World

OURS = Rules()
SNAPSHOTS_OWN = {
    "suspect": 1.0, "damage": 1.0, "prove": 1.0, "permanent": 0.3, "lock": 1.0, "share": 1.0, "pin": 1.0, "bin": 1.0,
    "delete": 1.0,
}  # fmt: skip
HAPPENS = SNAPSHOTS_OWN | {
    "write": 30.0, "off": 1.0, "clock": 0.5, "clock back": 3.0, "busy": 4.0, "detach": 1.0, "attach": 4.0,
    "recycle": 1.0, "bin back": 3.0, "delete disk": 0.1, "move": 0.3, "grow": 1.0, "unbind": 1.0, "bind": 4.0,
    "switch": 0.5, "switch on": 2.0, "triggers": 0.5, "retention": 1.0, "manual": 1.0, "rollback": 1.0, "lose": 1.0,
}  # fmt: skip
"""How often what happens, beside each other."""


class History(World):
    """A world in which things happen."""

    def run(self, *, events_per_day: float) -> None:
        happens = self.t if events_per_day else float(self.stop) + 1
        day = self.start + DAY_S
        returns = 0.0
        while self.t < self.stop:
            self.t = min(self.next_look() if self.on else returns, happens, float(day))
            if not self.on and self.t >= returns:
                self.on, self.trouble = True, self.t
            if self.t >= happens:
                happens += self.rng.expovariate(events_per_day / DAY_S)
                self.happen()
            ends_day = self.t >= day
            day += DAY_S if ends_day else 0
            try:
                if self.on:
                    self.round()
                    if ends_day:
                        self.check_day()
            except KilledError:
                self.on = False
                self.events["killed"] += 1
            if not self.on and returns <= self.t:
                returns = self.t + self.rng.choice((60.0, HOUR_S, 9.0 * HOUR_S, 4.0 * DAY_S))
                self.trouble = returns

    def next_look(self) -> float:
        """Return when the server looks again: just after a slot, when a run is due again, when an upload ends."""
        while self.ticks and self.ticks[-1] <= self.t:
            self.ticks.pop()
        looks = [drive.making.ends for drive in self.creating.values() if drive.making]
        looks += [
            min(max(run.try_at - self.skew, self.t + 5.0), self.t + RETRY_MAX_S)
            for rows in self.open.values()
            for run in rows.values()
            if run.snapshot_id is None
        ]
        looks = [max(min(looks, default=self.t), self.t + self.coarse_s - 0.5)] if looks else []
        looks += [self.t + (1800.0 if self.skew else 6.0 * HOUR_S), *self.ticks[-1:]]
        return max(min(looks), self.t + 0.5)

    def happen(self) -> None:
        rng = self.rng
        drive = rng.choice(list(self.drives.values()))
        shots = [one for one in drive.shots.values() if one.row.normal]
        what = rng.choices(tuple(HAPPENS), tuple(HAPPENS.values()))[0]
        self.events[f"event {what}"] += 1
        if what in SNAPSHOTS_OWN:
            if shots:
                self.meddle(what, drive, rng.choice(shots).row.id)
            return
        policy = rng.choice(list(self.policies.values()))
        match what:
            case "write":
                self.count += 1
                drive.content, drive.marked = self.count, True
            case "off":
                self.on = False
            case "clock":
                self.skew = rng.choice((-1, 1)) * rng.choice((400.0, 2.0 * HOUR_S, 30.0 * HOUR_S, 365.0 * DAY_S))
                self.skew = max(self.skew, 1000.0 - self.t)
            case "clock back":
                self.skew = 0.0
            case "busy":
                drive.busy_until = self.t + rng.choice((300.0, 3.0 * HOUR_S, 20.0 * HOUR_S))
            case "detach" | "attach" | "recycle" | "bin back" | "delete disk" | "move" | "grow":
                self.change_disk(what, drive)
            case "unbind":
                if self.bound[policy.id].pop(drive.row.id, None) is not None:
                    self.meddled[policy.id] = self.t
            case "bind":
                if drive.row.id not in self.bound[policy.id]:
                    self.bound[policy.id][drive.row.id] = self.reached(policy.id)
            case "switch" | "switch on" if policy.active == (what == "switch"):
                self.put_policy(replace(policy, active=not policy.active))
            case "triggers":
                triggers = (random_trigger(rng),)
                self.put_policy(changed(policy, triggers=triggers, zone=rng.choice(ZONES), now=self.now()))
            case "retention":
                self.policies[policy.id] = replace(policy, retention=random_retention(rng))
            case "manual":
                if drive.making is None:
                    self.take(drive, None, 0, None)
            case "rollback":
                if shots and drive.making is None:
                    target = rng.choice(shots)
                    drive.content, drive.marked = target.content, False
                    drive.row = replace(
                        drive.row, base_snapshot_id=target.row.id, carry=frozenset(), tracking=TrackingState.LIVE
                    )
            case "lose":
                drive.marked = False
                drive.content += rng.choice((0, 1_000_000))
                drive.row = replace(drive.row, tracking=TrackingState.LOST)
        if what.startswith("clock") or what == "off":
            self.trouble = self.t

    def meddle(self, what: str, drive: Drive, snapshot_id: str) -> None:
        shot = next(one for one in drive.shots.values() if one.row.id == snapshot_id)
        row, luck = shot.row, self.rng.random() < 0.5
        match what:
            case "suspect":
                shot.row = replace(row, suspect=True)
            case "damage":
                shot.row = replace(row, damaged=True)
            case "prove":
                shot.row = replace(row, proven=luck)
            case "permanent":
                shot.row = replace(row, permanent=True, deadline_at=None)
            case "lock":
                shot.row = replace(row, locked=luck)
            case "share":
                shot.row = replace(row, shared=luck)
            case "pin":
                shot.row = replace(row, pinned=luck)
            case "bin":
                shot.row = replace(row, recycled=luck)
            case "delete":
                self.remove(drive, row.id)

    def change_disk(self, what: str, drive: Drive) -> None:
        row = drive.row
        match what:
            case "detach" if row.state is DiskState.ATTACHED:
                drive.row = replace(row, state=DiskState.UNATTACHED, instance_id=None)
            case "attach" if row.state is DiskState.UNATTACHED:
                drive.row = replace(row, state=DiskState.ATTACHED, instance_id=InstanceId("ins-1"))
            case "recycle" if row.state is DiskState.UNATTACHED:
                drive.row = replace(row, state=DiskState.TORECYCLE)
            case "bin back" if row.state is DiskState.TORECYCLE:
                drive.row = replace(row, state=DiskState.UNATTACHED)
            case "delete disk" if row.state is DiskState.TORECYCLE and drive.making is None:
                drive.row = replace(row, state=DiskState.TERMINATING)
                for disks in self.bound.values():
                    disks.pop(row.id, None)
            case "move":
                drive.row = replace(row, account_id=AccountId(self.rng.choice("1112")))
            case "grow" if drive.making is None:
                drive.row = replace(row, tracking=TrackingState.LOST)


def history(seed: int, rules: Rules = OURS, days: int = 60) -> Counter[str]:
    """Run one history; raise `ViolationError` where a rule is broken. Some are calm: nothing happens but writes."""
    rng = random.Random(seed)
    zone = rng.choice(ZONES)
    start = change_of(rng, zone) // DAY_S * DAY_S - rng.randrange(days) * DAY_S
    calm = rng.random() < 0.2
    policies = [
        random_policy(rng, number, start, rng.choice((zone, zone, "+08:00"))) for number in range(rng.choice((1, 2)))
    ]
    world = History(rng, rules, policies, start, days, calm=calm)
    world.upload_h = rng.choice((0.02, 0.3, 2.0, 12.0))
    world.failing = 0.0 if calm else rng.choice((0.0, 0.1, 0.5))
    world.quota = rng.choice((8, 64, *(10_000,) * 4))
    world.coarse_s = rng.choice((1.0, *(1200.0,) * 4))
    for number in range(3):
        drive = a_drive(
            DiskId(f"disk-{number}"), InstanceId("ins-1") if number < 2 else rng.choice((None, InstanceId("ins-2")))
        )
        world.drives[drive.row.id] = drive
        for policy in policies:
            world.bound[policy.id][drive.row.id] = float(start)
    world.run(events_per_day=0.0 if calm else rng.choice((1.0, 4.0, 12.0)))
    if calm:
        wrong = {"failed missed", "failed clock", "failed snapshot failed", "skipped disk gone", "skipped unbound"}
        if wrong & world.events.keys():
            raise ViolationError(f"nothing happened, and yet: {world.events}")
    return world.events


def years(seed: int, rules: Rules = OURS, *, days: int = 3650, policies: int = 20, disks: int = 50) -> Counter[str]:
    """Run one long history: policies of once a day or more rarely in four zones, each of which has its disks."""
    rng = random.Random(seed)
    start = 20_500 * DAY_S
    made = []
    for number in range(policies):
        policy = random_policy(rng, number, start, ZONES[number % len(ZONES)])
        weekdays = rng.choice((tuple(range(7)), tuple(range(7)), (1, 4)))
        hours = (rng.choice((0, 1, 2, 3, 4, 12)),)
        one = (
            Trigger(hours=hours, days_of_week=weekdays)
            if number % 4
            else Trigger(hours=hours, days_of_month=(1, 15, 31))
        )
        made.append(replace(policy, triggers=(one,)))
    permanent = [replace(one, retention=Retention(amount=9)) if one.retention.permanent else one for one in made]
    world = History(rng, rules, permanent, start, days, calm=False)
    world.failing, world.upload_h, world.kills, world.retains, world.coarse_s = 0.02, 0.1, 1e-5, 0.0, 1200.0
    for number in range(policies * disks // 5):
        world.drives[DiskId(f"disk-{number}")] = a_drive(DiskId(f"disk-{number}"), InstanceId(f"ins-{number // 4}"))
    for number, policy in enumerate(permanent):
        for place in range(disks):
            world.bound[policy.id][DiskId(f"disk-{(number * disks // 5 + place) % len(world.drives)}")] = float(start)
    world.run(events_per_day=5.0)
    return world.events


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200, help="histories of 60 days and 3 disks; 10000 say much")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument(
        "--years", type=int, default=0, help="instead one history of so many years, of 20 policies and 50 disks each"
    )
    parser.add_argument("--planted", action="store_true", help="plant mistakes, each of which must be found")
    given = parser.parse_args()
    if given.planted:
        from tests.domain.schedule_planted import find_all

        return find_all(given.seeds)
    began, told = time.monotonic(), Counter[str]()
    seeds = [given.first] if given.years else range(given.first, given.first + given.seeds)
    broken = 0
    for seed in seeds:
        try:
            told += years(seed, days=given.years * 365) if given.years else history(seed)
        except ViolationError as error:
            broken += 1
            print(f"seed {seed}: {error}", flush=True)
        if seed % 500 == 499:
            print(f"{seed + 1 - given.first} histories, {time.monotonic() - began:.0f} s", flush=True)
    print(f"{len(seeds)} histories in {time.monotonic() - began:.0f} s, {broken} in which a rule is broken")
    for name, number in sorted(told.items()):
        print(f"{number:10} {name}")
    return min(broken, 1)


if __name__ == "__main__":
    sys.exit(main())

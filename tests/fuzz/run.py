"""The run: two accounts and an administrator call in random order; the judge looks after each call."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import structlog

from drystone.domain.ids import AccountId
from tests.api.real_service import ZONE, RealService, real_service
from tests.fuzz import command_line, judge
from tests.fuzz.grammar import Known, Writer, weights
from tests.fuzz.judge import Shapes, ViolationError
from tests.fuzz.plants import PLANTS
from tests.system.harness import Installation

PAGE = 100
DISKS_MAX = 12
IDLE_EVERY = 40
SETTINGS: Mapping[str, Any] = {"snapshots_per_disk": 1000, "snapshots_per_region": 10_000}
FILTERED: Mapping[str, tuple[tuple[str, str], ...]] = {
    "DescribeDisks": (
        ("disk-id", "DiskId"), ("disk-name", "DiskName"), ("disk-type", "DiskType"), ("disk-state", "DiskState"),
        ("disk-usage", "DiskUsage"), ("disk-charge-type", "DiskChargeType"), ("instance-id", "InstanceId"),
    ),
    "DescribeSnapshots": (
        ("snapshot-id", "SnapshotId"), ("snapshot-name", "SnapshotName"), ("snapshot-state", "SnapshotState"),
        ("disk-id", "DiskId"), ("disk-usage", "DiskUsage"),
    ),
    "DescribeSnapshotGroups": (
        ("snapshot-group-id", "SnapshotGroupId"), ("snapshot-group-name", "SnapshotGroupName"),
        ("snapshot-group-state", "SnapshotGroupState"),
    ),
    "DescribeOperations": (("state", "State"), ("kind", "Kind")),
}  # fmt: skip
"""Filters of each list, and the field that each goes by."""
MOVING = frozenset({"disk-state", "snapshot-state", "snapshot-group-state", "instance-id", "state"})
"""What work in the background may change between two calls."""
BASES: Mapping[str, Mapping[str, object]] = {
    "DescribeDedicatedClusterDiskStatistics": {"DedicatedClusterId": "cluster-1"},
    "DescribeDiskConfigQuota": {"InquiryType": "INQUIRY_CBS_CONFIG"},
    "DescribeRemoteDisksDeniedActions": {"RemoteDiskIds": ["rdisk-1"]},
}
NEEDS_ID = frozenset({
    "DescribeInstancesDiskNum", "DescribeOperationHistory", "DescribeSnapshotSpace", "DescribeSnapshotDifference",
    "DescribeResourceTagsByResourceIds", "DescribeTagValues",
    "DescribeSnapshotSharePermission", "DescribeDiskAssociatedAutoSnapshotPolicy", "DescribePolicySimulation",
})  # fmt: skip
"""Lists that want to be told of what; asked for one of the caller's if there is one."""
STABLE: Mapping[str, tuple[str, ...]] = {
    "DescribeDisks": ("DiskId", "DiskName", "DiskSize", "DiskType", "DiskChargeType", "Tags"),
    "DescribeSnapshots": ("SnapshotId", "SnapshotName", "IsPermanent", "DeadlineTime", "Tags"),
    "DescribeSnapshotGroups": ("SnapshotGroupId", "SnapshotGroupName"),
    "DescribeInstances": ("InstanceId", "InstanceName", "Kind"),
    "DescribeKeys": ("SecretId",),
}
"""What of an account nobody else's call changes, nor work in the background."""


@dataclass(kw_only=True)
class Outcome:
    """What a run saw."""

    steps: int = 0
    asked: int = 0
    commands: int = 0
    """Of the command line."""
    codes: Counter[str] = field(default_factory=Counter)


@dataclass(kw_only=True)
class Actor:
    """An account."""

    name: str
    account: AccountId
    quiet: str = ""
    known: Known = field(default_factory=Known)
    shown: dict[str, list[tuple[object, ...]]] = field(default_factory=dict)
    working: bool = False
    """Whether an operation of its own is under way, which may change what it has."""


class Fuzzer:
    """One run over one service."""

    def __init__(self, service: RealService, *, seed: int, files: Path, focus: str | None) -> None:
        self._service = service
        self._rng = random.Random(seed)
        self._files = str(files)
        self._focus = focus
        self._shapes = Shapes()
        self._gone = Known()
        self._shared: set[str] = set()
        """Snapshots that were ever shared, and their disks: receivers see the ids of both."""
        self._all = {name: service.actions[name] for name in sorted(service.actions)}
        self._actions = {name: of.actions[name.rpartition(" ")[2]] for name, of in self._all.items()}
        # Operations first: what ends while the other lists are asked for was under way.
        listed = [name for name in self._all if name.startswith(("Describe", "GetSnap"))]
        self._describes = sorted(listed, key=lambda name: name != "DescribeOperations")
        self._admin_only: set[str] = set()
        self.actors: list[Actor] = []
        self.outcome = Outcome()

    async def begin(self) -> None:
        """Make two accounts beside the administrator's, each with a disk and an instance."""
        self.actors = [Actor(name="admin", account=self._service.admin)]
        for name in ("alice", "bob"):
            made = await self._service.call("CreateAccount", AccountName=name)
            self.actors.append(Actor(name=name, account=AccountId(made["AccountId"])))
        for actor in self.actors:
            made = await self._service.call(
                "CreateDisks", account=actor.account, Placement={"Zone": ZONE}, DiskChargeType="POSTPAID_BY_HOUR",
                DiskType="CLOUD_PREMIUM", DiskSize=10, DiskCount=2,
            )  # fmt: skip
            actor.quiet = made["DiskIdSet"][0]
            await self._service.call("CreateInstance", account=actor.account, Kind="NBD")
            await self._look(actor)

    async def step(self) -> None:
        """Make one call, and judge."""
        actor = self._rng.choice(self.actors)
        weight = weights(self._actions, actor.known, disks_max=DISKS_MAX, focus=self._focus)
        name = self._rng.choices(list(self._all), [weight(name) for name in self._all])[0]
        body = self._writer(actor, eager=name == self._focus).body(self._actions[name])
        if name != "SetQuiesceProfile" and actor.quiet.encode() in body:
            # Its profile may name any step; nothing must ever do them.
            return
        self.outcome.steps += 1
        answer = await self._send(actor, name, body)
        code = answer["Error"]["Code"] if "Error" in answer else "OK"
        self.outcome.codes[code] += 1
        if not self._actions[name].changes:
            return
        for other in self.actors:
            before, working = other.shown, other.working
            await self._look(other, whole=other is actor)
            if other is actor or actor.name == "admin" or working or other.working:
                continue
            if other.shown != before:
                raise ViolationError(f"{actor.name}'s {name} {body[:300]!r} changed what is {other.name}'s")
        if self.outcome.steps % IDLE_EVERY == 0:
            await self._idle()

    def take_over(self, service: RealService) -> None:
        """Go on with the same service, started anew."""
        self._service = service

    async def end(self) -> None:
        """Delete everything that was made: what was accepted can be deleted."""
        await self._idle()
        for actor in self.actors:
            await self._look(actor)
            disks = (await self._ask(actor, "DescribeDisks"))["DiskSet"]
            attached = [disk["DiskId"] for disk in disks if disk["Attached"]]
            for disk_id in attached:
                await self._service.call("DetachDisks", account=actor.account, DiskIds=[disk_id])
            await self._idle()
            for _ in range(2):  # A prepaid one goes to the recycle bin first.
                for disk in (await self._ask(actor, "DescribeDisks"))["DiskSet"]:
                    await self._service.call("TerminateDisks", account=actor.account, DiskIds=[disk["DiskId"]])
                await self._idle()
            for snapshot in (await self._ask(actor, "DescribeSnapshots"))["SnapshotSet"]:
                await self._service.call("DeleteSnapshots", account=actor.account, SnapshotIds=[snapshot["SnapshotId"]])
            await self._idle()
            for name in ("DescribeDisks", "DescribeSnapshots", "DescribeSnapshotGroups"):
                left = await self._ask(actor, name)
                if left["TotalCount"]:
                    raise ViolationError(f"{name} of {actor.name} still has {left}")

    def _writer(self, actor: Actor, *, eager: bool) -> Writer:
        others: dict[str, list[str]] = {}
        for other in self.actors:
            for kind, ids in other.known.ids.items():
                if other is not actor:
                    others.setdefault(kind, []).extend(ids)
        return Writer(
            rng=self._rng, own=actor.known, others=Known(ids=others), gone=self._gone, path=self._files, eager=eager
        )

    async def _idle(self) -> None:
        async with asyncio.timeout(300):
            for actor in self.actors:
                running = [{"Name": "state", "Values": ["RUNNING"]}]
                while (await self._service.call("DescribeOperations", account=actor.account, Filters=running))[
                    "TotalCount"
                ]:
                    await asyncio.sleep(0.02)

    async def _send(self, actor: Actor, name: str, body: bytes) -> Mapping[str, Any]:
        answer = await self._service.send(name, body, account=actor.account)
        judge.check_code(name, body, answer)
        foreign = self._foreign(actor)
        judge.check_ids(name, body, answer, foreign)
        if actor.name != "admin":
            judge.check_trail(answer, actor.account)
        as_absent = judge.absent(body, foreign) if "Error" in answer else None
        if as_absent is not None:
            other = await self._service.send(name, as_absent, account=actor.account)
            judge.check_apart(name, body, answer, other, foreign)
        if "Error" not in answer:
            if name == "ModifySnapshotsSharePermission":
                await self._note_shared(actor, json.loads(body)["SnapshotIds"])
            self._shapes.check(name, answer)
            rows = judge.rows_of(answer)
            if rows is not None and len(rows) > answer["TotalCount"]:
                raise ViolationError(f"{name} {body[:300]!r} has {len(rows)} rows of {answer['TotalCount']}")
        return answer

    def _foreign(self, actor: Actor) -> frozenset[str]:
        """Return the ids that this account must not see; the administrator sees everybody's operations."""
        if actor.name == "admin":
            return frozenset()
        kept = ("disk", "quiet", "snap", "ins", "csnap", "op")
        others = {one for other in self.actors if other is not actor for kind in kept for one in other.known.of(kind)}
        return frozenset(others - self._shared)

    async def _note_shared(self, actor: Actor, snapshot_ids: list[str]) -> None:
        answer = await self._service.call("DescribeSnapshots", account=actor.account, SnapshotIds=snapshot_ids[:PAGE])
        self._shared |= {row[key] for row in answer["SnapshotSet"] for key in ("SnapshotId", "DiskId")}

    async def _ask(self, actor: Actor, name: str, **more: object) -> Mapping[str, Any]:
        """Return a whole list; each page is counted against the total."""
        self.outcome.asked += 1
        paged = "Limit" in {field.encode_name for field in _fields(self._actions[name])}
        base = {**BASES.get(name, {}), **more, **({"Limit": PAGE} if paged else {})}
        answer = dict(await self._send(actor, name, json.dumps(base).encode()))
        rows = judge.rows_of(answer)
        if rows is None or not paged:
            return answer
        while len(rows) < answer["TotalCount"]:
            page = await self._send(actor, name, json.dumps({**base, "Offset": len(rows)}).encode())
            found = judge.rows_of(page)
            if not found:
                break
            rows.extend(found)
        if len(rows) != answer["TotalCount"]:
            raise ViolationError(f"{name} {base} counts {answer['TotalCount']} and has {len(rows)} rows")
        return answer

    async def _look(self, actor: Actor, *, whole: bool = True) -> None:
        """Ask for everything, as this account, or for what is its own alone; learn its ids."""
        shown: dict[str, list[tuple[object, ...]]] = {}
        found: dict[str, list[str]] = {}
        for name in self._describes:
            if name in self._admin_only and actor.name != "admin":
                continue
            if name in NEEDS_ID or not (whole or name in STABLE or name == "DescribeOperations"):
                continue
            answer = await self._ask(actor, name) if name != "DescribeAccessKeys" else {}
            if "Error" in answer:
                if answer["Error"]["Code"].startswith("UnauthorizedOperation") and actor.name != "admin":
                    self._admin_only.add(name)
                    continue
                raise ViolationError(f"{name} of {actor.name} is refused: {answer['Error']}")
            rows = judge.rows_of(answer) or next((v for v in answer.values() if isinstance(v, list)), [])
            if name == "DescribeOperations":
                actor.working = any(row["State"] == "RUNNING" for row in rows)
            if name in STABLE:
                keep = STABLE[name]
                shown[name] = sorted((tuple(json.dumps(row[key]) for key in keep) for row in rows), key=repr)
            for kind, listed, key in (
                ("disk", "DescribeDisks", "DiskId"), ("snap", "DescribeSnapshots", "SnapshotId"),
                ("ins", "DescribeInstances", "InstanceId"), ("csnap", "DescribeSnapshotGroups", "SnapshotGroupId"),
                ("op", "DescribeOperations", "OperationId"), ("key", "DescribeKeys", "SecretId"),
            ):  # fmt: skip
                if name == listed:
                    found[kind] = [row[key] for row in rows]
            if rows and name in FILTERED:
                await self._filtered(actor, name, rows)
        for kind, ids in actor.known.ids.items():
            gone = self._gone.ids.setdefault(kind, [])
            gone.extend(one for one in ids if one not in found.get(kind, ids))
            del gone[:-50]
        found["quiet"] = [actor.quiet]
        found["account"] = [actor.account]
        found["disk"] = [one for one in found["disk"] if one != actor.quiet]
        actor.known = Known(ids=found)
        actor.shown = shown
        if whole:
            await self._about_one(actor)

    async def _about_one(self, actor: Actor) -> None:
        """Ask what wants to be told of what."""
        if actor.known.of("ins"):
            await self._ask(actor, "DescribeInstancesDiskNum", InstanceIds=[self._rng.choice(actor.known.of("ins"))])
        if actor.known.of("op"):
            await self._ask(actor, "DescribeOperationHistory", OperationId=self._rng.choice(actor.known.of("op")))
        if actor.known.of("snap") and self._rng.random() < 0.1:
            one = self._rng.choice(actor.known.of("snap"))
            await self._ask(actor, "DescribeSnapshotSpace", SnapshotIds=[one])
            await self._ask(actor, "DescribeSnapshotDifference", To=one)

    async def _filtered(self, actor: Actor, name: str, rows: list[Mapping[str, Any]]) -> None:
        """Ask for the rows like one of them: those, and no others, are in the list."""
        filter_name, key = self._rng.choice(FILTERED[name])
        value = self._rng.choice(rows)[key]
        if not isinstance(value, str) or not value or filter_name in MOVING:
            return
        like = await self._ask(actor, name, Filters=[{"Name": filter_name, "Values": [value]}])
        if "Error" in like:
            raise ViolationError(f"{name} cannot be filtered by {filter_name}={value!r}: {like['Error']}")
        listed = next(list_ for list_ in like.values() if isinstance(list_, list))
        expected = {json.dumps(row[_key_of(name)]) for row in rows if row[key] == value}
        if {json.dumps(row[_key_of(name)]) for row in listed} != expected:
            raise ViolationError(f"{name} by {filter_name}={value!r} has {len(listed)} rows, not {len(expected)}")


def _key_of(name: str) -> str:
    return {"DescribeDisks": "DiskId", "DescribeSnapshots": "SnapshotId", "DescribeSnapshotGroups": "SnapshotGroupId",
            "DescribeOperations": "OperationId"}[name]  # fmt: skip


def _fields(kind: Any) -> Any:
    return msgspec.structs.fields(kind)


def fuzz(
    data: Path,
    *,
    seed: int,
    seconds: float,
    steps: int | None = None,
    plant: str | None = None,
    focus: str | None = None,
    with_commands: bool = False,
) -> Outcome:
    """Run for a time, or so many steps; start again; then delete everything.

    Args:
        data: The directory of the installation; files are made beside it.
        seed: Of all dice.
        seconds: How long.
        steps: How many calls at most.
        plant: A fault of `tests.fuzz.plants` to begin with.
        focus: An action to call about every second time.
        with_commands: Have the command line list everything meanwhile, from a server of its own.

    Raises:
        ViolationError: Something is not as it must be; the message says what, and after which step.
    """
    files = data.parent / "files"
    files.mkdir(exist_ok=True)
    made: list[Fuzzer] = []

    async def first() -> None:
        async with real_service(data, **SETTINGS) as service:
            made.append(Fuzzer(service, seed=seed, files=files, focus=focus))
            if plant is not None:
                PLANTS[plant](service)
            await made[0].begin()
            until = time.monotonic() + seconds
            while time.monotonic() < until and (steps is None or made[0].outcome.steps < steps):
                await made[0].step()
                judge.check_log(entries)
                entries.clear()

    async def last() -> None:
        async with real_service(data, **SETTINGS) as service:
            made[0].take_over(service)
            await made[0].end()

    with structlog.testing.capture_logs() as entries:
        try:
            asyncio.run(first())
            if with_commands:
                _list_all(data, made[0])
            asyncio.run(last())
            judge.check_log(entries)
        except* AssertionError as group:
            error: BaseException = group
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            raise ViolationError(f"seed {seed}, step {made[0].outcome.steps}: {error}") from error
        finally:
            mock.patch.stopall()
    return made[0].outcome


def _list_all(data: Path, fuzzer: Fuzzer) -> None:
    """Start the program itself over what is there, and have the command line list it."""
    system = Installation(data)
    try:
        keys = asyncio.run(_keys(data, fuzzer))
        system.start()
        fuzzer.outcome.commands = command_line.look(system, keys)
    finally:
        if system.process is not None:
            system.stop()
        system.host_stop()


async def _keys(data: Path, fuzzer: Fuzzer) -> Mapping[str, tuple[str, str]]:
    """Return a key of each account."""
    keys = {}
    async with real_service(data, **SETTINGS) as service:
        for actor in fuzzer.actors:
            made = await service.call("CreateAccessKey", AccountId=actor.account)
            keys[actor.name] = (str(made["SecretId"]), str(made["SecretKey"]))
        # Without a key of its own the administrator gets one at the start, in the file of credentials.
        for key in (await service.call("DescribeKeys"))["KeySet"]:
            if key["SecretId"] != keys["admin"][0]:
                await service.call("DeleteKey", SecretId=key["SecretId"], Force=True)
    return keys

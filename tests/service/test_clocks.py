"""Clocks that leap: nothing is lost, nothing stops, nothing happens in a storm."""

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import Connection, func, select

from drystone.catalog import history, logins, proofs, snapshots, tokens, trail
from drystone.catalog.backup import back_up
from drystone.catalog.schema import audit, browser_session, client_token, history_point
from drystone.domain.disk import PREPAID, DiskState
from drystone.domain.errors import RefusalError, UnavailableError
from drystone.domain.ids import DiskId, IdSource
from drystone.domain.login import BrowserSession, SessionLimits
from drystone.domain.proof import Finding, Proof
from drystone.domain.snapshot import SnapshotState
from drystone.domain.tracking import TrackingState
from drystone.domain.trail import TrailEntry
from drystone.engine.daemon import Daemon
from drystone.engine.host_device import Sight
from drystone.engine.layout import Layout
from drystone.objects.contract import StoreTime
from drystone.objects.local import LocalStore
from drystone.service.calls.browser_sessions import BrowserSessions
from drystone.service.calls.disk_lifecycle import RECYCLE_SECONDS, DiskLifecycle
from drystone.service.calls.history import History
from drystone.service.calls.trail import Audit
from drystone.service.host import healing as healing_module
from drystone.service.host.daemons import SILENT_SECONDS_MAX, Daemons
from drystone.service.host.healing import Healing
from drystone.service.operations import Operations
from drystone.service.rows.quotas import SnapshotLimits
from drystone.service.rows.tokens import remember
from drystone.service.transactions import Change, Transactions
from drystone.service.upkeep.backups import Backups
from drystone.service.upkeep.expiry import Expiry
from tests.service.machine import DAY, HOUR, YEAR, Machine, admin
from tests.service.parts import host_parts, server_parts
from tests.service.records_world import NOW, OTHER, OWNER, ZONE, World, caller, run
from tests.twice import undone_first

LEAPS = [-3 * DAY, YEAR, 10 * YEAR]
PER_HOUR = 10


@dataclass
class House:
    """What expires and recurs, on a machine whose clock is set."""

    world: World
    machine: Machine
    data: Path

    def __post_init__(self) -> None:
        self.woken: list[str] = []
        (self.data / "backups").mkdir(exist_ok=True)
        self.layout = Layout(self.data)
        self.start()

    def start(self, **quota: int) -> None:
        """Begin as a server that was just started."""
        parts: dict[str, Any] = {
            "db": self.world.db, "clock": lambda: self.world.now, "steady": self.machine.steady.now,
            "monotonic": lambda: self.machine.up, "layout": self.layout,
            "ids": IdSource(random.Random(len(self.woken))),
            "devices": SimpleNamespace(look=lambda _attached: Sight(wrong=frozenset(), doubtful=frozenset())),
        }  # fmt: skip
        self.installation = cast("Any", SimpleNamespace(**parts))
        self.transactions = Transactions(
            db=self.world.db, clock=lambda: self.world.now, steady=self.machine.steady.now,
            rng=random.Random(len(self.woken)),
        )  # fmt: skip
        self.operations = Operations(self.transactions)
        self.operations.wake = self.woken.append  # type: ignore[method-assign, assignment]
        self.expiry = Expiry(
            transactions=self.transactions, operations=self.operations, clock=self.machine.steady,
            percent_per_hour=10, quota=SnapshotLimits(**quota),
        )  # fmt: skip
        self.history = History(db=self.world.db, clock=self.installation.steady, days=90)
        self.audit = Audit(
            db=self.world.db, clock=self.installation.clock, steady=self.installation.steady,
            most=trail.TrailUsage(entries=1000, bytes=1_000_000),
        )  # fmt: skip
        self.sessions = BrowserSessions(
            db=self.world.db, clock=self.installation.steady, ids=self.installation.ids,
            limits=SessionLimits(idle_s=12 * HOUR, age_s=7 * DAY),
        )  # fmt: skip
        self.backups = Backups(
            room=cast(
                "Any", SimpleNamespace(layout=self.layout, look=lambda: SimpleNamespace(above_floor_bytes=1 << 40))
            ),
            steady=self.machine.steady.now, monotonic=lambda: self.machine.up, minutes=60, kept=48,
        )  # fmt: skip
        self.healing = Healing(
            transactions=self.transactions, operations=self.operations, monotonic=lambda: self.machine.up, after_s=30.0
        )

    @property
    def begun(self) -> list[str]:
        """Disks of which a comparison was begun."""
        return [name.removeprefix("compare ") for name in self.woken if name.startswith("compare ")]

    def round(self) -> None:
        """Do what the loops do."""
        run(self.expiry.begin_due())
        run(self.history.due())
        run(self.sessions.prune())
        run(self.audit.prune())
        run(self.backups.due())
        run(self.healing.begin_due())

    def pass_by(self, seconds: float, step: float = 10.0) -> None:
        for _ in range(round(seconds / step)):
            self.machine.passes(step)
            self.round()

    def remember(self, *name: object) -> None:
        """Keep a client's token."""
        now = self.machine.steady.now()
        self.world.db.write_sync(
            lambda conn: remember(conn, caller(), token=str(name), hashed="h", response={}, now=now)
        )

    def count(self, table: Any) -> int:
        query = select(func.count()).select_from(table)
        return self.world.db.read_sync(lambda conn: conn.execute(query).scalar_one())

    def normal(self) -> set[str]:
        rows = self.world.db.read_sync(lambda conn: snapshots.in_states(conn, [SnapshotState.NORMAL]))
        return {row.id for row in rows}

    def copies(self) -> list[str]:
        return sorted(path.name for path in (self.data / "backups").iterdir())


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    world = World.open(tmp_path / "catalog.db")
    world.add_accounts()
    made = House(world, Machine(world), tmp_path)

    def compare(change: Change, disk: Any) -> bool:
        begun: Any = SimpleNamespace(id=f"compare {disk.id}")
        change.begun.append(begun)
        return True

    monkeypatch.setattr(healing_module, "begin_comparison", compare)
    yield made
    world.db.close()


def furnish(house: House) -> None:
    """Add what is to be kept for a month, and what was to expire just now."""
    world = house.world
    world.disk("disk-a", delete_snapshot=False)
    world.disk("disk-bin", charge_type=PREPAID, state=DiskState.TORECYCLE, deadline_at=NOW + 7 * DAY)
    world.disk(
        "disk-lost", state=DiskState.ATTACHED, tracking=TrackingState.LOST, base_snapshot_id="snap-0", daemon="d",
        bitmap="b",
    )  # fmt: skip
    for number in range(9):
        world.snapshot(f"snap-{number}", permanent=False, deadline_at=NOW + 30 * DAY)

    def rows(conn: Connection) -> None:
        logins.insert_session(
            conn, BrowserSession(token_hash="h", account_id=OWNER, created_at=NOW, used_at=NOW)
        )  # fmt: skip
        for number in range(9):
            trail.append(
                conn,
                TrailEntry(
                    at=NOW - number, account_id=OWNER, secret_id="s", action="a", request_id="r", resource="",
                    code="OK", source="",
                ),
            )  # fmt: skip

    world.db.write_sync(rows)
    for number in range(30):
        house.remember(number)


@pytest.mark.parametrize("leap", LEAPS)
@pytest.mark.parametrize("restart", [False, True])
def test_a_clock_that_leaps_and_comes_back(*, house: House, leap: float, restart: bool) -> None:
    """S115 to S118, S121: fifteen minutes of it, with the loops running, a restart in the middle or not."""
    furnish(house)
    house.pass_by(2 * HOUR, 600.0)
    kept = house.normal()
    before = (house.count(client_token), house.count(browser_session), house.count(audit), house.count(history_point))
    copies, compared = house.copies(), len(house.begun)
    assert (len(kept), len(copies)) == (9, 2)
    house.machine.leaps(leap)
    for _ in range(2):
        house.pass_by(450, 15.0)
        assert not house.machine.believed()
        assert house.machine.steady.view().doubted_since == pytest.approx(NOW + 2 * HOUR, abs=60)
        run(house.audit.record(caller(), "r", "OK"))
        house.remember("new", house.machine.up)
        if restart:
            house.machine.start()
            house.start()
    # What goes on went on: one comparison in 30 s, a copy an hour.
    assert len(house.begun) - compared == pytest.approx(900 / 30, abs=4)
    assert len(house.copies()) - len(copies) <= 1 + restart
    house.machine.leaps(-leap)
    assert house.machine.believed()
    house.pass_by(2 * HOUR, 600.0)
    assert house.normal() == kept
    assert house.world.stored_disk("disk-bin").state is DiskState.TORECYCLE
    after = (house.count(client_token), house.count(browser_session), house.count(audit), house.count(history_point))
    assert after[:3] == (before[0] + 2, before[1], before[2] + 2)
    assert before[3] <= after[3] <= before[3] + 2 * 3
    assert set(copies) <= set(house.copies())
    assert len(house.copies()) - len(copies) <= 3 + restart
    # And what is due then does expire: deadlines are counted by a clock that nobody doubts.
    house.machine.passes(30 * DAY)
    house.round()
    assert house.normal() == set()
    assert house.world.stored_disk("disk-bin").state is DiskState.TERMINATING


@pytest.mark.parametrize("leap", [YEAR, 10 * YEAR])
def test_a_leap_that_stands_is_believed_after_a_day_or_when_it_is_confirmed(house: House, leap: float) -> None:
    """S115, S116: also across restarts of the server and of the machine."""
    furnish(house)
    house.round()
    house.machine.leaps(leap)
    house.pass_by(12 * HOUR, 600.0)
    house.machine.start()
    house.start()
    house.pass_by(6 * HOUR, 600.0)
    house.machine.reboots(600.0)
    house.start()
    house.pass_by(5 * HOUR, 600.0)
    assert len(house.normal()) == 9
    house.pass_by(HOUR + 1200, 600.0)
    assert house.machine.believed()
    assert house.normal() == set()


def test_an_administrator_confirms_the_clock(house: House) -> None:
    furnish(house)
    house.machine.leaps(YEAR)
    house.round()
    with pytest.raises(RefusalError):
        run(house.machine.steady.confirm(caller()))
    assert len(house.normal()) == 9
    said = run(house.machine.steady.confirm(admin()))
    assert (said.machine_at - said.steady_at, round(said.waits_s)) == (YEAR, round(DAY))
    house.machine.start()
    house.start()
    assert house.machine.believed()
    house.round()
    assert house.normal() == set()


def test_the_store_of_another_machine_bears_witness_and_the_least_clock_counts(house: House) -> None:
    """S116"""
    furnish(house)
    house.machine.leaps(YEAR)
    house.machine.store = StoreTime(at=NOW + YEAR, elsewhere=False)
    assert not house.machine.believed(), "it is this machine's own clock"
    house.machine.store = StoreTime(at=NOW, elsewhere=True)
    assert not house.machine.believed()
    house.machine.store = StoreTime(at=NOW + YEAR, elsewhere=True)
    assert house.machine.believed()
    house.machine.store = StoreTime(at=NOW, elsewhere=False)
    house.round()
    assert len(house.normal()) == 9, "the store says that it is earlier"

    def away() -> StoreTime | None:
        raise UnavailableError("not now")

    cast("Any", house.machine.steady).clocks = SimpleNamespace(
        read=house.machine.steady.clocks.read, wall=house.machine.steady.clocks.wall, store=away
    )
    house.round()
    assert house.normal() == set()


def test_a_local_store_has_the_time_of_its_files(tmp_path: Path) -> None:
    import time

    found = LocalStore(tmp_path, 0).clock()
    assert abs(found.at - time.time()) < 60
    assert list((tmp_path / ".temporary").iterdir()) == []


def test_expiry_is_limited_by_account_across_restarts(house: House) -> None:
    """S118: an account that is held back neither forgets it at a restart nor holds back another."""
    world = house.world
    for number in range(40):
        world.snapshot(f"mine-{number}", permanent=False, deadline_at=NOW - 40 + number)
    for number in range(3):
        world.snapshot(f"theirs-{number}", account_id=OTHER, permanent=False, deadline_at=NOW + number)
    world.snapshot("busy", permanent=False, deadline_at=NOW - 99, rolling_back=True)
    house.machine.passes(10)
    for _ in range(3):
        house.round()
        assert len([name for name in house.normal() if name.startswith("mine")]) == 40 - PER_HOUR
        assert not any(name.startswith("theirs") for name in house.normal())
        house.machine.start()
        house.start()
    house.machine.passes(HOUR)
    house.round()
    assert len([name for name in house.normal() if name.startswith("mine")]) == 40 - 2 * PER_HOUR
    assert "busy" in house.normal()


def test_an_account_at_its_quota_is_not_held_back(house: House) -> None:
    """S118: of a disk that is full, or of an account that is."""
    world = house.world
    for disk in ("disk-full", "disk-free"):
        world.disk(disk)
        for number in range(30):
            world.snapshot(f"{disk}-{number:02}", disk_id=DiskId(disk), permanent=False, deadline_at=NOW - 60 + number)
    for number in range(5):
        world.snapshot(f"disk-full-x{number}", disk_id=DiskId("disk-full"))
    house.start(per_disk=20)
    house.round()
    left = house.normal()
    assert len([name for name in left if name.startswith("disk-full")]) == 19
    assert len([name for name in left if name.startswith("disk-free")]) == 19
    house.start(per_region=30)
    house.round()
    assert len(house.normal()) == 29
    house.round()
    assert len(house.normal()) == 29
    house.machine.leaps(YEAR)
    house.start(per_region=1)
    house.round()
    assert len(house.normal()) == 29, "the clock is doubted"


def test_the_recycle_bin_is_not_cut_short_by_a_clock_that_is_behind(house: House) -> None:
    house.world.disk("disk-p", charge_type=PREPAID)
    house.machine.leaps(-10 * YEAR)
    nothing: Any = None
    calls = DiskLifecycle(
        transactions=house.transactions, operations=house.operations, host=nothing, layout=nothing, devices=nothing,
        room=nothing, zone=ZONE, disks_per_call=1, disks_per_instance=1, root=False,
    )  # fmt: skip
    run(calls.terminate(caller(), ["disk-p"], None))
    assert house.world.stored_disk("disk-p").deadline_at == NOW + RECYCLE_SECONDS


def test_lost_tracking_is_compared_whatever_the_clock_does(house: House) -> None:
    """S121: it began never again when the clock had been set back."""
    house.world.disk(
        "disk-lost", state=DiskState.ATTACHED, tracking=TrackingState.LOST, base_snapshot_id="s", daemon="d", bitmap="b"
    )  # fmt: skip
    run(house.healing.begin_due())
    house.machine.leaps(-3 * DAY)
    for _ in range(4):
        house.machine.passes(10)
        run(house.healing.begin_due())
    assert house.begun == ["disk-lost"]


def test_a_comparison_is_begun_in_a_transaction_that_is_run_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(house.world.db, "write", undone_first(house.world.db.write))
    house.world.disk(
        "disk-lost", state=DiskState.ATTACHED, tracking=TrackingState.LOST, base_snapshot_id="s", daemon="d", bitmap="b"
    )  # fmt: skip
    for _ in range(4):
        run(house.healing.begin_due())
        house.machine.passes(10)
    assert len(house.woken) == 1


def test_a_silent_daemon_is_given_up_whatever_the_clock_does(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """S121, S25: neither at once nor never."""

    async def silent(*_args: Any) -> Any:
        raise UnavailableError("it does not answer")

    monkeypatch.setattr(Daemon, "adopt", silent)
    for leap in (*LEAPS, 0.0):
        given_up: list[str] = []

        async def end(_daemons: Daemons, name: str, given_up: list[str] = given_up) -> None:
            given_up.append(name)

        given = server_parts(
            house.world.db, house.layout, clock=lambda: house.world.now, monotonic=lambda: house.machine.up
        )
        made = host_parts(replace(given, devices=house.installation.devices))
        monkeypatch.setattr(Daemons, "_end_silent", end)
        run(made.daemons.adopt("d1"))
        house.machine.leaps(leap)
        house.machine.passes(SILENT_SECONDS_MAX - 1)
        run(made.watch.check())
        assert given_up == []
        house.machine.passes(2)
        run(made.watch.check())
        assert given_up == ["d1"]


def test_copies_of_the_catalog_made_by_a_clock_that_was_wrong(house: House) -> None:
    """S117: one that is dated ahead made a copy every 30 seconds, until the good ones were gone."""
    back_up(house.data / "catalog.db", house.data / "backups", kind="catalog", at=NOW + YEAR, kept=48)
    for _ in range(240):
        house.machine.passes(30)
        run(house.backups.due())
    assert len(house.copies()) == 1 + 2


def test_a_proof_is_due_once_though_its_date_lies_ahead(house: House) -> None:
    """S117"""
    house.world.disk("disk-a")
    house.world.snapshot("snap-1")
    proof = Proof(
        snapshot_id=cast("Any", "snap-1"), account_id=OWNER, finding=Finding.OPENS, reason="", steps=(),
        began_at=NOW + YEAR, ended_at=NOW + YEAR,
    )  # fmt: skip

    def due(at: float) -> bool:
        return house.world.db.read_sync(lambda conn: proofs.due(conn, DiskId("disk-a"), at, HOUR)) is not None

    house.world.db.write_sync(lambda conn: proofs.put(conn, proof))
    assert due(NOW)
    assert not due(NOW + YEAR)


def test_a_history_that_a_wrong_clock_has_dated_ahead_goes_on(house: House) -> None:
    """S117"""
    house.machine.leaps(YEAR)
    house.machine.confirm()
    run(house.history.due())
    house.machine.leaps(-YEAR)
    house.machine.confirm()
    assert run(house.history.due()) == 2
    house.machine.passes(HOUR)
    assert run(house.history.due()) == 2
    points = house.world.db.read_sync(lambda conn: history.since(conn, OWNER, NOW - DAY))
    assert len(points) == 3


def test_sessions_and_tokens_that_a_wrong_clock_has_dated_ahead_end(house: House) -> None:
    """S117"""
    limits = SessionLimits(idle_s=12 * HOUR, age_s=7 * DAY)
    ahead = BrowserSession(token_hash="h", account_id=OWNER, created_at=NOW + YEAR, used_at=NOW + YEAR)
    assert limits.over(ahead, NOW)
    assert not limits.over(ahead, NOW + YEAR)
    assert not limits.over(ahead, NOW + YEAR - HOUR)
    house.machine.leaps(YEAR)
    for number in range(5):
        house.remember(number)
    assert house.world.db.read_sync(lambda conn: tokens.get(conn, OWNER, "(0,)")) is not None


def test_the_clock_is_remembered_at_most_once_a_minute(house: House) -> None:
    writes = 0
    real = house.world.db.write

    async def write(fn: Any) -> Any:
        nonlocal writes
        writes += 1
        return await real(fn)

    cast("Any", house.world.db).write = write
    for _ in range(60):
        house.machine.passes(10)
        asyncio.run(house.machine.steady.look())
    assert writes == 10

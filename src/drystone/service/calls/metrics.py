"""Numbers of the installation for Prometheus, read when they are asked for."""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from sqlalchemy import Connection

from drystone.catalog import damages, disks, events, operations, packs, policies, proofs, snapshots, verification
from drystone.catalog.database import Database
from drystone.domain.event import EventKind
from drystone.objects.measured import Count, Tally
from drystone.service.room import Room
from drystone.service.rounds import Bugs
from drystone.service.rows.promises import promises
from drystone.service.upkeep import collection
from drystone.service.upkeep.clock import SteadyClock


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InstallationCollector:
    """Gauges over rows and the file system."""

    db: Database
    room: Room
    bugs: Bugs
    clock: SteadyClock
    count: Callable[[], None] = lambda: None
    """Adds to the tally what others have asked for."""
    tally: Tally = field(default_factory=Tally)
    """What was asked of the bucket that snapshots are in, if they are in one."""
    policy_runs: Counter[str] = field(default_factory=Counter)
    """Runs of snapshot policies that have ended since the start, by result."""

    def collect(self) -> Iterable[Metric]:
        """Yield the gauges as of now."""
        space = self.room.look()
        free = GaugeMetricFamily("drystone_free_bytes", "Free bytes of the disks' file system.")
        free.add_metric([], space.free_bytes)
        floor = GaugeMetricFamily("drystone_floor_bytes", "Free bytes that belong to the disks alone.")
        floor.add_metric([], space.floor_bytes)
        clock = self.clock.view()
        doubted = GaugeMetricFamily("drystone_clock_doubted", "Whether this machine's clock is doubted.")
        doubted.add_metric([], clock.doubted_since is not None)
        ahead = GaugeMetricFamily("drystone_clock_ahead_seconds", "This machine's clock less the steady one.")
        ahead.add_metric([], clock.machine_at - clock.steady_at)
        waits = GaugeMetricFamily("drystone_expiry_waits_seconds", "How long nothing expires, the clock being doubted.")
        waits.add_metric([], clock.waits_s)
        bugs = CounterMetricFamily("drystone_bugs", "Bugs met since the start; the log has each.", labels=["place"])
        for place, number in sorted(self.bugs.counts.items()):
            bugs.add_metric([place], number)
        runs = CounterMetricFamily(
            "drystone_policy_runs", "Runs of snapshot policies since the start.", labels=["result"]
        )
        for result, number in sorted(self.policy_runs.items()):
            runs.add_metric([result], number)
        yield from (free, floor, doubted, ahead, waits, bugs, runs)
        pending = GaugeMetricFamily(
            "drystone_store_deletions_pending", "Objects that the bucket does not delete yet, because it keeps them."
        )  # fmt: skip
        pending.add_metric([], self.tally.pending.count())
        yield pending
        self.count()
        yield from _requests(self.tally.counts())
        yield from self.db.read_sync(_rows)
        yield from self.db.read_sync(lambda conn: _promises(conn, self.clock.now()))


def _requests(counts: Iterable[Count]) -> Iterable[Metric]:
    labels = ["store", "request"]
    requests = CounterMetricFamily("drystone_store_requests", "Requests made of a bucket.", labels=labels)
    moved = CounterMetricFamily("drystone_store_request_bytes", "Bytes of objects sent and received.", labels=labels)
    errors = CounterMetricFamily("drystone_store_request_errors", "Requests of a bucket that failed.", labels=labels)
    seconds = CounterMetricFamily("drystone_store_request_seconds", "How long requests have taken.", labels=labels)
    for one in counts:
        for family, value in (
            (requests, one.requests),
            (moved, one.bytes),
            (errors, one.errors),
            (seconds, one.seconds),
        ):
            family.add_metric([one.store, one.kind], value)
    return requests, moved, errors, seconds


def _promises(conn: Connection, now: float) -> list[Metric]:
    covered, late = 0, 0
    for account_id in policies.owners(conn):
        found = promises(conn, account_id, snapshots.newest_good(conn, account_id), now)
        covered += len(found)
        late += sum(one.behind for one in found.values())
    behind = GaugeMetricFamily(
        "drystone_disks_behind", "Disks whose last good snapshot is older than a snapshot policy promises."
    )
    behind.add_metric([], late)
    uncovered = GaugeMetricFamily("drystone_disks_uncovered", "Disks that no snapshot policy covers.")
    uncovered.add_metric([], sum(disk.state.visible for disk in disks.everything(conn)) - covered)
    return [behind, uncovered]


def _rows(conn: Connection) -> list[Metric]:
    every = disks.everything(conn)
    by_state = GaugeMetricFamily("drystone_disks", "Disks by state.", labels=["state"])
    for state, number in sorted(Counter(disk.state.value for disk in every).items()):
        by_state.add_metric([state], number)
    tracking = GaugeMetricFamily(
        "drystone_disks_tracking", "Disks by state of their change tracking.", labels=["tracking"]
    )
    for name, number in sorted(Counter(disk.tracking for disk in every).items()):
        tracking.add_metric([name], number)
    count = GaugeMetricFamily("drystone_snapshots", "Snapshots that clients see.")
    count.add_metric([], snapshots.count_all(conn))
    suspect = GaugeMetricFamily("drystone_snapshots_suspect", "Snapshots that may lack a change that tracking missed.")
    suspect.add_metric([], len(snapshots.suspect(conn)))
    damaged = GaugeMetricFamily("drystone_snapshots_damaged", "Snapshots of which something cannot be read any more.")
    damaged.add_metric([], len({row.snapshot_id for row in damages.everything(conn)}))
    unproven = GaugeMetricFamily("drystone_store_oldest_proof_seconds", "When the pack that waits longest was proven.")
    unproven.add_metric([], verification.totals(conn, 0.0, math.inf).oldest_at or 0.0)
    opened = GaugeMetricFamily(
        "drystone_snapshots_opened", "Snapshots by what opening them on a clone has shown.", labels=["finding"]
    )
    for finding, number in sorted(proofs.count(conn).items()):
        opened.add_metric([finding.value], number)
    running = GaugeMetricFamily("drystone_operations_running", "Operations that have not ended.", labels=["kind"])
    for kind, number in sorted(Counter(operation.kind.value for operation in operations.unfinished(conn)).items()):
        running.add_metric([kind], number)
    stored = GaugeMetricFamily("drystone_store_pack_bytes", "Bytes of all packs of the snapshot store.")
    sums = packs.totals(conn)
    stored.add_metric([], sums.stored_bytes)
    dead = GaugeMetricFamily("drystone_store_dead_bytes", "Bytes of packs that no snapshot sees any more.")
    dead.add_metric([], sums.dead_bytes)
    came_back = GaugeMetricFamily("drystone_store_reclaimed_bytes", "Bytes of the store that were freed so far.")
    came_back.add_metric([], collection.reclaimed(conn))
    troubles = GaugeMetricFamily("drystone_events_unresolved", "Troubles that are not over.", labels=["kind"])
    numbers = events.by_kind(conn)
    for one in EventKind:
        troubles.add_metric([one.value], numbers.get(one, 0))
    return [troubles, by_state, tracking, count, suspect, damaged, unproven, opened, running, stored, dead, came_back]

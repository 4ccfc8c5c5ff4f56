"""What the metrics of an installation are collected by."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from prometheus_client import CollectorRegistry, generate_latest

from drystone.engine.layout import Layout
from drystone.service.calls.metrics import InstallationCollector
from drystone.service.room import Room
from drystone.service.rounds import Bugs
from drystone.service.views import ClockView
from tests.service.records_world import NOW, with_accounts


def test_a_registry_takes_the_collector_whatever_it_counts_with() -> None:
    # A registry keeps its collectors by their hash; a value with a Counter in it would have none.
    part = cast("Any", None)
    collector = InstallationCollector(db=part, room=part, bugs=part, clock=part)
    registry = CollectorRegistry()
    registry.register(collector)
    registry.unregister(collector)


def test_runs_of_policies_are_counted_by_result(tmp_path: Path) -> None:
    view = ClockView(machine_at=NOW, steady_at=NOW, doubted_since=None, waits_s=0.0)
    registry, counts = CollectorRegistry(), Counter({"done": 2, "not in use": 1})
    (tmp_path / "d").mkdir()
    with with_accounts(tmp_path / "catalog.db") as world:
        room = Room(layout=Layout(tmp_path / "d"), floor_bytes_max=0, floor_percent=0)
        clock = cast("Any", SimpleNamespace(view=lambda: view, now=lambda: NOW))
        registry.register(InstallationCollector(db=world.db, room=room, bugs=Bugs(), clock=clock, policy_runs=counts))
        counts["done"] += 1
        text = generate_latest(registry).decode()
    assert 'drystone_policy_runs_total{result="done"} 3.0' in text
    assert 'drystone_policy_runs_total{result="not in use"} 1.0' in text

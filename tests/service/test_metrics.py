"""What the metrics of an installation are collected by."""

from typing import Any, cast

from prometheus_client import CollectorRegistry

from drystone.service.calls.metrics import InstallationCollector


def test_a_registry_takes_the_collector_whatever_it_counts_with() -> None:
    # A registry keeps its collectors by their hash; a value with a Counter in it would have none.
    part = cast("Any", None)
    collector = InstallationCollector(db=part, room=part, bugs=part, clock=part)
    registry = CollectorRegistry()
    registry.register(collector)
    registry.unregister(collector)

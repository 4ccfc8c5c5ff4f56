"""A short slice of the histories of schedules and retention, and what they must find."""

import pytest

from tests.domain.schedule_histories import history, years
from tests.domain.schedule_planted import PLANTED, found


def test_no_rule_is_broken() -> None:
    """S300 to S310"""
    for seed in range(5):
        history(seed)


def test_many_disks() -> None:
    """S302, S308"""
    events = years(1, days=40, policies=4, disks=10)
    assert events["done"] > 100


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_mistake_is_found(name: str) -> None:
    rules, seed = PLANTED[name]
    assert found(rules, seed) is not None

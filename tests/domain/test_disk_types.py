"""What disk types allow."""

import pytest

from drystone.domain.disk_types import DISK_TYPES, EXTRA_TYPES


@pytest.mark.parametrize(
    ("name", "size_gib", "bursts", "throughput"),
    [
        ("CLOUD_HSSD", 459, False, False),
        ("CLOUD_HSSD", 460, True, False),
        ("CLOUD_TSSD", 461, True, True),
        ("CLOUD_SSD", 32000, False, False),
    ],
)
def test_extra_performance_needs_a_type_and_a_size(name: str, size_gib: int, *, bursts: bool, throughput: bool) -> None:
    kind = DISK_TYPES[name]
    assert kind.may_have_extra(size_gib, throughput=False) == bursts
    assert kind.may_have_extra(size_gib, throughput=True) == throughput
    assert EXTRA_TYPES == ("CLOUD_HSSD", "CLOUD_TSSD")

"""What the storage daemons are told."""

from drystone.domain.disk_types import DISK_TYPES
from drystone.engine.graph import throttle_limits


def test_discards_are_not_held_up_by_a_limit_on_written_bytes() -> None:
    limits = throttle_limits(DISK_TYPES["CLOUD_PREMIUM"].limits(10))
    assert limits["iops-total"] > 0
    assert limits["bps-read"] > 0
    assert not {name for name, value in limits.items() if value and name in {"bps-total", "bps-write"}}


def test_no_limits_is_every_limit_zero() -> None:
    assert set(throttle_limits(None).values()) == {0}
    assert throttle_limits(None).keys() == throttle_limits(DISK_TYPES["CLOUD_SSD"].limits(20)).keys()

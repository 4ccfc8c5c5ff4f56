"""What the storage daemons are told."""

from pathlib import Path

from drystone.domain.disk_types import DISK_TYPES
from drystone.domain.ids import DiskId
from drystone.engine import graph
from drystone.engine.graph import throttle_limits
from drystone.engine.layout import node


def test_discards_are_not_held_up_by_a_limit_on_written_bytes() -> None:
    limits = throttle_limits(DISK_TYPES["CLOUD_PREMIUM"].limits(10))
    assert limits["iops-total"] > 0
    assert limits["bps-read"] > 0
    assert not {name for name, value in limits.items() if value and name in {"bps-total", "bps-write"}}


def test_no_limits_is_every_limit_zero() -> None:
    assert set(throttle_limits(None).values()) == {0}
    assert throttle_limits(None).keys() == throttle_limits(DISK_TYPES["CLOUD_SSD"].limits(20)).keys()


def test_guests_write_above_the_filter() -> None:
    """S7."""
    disk, path = DiskId("disk-1"), Path("/run/file")
    exports = [
        graph.disk_export(disk), graph.fuse_export(disk, path), graph.view_export(disk, "b0"),
        graph.hydration_export(disk), graph.pulling_export(disk, path), graph.bitmap_export(disk, "b0"),
        graph.comparison_export(disk),
    ]  # fmt: skip
    assert [one["node-name"] for one in exports if one["writable"]] == [node("top", disk)] * 2

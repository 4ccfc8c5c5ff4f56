"""How much a snapshot audits: by the time since the last one, within bounds; everything when asked to."""

from dataclasses import replace

import pytest

from drystone.service.rows.tracking_audit import audit_plan
from tests.catalog.catalog_values import disk

DAY = 86_400.0


@pytest.mark.parametrize(
    ("size_gib", "since_s", "blocks"),
    [
        (10, 0.0, 256),
        (10, -50.0, 256),
        (10, 3600.0, 10 * 262_144 // 720),
        (100, 600.0, 100 * 262_144 // 4320),
        (100, 30 * DAY, 16_384),
        (10_240, 3600.0, 16_384),
    ],
)
def test_the_sample_covers_the_disk_in_thirty_days_within_bounds(size_gib: int, since_s: float, blocks: int) -> None:
    """F22."""
    plan = audit_plan(replace(disk(), size_gib=size_gib, audit_cursor=7), everything=False, since_s=since_s)
    assert (plan.cursor_block, plan.blocks_max, plan.marked_divisor) == (7, blocks, 16)
    assert plan.span_blocks == 8 << 20


def test_an_audit_that_was_asked_for_checks_everything() -> None:
    plan = audit_plan(disk(), everything=True, since_s=1.0)
    assert plan.blocks_max is None

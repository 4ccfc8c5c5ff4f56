"""S158: refused calls cannot fill the trail, and hide no change."""

from collections import Counter
from pathlib import Path

from drystone.catalog import audit
from drystone.service.audit import NOT_WRITTEN, REFUSED_CHARS_MAX, REFUSED_PER_MINUTE
from tests.service.records_world import OTHER, OWNER, World, caller, run


def test_refused_calls_are_cut_and_counted_and_changes_are_all_written(tmp_path: Path) -> None:
    world = World.open(tmp_path / "catalog.db")

    async def flood() -> None:
        for _ in range(3 * REFUSED_PER_MINUTE):
            await world.audit.record(caller(OWNER), "x" * 2000, "InvalidDiskId.NotFound")
        for number in range(5):
            await world.audit.record(caller(OWNER), f"disk-{number}", "OK")
        await world.audit.record(caller(OTHER), "disk-9", "InvalidDiskId.NotFound")
        world.now += 60
        await world.audit.record(caller(OWNER), "disk-a", "ResourceBusy")
        await world.audit.record(caller(OWNER), "disk-a", "OK")

    try:
        run(flood())
        rows, _ = world.db.read_sync(lambda conn: audit.find(conn, account_id=OWNER, offset=0, limit=1000))
        assert Counter(row.code for row in rows) == {
            "InvalidDiskId.NotFound": REFUSED_PER_MINUTE, "OK": 6, "ResourceBusy": 1, NOT_WRITTEN: 1,
        }  # fmt: skip
        assert max(len(row.resource) for row in rows) == REFUSED_CHARS_MAX
        (told,) = [row.resource for row in rows if row.code == NOT_WRITTEN]
        assert told == f"{2 * REFUSED_PER_MINUTE} refused calls before this were not written"
        others, _ = world.db.read_sync(lambda conn: audit.find(conn, account_id=OTHER, offset=0, limit=10))
        assert [row.resource for row in others] == ["disk-9"]
    finally:
        world.db.close()

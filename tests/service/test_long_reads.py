"""S183: an account's long reads of the catalog leave a reader for the others."""

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from drystone.catalog.database import READERS
from drystone.domain.errors import RefusalError
from drystone.domain.ids import IdSource
from drystone.engine.layout import Layout
from drystone.service import differences, store_space
from drystone.service.differences import SnapshotDifferences
from drystone.service.installation import Installation
from drystone.service.operations import Operations
from drystone.service.store_space import StoreSpace
from tests.service.records_world import NOW, OTHER, OWNER, World, caller, run

Ask = Callable[[Installation, Any], Awaitable[object]]


def installed(world: World, data: Path) -> Installation:
    nothing: Any = SimpleNamespace(store_id="st-1")
    return Installation(
        db=world.db, clock=lambda: NOW, steady=lambda: NOW, monotonic=lambda: NOW, ids=IdSource(random.Random(1)),
        layout=Layout(data), store=nothing, workers=nothing, operations=Operations(db=world.db, clock=lambda: NOW),
        environment={}, throttle=False, scratch_bytes_max=1, floor_bytes_max=0, floor_percent=0,
        hydration_bytes_per_s=0, background=nothing, compaction_dead_percent=20,
    )  # fmt: skip


ASKED: dict[str, Ask] = {
    "difference": lambda of, who: SnapshotDifferences(of).describe(who, None, "snap-a"),
    "space": lambda of, who: StoreSpace(of).snapshots(who, ("snap-a",)),
}


@pytest.mark.parametrize("what", sorted(ASKED))
def test_a_flood_of_long_reads_holds_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    world = World.open(tmp_path / "catalog.db")
    gate, reading = threading.Event(), Counter[str]()

    def slow(_conn: object, who: Any, *_rest: object) -> Any:
        reading[who.account_id] += 1
        assert gate.wait(20)
        raise RefusalError("InvalidSnapshotId.NotFound", "It has gone.")

    monkeypatch.setattr(differences, "_manifest", slow)
    monkeypatch.setattr(store_space, "_trees", slow)

    async def flood() -> None:
        installation = installed(world, tmp_path)

        async def ask(account: Any) -> None:
            with pytest.raises(RefusalError):
                await ASKED[what](installation, caller(account))

        async with asyncio.TaskGroup() as tasks:
            try:
                for _ in range(20):
                    tasks.create_task(ask(OWNER))
                await asyncio.sleep(0)
                async with asyncio.timeout(10):
                    # A plain call finds a reader, and so does another account's long one.
                    assert await world.db.read(lambda _conn: "plain") == "plain"
                    tasks.create_task(ask(OTHER))
                    while reading != {OWNER: 1, OTHER: 1}:
                        await asyncio.sleep(0.001)
            finally:
                gate.set()
        assert reading == {OWNER: 20, OTHER: 1}

    try:
        assert READERS == 2
        run(flood())
    finally:
        gate.set()
        world.db.close()

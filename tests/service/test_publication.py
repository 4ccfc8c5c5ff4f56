"""What is kept beside a manifest goes with it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from drystone.catalog import snapshots
from drystone.domain.ids import SnapshotId
from drystone.domain.snapshot import SnapshotState
from drystone.service.upkeep import publication
from drystone.snapstore.manifests import write_attributes
from tests.claims import claim_on
from tests.memory_store import MemoryStore
from tests.service import parts
from tests.service.store_world import build_world

pytestmark = pytest.mark.usefixtures("both_catalogs")

NAME = SnapshotId("snap-00000002")


def test_attributes_that_come_after_their_manifest_went_do_not_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = build_world(tmp_path / "catalog.db")
    made = world.open()
    name = made.store.attributes_name(NAME)
    state = SnapshotState.NORMAL

    def late(*given: Any) -> None:
        """Meanwhile its deletion has removed the manifest, and has, or has not yet, made the row a ghost."""
        values = {"state": state}
        world.db.write_sync(lambda conn: snapshots.compare_and_set(conn, NAME, expected={}, values=values))
        if state is not SnapshotState.NORMAL:
            MemoryStore.delete(world.objects, name)
        write_attributes(*given)

    monkeypatch.setattr(publication, "write_attributes", late)
    for state in (SnapshotState.NORMAL, SnapshotState.DELETING, SnapshotState.GHOST):
        asyncio.run(parts.publication(made)._snapshot(NAME))
        assert (name in world.objects.content()) == (state is SnapshotState.NORMAL)
        values = {"state": SnapshotState.NORMAL}
        world.db.write_sync(lambda conn: snapshots.compare_and_set(conn, NAME, expected={}, values=values))  # noqa: B023 - run at once
    world.close()


def test_a_catalog_that_lost_the_store_writes_nothing_beside_manifests(tmp_path: Path) -> None:
    """S200: what it would write is older than what is there."""
    world = build_world(tmp_path / "catalog.db")
    made = world.open()
    world.db.write_sync(lambda conn: snapshots.compare_and_set(conn, NAME, expected={}, values={"name": "mine"}))
    claim_on(made.store, 9, owner="ab" * 16)
    asyncio.run(parts.publication(made).publish())
    assert made.store.attributes_name(NAME) not in world.objects.content()
    world.close()

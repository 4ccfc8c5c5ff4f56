"""What is asked of the store follows what changed, not how many snapshots there are (S205)."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection

from drystone.catalog import operations, sessions, snapshots
from drystone.domain.ids import DiskId, SessionId, SnapshotId
from drystone.domain.operation import OperationState
from drystone.domain.session import Session
from drystone.objects.contract import ObjectStore
from drystone.service.jobs import snapshot as snapshot_job
from drystone.service.upkeep import collection, compaction, epoch
from drystone.snapstore.manifests import write_manifest
from drystone.snapstore.reader import SnapshotReader
from tests.catalog.catalog_values import snapshot as snapshot_row
from tests.counting_store import CountingStore
from tests.service import parts
from tests.service.crash_points import (
    FIRST,
    MIDDLE,
    NEW,
    Daemons,
    Scene,
    begin,
    built,
    deleting,
    freeze,
    outside,
    quick_directory,
    run,
    upload_transfer,
)
from tests.service.records_world import NOW

MANY = 2500
"""Snapshots of another disk: two pages of a listing and a half."""


def fill(scene: Scene, count: int) -> None:
    """Have the store and the catalog hold so many more snapshots, of a tree of their own each."""
    like = SnapshotReader.open(scene.store, str(scene.row(FIRST).manifest)).manifest
    made = []
    for number in range(count):
        name, session = SnapshotId(f"snap-a{number:07x}"), SessionId(f"{number:032x}")
        other = msgspec.structs.replace(
            like, snapshot=name, session=session, base=None, ancestry=(), disk=DiskId("disk-00000009")
        )
        made.append((name, session, write_manifest(scene.store, other)))

    def rows(conn: Connection) -> None:
        for name, session, manifest in made:
            sessions.open(conn, Session(id=session, kind="snapshot", created_at=1.0, snapshot_id=name), [])
            sessions.commit(conn, session, at=NOW)
            snapshots.insert(conn, snapshot_row(
                name, size_gib=1, session_id=session, manifest=manifest, percent=100, disk_id=DiskId("disk-00000009"),
            ))  # fmt: skip

    scene.db.write_sync(rows)


def counted(scene: Scene, objects: ObjectStore | None = None) -> CountingStore:
    """Count what the server and its workers ask for from here on, in memory or of another store with these objects."""
    store = CountingStore(objects or scene.objects)
    asked = replace(scene.made.store, objects=store)
    scene.made.kept.proven = asked
    pool: Any = scene.made.workers
    pool._store = asked
    return store


async def upload(scene: Scene) -> None:
    found = scene.db.read_sync(operations.unfinished)[0]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(upload_transfer, "MAPS_GOAL", 24)
        patched.setattr(snapshot_job, "audit_plan", lambda *_given, **_named: None)
        await parts.take_snapshot(scene.made, Daemons(scene))._upload_and_commit(found)

    def end(conn: Connection) -> None:
        operations.update(conn, found.id, updated_at=NOW, state=OperationState.DONE, percent=100)

    await scene.made.db.write(end)
    await parts.sweep(scene.made).sweep()
    publication = parts.publication(scene.made)
    await publication._publish_epoch()
    await publication._snapshot(NEW)


async def start(scene: Scene) -> None:
    assert epoch.look_at_start(scene.db.read_sync(epoch.known), scene.made.kept.store).value == "held"
    await begin(scene)
    await epoch.publish(scene.made.transactions, scene.made.kept)
    # The first look of a day.
    assert await collection.stopped(scene.made.transactions, scene.made.kept) is None


async def compact(scene: Scene) -> None:
    await parts.compaction(scene.made).begin_if_due()
    found = scene.db.read_sync(compaction.running)
    assert found is not None
    await parts.compact(scene.made).run(found)


async def tidy(scene: Scene) -> None:
    sweep = parts.sweep(scene.made)
    await sweep.sweep()
    await sweep.tidy()


Elsewhere = Callable[[Mapping[str, bytes]], ObjectStore]


def requests_with(count: int, elsewhere: Elsewhere | None = None) -> tuple[dict[str, Counter[str]], list[str]]:
    """What each thing costs in a store with so many more snapshots, and the prefixes that were listed.

    Args:
        count: How many.
        elsewhere: Makes a store of these objects, which is asked instead of the one in memory.
    """
    told: dict[str, Counter[str]] = {}
    prefixes: list[str] = []
    with quick_directory() as place, built(place) as world:
        scene = world.copy(world.content)
        scene.open()
        fill(scene, count)
        freeze(scene)
        store = counted(scene, elsewhere and elsewhere(scene.objects.content()))
        for name, act in (
            ("start", start), ("snapshot", upload), ("deletion", deleting(MIDDLE)), ("another", deleting(FIRST)),
            ("compaction", compact), ("tidy", tidy),
        ):  # fmt: skip
            run(scene, act)
            told[name] = Counter(store.requests)
            if name != "start":
                prefixes += store.prefixes
            store.requests.clear()
            store.prefixes.clear()
        scene.close()
    return told, [one.partition("/")[2] for one in prefixes]


def test_requests_follow_what_changed() -> None:
    few, prefixes = requests_with(0)
    many, _ = requests_with(MANY)
    # A start lists the manifests once, 1,000 a request, and then no more for a day.
    assert many.pop("start") - few.pop("start") == {"list": MANY // 1000}
    assert many == few
    assert not {"snapshots/", "maps/", "packs/"} & set(prefixes), "everything was listed"
    wrote = few["snapshot"]["put"] + few["snapshot"]["delete"]
    assert (wrote, few["snapshot"]["list"]) == (5, 1), "pack, map, claim, manifest, attributes"
    assert few["another"]["put"] == 2, "claim, tombstone"
    assert few["tidy"].total() == 0


def test_a_day_later_everything_is_listed_again() -> None:
    with quick_directory() as place, built(place) as world:
        scene = world.copy(world.content)
        made = scene.open()
        store = counted(scene)

        async def ask() -> None:
            assert await collection.stopped(made.transactions, made.kept) is None

        with outside(scene):
            for passed, listed in ((0.0, True), (3600.0, False), (collection.LISTED_SECONDS, True)):
                made.transactions.steady = lambda passed=passed: NOW + passed  # type: ignore[misc]
                store.prefixes.clear()
                asyncio.run(ask())
                assert any(one.endswith("/snapshots/") for one in store.prefixes) == listed
        scene.close()

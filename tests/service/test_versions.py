"""Rows know which version of each object was written, where the store keeps versions (S274)."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

import pytest
from sqlalchemy import Connection

from drystone.catalog import operations, packs, snapshots
from drystone.domain.errors import UnavailableError
from drystone.domain.ids import OperationId, SnapshotId
from drystone.domain.operation import Operation
from drystone.objects.contract import Parts
from drystone.service.jobs.sending import Sending
from drystone.service.jobs.snapshot import TakeSnapshot
from drystone.snapstore.far import Far
from drystone.transfer import sending as sending_transfer
from drystone.transfer import upload as upload_transfer
from tests.service import parts
from tests.service.crash_points import (
    LAST,
    NEW,
    Daemons,
    Scene,
    built,
    damage,
    freeze,
    mended,
    outside,
    quick_directory,
    run,
    scrub,
)
from tests.service.test_compaction import compaction_of, delete


@pytest.fixture(scope="module")
def begin() -> Iterator[Scene]:
    with quick_directory() as place, built(place) as scene:
        yield scene


@pytest.fixture(params=[True, False], ids=["versions", "no versions"])
def scene(begin: Scene, request: pytest.FixtureRequest) -> Iterator[Scene]:
    """The versions of all that was there before are known."""
    made = begin.copy(begin.content)
    made.spool_bytes_max = 1 << 30
    made.open()
    keep_versions(made, {name: f"before-{number}" for number, name in enumerate(sorted(made.content))})
    if not request.param:
        made.objects.versions = None
    yield made
    made.close()


def keep_versions(scene: Scene, versions: dict[str, str]) -> None:
    def rows(conn: Connection) -> None:
        for row in snapshots.everything(conn):
            own = {name: versions[name] for name in row.maps}
            snapshots.compare_and_set(conn, row.id, expected={}, values={"versions": own})
        for pack in packs.everything(conn):
            packs.compare_and_set(conn, pack.id, expected={}, values={"version": versions[pack.object]})

    scene.objects.versions = versions
    scene.db.write_sync(rows)


def known(scene: Scene) -> Mapping[str, str]:
    return scene.objects.versions or {}


def told(scene: Scene, name: SnapshotId, maps: int) -> None:
    """Assert that rows have the versions of all objects that a snapshot wrote, or of none if there are none."""
    row, written = scene.row(name), scene.packs_of(name)
    assert written
    assert [pack.version for pack in written] == [known(scene).get(pack.object) for pack in written]
    assert row.manifest is not None
    assert len(row.maps) == maps
    if scene.objects.versions is not None:
        assert row.versions == {name: scene.objects.versions[name] for name in (*row.maps, row.manifest)}
    else:
        assert not row.versions.keys() & {row.manifest, row.delta_map}


def taking(scene: Scene) -> TakeSnapshot:
    return parts.take_snapshot(scene.made, Daemons(scene))


def operation(scene: Scene) -> Operation:
    found = scene.db.read_sync(lambda conn: operations.get(conn, OperationId("op-1")))
    assert found is not None
    return found


def take(scene: Scene) -> None:
    asyncio.run(taking(scene)._upload_and_commit(operation(scene)))


@pytest.mark.parametrize("bytes_max", [1 << 30, 0], ids=["spooled", "at once"])
@pytest.mark.parametrize(("merged", "maps"), [(True, 2), (False, 4)], ids=["merged", "base's maps"])
def test_a_snapshot_knows_the_versions_of_all_that_it_shows(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, bytes_max: int, merged: bool, maps: int  # noqa: FBT001
) -> None:  # fmt: skip
    object.__setattr__(scene.made.spool, "bytes_max", bytes_max)
    freeze(scene)
    with outside(scene):
        if not merged:
            monkeypatch.setattr(upload_transfer, "MAPS_GOAL", 9)
        take(scene)
    told(scene, NEW, maps)


def test_packs_that_were_sent_while_more_were_written_have_theirs(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending_transfer, "PATIENCE_S", 30.0)
    monkeypatch.delattr(Sending, "let_go")  # Nothing may be left to be sent.
    freeze(scene)
    pool = cast("Any", scene.made.background)
    with contextlib.closing(Far()) as far, outside(scene):
        pool._store = replace(pool._store, far=far)
        take(scene)
    told(scene, NEW, 2)


def test_who_goes_on_after_a_restart_knows_what_was_sent_before_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sent is one object by a worker that dies, all by the next one; then the service dies, and begins anew."""

    real: Callable[[str, Parts], str | None] = scene.objects.put
    sent: list[str] = []

    def put(name: str, data: Parts) -> str | None:
        if len(sent) == 1:
            sent.append("")
            raise UnavailableError("the worker is gone")
        sent.append(name)
        return real(name, data)

    freeze(scene)
    with outside(scene):
        uploaded = asyncio.run(taking(scene).read(operation(scene)))
        assert len(uploaded.result.spooled) > 2
        monkeypatch.setattr(scene.objects, "put", put)
        complete = asyncio.run(taking(scene).sending.send(uploaded))
        assert complete.result.versions == {
            name: version for name, version in known(scene).items() if name in sent
        }  # fmt: skip
        monkeypatch.undo()
    with outside(scene):
        take(scene)
    told(scene, NEW, 2)


def test_a_pack_that_is_written_again_has_the_version_of_the_new_object(scene: Scene) -> None:
    before = {pack.id: pack for pack in scene.db.read_sync(packs.everything)}
    delete(scene.made, "snap-00000000")
    delete(scene.made, "snap-00000001")
    asyncio.run(parts.compact(scene.made).run(compaction_of(scene.db)))
    rows = scene.db.read_sync(packs.everything)
    again = [pack for pack in rows if pack.id in before and pack.object != before[pack.id].object]
    assert again
    assert [pack.version for pack in again] == [known(scene).get(pack.object) for pack in again]


def test_a_pack_that_is_mended_has_the_version_of_the_new_object(scene: Scene) -> None:
    before = {pack.object for pack in scene.packs_of(LAST)}
    damage(scene)
    run(scene, scrub)
    mended(scene)
    again = [pack for pack in scene.packs_of(LAST) if pack.object not in before]
    assert len(again) == 1
    assert again[0].version == known(scene).get(again[0].object)

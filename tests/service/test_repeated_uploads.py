"""A snapshot whose upload is begun again: its worker, or the server, died in the middle."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import msgspec
import pytest

from drystone.catalog import operations, snapshots
from drystone.codec.nbd_wire import BASE_ALLOCATION
from drystone.domain.errors import SnapshotBrokenError
from drystone.domain.operation import OperationKind
from drystone.domain.payloads import SnapshotPayload
from drystone.domain.snapshot import SnapshotState
from drystone.service.jobs.snapshot_commit import commit
from tests.service import parts
from tests.service.crash_points import (
    NEW,
    Daemons,
    Scene,
    View,
    built,
    freeze,
    outside,
    source_transfer,
    upload_transfer,
)


class TrimmedView(View):
    """A frozen view that answers EINVAL wherever it was trimmed, to reads and to questions about data and zeros."""

    trimmed: list[tuple[int, int]]

    def _needs(self, start: int, stop: int) -> None:
        if any(low < stop and start < high for low, high in self.trimmed):
            raise SnapshotBrokenError(f"[{start}, {stop}) was trimmed")

    def extents(self, context: str, start: int, stop: int) -> Any:
        if context == BASE_ALLOCATION:
            self._needs(start, stop)
        return super().extents(context, start, stop)

    def read_ranges(self, ranges: Sequence[tuple[int, int]], **_: object) -> Iterator[tuple[int, memoryview]]:
        for start, length in ranges:
            self._needs(start, start + length)
            yield from super().read_ranges([(start, length)])


class Trimmer:
    """What discards parts of that view."""

    def __init__(self, _socket: Path, **_: object) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def discard(self, ranges: Iterable[tuple[int, int]], *, stop: Callable[[], bool]) -> int:
        del stop
        TrimmedView.trimmed.extend((start, start + length) for start, length in ranges)
        return 0


@pytest.fixture(scope="module")
def begin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with built(tmp_path_factory.mktemp("repeated")) as scene:
        yield scene


@pytest.mark.parametrize("audit", [None, "everything"])
def test_what_the_first_attempt_trimmed_the_second_does_not_need(
    begin: Scene, monkeypatch: pytest.MonkeyPatch, audit: Literal["everything"] | None
) -> None:
    scene = begin.copy(begin.content)
    scene.open()
    freeze(scene)
    monkeypatch.setattr(TrimmedView, "trimmed", [], raising=False)
    found = next(one for one in scene.db.read_sync(operations.unfinished) if one.kind is OperationKind.SNAPSHOT)
    payload = msgspec.structs.replace(found.payload_as(SnapshotPayload), audit=audit)
    scene.db.write_sync(lambda conn: operations.update(conn, found.id, updated_at=1.0, payload=payload))

    async def twice() -> list[int]:
        job = parts.take_snapshot(scene.made, Daemons(scene))
        # All but the commit: as a server that is killed there.
        first = await job.upload(found)
        second = await job.upload(found)
        await job.publish([second])
        parts.changed(scene.made.db, lambda change: commit(change, second))
        return [one.result.audited_blocks for one in (first, second)]

    # Undone before `outside` is left, which undoes the same name.
    with outside(scene), monkeypatch.context() as patched:
        patched.setattr(source_transfer, "NbdClient", TrimmedView)
        patched.setattr(upload_transfer, "Discarder", Trimmer)
        patched.setattr(TrimmedView, "scene", scene)
        patched.setattr(upload_transfer, "TRIM_FROM_BYTES", 0)
        audited = asyncio.run(twice())
    assert audited[0] > 0
    # A sample cannot be read again; an audit of everything trims nothing, and is made by whichever attempt succeeds.
    assert audited[1] == (audited[0] if audit else 0)
    assert bool(TrimmedView.trimmed) == (not audit)
    row = scene.db.read_sync(lambda conn: snapshots.get(conn, NEW))
    assert row is not None
    assert row.state is SnapshotState.NORMAL
    scene.check()

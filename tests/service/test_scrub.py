"""What counts as a proof, and since when."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from drystone.catalog import proofs
from tests.service.crash_points import Scene, built, quick_directory, run, scrub_of
from tests.service.records_world import NOW, OWNER, caller

ADMIN = caller(OWNER, admin=True)


@pytest.fixture
def scene() -> Iterator[Scene]:
    with quick_directory() as place, built(place) as begin:
        made = begin.copy(begin.content)
        made.open()
        yield made


@pytest.mark.parametrize("read_last", ["packs", "maps"])
def test_what_was_read_before_a_request_is_no_proof_for_it(scene: Scene, read_last: str) -> None:
    """A byte that flips after a pack was read, and before somebody asks for a scrub, must be found by that scrub."""
    time = [NOW + 1.0]
    scene.made = replace(scene.made, clock=lambda: time[0])
    scrub: Any = scrub_of(scene)
    read = scrub._scrub

    async def asked_meanwhile(**what: Any) -> Any:
        result = await read(**what)
        time[0] += 1.0
        if read_last in what:
            await scrub.request(ADMIN)
            time[0] += 1.0
        return result

    def due() -> proofs.ProofTotals:
        return scene.db.read_sync(lambda conn: proofs.totals(conn, scrub._before(conn)))

    async def act(_scene: Scene) -> None:
        await scrub.request(ADMIN)
        time[0] += 1.0
        scrub._scrub = asked_meanwhile
        await scrub.once()
        assert due().packs_due == due().packs
        assert due().snapshots_due == (due().snapshots if read_last == "maps" else 0)
        scrub._scrub = read
        await scrub.once()
        assert (due().packs_due, due().snapshots_due) == (0, 0)
        assert due().packs > 0
        assert due().snapshots > 0

    run(scene, act)

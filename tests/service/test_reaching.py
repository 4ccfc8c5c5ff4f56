"""A store that a start reaches or not, a catalog that can be written or not: what waits, and what is noted (S202)."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection

from drystone.catalog import meta
from drystone.domain.errors import StoreUnavailableError, UnavailableError
from drystone.service.kept_store import Claimed, KeptStore
from drystone.service.upkeep import epoch
from drystone.service.upkeep.reaching import ForeignStoreError, Reaching, reach
from drystone.snapstore.claims import list_claims
from tests.claims import claim_on
from tests.memory_store import MemoryStore
from tests.objects.faulty import BEFORE, Faulty
from tests.service.parts import ServerParts
from tests.service.store_world import World
from tests.snapstore.model_snapshots import STORE_ID


class Held:
    """The catalog's database, while another program writes to it."""

    def __init__(self, db: Any) -> None:
        self._db, self.held = db, True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    def write_sync(self, fn: Callable[[Connection], Any]) -> Any:
        if self.held:
            raise UnavailableError("the catalog is locked")
        return self._db.write_sync(fn)


def away(made: ServerParts) -> Faulty:
    """Have a store that was not reached, behind requests that fail when a test says so."""
    objects = Faulty(inner=made.kept.objects)
    made.kept.objects, made.kept.proven, made.kept.claimed = objects, None, Claimed()
    return objects


def reached(kept: KeptStore) -> bool:
    return kept.proven is not None


def noted(world: World) -> str | None:
    return world.db.read_sync(lambda conn: meta.get(conn, epoch.UNPROVEN))


@pytest.mark.parametrize("store", [True, False], ids=["store", "no store"])
@pytest.mark.parametrize("catalog", [True, False], ids=["catalog", "no catalog"])
def test_s202_whatever_is_away_is_waited_for(world: World, *, store: bool, catalog: bool) -> None:
    made = world.open()
    asyncio.run(epoch.publish(made.transactions, made.kept))
    objects, kept = away(made), made.kept
    db: Any = Held(world.db)
    db.held = not catalog
    objects.then("get", *[] if store else [BEFORE])
    first = world.db.read_sync(epoch.current)
    reach(db, kept, objects, made.ids)
    assert reached(kept) == (store and catalog)
    if store and catalog:
        world.close()
        return
    assert str(kept.fault) == (f"get {STORE_ID}/owner: 503 SlowDown" if not store else "the catalog is locked")
    with pytest.raises(StoreUnavailableError, match="not reached since the server started"):
        _ = kept.store
    # The catalog goes on without its store, which does not count: it is noted as soon as it can be.
    db.held = False
    for _ in range(5):
        world.db.write_sync(epoch.raise_epoch)
    objects.then("get", BEFORE)
    reach(db, kept, objects, made.ids)
    assert not reached(kept)
    assert noted(world) == str(first)
    # It is there again.
    asyncio.run(Reaching(transactions=made.transactions, kept=kept, ids=made.ids).once())
    assert reached(kept)
    assert noted(world) is None
    assert kept.claimed.epoch == world.db.read_sync(epoch.current) == first + 6
    world.close()


def test_s202_a_newer_state_that_used_the_store_is_noticed_though_nothing_could_be_noted(world: World) -> None:
    """Neither the bucket nor the catalog was to be had at the start; the catalog is the one of the night before."""
    made = world.open()
    asyncio.run(epoch.publish(made.transactions, made.kept))
    objects, kept = away(made), made.kept
    db: Any = Held(world.db)
    objects.then("get", BEFORE)
    reach(db, kept, objects, made.ids)
    claim_on(made.store)
    for _ in range(5):
        world.db.write_sync(epoch.raise_epoch)
    with pytest.raises(ForeignStoreError, match="older than its snapshot store"):
        reach(world.db, kept, objects, made.ids)
    asyncio.run(Reaching(transactions=made.transactions, kept=kept, ids=made.ids).once())
    assert not reached(kept)
    assert "older than its snapshot store" in str(kept.fault)
    world.close()


def test_the_store_is_asked_while_no_transaction_is_open(world: World) -> None:
    made = world.open()
    objects = away(made)
    open_now: list[bool] = []
    inside = [False]
    real = world.db.read_sync

    def read(fn: Callable[[Connection], Any]) -> Any:
        inside[0] = True
        try:
            return real(fn)
        finally:
            inside[0] = False

    world.db.read_sync = read  # type: ignore[method-assign]
    objects.then("get", *[lambda: open_now.append(inside[0])] * 3)
    reach(world.db, made.kept, objects, made.ids)
    assert reached(made.kept)
    assert open_now
    assert not any(open_now)
    world.close()


def test_history_5_a_place_of_the_same_name_is_not_taken_for_the_store(world: World) -> None:
    """S200: an emptied bucket, or another one of its name, shows any claim that is written there."""
    made = world.open()
    asyncio.run(epoch.publish(made.transactions, made.kept))
    whole = world.objects.content()
    for name in whole:
        MemoryStore.delete(world.objects, name)
    for _ in range(3):
        with pytest.raises(StoreUnavailableError, match="does not have the snapshot store"):
            asyncio.run(epoch.advance(made.transactions, made.kept))
        assert world.objects.content() == {}, "nothing is left there"
    # One that has its mark and no claim, as a copy without them.
    mark = f"{STORE_ID}/owner"
    MemoryStore.put(world.objects, mark, whole[mark])
    with pytest.raises(StoreUnavailableError, match="lists no earlier claim"):
        asyncio.run(epoch.advance(made.transactions, made.kept))
    assert set(world.objects.content()) == {mark}
    MemoryStore.delete(world.objects, mark)
    # A start finds that the store is not there, and makes none.
    objects = away(made)
    with pytest.raises(ForeignStoreError, match="does not have the snapshot store"):
        reach(world.db, made.kept, objects, made.ids)
    assert world.objects.content() == {}
    # It is back: all goes on, at the next look.
    for name, raw in whole.items():
        MemoryStore.put(world.objects, name, raw)
    asyncio.run(Reaching(transactions=made.transactions, kept=made.kept, ids=made.ids).once())
    assert reached(made.kept)
    asyncio.run(epoch.advance(made.transactions, made.kept))
    assert len(list_claims(made.store)) >= 1
    world.close()

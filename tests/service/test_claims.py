"""Whose the store is, with the service's own code: copies of a catalog, takeovers, listings that are behind (S200)."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection

from drystone.catalog import meta, sessions, snapshots
from drystone.domain.claim import Standing
from drystone.domain.errors import ProtocolError, StoreUnavailableError, UnavailableError
from drystone.domain.ids import SessionId, SnapshotId
from drystone.domain.session import Session
from drystone.domain.snapshot import SnapshotState
from drystone.objects.contract import ObjectEntry
from drystone.service.upkeep import confirmation, epoch
from drystone.snapstore.claims import UnlistedClaimError, claimed_epoch, list_claims, owned_by_another
from drystone.snapstore.manifests import Attributes, write_attributes
from drystone.snapstore.store import StaleEpochError, open_store
from tests.catalog.catalog_values import snapshot as snapshot_row
from tests.claims import claim_on
from tests.memory_store import MemoryStore
from tests.service.parts import ServerParts
from tests.service.records_world import NOW
from tests.service.store_world import World
from tests.snapstore.model_snapshots import STORE_ID


def publish(made: ServerParts) -> None:
    asyncio.run(epoch.publish(made.transactions, made.kept))


def may_delete(made: ServerParts) -> bool:
    return asyncio.run(confirmation.may_delete(made.transactions, made.kept))


def begin(world: World, made: ServerParts) -> Standing:
    """What a start does, or would refuse to do."""
    found = epoch.look_at_start(world.db.read_sync(epoch.known), made.store)
    if found is Standing.HELD:
        incarnation = made.ids.hex128()
        world.db.write_sync(lambda conn: epoch.begin(conn, incarnation))
        made.kept.claimed.epoch = -1
    return found


def copy_of(world: World, path: Path) -> World:
    """A copy of the catalog, on the same objects."""
    world.db.read_sync(lambda conn: conn.exec_driver_sql("SELECT 1"))
    rows = world.path.read_bytes()
    for suffix in ("-wal", "-shm"):
        side = world.path.with_name(world.path.name + suffix)
        if side.exists():
            path.with_name(path.name + suffix).write_bytes(side.read_bytes())
    path.write_bytes(rows)
    return World(path=path, content={}, truth=world.truth, starts=100)


def opened(copy: World, world: World) -> ServerParts:
    """Open a copy's catalog on the objects of the other."""
    copy.content = world.objects.content()
    made = copy.open()
    copy.objects._objects = world.objects._objects
    return made


def test_of_two_copies_of_one_catalog_the_later_start_has_the_store(world: World, tmp_path: Path) -> None:
    made = world.open()
    assert begin(world, made) is Standing.HELD
    publish(made)
    assert may_delete(made)
    copy = copy_of(world, tmp_path / "copy.db")
    other = opened(copy, world)
    assert begin(copy, other) is Standing.HELD, "nothing tells it from a restart"
    publish(other)
    # The first one sees it at its next look, takes back what it claims, and is not let in again.
    world.db.write_sync(epoch.raise_epoch)
    world.db.write_sync(epoch.raise_epoch)
    with pytest.raises(StaleEpochError, match="another state of this catalog"):
        publish(made)
    assert not may_delete(made)
    assert may_delete(other)
    assert begin(world, made) is Standing.TAKEN
    assert not owned_by_another(made.store, "0" * 32)
    world.close()
    copy.close()


def test_a_copy_that_claims_the_same_epoch_is_seen_by_both(world: World, tmp_path: Path) -> None:
    made = world.open()
    copy = copy_of(world, tmp_path / "copy.db")
    other = opened(copy, world)
    assert begin(world, made) is begin(copy, other) is Standing.HELD
    publish(made)
    with pytest.raises(StaleEpochError):
        publish(other)
    assert may_delete(made), "the second took its claim back"
    assert not may_delete(other)
    world.close()
    copy.close()


def test_a_listing_that_is_behind_lets_nothing_be_deleted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    made = world.open()
    publish(made)
    before = list(MemoryStore.list(world.objects, f"{STORE_ID}/epochs/"))
    real = MemoryStore.list

    def behind(self: MemoryStore, prefix: str) -> Iterator[ObjectEntry]:
        return iter(before) if "/epochs/" in prefix else real(self, prefix)

    with monkeypatch.context() as patched:
        patched.setattr(type(world.objects), "list", behind)
        patched.setattr(epoch, "LISTED_SECONDS_MAX", 0.0)
        with pytest.raises(UnavailableError, match="does not list the claim"):
            asyncio.run(epoch.advance(made.transactions, made.kept))
    assert may_delete(made)
    world.close()


def test_a_listing_that_is_behind_is_waited_for_at_one_epoch(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who came back with a higher one each time would never see it."""
    made = world.open()
    publish(made)
    real, behind = MemoryStore.list, [3]
    before = list(real(world.objects, f"{STORE_ID}/epochs/"))

    def late(self: MemoryStore, prefix: str) -> Iterator[ObjectEntry]:
        if "/epochs/" in prefix and behind[0]:
            behind[0] -= 1
            return iter(before)
        return real(self, prefix)

    monkeypatch.setattr(type(world.objects), "list", late)
    monkeypatch.setattr(epoch, "LOOK_SECONDS", 0.0)
    asyncio.run(epoch.advance(made.transactions, made.kept))
    assert behind == [0]
    assert made.kept.claimed.epoch == len(before) + 1
    world.close()


def test_a_store_without_the_claim_is_not_claimed_again(world: World) -> None:
    """Another bucket of the same name, or one that somebody emptied."""
    made = world.open()
    publish(made)
    for claim in [one for one in world.objects.content() if "/epochs/" in one]:
        MemoryStore.delete(world.objects, claim)
    with pytest.raises(UnavailableError):
        may_delete(made)
    assert begin(world, made) is Standing.UNSEEN
    assert list_claims(made.store) == ()
    world.close()


def test_a_store_that_was_emptied_is_not_taken_for_a_listing_that_is_behind(world: World) -> None:
    """At an epoch that was claimed before nothing is written that could be listed."""
    made = world.open()
    publish(made)
    whole = world.objects.content()
    for name in whole:
        MemoryStore.delete(world.objects, name)
    with pytest.raises(StoreUnavailableError, match="does not have the snapshot store") as caught:
        may_delete(made)
    assert not isinstance(caught.value, UnlistedClaimError)
    mark = f"{STORE_ID}/owner"
    MemoryStore.put(world.objects, mark, whole[mark])
    with pytest.raises(UnlistedClaimError, match="its listing is behind, or somebody removed it"):
        may_delete(made)
    world.close()


def test_old_claims_are_removed_behind(world: World) -> None:
    made = world.open()
    for _ in range(3 * epoch.OLD_CLAIMS_MAX):
        asyncio.run(epoch.advance(made.transactions, made.kept))
    assert 0 < len(list_claims(made.store)) <= epoch.OLD_CLAIMS_MAX + 1
    begin(world, made)
    publish(made)
    assert len(list_claims(made.store)) == 1
    assert claimed_epoch(made.store) == world.db.read_sync(epoch.current)
    world.close()


def test_a_takeover_outlasts_what_the_old_owner_writes_late(world: World) -> None:
    """G2: no mutable object says whose the store is."""
    made = world.open()
    publish(made)
    claim_on(made.store, owner="ab" * 16, incarnation="cd" * 16)
    late = b'{"format":1,"owner":"' + b"0" * 32 + b'"}'
    MemoryStore.replace(world.objects, f"{STORE_ID}/owner", late)
    assert not may_delete(made)
    assert begin(world, made) is Standing.TAKEN
    assert owned_by_another(open_store(world.objects, STORE_ID), "0" * 32)
    world.close()


def test_a_name_that_is_none_of_a_claim_stops_everything(world: World) -> None:
    made = world.open()
    publish(made)
    made.store.objects.put(f"{STORE_ID}/epochs/9.someone", b"")
    with pytest.raises(ProtocolError, match="no claim that this program knows"):
        may_delete(made)
    world.close()


def test_a_copy_from_between_claim_and_commit_is_noticed_by_the_attributes(world: World) -> None:
    """S201: its epoch is that of the store, and its rows say that the snapshot is being made."""
    made = world.open()
    session = Session(id=SessionId("5e" * 16), kind="snapshot", created_at=NOW, snapshot_id=SnapshotId("snap-00000009"))
    row = snapshot_row(SnapshotId("snap-00000009"), state=SnapshotState.CREATING, session_id=session.id)

    def being_made(conn: Connection) -> None:
        sessions.open(conn, session, [])
        snapshots.insert(conn, row)

    world.db.write_sync(being_made)
    publish(made)
    assert begin(world, made) is Standing.HELD
    made.store.objects.put(made.store.manifest_name(row.id, session.id), b"sealed")
    assert epoch.look_at_start(world.db.read_sync(epoch.known), made.store) is Standing.HELD
    # Only a catalog in which it is NORMAL writes these.
    write_attributes(made.store, row.id, Attributes(name="n"), row.account_id)
    assert epoch.look_at_start(world.db.read_sync(epoch.known), made.store) is Standing.TAKEN
    world.db.write_sync(lambda conn: sessions.fence(conn, session.id, at=NOW))
    assert epoch.look_at_start(world.db.read_sync(epoch.known), made.store) is Standing.TAKEN
    world.close()


def test_a_catalog_of_the_version_before_claims_a_store_of_the_format_before(world: World) -> None:
    made = world.open()
    world.db.write_sync(lambda conn: meta.remove(conn, epoch.CLAIMS))
    objects = world.objects
    MemoryStore.replace(objects, f"{STORE_ID}/owner", b'{"format":1,"owner":"' + b"0" * 32 + b'"}')
    for numbered, found in ((b"2", Standing.TAKEN), (b"1", Standing.HELD)):
        MemoryStore.replace(objects, f"{STORE_ID}/epoch", b'{"format":1,"epoch":' + numbered + b"}")
        assert epoch.look_at_start(world.db.read_sync(epoch.known), made.store) is found
    MemoryStore.replace(objects, f"{STORE_ID}/owner", b'{"format":1,"owner":"another"}')
    assert begin(world, made) is Standing.TAKEN
    world.close()

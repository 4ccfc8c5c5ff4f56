"""A deadline that somebody put back does not let a snapshot expire after a recovery (S385)."""

import random
from dataclasses import replace

import msgspec
import pytest

from drystone.domain.ids import StoreId
from drystone.service.upkeep.recovered_snapshots import _attribute_values, _imported
from drystone.snapstore.inventory import FoundSnapshot
from drystone.snapstore.manifests import Attributes, read_attributes, write_attributes
from tests.memory_store import MemoryStore
from tests.sealed_stores import KEK, Keks, new_sealed_store
from tests.snapstore.model_snapshots import ACCOUNT, take

OLD, OLD_S = "2026-01-01T00:00:00+00:00", 1_767_225_600.0
LATER = "2027-01-01T00:00:00+00:00"


@pytest.fixture
def found() -> FoundSnapshot:
    """A snapshot of a sealed store whose attributes were replaced by those of before, rightly sealed."""
    objects = MemoryStore()
    store = new_sealed_store(objects, StoreId("store-1"), "0" * 32, Keks(KEK))
    reader = take(store, random.Random(1), "snap-1", bytes(4096), [(0, 1)])
    name = store.attributes_name(reader.manifest.snapshot)
    first = Attributes(name="x", deadline=OLD, permanent=False)
    write_attributes(store, reader.manifest.snapshot, first, ACCOUNT)
    old = objects.get(name)
    write_attributes(store, reader.manifest.snapshot, msgspec.structs.replace(first, deadline=LATER), ACCOUNT)
    objects.replace(name, old)
    attributes = read_attributes(store, reader.manifest.snapshot)
    assert attributes.deadline == OLD
    return FoundSnapshot(
        object=store.manifest_name(reader.manifest.snapshot, reader.manifest.session), manifest=reader.manifest,
        attributes=attributes,
    )  # fmt: skip


def test_an_old_deadline_is_not_believed(found: FoundSnapshot) -> None:
    row = _imported(found, "zone", at=1.0)
    assert (row.permanent, row.deadline_at) == (True, None)
    for known in (None, OLD_S + 1):
        told = _attribute_values(found, known)
        assert (told["permanent"], told["deadline_at"]) == (True, None)
    told = _attribute_values(found, OLD_S)
    assert (told["permanent"], told["deadline_at"]) == (False, OLD_S)


def test_a_store_in_clear_is_believed_as_before(found: FoundSnapshot) -> None:
    """Whoever has that bucket writes what he likes; nothing expires before somebody confirms the recovery."""
    plain = replace(found, manifest=msgspec.structs.replace(found.manifest, format=1))
    row = _imported(plain, "zone", at=1.0)
    assert (row.permanent, row.deadline_at) == (False, OLD_S)

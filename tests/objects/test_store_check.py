"""`drystone store check`: what a store lacks is said, with what it costs; nothing is left behind."""

from collections.abc import Iterator

import pytest
from tests.memory_store import MemoryStore

from drystone.domain.errors import UnavailableError
from drystone.objects.contract import ObjectEntry, Parts
from drystone.store_check import check_objects

PREFIX = "check-1"


class Overwriting(MemoryStore):
    def put(self, name: str, data: Parts) -> None:
        self.replace(name, data)


class Behind(MemoryStore):
    """Its listings lack the newest object (history 6)."""

    def list(self, prefix: str) -> Iterator[ObjectEntry]:
        newest = [name for kind, name in self.changes if kind == "put"][-1:]
        return (entry for entry in super().list(prefix) if entry.name not in newest)


class Keeping(MemoryStore):
    def delete(self, name: str) -> None:
        if name.count("/") == 2:
            return
        super().delete(name)


class Refusing(MemoryStore):
    def list(self, prefix: str) -> Iterator[ObjectEntry]:
        raise UnavailableError(f"the bucket refuses the keys ({prefix})")


def test_a_store_that_does_everything_is_as_before() -> None:
    objects = MemoryStore({"other/owner": b"1"})
    findings = check_objects(objects, PREFIX)
    assert [one for one in findings if not one.works] == []
    assert len(findings) == 9
    assert objects.content() == {"other/owner": b"1"}


@pytest.mark.parametrize(
    ("objects", "missing", "needed"),
    [
        (Overwriting(), "refuse a second put", False),
        (Behind(), "list after put", True),
        (Keeping(), "delete", True),
        (Refusing(), "list", True),
    ],
)
def test_what_is_missing_is_said(objects: MemoryStore, missing: str, needed: bool) -> None:  # noqa: FBT001
    (one,) = (one for one in check_objects(objects, PREFIX) if not one.works)
    assert (one.name, one.needed) == (missing, needed)
    assert one.seen
    assert one.without

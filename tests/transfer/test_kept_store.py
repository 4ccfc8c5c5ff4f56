"""A worker keeps the store that its last job had open, if it is over a network."""

from dataclasses import replace
from typing import Any

import pytest

from drystone.domain.errors import UnavailableError
from drystone.domain.ids import StoreId
from drystone.objects.address import DirectoryAddress, S3Address
from drystone.snapstore.far import Far
from drystone.snapstore.store import Store
from drystone.transfer import worker
from drystone.transfer.addresses import StoreAddress
from tests.memory_store import MemoryStore
from tests.snapstore.model_snapshots import new_store

ADDRESS = StoreAddress(objects=S3Address(bucket="a"), store_id=StoreId("one"))
OTHER = StoreAddress(objects=S3Address(bucket="b"), store_id=StoreId("one"))
NEAR = StoreAddress(objects=DirectoryAddress(root="/nowhere"), store_id=StoreId("one"))


class Opened:
    """Opens stores, and tells which, and which of them were closed."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.closed = 0

    def open(self, address: StoreAddress, _tally: object = None, *, serves: bool = False) -> Store:
        self.opened.append(f"{address.objects}{' serves' if serves else ''}")
        made = new_store(MemoryStore())
        if address.objects == NEAR.objects:
            return made
        far = Far(requests=1)
        end, this = far.close, self

        def close() -> None:
            this.closed += 1
            end()

        far.close = close  # type: ignore[method-assign]
        return replace(made, far=far)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    made = Opened()
    monkeypatch.setattr(worker, "open_address", made.open)
    return made


def use(kept: worker.Kept, address: StoreAddress, **given: Any) -> Store:
    with kept.lent(address, None, serves=given.get("serves", False)) as store:
        if "error" in given:
            raise given["error"]
        return store


def test_the_next_job_has_the_same_store(opened: Opened) -> None:
    kept = worker.Kept()
    assert use(kept, ADDRESS) is use(kept, ADDRESS)
    assert (opened.opened, opened.closed) == (["s3://a"], 0)


def test_another_store_or_another_use_is_opened_anew(opened: Opened) -> None:
    """S207: who asks the store itself never gets one with a cache."""
    kept = worker.Kept()
    use(kept, ADDRESS)
    use(kept, ADDRESS, serves=True)
    use(kept, ADDRESS)
    use(kept, OTHER)
    assert opened.opened == ["s3://a", "s3://a serves", "s3://a", "s3://b"]
    assert opened.closed == 3


def test_after_an_error_it_is_opened_anew(opened: Opened) -> None:
    """Its bucket may be another one by then, its keys exchanged."""
    kept = worker.Kept()
    use(kept, ADDRESS)
    with pytest.raises(UnavailableError):
        use(kept, ADDRESS, error=UnavailableError("no answer"))
    assert opened.closed == 1
    use(kept, ADDRESS)
    assert len(opened.opened) == 2


def test_a_store_that_is_near_is_opened_for_each_job(opened: Opened) -> None:
    kept = worker.Kept()
    use(kept, NEAR)
    use(kept, NEAR)
    assert len(opened.opened) == 2

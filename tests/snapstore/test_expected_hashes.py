"""Windows of expected hashes say what the snapshot says, also after one of them could not be had."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from drystone.domain.errors import IntegrityError, ProtocolError, UnavailableError
from drystone.objects.contract import NotFoundError
from drystone.snapstore import expected
from drystone.snapstore.expected import ExpectedHashes, KnownHashes
from drystone.snapstore.reader import UNKNOWN

WINDOW = 8


class Snapshot:
    """Shows other kinds and hashes in every block; `broken` blocks cannot be told."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []
        self.broken = -1

    def hashes(self, start: int, stop: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        self.asked.append((start, stop))
        if start <= self.broken < stop:
            raise UnavailableError("not now")
        blocks = np.arange(start, stop)
        return (blocks % 3).astype(np.uint8), np.repeat(blocks[:, None], 16, axis=1).astype(np.uint8)


@pytest.fixture
def snapshot(monkeypatch: pytest.MonkeyPatch) -> Snapshot:
    monkeypatch.setattr(expected, "WINDOW_BLOCKS", WINDOW)
    return Snapshot()


def says_the_same(expect: ExpectedHashes, start: int, stop: int) -> bool:
    kinds, hashes = expect(start, stop)
    right_kinds, right_hashes = Snapshot().hashes(start, stop)
    return bool((kinds == right_kinds).all()) and bool((hashes == right_hashes).all()) and len(kinds) == stop - start


def test_windows_say_what_the_snapshot_says(snapshot: Snapshot) -> None:
    expect = ExpectedHashes(snapshot.hashes)
    for start, stop in ((0, 1), (1, 8), (7, 9), (9, 16), (3, 30), (16, 24), (200, 201)):
        assert says_the_same(expect, start, stop), (start, stop)


def test_each_window_is_asked_for_once(snapshot: Snapshot) -> None:
    expect = ExpectedHashes(snapshot.hashes)
    for block in range(2 * WINDOW):
        expect(block, block + 1)
    assert snapshot.asked == [(0, WINDOW), (WINDOW, 2 * WINDOW)]


def test_a_window_that_failed_is_asked_for_again(snapshot: Snapshot) -> None:
    expect = ExpectedHashes(snapshot.hashes)
    expect(0, 1)
    snapshot.broken = WINDOW + 1
    with pytest.raises(UnavailableError):
        expect(WINDOW, WINDOW + 1)
    snapshot.broken = -1
    assert says_the_same(expect, WINDOW, WINDOW + 3)
    assert says_the_same(expect, 0, 3)


def test_what_cannot_be_known_is_told_apart_from_what_cannot_be_had_now(snapshot: Snapshot) -> None:
    """Damage is UNKNOWN blocks; a store that does not answer is an error, or an outage would be taken for damage."""

    class Reader:
        manifest = SimpleNamespace(snapshot="snap-00000001", maps=(SimpleNamespace(object="a map"),))
        error: Exception | None = None

        def known_hashes(self, start: int, stop: int) -> Any:
            if self.error is not None:
                raise self.error
            return *snapshot.hashes(start, stop), {}

    reader: Any = Reader()
    known = KnownHashes(reader)
    assert (known(3, 5)[0] == [0, 1]).all()
    assert len(known.unknown) == 0
    reader.error = UnavailableError("not now")
    with pytest.raises(UnavailableError):
        known(3, 5)
    assert not known.maps
    for reader.error in (IntegrityError("bad"), ProtocolError("bad"), NotFoundError("gone")):
        kinds, _ = known(3, 5)
        assert (kinds == UNKNOWN).all()
    assert known.maps == {"a map"}
    assert known.unknown.tolist() == [[3, 5]]

"""Block ranges against plain sets of addresses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drystone.domain import blocks
from drystone.domain.blocks import Ranges

FAR = 1 << 40
EXACT = settings(deadline=None, derandomize=True, max_examples=100)
addresses = st.one_of(st.integers(0, 40), st.integers(FAR, FAR + 40))
rows = st.lists(st.builds(lambda start, length: (start, start + length), addresses, st.integers(-3, 9)), max_size=12)


def plain(ranges: Ranges | list[tuple[int, int]]) -> set[int]:
    return {block for start, stop in np.asarray(ranges).reshape(-1, 2).tolist() for block in range(start, stop)}


def assert_form(ranges: Ranges) -> None:
    assert ranges.dtype == np.int64
    assert ranges.shape == (len(ranges), 2)
    assert (ranges[:, 0] < ranges[:, 1]).all()
    assert (ranges[1:, 0] > ranges[:-1, 1]).all(), "sorted, disjoint, not touching"


@EXACT
@given(rows)
def test_normalize(some: list[tuple[int, int]]) -> None:
    result = blocks.normalize(some)
    assert_form(result)
    assert plain(result) == plain(some)
    assert blocks.count(result) == len(plain(some))
    assert np.array_equal(blocks.normalize(result), result)
    assert np.array_equal(blocks.normalize(np.array(some, dtype=np.int64).reshape(-1, 2)), result)


@EXACT
@given(rows, rows, rows)
def test_set_operations(
    some: list[tuple[int, int]], other: list[tuple[int, int]], third: list[tuple[int, int]]
) -> None:
    left, right, more = (blocks.normalize(part) for part in (some, other, third))
    for result, expected in (
        (blocks.union(left, right, more), plain(left) | plain(right) | plain(more)),
        (blocks.intersect(left, right), plain(left) & plain(right)),
        (blocks.subtract(left, right), plain(left) - plain(right)),
        (blocks.union(), set()),
        (blocks.union(left), plain(left)),
    ):
        assert_form(result)
        assert plain(result) == expected


@EXACT
@given(rows, st.integers(0, 50))
def test_clip(some: list[tuple[int, int]], stop: int) -> None:
    result = blocks.clip(blocks.normalize(some), stop)
    assert_form(result)
    assert plain(result) == {block for block in plain(some) if block < stop}


@EXACT
@given(rows, st.integers(1, 6))
def test_split(some: list[tuple[int, int]], blocks_max: int) -> None:
    ranges = blocks.normalize(some)
    pieces = list(blocks.split(ranges, blocks_max))
    assert all(0 < stop - start <= blocks_max for start, stop in pieces)
    assert [block for start, stop in pieces for block in range(start, stop)] == sorted(plain(ranges))


@EXACT
@given(rows)
def test_from_blocks(some: list[tuple[int, int]]) -> None:
    ranges = blocks.normalize(some)
    each = np.array(sorted(plain(some)), dtype=np.int64)
    assert np.array_equal(blocks.from_blocks(np.concatenate((each[::-1], each))), ranges)
    assert_form(blocks.from_blocks(each))


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [
        (0, 0, (0, 0)),
        (5, 5, (0, 0)),
        (4096, 4096, (1, 1)),
        (0, 1, (0, 1)),
        (4095, 4097, (0, 2)),
        (4096, 8192, (1, 2)),
        (1, 8193, (0, 3)),
        (1 << 52, (1 << 52) + 1, (1 << 40, (1 << 40) + 1)),
    ],
)
def test_cover_bytes(start: int, stop: int, expected: tuple[int, int]) -> None:
    assert blocks.cover_bytes(start, stop) == expected


def test_the_empty_ranges_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        blocks.EMPTY[:] = 1
    assert not blocks.EMPTY.flags.writeable

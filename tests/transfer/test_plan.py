"""Plans against sets of blocks."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from drystone.domain.blocks import Ranges, from_blocks
from drystone.transfer.plan import (
    TRIM_ALIGN_BLOCKS,
    aligned_inwards,
    byte_ranges,
    marked,
    plan_delta,
    plan_rescan,
    take_first,
    trimmable,
    wholly_equal,
    wholly_marked,
)
from tests.blocks import to_blocks

SIZE = 200
block_sets = st.sets(st.integers(0, SIZE - 1), max_size=80)


def ranges(blocks: set[int]) -> Ranges:
    return from_blocks(np.array(sorted(blocks), dtype=np.int64))


@settings(deadline=None)
@given(dirty=block_sets, carry=st.sets(st.integers(0, SIZE + 50), max_size=80), zero=block_sets)
def test_a_delta_holds_bitmap_and_carry_over_whatever_else_is_known(
    dirty: set[int], carry: set[int], zero: set[int]
) -> None:
    plan = plan_delta(dirty=ranges(dirty), carry=ranges(carry), zero=ranges(zero), size_blocks=SIZE)
    wanted = {block for block in dirty | carry if block < SIZE}
    assert to_blocks(plan.read) == wanted - zero
    assert to_blocks(plan.zero) == wanted & zero


@settings(deadline=None)
@given(zero=block_sets, own=block_sets, base=block_sets)
def test_a_rescan_looks_at_all_that_may_differ(zero: set[int], own: set[int], base: set[int]) -> None:
    plan = plan_rescan(zero=ranges(zero), own=ranges(own), base_data=ranges(base))
    assert to_blocks(plan.read) == own - zero
    assert to_blocks(plan.zero) == own & zero & base


@settings(deadline=None)
@given(needed=block_sets)
def test_trimming_never_touches_what_is_needed(needed: set[int]) -> None:
    found = trimmable(ranges(needed), SIZE)
    assert not to_blocks(found) & needed
    assert (found % TRIM_ALIGN_BLOCKS == 0).all()
    units = range(0, SIZE // TRIM_ALIGN_BLOCKS * TRIM_ALIGN_BLOCKS, TRIM_ALIGN_BLOCKS)
    whole = {at for at in units if not set(range(at, at + TRIM_ALIGN_BLOCKS)) & needed}
    assert to_blocks(found) == {block for at in whole for block in range(at, at + TRIM_ALIGN_BLOCKS)}
    assert to_blocks(aligned_inwards(found)) == to_blocks(found)


@settings(deadline=None)
@given(chosen=block_sets, limit=st.integers(0, 100))
def test_take_first(chosen: set[int], limit: int) -> None:
    assert to_blocks(take_first(ranges(chosen), limit)) == set(sorted(chosen)[:limit])


def test_extents_are_rounded_to_the_safe_side() -> None:
    # 4.5 dirty blocks mark five; of 4.5 zero blocks four are known to be zeros.
    extents = np.array([[0, 4096, 0], [4096, 4096 * 5 + 2048, 1], [4096 * 5 + 2048, 4096 * 8, 3]])
    assert marked(extents, 1).tolist() == [[1, 8]]
    assert marked(extents, 2).tolist() == [[5, 8]]
    assert wholly_marked(extents, 2).tolist() == [[6, 8]]
    assert wholly_equal(extents, 1).tolist() == [[1, 5]]
    assert byte_ranges(ranges({1, 2, 7})) == [(4096, 8192), (28672, 4096)]

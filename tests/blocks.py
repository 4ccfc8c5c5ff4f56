"""Block addresses one by one: for small sets."""

from drystone.domain.blocks import Ranges


def to_blocks(ranges: Ranges) -> set[int]:
    """Return every block address of the ranges."""
    return {block for start, stop in ranges.tolist() for block in range(start, stop)}

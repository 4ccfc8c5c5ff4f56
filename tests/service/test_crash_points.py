"""Some cuts of each operation on the store, some planted bugs; each cut with `--long`, and by
`python -m tests.service.crash_points`, which plants all bugs.
"""

from collections.abc import Iterator

import pytest

from tests.service.crash_points import (
    PLANTED,
    SCRIPTS,
    Planted,
    Scene,
    Script,
    built,
    enumerate_cuts,
    find,
    quick_directory,
)

STEP = 8
HUNTED = {
    "packs are not flushed",
    "the row before the manifest",
    "the base is not moved",
    "packs swept before the manifest",
}


@pytest.fixture(scope="module")
def begin() -> Iterator[Scene]:
    with quick_directory() as place, built(place) as scene:
        yield scene


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: str(script.name))
def test_a_cut_anywhere_is_survived(script: Script, begin: Scene, *, long: bool) -> None:
    """S20, S21."""
    assert enumerate_cuts(script, begin, step=1 if long else STEP) >= 4


@pytest.mark.parametrize("planted", [one for one in PLANTED if one.name in HUNTED], ids=lambda one: str(one.name))
def test_planted_bugs_are_found(planted: Planted, begin: Scene) -> None:
    assert find(planted, begin) is not None

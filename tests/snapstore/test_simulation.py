"""The simulated store: some dozens of lives are clean, a seed replays exactly, and every planted bug is found."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from drystone.domain.pack_rewrite import PackRewrite, RewriteState, doomed
from drystone.snapstore.living import Living
from tests.snapstore import catalog_lives
from tests.snapstore.simulate import Rules, run, small_packs

LIKELY = {
    "a manifest is deleted without a tombstone": 46,
    "what came back is known by rows alone": 0,
    "every tombstone is taken for one of a living snapshot": 8,
    "tombstones that no row knows stay": 0,
    "a recovery passes over tombstones": 116,
    "a session's row goes after an hour": 97,
    "what no row tells of is not looked for": 15,
    "a deletion claims nothing": 24,
    "who lost the store goes on": 67,
    "maps that others list go with their session": 14,
}
"""Bugs of several catalogs, and a seed of each."""
SEEDS = 18
HUNTED = 60


@pytest.mark.parametrize("first", range(0, SEEDS, 9))
def test_lives_are_clean(first: int) -> None:
    events = sum((run(seed, steps=100, storms=seed % 3 == 2).events for seed in range(first, first + 9)), Counter())
    for name in ("taken", "deleted", "crash", "read", "compaction failed", "pack removed"):
        assert events[name] > 0, name


def test_a_seed_replays_exactly() -> None:
    first, second = run(7, steps=80), run(7, steps=80)
    assert first.digest() == second.digest()
    assert first.digest() != run(8, steps=80).digest()


def mask_by_the_wrong_row(living: Living, index: Any) -> Any:
    return np.roll(living.mask(index), 1)


def mask_that_forgets_one(living: Living, index: Any) -> Any:
    mask = living.mask(index)
    mask[np.flatnonzero(mask)[-1:]] = False
    return mask


def mask_that_is_never_dead(living: Living, index: Any) -> Any:
    mask = living.mask(index)
    return mask | (np.cumsum(~mask) == 1)


def dooms_the_new_one(row: PackRewrite, reading: Any) -> str | None:
    return row.new_object if row.state is RewriteState.SWITCHED else doomed(row, reading)


def near_only_parents(tree: Any, snapshot: Any) -> Any:
    from drystone.domain import lineage

    children = tree.children.get(snapshot, ())
    return frozenset(one for one in lineage.near(tree, snapshot) if one not in children)


@pytest.mark.parametrize(
    ("rules", "likely"),
    [
        pytest.param(lambda: Rules(mask=mask_by_the_wrong_row), 0, id="mask of the wrong row"),
        pytest.param(lambda: Rules(mask=mask_that_forgets_one), 0, id="a living block is dropped"),
        pytest.param(lambda: Rules(mask=mask_that_is_never_dead), 0, id="a dead block is kept"),
        pytest.param(lambda: Rules(doomed=dooms_the_new_one), 0, id="the new object is deleted"),
        pytest.param(lambda: Rules(switch_first=False), 36, id="the old object is deleted before the switch"),
        pytest.param(lambda: Rules(row_first=False), 0, id="an object without a row"),
        pytest.param(lambda: Rules(recount=False), 28, id="deaths counted once and for all"),
        pytest.param(lambda: Rules(near=near_only_parents), 0, id="children are no neighbours"),
        pytest.param(lambda: Rules(locked=False), 0, id="two count what is dead at once"),  # S33
        pytest.param(lambda: Rules(late=False), 0, id="what lands late is left"),  # S209
        pytest.param(lambda: Rules(trees=False), 0, id="packs are judged by their writers alone"),  # S205
    ],
)
def test_planted_bugs_are_found(rules: Callable[[], Rules], likely: int) -> None:
    """`likely` is a seed that showed it once: the hunt begins there, and goes round."""
    for number in range(HUNTED):
        seed = (likely + number) % HUNTED
        try:
            run(seed, rules(), steps=100, storms=seed % 3 != 0)
        except Exception:  # noqa: BLE001 - whatever it does to the store is a find
            return
    pytest.fail(f"{HUNTED} lives did not show it")


@pytest.mark.parametrize("first", [0, 12])
def test_lives_of_several_catalogs_are_clean(first: int) -> None:
    """S200, S209, S210."""
    events: Counter[str] = Counter()
    with small_packs():
        for seed in range(first, first + 12):
            events += catalog_lives.run(seed).events
    for name in ("taken", "deleted", "recovered", "put back", "landed late", "lost the store"):
        assert events[name] > 0, name


@pytest.mark.parametrize(("name", "seed"), LIKELY.items(), ids=LIKELY.keys())
def test_bugs_planted_in_lives_of_several_catalogs_are_found(name: str, seed: int) -> None:
    """`seed` is one that showed it once; all of them: `python -m tests.snapstore.simulate --planted`."""
    with small_packs():
        assert catalog_lives.find(catalog_lives.PLANTED[name], range(seed, seed + 12)) is not None

"""Whose a store is: lives of catalogs and their copies are clean, and each planted bug is found (S200, S201)."""

from collections import Counter
from collections.abc import Collection

import pytest

from drystone.domain.claim import Claim, Claimant, Standing, standing, standing_before
from tests.domain.claims_model import Rules, ViolationError, run

SEEDS = 300
HUNTED = 300


def test_lives_are_clean() -> None:
    events = sum((run(seed) for seed in range(SEEDS)), Counter())
    for name in ("taken", "deleted", "copied", "refused", "started", "TAKEN", "UNSEEN"):
        assert events[name] > 0, name


def numbers_alone(claimant: Claimant, epoch: int, listed: Collection[Claim]) -> Standing:
    """The rule of the format before: one owner, and no higher epoch."""
    ahead = any(one.epoch > epoch or one.owner != claimant.owner for one in listed)
    return Standing.TAKEN if ahead else Standing.HELD


def seen_or_not(claimant: Claimant, epoch: int, listed: Collection[Claim]) -> Standing:
    found = standing(claimant, epoch, listed)
    return Standing.HELD if found is Standing.UNSEEN else found


def above_only(claimant: Claimant, epoch: int, listed: Collection[Claim]) -> Standing:
    """What another claims at one's own epoch counts for nothing."""
    foreign = [one for one in listed if one.incarnation not in {each.id for each in claimant.known}]
    if any(one.epoch > epoch for one in foreign):
        return Standing.TAKEN
    return Standing.HELD if claimant.claim(epoch) in listed else Standing.UNSEEN


@pytest.mark.parametrize(
    ("rules", "likely"),
    [
        pytest.param(Rules(claim_first=False), 215, id="the claim after the commit"),  # S201, today's order
        pytest.param(Rules(standing=numbers_alone, before=numbers_alone, new_incarnation=False), 5, id="numbers alone"),
        pytest.param(Rules(new_incarnation=False), 79, id="copies are one incarnation"),
        pytest.param(Rules(standing=seen_or_not), 4663, id="a listing that is behind is believed"),
        pytest.param(Rules(standing=above_only), 916, id="equal epochs are not seen"),
        pytest.param(Rules(advance=False), 478, id="a deletion claims nothing"),
        pytest.param(Rules(list_after=False), 4696, id="listed before it is written"),
    ],
)
def test_planted_bugs_are_found(rules: Rules, likely: int) -> None:
    """`likely` is a seed that showed it once: the hunt begins there, and goes round."""
    for number in range(HUNTED):
        try:
            run(likely + number, rules)
        except ViolationError:
            return
    pytest.fail(f"{HUNTED} lives did not show it")


def claim(epoch: int, incarnation: str, owner: str = "o") -> Claim:
    return Claim(epoch=epoch, owner=owner, incarnation=incarnation)


def test_what_a_claimant_is_to_a_store() -> None:
    rows = Claimant(owner="o").begun("a", 1).seen()
    assert standing(rows, 3, [claim(1, "a"), claim(3, "a")]) is Standing.HELD
    assert standing(rows, 3, [claim(1, "a")]) is Standing.UNSEEN
    assert standing(rows, 3, []) is Standing.UNSEEN
    # A database that lost its last commits.
    assert standing(rows, 3, [claim(3, "a"), claim(4, "a")]) is Standing.TAKEN
    assert standing(rows, 3, [claim(3, "a"), claim(0, "z")]) is Standing.HELD
    assert standing(rows, 3, [claim(3, "a"), claim(1, "z")]) is Standing.TAKEN
    assert standing(rows, 3, [claim(3, "a"), claim(4, "a", "other")]) is Standing.TAKEN
    # A start: the catalog may be a copy, or older, and its store may be another of the same name.
    assert standing_before(rows, 3, [claim(3, "a")]) is Standing.HELD
    assert standing_before(rows, 3, [claim(4, "a")]) is Standing.TAKEN
    assert standing_before(rows, 3, [claim(3, "a"), claim(2, "b")]) is Standing.TAKEN
    assert standing_before(rows, 3, []) is Standing.UNSEEN
    assert standing_before(Claimant(owner="o"), 3, []) is Standing.HELD
    assert standing_before(Claimant(owner="o"), 3, [claim(1, "b")]) is Standing.TAKEN
    # Of two starts the first ends where the second begins.
    again = rows.begun("b", 4)
    assert standing_before(again, 4, [claim(3, "a")]) is Standing.HELD
    assert standing_before(again, 4, [claim(4, "a")]) is Standing.TAKEN
    assert standing(again, 4, [claim(3, "a"), claim(4, "b")]) is Standing.HELD
    assert standing(again, 5, [claim(4, "a"), claim(5, "b")]) is Standing.TAKEN

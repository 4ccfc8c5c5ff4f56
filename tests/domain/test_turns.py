"""S156: whose turn it is. The property is that of its docstring, over any order of coming, leaving and giving up."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drystone.domain.turns import Turns

ACCOUNTS = ("a", "b", "c", "d", "e")


@settings(max_examples=300, deadline=None)
@given(
    places=st.integers(1, 4), reserve=st.integers(0, 3),
    steps=st.lists(st.tuples(st.sampled_from(("ask", "leave", "withdraw")), st.sampled_from(ACCOUNTS)), max_size=60),
)  # fmt: skip
def test_shares_are_fair_whatever_comes_and_goes(places: int, reserve: int, steps: list[tuple[str, str]]) -> None:
    turns: Turns[int] = Turns(places=places, reserve=reserve)
    held: Counter[str] = Counter()
    lines: dict[str, list[int]] = {name: [] for name in ACCOUNTS}
    overtaken: dict[str, Counter[str]] = {name: Counter() for name in ACCOUNTS}
    for number, (step, account) in enumerate(steps):
        if step == "ask":
            if not lines[account]:
                overtaken[account].clear()
            turns.ask(account, number)
            lines[account].append(number)
        elif step == "withdraw" and lines[account]:
            turns.withdraw(account, lines[account].pop())
        elif step == "leave" and held[account]:
            turns.leave(account)
            held[account] -= 1
        while (turn := turns.next()) is not None:
            served, ticket = turn
            # Within an account the first is served first.
            assert lines[served].pop(0) == ticket
            # Nobody gets more who has more than another that waits.
            assert all(held[served] <= held[name] for name in ACCOUNTS if lines[name])
            assert held.total() < places or held[served] == 0
            held[served] += 1
            overtaken[served].clear()
            for name in ACCOUNTS:
                if lines[name] and held[name] == 0:
                    overtaken[name][served] += 1
                    # Who holds none waits for one turn of each other account at most.
                    assert overtaken[name][served] <= 1
        assert held.total() <= places + reserve
        # No place is left free that somebody may have.
        waits = [name for name in ACCOUNTS if lines[name]]
        if waits:
            assert held.total() >= places
            assert held.total() == places + reserve or all(held[name] for name in waits)
        for name in ACCOUNTS:
            assert turns.held(name) == held[name]
            assert turns.waiting(name) == len(lines[name])


@pytest.mark.parametrize("places", [1, 2, 64])
def test_one_account_alone_has_all_places_and_another_finds_one_at_once(places: int) -> None:
    turns: Turns[int] = Turns(places=places, reserve=1)
    for ticket in range(500):
        turns.ask("flood", ticket)
    while turns.next() is not None:
        pass
    assert turns.held("flood") == places
    turns.ask("neighbour", -1)
    assert turns.next() == ("neighbour", -1)
    assert turns.next() is None


def test_coming_and_going_gains_nobody_a_turn() -> None:
    """Two accounts that ask for one thing at a time, again and again, do not starve one that asks for many."""
    turns: Turns[str] = Turns(places=1, reserve=0)
    rng = random.Random(1)
    served: Counter[str] = Counter()
    for number in range(50):
        turns.ask("many", str(number))
    for name in ("sly", "shy"):
        turns.ask(name, "one")
    for _ in range(90):
        turn = turns.next()
        assert turn is not None
        served[turn[0]] += 1
        turns.leave(turn[0])
        if turn[0] != "many":
            turns.ask(turn[0], "one")
        if rng.random() < 0.1:
            turns.withdraw("sly", "one")
            turns.ask("sly", "one")
    assert min(served["many"], served["shy"]) >= 30

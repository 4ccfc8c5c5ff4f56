"""How much may expire."""

from drystone.domain.expiry import Tally


def test_a_tally_counts_for_an_hour() -> None:
    """S118"""
    tally = Tally(began_at=0.0, expired=0)
    assert tally.allowed(1000, 10) == 100
    assert tally.allowed(5, 10) == 10
    # The share is one of what there was when the hour began.
    assert tally.more(60).allowed(940, 10) == 40
    assert tally.more(100).allowed(900, 10) == 0
    assert tally.more(100).at(3599.0).allowed(900, 10) == 0
    assert tally.more(100).at(3600.0) == Tally(began_at=3600.0, expired=0)
    # One that a wrong clock has dated ahead holds nobody back for years.
    assert Tally(began_at=1e9, expired=100).at(0.0) == Tally(began_at=0.0, expired=0)

"""How much may expire, and what never does."""

from drystone.domain.expiry import PolicySnapshot, Tally, newest_good
from drystone.domain.ids import DiskId, SnapshotId

DISK, GONE = DiskId("disk-a"), DiskId("disk-gone")


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


def test_the_newest_good_one_of_a_policy_stays() -> None:
    """S119: by the order in which they became NORMAL, whatever their dates say."""

    def one(name: str, order: int, *, disk: DiskId = DISK, good: bool = True) -> PolicySnapshot:
        return PolicySnapshot(snapshot_id=SnapshotId(name), disk_id=disk, good=good, order=order)

    made = [one("s2", 2), one("s1", 1), one("s3", 3, good=False), one("x1", 9, disk=GONE)]
    assert newest_good(made, frozenset({DISK})) == {"s2"}
    assert newest_good([one("s3", 3, good=False)], frozenset({DISK})) == frozenset()
    assert newest_good([], frozenset({DISK})) == frozenset()

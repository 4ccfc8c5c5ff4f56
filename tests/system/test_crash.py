"""A few rounds of the crash loop; the long run is `./dev crash`."""

from pathlib import Path

from tests.system.crash_loop import SETTINGS, run
from tests.system.harness import installation


def test_killed_at_random_moments_nothing_is_lost(tmp_path: Path, *, long: bool) -> None:
    """P9."""
    with installation(tmp_path / "data", SETTINGS) as system:
        run(system, rounds=1, seed=20, most=None if long else 4)

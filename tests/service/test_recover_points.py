"""Some cuts of recovery and reconciliation; each cut with `--long`, and by `python -m tests.service.recover_points`."""

import pytest

from tests.service.recover_points import PLANTED, SCRIPTS, Planted, Script, built, enumerate_cuts, find

STEP = 17


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: str(script.name))
def test_a_command_that_is_killed_is_run_again(script: Script, *, long: bool) -> None:
    with built(script) as scene:
        assert enumerate_cuts(script, scene, step=1 if long else STEP, first=0 if long else 13) >= 10


@pytest.mark.long
@pytest.mark.parametrize("planted", PLANTED, ids=lambda one: str(one.name))
def test_planted_bugs_are_found(planted: Planted) -> None:
    assert find(planted) is not None

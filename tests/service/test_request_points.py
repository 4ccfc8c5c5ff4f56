"""A fault at some requests of each operation on the store; at each with `--long`, and by
`python -m tests.service.request_points`.
"""

from collections.abc import Iterator

import pytest

from drystone.service.upkeep import sweep
from tests.service.crash_points import SCRIPTS, Scene, Script, built, quick_directory
from tests.service.request_points import ATTEMPTS, LATE, NAMES, enumerate_requests, one_fault

STEP = 9
CHOSEN = {script.name: script for script in SCRIPTS if script.name in NAMES}


@pytest.fixture(scope="module")
def begin() -> Iterator[Scene]:
    with quick_directory() as place, built(place) as scene:
        yield scene


@pytest.mark.parametrize("script", CHOSEN.values(), ids=CHOSEN.keys())
def test_a_fault_of_any_request_is_survived(script: Script, begin: Scene, *, long: bool) -> None:
    """S20, S209."""
    assert enumerate_requests(script, begin, step=1 if long else STEP) >= 9


@pytest.mark.parametrize("at", [15, 20])
def test_what_lands_late_would_be_found(at: int, begin: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: nobody looks again for what a session wrote that was given up."""
    scene = begin.copy(begin.content)
    scene.open()
    CHOSEN["upload"].prepare(scene)
    scene.close()
    monkeypatch.setattr(sweep, "_sweep_one", lambda *_given: None)
    with pytest.raises(AssertionError):
        one_fault(CHOSEN["upload"], scene, LATE, at, ATTEMPTS)

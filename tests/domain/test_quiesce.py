"""What steps are worth, and which profiles cannot be meant."""

from dataclasses import replace
from typing import Any

import pytest

from drystone.domain.ids import AccountId
from drystone.domain.quiesce import Consistency, QuiesceProfile, Step, StepKind, fault, reached, wanted
from drystone.service.calls.quiescing import combined

COMMAND = Step(kind=StepKind.COMMAND, freeze=("/bin/a",), thaw=("/bin/b",))
FILES = Step(kind=StepKind.FILESYSTEM, mount="/srv")
OTHER = Step(kind=StepKind.FILESYSTEM, mount="/mnt")


def profile(*steps: Step, **fields: Any) -> QuiesceProfile:
    plain = QuiesceProfile(resource_id="disk-00000001", account_id=AccountId("1"), steps=steps, modified_at=0.0)
    return replace(plain, **fields)


@pytest.mark.parametrize(
    ("steps", "held", "level"),
    [
        ((COMMAND, FILES), (True, True), Consistency.APPLICATION),
        ((COMMAND, FILES), (False, True), Consistency.FILESYSTEM),
        # The application wrote everything, into a cache that was not frozen.
        ((COMMAND, FILES), (True, False), Consistency.CRASH),
        ((COMMAND, FILES, OTHER), (True, True, False), Consistency.CRASH),
        ((COMMAND,), (True,), Consistency.APPLICATION),
        ((COMMAND,), (False,), Consistency.CRASH),
        ((FILES, OTHER), (True, True), Consistency.FILESYSTEM),
        ((COMMAND, COMMAND), (True, False), Consistency.CRASH),
        ((), (), Consistency.CRASH),
    ],
)
def test_what_a_snapshot_is_worth(steps: tuple[Step, ...], held: tuple[bool, ...], level: Consistency) -> None:
    assert reached(steps, held) is level
    assert (wanted(steps) is level) == all(held)


def test_profiles_that_can_be_meant() -> None:
    assert fault(profile(COMMAND, FILES, OTHER)) is None
    assert fault(profile(Step(kind=StepKind.MARIADB, option_file="/etc/x.cnf"))) is None
    assert fault(profile(Step(kind=StepKind.POSTGRESQL, connection="service=x passfile=/etc/p"))) is None


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (profile(), "0 steps"),
        (profile(*[COMMAND] * 17), "17 steps"),
        (profile(FILES, COMMAND), "come last"),
        (profile(FILES, freeze_seconds_max=61.0), "61 s"),
        (profile(FILES, freeze_seconds_max=0.0), "0 s"),
        (profile(FILES, freeze_seconds_max=float("nan")), "nan s"),
        (profile(replace(FILES, seconds_max=float("nan"))), "nan s"),
        (profile(replace(FILES, mount="srv")), "not an absolute path"),
        (profile(replace(FILES, mount="/srv/../etc")), "not an absolute path"),
        (profile(replace(FILES, mount=None)), "mount is missing"),
        (profile(replace(COMMAND, thaw=())), "thaw is missing"),
        (profile(replace(COMMAND, freeze=("a",))), "not an absolute path"),
        (profile(replace(COMMAND, freeze=("/a", "b\0"))), "zero byte"),
        (profile(replace(COMMAND, mount="/srv")), "mount means nothing"),
        (profile(Step(kind=StepKind.POSTGRESQL, connection="PASSWORD=x")), "belongs into a file"),
        (profile(Step(kind=StepKind.POSTGRESQL, connection="postgresql://u:secret@h/d")), "belongs into a file"),
    ],
)
def test_profiles_that_cannot_be_meant(wrong: QuiesceProfile, says: str) -> None:
    found = fault(wrong)
    assert found is not None
    assert says in found


def test_steps_of_several_profiles_are_each_done_once_and_file_systems_last() -> None:
    first, second = profile(COMMAND, FILES), profile(replace(COMMAND, freeze=("/bin/c",)), FILES, OTHER)
    assert [step.title for step in combined([first, second])] == [
        "command /bin/a", "command /bin/c", "filesystem /srv", "filesystem /mnt",
    ]  # fmt: skip

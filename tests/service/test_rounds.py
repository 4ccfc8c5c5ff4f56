"""What is done again and again goes on, whatever a round meets (S135)."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from drystone.domain.errors import IntegrityError, ProtocolError, SpaceError, UnavailableError
from drystone.domain.ids import DiskId
from drystone.engine.layout import Layout
from drystone.service import rounds
from drystone.service.host.scratch_guard import ScratchGuard
from drystone.service.rounds import Bugs, insisted, repeat, tried
from drystone.service.spool import Spool


def fails_first(times: int, error: Exception) -> tuple[list[float], Callable[[], Awaitable[None]]]:
    """Return when the rounds began, and a round that fails so many times."""
    began: list[float] = []

    async def once() -> None:
        began.append(asyncio.get_running_loop().time())
        if len(began) <= times:
            raise error

    return began, once


class Ended(BaseException):
    """Stands for the cancelling at the end."""


@pytest.mark.parametrize(("error", "bugs"), [(SpaceError("full"), 0), (MemoryError(), 0), (AssertionError("a bug"), 3)])
def test_a_round_that_fails_comes_again(monkeypatch: pytest.MonkeyPatch, error: Exception, bugs: int) -> None:
    met, (began, once) = Bugs(), fails_first(3, error)
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 5:
            raise Ended

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(Ended):
        asyncio.run(repeat("work", 10.0, once, met))
    assert len(began) == 5
    assert met.counts == ({"loop.work": bugs} if bugs else {})
    # After a bug the pauses grow, up to a minute, and are as before once it is over.
    assert pauses == ([20.0, 40.0, 60.0, 10.0, 10.0] if bugs else [10.0] * 5)


def test_what_guests_wait_for_is_never_put_off_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    _, once = fails_first(20, AssertionError("a bug"))
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 8:
            raise Ended

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(Ended):
        asyncio.run(repeat("space", 0.1, once, Bugs(), seconds_max=1.0))
    assert max(pauses) == 1.0


def test_one_disk_does_not_shield_the_others_from_the_floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F15: the first disk meets a bug."""
    layout = Layout(tmp_path)
    layout.scratch.mkdir()
    for name, size in (("disk-large", 1 << 20), ("disk-small", 1 << 16)):
        (layout.scratch / f"{name}.raw").write_bytes(bytes(size))
    broken: list[str] = []

    async def break_snapshot(_guard: ScratchGuard, disk_id: DiskId, reason: str) -> bool:
        if disk_id == "disk-large":
            raise KeyError(reason)
        broken.append(disk_id)
        return True

    monkeypatch.setattr(ScratchGuard, "break_snapshot", break_snapshot)
    room: Any = SimpleNamespace(layout=layout, look=lambda: SimpleNamespace(above_floor_bytes=0))
    met, none = Bugs(), cast("Any", None)
    guard = ScratchGuard(
        transactions=none, locks=none, host=none, room=room, spool=Spool(room=room, bytes_max=0), bugs=met,
        bytes_max=1 << 30,
    )  # fmt: skip
    asyncio.run(guard.once())
    assert broken == ["disk-small"]
    assert met.counts == {"snapshot.not_broken": 1}


def test_a_start_does_without_what_passes_and_fails_of_the_rest() -> None:
    for passing in (SpaceError("full"), UnavailableError("busy"), OSError(30, "read-only")):
        asyncio.run(tried("step", fails_first(1, passing)[1]))
    for error in (IntegrityError("damaged"), ProtocolError("other"), AssertionError("bug")):
        with pytest.raises(type(error)):
            asyncio.run(tried("step", fails_first(1, error)[1]))


def test_a_step_that_cannot_be_left_out_is_done_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "INSIST_SECONDS_MAX", 0.0)
    met, (began, once) = Bugs(), fails_first(4, AssertionError("bug"))
    asyncio.run(insisted("step", once, met))
    assert len(began) == 5
    assert met.counts == {"start.step": 4}

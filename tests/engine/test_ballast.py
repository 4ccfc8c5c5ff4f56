"""What is kept for the catalog (S136)."""

import os
from pathlib import Path

import pytest

from drystone.engine import ballast as module
from drystone.engine.ballast import GIVEN, PIECE_BYTES_MAX, PIECES, RESERVED, Ballast


@pytest.fixture
def ballast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ballast:
    monkeypatch.setattr(module, "PIECE_BYTES_MAX", module.PIECE_BYTES_MIN)
    return Ballast(tmp_path / "ballast")


def there(ballast: Ballast) -> int:
    return len(list(ballast._directory.iterdir()))


def test_a_running_server_leaves_some_for_the_next_start(ballast: Ballast) -> None:
    assert not ballast.give(at_start=True), "there is none yet"
    assert ballast.fill()
    assert there(ballast) == PIECES
    given = 0
    while ballast.give(at_start=False):
        given += 1
    assert given == (PIECES - RESERVED) // GIVEN
    assert there(ballast) == RESERVED
    assert ballast.give(at_start=True)
    assert there(ballast) == RESERVED - GIVEN
    assert ballast.fill()
    assert there(ballast) == PIECES


def test_the_pieces_really_take_space(ballast: Ballast) -> None:
    ballast.fill()
    sizes = {path.stat().st_blocks * 512 for path in ballast._directory.iterdir()}
    assert min(sizes) >= module.PIECE_BYTES_MIN


def test_none_is_made_where_there_is_no_room(ballast: Ballast, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.statvfs(ballast._directory.parent)

    def full(_path: object) -> os.statvfs_result:
        values = list(real)
        values[4] = 9 * PIECES * PIECE_BYTES_MAX // real.f_frsize // 100  # f_bavail
        return os.statvfs_result(values)

    monkeypatch.setattr(os, "statvfs", full)
    assert not ballast.fill()
    assert not ballast._directory.exists()


def test_what_needs_room_gets_it_piece_by_piece(ballast: Ballast) -> None:
    ballast.fill()
    tries: list[int] = []

    def once() -> None:
        tries.append(there(ballast))
        if len(tries) < 3:
            raise OSError(28, "No space left on device")

    ballast.with_room(once)
    assert tries == [PIECES, PIECES - GIVEN, PIECES - 2 * GIVEN]

    def forbidden() -> None:
        raise PermissionError(1, "no")

    with pytest.raises(PermissionError):
        ballast.with_room(forbidden)
    assert there(ballast) == PIECES - 2 * GIVEN, "that is no question of room"

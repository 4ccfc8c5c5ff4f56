"""A server that is killed while it mends a pack: whatever the moment, the pack is mended in the end."""

import contextlib
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from drystone.codec.pack import FRAME_BYTES_MAX, HEADER_BYTES
from tests.system.harness import Installation, flip, installation, random_bytes

BLOCK = 4096
MIB = 1 << 20


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installation(Path(tmp_path_factory.mktemp("mend")) / "data") as made:
        yield made


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait with hardly a pause: what is waited for lasts some milliseconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.0005)


@pytest.mark.long
def test_a_mend_that_is_killed_is_ended(system: Installation) -> None:
    rng = np.random.default_rng(4)
    disk_id = system.create_disk()
    system.attach(disk_id)
    system.write(disk_id, 0, random_bytes(rng, 8 * MIB))
    taken = system.take(disk_id)
    content = system.read(disk_id, 0, 8 * MIB)
    root = system.data / "store"
    (first,) = root.rglob("packs/*/*")
    folder = first.parent
    log = system.data / "server.log"

    def objects() -> set[Path]:
        return set(folder.iterdir())

    def being_written() -> bool:
        with contextlib.suppress(FileNotFoundError):
            return any(path.stat().st_size for path in (root / ".temporary").iterdir())
        return False

    def moment(number: int, before: set[Path], told: int) -> Callable[[], bool]:
        kinds: list[Callable[[], bool]] = [
            lambda: len(log.read_text()) > told,  # the damage is told
            lambda: being_written() or objects() != before,
            lambda: objects() != before,  # the new object is there
            lambda: bool(before - objects()),  # the old one is gone
        ]
        return kinds[number % len(kinds)]

    def mended(pack: Path) -> bool:
        return objects() != {pack} and not system.record(taken)["Damaged"]

    for number in range(8):
        system.wait(lambda: len(objects()) == 1, "one object of the pack")
        (pack,) = objects()
        flip(pack, HEADER_BYTES + 3 * number * FRAME_BYTES_MAX + 5)
        came = moment(number, {pack}, len(log.read_text()))
        system.own("ScrubStore")
        until(came)
        system.kill()
        assert bytes(system.stored(taken).read(100 * BLOCK, BLOCK)) == content[100 * BLOCK : 101 * BLOCK]
        system.start()
        system.wait_state(disk_id, "ATTACHED")
        system.own("ScrubStore")
        system.wait(partial(mended, pack), "the damage mended")
        assert bytes(system.stored(taken).read(0, 8 * MIB)) == content
        assert system.own("DescribeStoreHealth")["DamageSet"] == []
    assert system.detail(disk_id)["Tracking"] == "LIVE"

from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.console.site import Site
from tests.service.records_world import World


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keep the log of expected failures off the terminal."""
    with capture_logs():
        yield


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A console with two accounts, `admin` and `other`."""
    world = World.open(tmp_path / "catalog.db")
    made = Site(world)
    made.add_account("admin", admin=True)
    made.add_account("other")
    made.changes = 0
    yield made
    world.db.close()

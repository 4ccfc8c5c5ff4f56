import shutil
from pathlib import Path

import pytest

from tests import catalogs
from tests.service.store_world import World, build_world


@pytest.fixture(scope="session")
def built_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return build_world(tmp_path_factory.mktemp("catalog") / "catalog.db")


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    """A catalog and a store with three snapshots, of the test's own; damage is done with `flip`."""
    if catalogs.kind() != catalogs.SQLITE:
        return build_world(tmp_path / "catalog.db")
    built_world: World = request.getfixturevalue("built_world")
    shutil.copy(built_world.path, tmp_path / "catalog.db")
    return World(path=tmp_path / "catalog.db", content=dict(built_world.content), truth=built_world.truth)

"""Settings for all tests."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests import catalogs
from tests.still import Watch

WATCH = Watch()

# A property holds or not whatever else the machine is doing; pytest's time limit bounds a hanging test.
settings.register_profile("drystone", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("drystone")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let `--long` choose everything: `./dev test --long`, which installs what it needs."""
    parser.addoption("--long", action="store_true", help="tests marked `long` too, and longer random histories")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Judge each test by its own moments."""
    WATCH.test_begins()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest; leave tests marked `long` out, and say so, unless `--long` is given."""
    # What a real server is needed for takes minutes a file: the last to begin is waited for alone.
    items.sort(key=lambda item: item.path.parent.name != "system")
    for item in items:
        if item.get_closest_marker("clock"):
            item.add_marker(pytest.mark.flaky(reruns=1, condition=WATCH.stood_still))
    if config.getoption("--long"):
        return
    left_out = [item for item in items if item.get_closest_marker("long")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("long")]


@pytest.fixture(scope="session")
def long(pytestconfig: pytest.Config) -> bool:
    """Whether this is a long run."""
    return bool(pytestconfig.getoption("--long"))


@pytest.fixture(scope="module", params=catalogs.KINDS)
def catalog_kind(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run a test once with catalogs in SQLite and once with catalogs in PostgreSQL (`catalogs.open_catalog`)."""
    with catalogs.of_kind(request.param), catalogs.removed_after():
        yield request.param


@pytest.fixture
def both_catalogs(catalog_kind: str) -> Iterator[str]:
    """The same, and what the test made is removed with it."""
    with catalogs.removed_after():
        yield catalog_kind

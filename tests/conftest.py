"""Settings for all tests."""

import os
from collections import defaultdict
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


def pytest_configure(config: pytest.Config) -> None:
    """Run transactions twice if that is asked for."""
    if "DRYSTONE_TEST_TWICE" in os.environ:
        from tests import twice

        patched = pytest.MonkeyPatch()
        config.add_cleanup(patched.undo)
        twice.install(patched)
        config.pluginmanager.register(twice)


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


# Seconds of tests by folder, on two idle cores, without `--long`. Three run at a time: 1500 in all are ten minutes.
BUDGETS_S = {
    "api": 45,
    "bench": 5,
    "catalog": 30,
    "cli": 35,
    "clients": 5,
    "codec": 5,
    "console": 15,
    "domain": 20,
    "engine": 45,
    "fuzz": 15,
    "guides": 5,
    "house": 15,
    "nbd": 10,
    "objects": 20,
    "prove": 50,
    "quiesce": 40,
    "service": 210,
    "snapstore": 40,
    "system": 780,
    "transfer": 40,
}


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """After a run of everything say what each folder took, and which took more than its share.

    Told, not failed: machines differ, and so does what else they do.
    """
    if config.args_source is not pytest.Config.ArgsSource.TESTPATHS or config.option.keyword or config.option.long:
        return
    took: defaultdict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                took[report.nodeid.split("/")[1]] += report.duration
    if not took:
        return
    terminalreporter.section("seconds of tests by folder, and their budgets")
    for folder, seconds in sorted(took.items()):
        budget = BUDGETS_S.get(folder, 0)
        terminalreporter.line(f"{seconds:8.1f} of {budget:3}  {folder}{'  OVER' if seconds > budget else ''}")

"""One installation for tests that do not end it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.harness import Installation, installation


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A running installation, shared by the tests of one module."""
    with installation(Path(tmp_path_factory.mktemp("drystone"))) as made:
        yield made

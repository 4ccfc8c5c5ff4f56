"""One installation for tests that do not end it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.harness import Installation, installation


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A running installation, shared by the tests of one module."""
    # What is lost stays lost until these tests look: comparisons in the background have tests of their own.
    with installation(Path(tmp_path_factory.mktemp("drystone")), "rescan_after_s = 86400\n") as made:
        yield made

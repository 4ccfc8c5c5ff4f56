from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keep the log of expected failures off the terminal: unconfigured, structlog draws each traceback."""
    with capture_logs():
        yield

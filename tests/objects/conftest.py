"""Servers that are slow to start, once for all tests of objects."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.rgw_server import RgwServer, rgw_server


@pytest.fixture(scope="session")
def rgw() -> Iterator[RgwServer]:
    """Ceph's gateway; tests with it are long."""
    # A short path, as sockets need it.
    with tempfile.TemporaryDirectory(prefix="rgw-", dir="/tmp") as place, rgw_server(Path(place)) as started:
        yield started

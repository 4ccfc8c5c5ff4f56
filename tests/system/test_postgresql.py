"""The real program with its catalog in PostgreSQL."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests import catalogs
from tests.system.harness import Installation, installation, random_bytes

MIB = 1 << 20


def settings(url: str) -> str:
    return f'catalog_url = "{url}"\nexperimental = ["postgresql"]\n'


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """An empty database, without a schema."""
    with catalogs.removed_after():
        yield catalogs.url_of(tmp_path, empty=False)


def end_connections() -> None:
    catalogs.run_statement(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' "
        "AND pid <> pg_backend_pid()"
    )


def test_snapshots_outlive_the_server_and_its_connections(tmp_path: Path, url: str) -> None:
    rng = np.random.default_rng(5)
    with installation(tmp_path / "data", settings(url)) as system:
        disk = system.create_disk(Tags=[{"Key": "a", "Value": "b"}])
        system.attach(disk)
        contents = [random_bytes(rng, MIB), random_bytes(rng, MIB)]
        system.write(disk, 0, contents[0])
        first = system.take(disk)
        system.kill()
        system.start()
        system.write(disk, 0, contents[1])
        end_connections()
        second = system.take(disk)
        tagged = [{"Name": "tag:a", "Values": ["b"]}]
        assert [one.DiskId for one in system.call("DescribeDisks", Filters=tagged).DiskSet] == [disk]
        for snapshot, content in zip((first, second), contents, strict=True):
            assert system.content(snapshot, MIB) == content
        system.call("DeleteSnapshots", SnapshotIds=[first])
        system.wait_idle()
        assert system.content(second, MIB) == contents[1]
        assert not (system.data / "catalog.db").exists()
        assert not (system.data / "backups").exists() or not list((system.data / "backups").iterdir())
        system.host_stop()
        # A database that has lost the catalog is not begun anew, and no command for files touches it.
        (system.data / "drystone.toml").write_text(settings(catalogs.url_of(tmp_path / "other", empty=False)))
        assert "no rows in the database of catalog_url" in refusal("serve", "--port", "0", system=system)
        assert "is in PostgreSQL" in refusal("store", "backup", system=system)


def refusal(*words: str, system: Installation) -> str:
    """Run a command of the server that must be refused; return what it says."""
    ran = subprocess.run(
        [sys.executable, "-m", "drystone", *words, "--data", str(system.data)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ran.returncode != 0
    return ran.stderr

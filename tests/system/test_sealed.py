"""A server whose store is sealed: snapshots, restores, a rotation, a recovery with the key alone."""

import random
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from drystone.domain.errors import DrystoneError
from drystone.offline.maintenance import recover
from drystone.offline.store_keys import export_key, import_key, list_keys, rotate_key
from tests.s3_server import S3Server
from tests.system.harness import installation, random_bytes
from tests.system.test_s3 import BUCKET, PREFIX, command_lines_and_logs, in_bucket, server

__all__ = ["server"]
SETTINGS = 'store_sealed = true\nexperimental = ["sealed"]\n'
MIB = 1 << 20
MARK = b"what a guest wrote, over and over. "


@dataclass(frozen=True)
class World:
    clock = staticmethod(time.time)
    rng = random.Random(3)

    def on_progress(self, done: int, total: int) -> None:
        pass


def in_clear(store: Path, *secrets: bytes) -> list[str]:
    """The objects that show something that they should not, or are no sealed ones."""
    found = []
    for path in sorted(one for one in store.rglob("*") if one.is_file()):
        raw = path.read_bytes()
        known = path.name == "owner" or path.parent.name == "epochs"
        if any(secret in raw for secret in secrets) or not (known or raw.endswith(b"DRYSEAL2")):
            found.append(str(path.relative_to(store)))
    return found


def test_a_sealed_store_from_its_making_to_a_recovery(tmp_path: Path) -> None:
    """S242, S244, S246."""
    noise = random_bytes(np.random.default_rng(5), MIB)
    text = (MARK * (MIB // len(MARK) + 1))[:MIB]
    with installation(tmp_path / "data", SETTINGS) as system:
        disk = system.create_disk(DiskName="a secret name")
        system.attach(disk)
        system.write(disk, 0, text + noise)
        first = system.take(disk, SnapshotName="a secret name")
        system.write(disk, 0, noise)
        second = system.take(disk)
        copy = system.create_disk(SnapshotId=first)
        system.attach(copy)
        assert system.read(copy, 0, 2 * MIB) == text + noise
        system.wait_idle()
        # In all that is there, what a vandal may learn is ids, sizes and times.
        assert in_clear(system.layout.store, MARK, noise[:64], b"a secret name", b"CLOUD_", b"admin") == []
        assert list(system.layout.store.glob("*/reader.py")) == []
        keys = list(system.layout.keys.glob("*.key"))
        assert [oct(one.stat().st_mode & 0o777) for one in keys] == ["0o600"]
        digits = keys[0].read_text().split("\n1     ")[1][:19]
        assert digits not in (system.data / "log" / "snapshot-server.log").read_text() + system.log()
        assert [one.data_keys for one in list_keys(system.data)[0]] == [2]
        with pytest.raises(DrystoneError, match="is served already"):
            rotate_key(system.data, at=time.time())
        system.stop()
        before = export_key(system.data, None)
        done = rotate_key(system.data, at=time.time())
        assert done.data_keys == 2
        assert [(one.id, one.default, one.data_keys) for one in list_keys(system.data)[0]] == [(done.key, True, 2)]
        sheet = export_key(system.data, None)
        store = tmp_path / "store"
        shutil.copytree(system.layout.store, store)
    empty = tmp_path / "empty"
    empty.mkdir(mode=0o700)
    with pytest.raises(DrystoneError, match="drystone key import"):
        recover(empty, store, None, World())
    # The sheet from before the rotation opens nothing any more.
    import_key(empty, before)
    with pytest.raises(DrystoneError, match="import one of"):
        recover(empty, store, None, World())
    shutil.rmtree(empty / "keys")
    import_key(empty, sheet)
    assert sorted(recover(empty, store, None, World()).snapshots_imported) == sorted((first, second))
    with installation(empty, SETTINGS) as again:
        for one, content in ((first, text + noise), (second, noise + noise)):
            made = again.create_disk(SnapshotId=one)
            again.attach(made)
            assert again.read(made, 0, 2 * MIB) == content


@pytest.mark.versitygw
def test_a_sealed_store_in_a_bucket(server: S3Server, tmp_path: Path) -> None:
    """S240, S242: also what waits in the spool, and what is kept of the bucket on this machine."""
    noise = random_bytes(np.random.default_rng(6), MIB)
    text = (MARK * (MIB // len(MARK) + 1))[:MIB]
    with in_bucket(tmp_path / "data", server, SETTINGS) as system:
        disk = system.create_disk(DiskName="a secret name")
        system.attach(disk)
        system.write(disk, 0, text + noise)
        first = system.take(disk, SnapshotName="a secret name")
        system.write(disk, 0, noise)
        second = system.take(disk)
        assert system.content(first, 2 * MIB) == text + noise
        assert system.content(second, 2 * MIB) == noise + noise
        system.wait_idle()
        secrets = (MARK, noise[:64], b"a secret name", b"CLOUD_", b"admin")
        assert in_clear(server.buckets / BUCKET / PREFIX, *secrets) == []
        for place in (system.layout.spool, system.layout.store_cache):
            for path in (one for one in place.rglob("*") if one.is_file()):
                raw = path.read_bytes()
                assert not any(secret in raw for secret in secrets), path
        digits = next(system.layout.keys.glob("*.key")).read_text().split("\n1     ")[1][:19]
        assert digits not in command_lines_and_logs(system)

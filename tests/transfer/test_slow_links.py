"""History 14: reading over a link that is long and loses packets, from a real S3 server by the snapshot server.

The link is slow enough that the machine's load does not count: what is asked is that it is busy.
"""

import random
import time
from pathlib import Path

import msgspec
import pytest
from bench.link import link

from drystone.domain.blocks import BLOCK_BYTES
from drystone.objects.local import LocalStore
from drystone.objects.s3 import S3Store
from drystone.snapstore.far import Far
from drystone.snapstore.local_cache import LocalCache
from drystone.snapstore.reader import SnapshotReader
from drystone.transfer.snapserver import SnapshotExport
from tests.s3_server import s3_server
from tests.sealed_stores import reopen
from tests.snapstore.model_snapshots import STORE_ID, new_store, take

pytestmark = pytest.mark.versitygw
MIB = 1 << 20
RTT_S, BYTES_PER_S = 0.2, 4e6
SIZE = 12 * MIB


def test_history_14_a_long_link_with_losses_is_busy(tmp_path: Path) -> None:
    """S231: eight tenths of it, but for the round trips of the beginning."""
    disk = bytearray(random.Random(3).randbytes(SIZE))
    with s3_server(tmp_path / "s3", keep_alive=True) as server:
        address = server.address("bucket", tmp_path / "keys")
        near = new_store(LocalStore(server.bucket("bucket"), 0))
        take(near, random.Random(4), "snap-00000000", disk, [(0, SIZE // BLOCK_BYTES)])
        with link(server.port, rtt_ms=1000 * RTT_S, mbit_per_s=BYTES_PER_S / 125_000, loss_percent=1) as way:
            objects = S3Store(msgspec.structs.replace(address, endpoint=f"http://127.0.0.1:{way.port}"))
            far = Far(LocalCache(tmp_path / "cache"))
            try:
                export = SnapshotExport(SnapshotReader.open(reopen(objects, STORE_ID, far), "snap-00000000"))
                began = time.monotonic()
                read = b"".join(export.read(at, MIB) for at in range(0, SIZE, MIB))
                seconds = time.monotonic() - began
            finally:
                far.close()
    assert read == disk
    # The map, the index, the first stretches: each after the other, by a new connection, with a packet lost.
    assert seconds <= 10 * RTT_S + SIZE / (0.8 * BYTES_PER_S)

"""Space really comes back: deletions, compaction by itself and by hand, beside a disk that hydrates meanwhile."""

import os
import signal
from pathlib import Path

import numpy as np

from tests.system.harness import installation, random_bytes

MIB = 1 << 20
SIZE = 8 * MIB
PIECE = 32 << 10
SETTINGS = "hydration_bytes_per_s = 65_536\n"
"""So slow that a slow machine is not too late to hold it."""


def pack_bytes(data: Path) -> int:
    """What the packs take in the file system, as du counts it."""
    return sum(512 * file.stat().st_blocks for file in data.glob("store/*/packs/*/*") if file.is_file())


def test_space_comes_back_while_a_disk_hydrates(tmp_path: Path) -> None:
    rng = np.random.default_rng(31)
    with installation(tmp_path / "data", SETTINGS) as system:
        disk_id = system.create_disk()
        system.attach(disk_id)
        data = bytearray(random_bytes(rng, SIZE))
        system.write(disk_id, 0, bytes(data))
        first = system.take(disk_id)
        with system.nbd(disk_id) as client:
            for piece in rng.permutation(SIZE // PIECE)[: SIZE // PIECE // 2].tolist():
                fresh = random_bytes(rng, PIECE)
                data[piece * PIECE : (piece + 1) * PIECE] = fresh
                client.pwrite(piece * PIECE, fresh)
            client.flush()
        second = system.take(disk_id)
        restored = system.create_disk(SnapshotId=second)
        system.attach(restored)
        # What fills the disk is held, with the indexes of the packs as they are now, until they were written again.
        server = system.daemons()["store"]
        os.kill(server, signal.SIGSTOP)
        assert system.detail(restored)["Hydrating"]

        told = system.own("DescribeSnapshotSpace", SnapshotIds=[first])
        assert abs(told["DeadBytes"] - SIZE // 2) <= 0.02 * SIZE
        (alone,) = told["SnapshotSpaceSet"]
        assert told["DeadBytes"] == told["ReclaimableBytes"]
        # Even shares of frames; what is freed is less by what remains around the blocks that live.
        assert abs(alone["UniqueBytes"] - told["DeadBytes"]) <= 0.005 * told["DeadBytes"]
        assert abs(alone["SharedBytes"] - SIZE // 2) <= 0.02 * SIZE
        before = pack_bytes(system.data)
        system.call("DeleteSnapshots", SnapshotIds=[first])
        # By itself: the packs are switched while the disk still reads the snapshot that shares them.
        system.wait(lambda: system.own("DescribeStore")["WaitingBytes"] > 0, "packs written again")
        assert system.detail(restored)["Hydrating"]
        os.kill(server, signal.SIGCONT)
        system.stop()
        (system.data / "drystone.toml").write_text("rate_limits = false\nthrottle = false\n")
        system.start()
        assert system.read(restored, 0, SIZE) == data
        system.wait(lambda: not system.detail(restored)["Hydrating"], "filled")
        assert system.own("DescribeStore")["DeadBytes"] == 0
        ended = system.own("CollectGarbage", Threshold=0)["OperationId"]
        system.wait_idle()
        (operation,) = system.own("DescribeOperations", OperationIds=[ended])["OperationSet"]
        assert operation["State"] == "DONE"
        assert operation["Result"]["waiting_bytes"] == 0

        store = system.own("DescribeStore")
        assert store["ReclaimedBytes"] >= 0.99 * told["DeadBytes"]
        assert before - pack_bytes(system.data) >= 0.97 * told["DeadBytes"]
        assert SIZE / store["StoredBytes"] >= 0.8
        assert system.read(restored, 0, SIZE) == data
        assert system.stored(second).read(0, SIZE) == data
        system.kill()
        system.start()
        assert system.content(second, SIZE) == data

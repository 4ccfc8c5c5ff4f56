"""A short form of the proof program with real databases (`./dev databases`), and how failures are recorded."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from tests.quiesce.databases import SECONDS, short_directory
from tests.system.database_loop import MANNERS, MariaDbLoad, PostgreSqlLoad, Server, World, round_of
from tests.system.harness import installation

pytestmark = [
    pytest.mark.long, pytest.mark.skipif(os.geteuid() != 0, reason="block devices need root"),
]  # fmt: skip


@contextlib.contextmanager
def world_of(kind: type[Server], data: Path) -> Iterator[tuple[World, Server]]:
    with short_directory() as base, installation(data) as system:
        world = World(system, kind, base)
        with world.running() as server:
            yield world, server


def outcome(world: World, reason: str, **step: Any) -> None:
    """Take a snapshot with a database step that fails: refused if it is required, stepped down and told if not."""
    files = {"Kind": "filesystem", "Mount": str(world.base / "mount"), "SecondsMax": 30}
    for mode in ("require", "prefer"):
        world.system.own(
            "SetQuiesceProfile", ResourceId=world.disk_id, Mode=mode, FreezeSecondsMax=60, Steps=[step, files]
        )
        if mode == "require":
            with pytest.raises(TencentCloudSDKException) as refused:
                world.system.call("CreateSnapshot", DiskId=world.disk_id)
            assert reason in str(refused.value.get_message())
            continue
        record = world.system.record(world.system.take(world.disk_id))
        assert record["Consistency"] == "filesystem", record["Transcript"]
        assert any(reason in line for line in record["Transcript"]), record["Transcript"]


def test_mariadb(tmp_path: Path) -> None:
    with world_of(MariaDbLoad, tmp_path / "data") as (world, server):
        assert isinstance(server, MariaDbLoad)
        assert [one.manner for one in round_of(world, server)] == list(MANNERS)
        # A lock that cannot be had: somebody writes to a table under a lock of their own.
        blocker = threading.Thread(target=server.query, args=("LOCK TABLES d.t WRITE; SELECT SLEEP(1000)",))
        blocker.start()
        deadline = time.monotonic() + SECONDS
        while "SLEEP" not in (listed := server.query("SHOW FULL PROCESSLIST")):
            assert time.monotonic() < deadline
        outcome(world, "no lock", Kind="mariadb", OptionFile=str(server.options), SecondsMax=2)
        (session,) = [line.split()[0] for line in listed.splitlines() if "SLEEP" in line]
        server.query(f"KILL {session}")
        blocker.join(SECONDS)
        wrong = server.scratch / "wrong.cnf"
        server.query("CREATE USER u@localhost IDENTIFIED BY 'right'")
        wrong.write_text(f"[client]\nsocket={server.socket}\nuser=u\npassword=wrong\n")
        outcome(world, "Access denied", Kind="mariadb", OptionFile=str(wrong), SecondsMax=30)
        nobody = server.scratch / "nobody.cnf"
        nobody.write_text(f"[client]\nsocket={server.scratch}/nothing\nuser=root\n")
        outcome(world, "Can't connect", Kind="mariadb", OptionFile=str(nobody), SecondsMax=30)


def test_postgresql(tmp_path: Path) -> None:
    with world_of(PostgreSqlLoad, tmp_path / "data") as (world, server):
        assert [one.manner for one in round_of(world, server)] == list(MANNERS)
        down = f"host={server.scratch}/nowhere user=postgres dbname=postgres"
        outcome(world, "nowhere", Kind="postgresql", Connection=down, SecondsMax=30)

"""A data directory has one identity, whatever it is called; and it may be called anything."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from drystone.config import Config
from drystone.domain.errors import ConfigError, UnavailableError
from drystone.engine import run_directory
from drystone.engine.layout import Layout
from tests.system import host_world
from tests.system.harness import Installation, random_bytes
from tests.system.host_world import is_of, run, until

MIB = 1 << 20
root = pytest.mark.skipif(os.geteuid() != 0, reason="block devices need root")


@pytest.fixture
def made(tmp_path: Path) -> Iterator[list[Installation]]:
    """Installations that a test makes; they end with it."""
    found: list[Installation] = []
    yield found
    for one in found:
        one.clean_up()


@root
@pytest.mark.parametrize("name", ["a b,c=é 'd'", "100%&x;y#", "long" * 30, "link"])
def test_any_path_works_everywhere(tmp_path: Path, made: list[Installation], name: str) -> None:
    data = tmp_path / name
    if name == "link":
        (tmp_path / "there").mkdir()
        data.symlink_to(tmp_path / "there")
    system = Installation(data)
    made.append(system)
    system.start()
    content = random_bytes(np.random.default_rng(3), MIB)
    disk, block = system.create_disk(), system.create_disk()
    system.attach(disk)
    system.write(disk, 0, content)
    system.attach(block, system.host_instance)
    # QEMU and libnbd must both find what people are shown.
    for words in (["qemu-img", "info"], ["nbdinfo", "--size"]):
        if words[0] == "qemu-img" or Path("/usr/bin/nbdinfo").exists():
            run(*words, system.detail(disk)["NbdUri"])
    snapshot = system.take(disk)
    assert system.content(snapshot, MIB) == content
    path = tmp_path / "out,%.raw"
    system.own("ExportSnapshot", SnapshotId=snapshot, Path=str(path), Format="raw")
    system.wait_idle()
    with path.open("rb") as file:
        assert file.read(MIB) == content
    link = Path(f"/dev/disk/by-id/virtio-{block}")
    host_world.write_through(link, 0, content)
    system.kill_daemons()

    def readable() -> bool:
        with contextlib.suppress(OSError):
            return is_of(link.readlink(), block) and host_world.read_past_cache(link, 0, MIB) == content
        return False

    until(readable, "a new device with the same content")
    system.host_stop()
    assert system.daemons() == {}


@root
def test_other_names(tmp_path: Path, made: list[Installation]) -> None:
    data = tmp_path / "data"
    first = Installation(data)
    made.append(first)
    first.start()
    disk = first.create_disk()
    first.attach(disk)
    first.write(disk, 0, b"x" * 4096)
    source = first.take(disk)
    daemons = first.daemons()
    first.stop()
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to(data)
    (tmp_path / "bound").mkdir()
    run("mount", "--bind", str(data), str(tmp_path / "bound"))
    try:
        for name in ("other/../data", "link", "bound"):
            again = Installation(tmp_path / name)
            again.start()
            try:
                assert again.daemons() == daemons, name
                assert again.detail(disk)["Tracking"] == "LIVE"
                assert again.read(disk, 0, 4096) == b"x" * 4096
            finally:
                again.stop()
    finally:
        run("umount", str(tmp_path / "bound"))
    moved = tmp_path / "m,v d"
    data.rename(moved)
    after = Installation(moved)
    made.append(after)
    after.start()
    assert after.daemons() == daemons
    # A client finds it where it is now; a new disk reads its snapshot from there.
    assert after.read(disk, 0, 4096) == b"x" * 4096
    assert after.content(source, 4096) == b"x" * 4096
    after.stop()
    # Stopping it by another name stops the same daemons.
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to(moved)
    words = [sys.executable, "-m", "drystone", "host", "stop", "--data", str(tmp_path / "link")]
    subprocess.run(words, check=True, capture_output=True)
    assert after.daemons() == {}


@pytest.mark.parametrize(("name", "says"), [("a\nb", "control characters"), ("a\x7f", "control"), ("a\udcff", "UTF-8")])
def test_a_path_that_cannot_be_told_is_refused(tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Config.load(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@root
def test_daemons_of_another_directory_are_left_alone(tmp_path: Path) -> None:
    """A copy of a directory whose sockets lie outside has a link to the first one's."""
    data = tmp_path / ("long" * 30)
    data.mkdir()
    layout = Layout(data)
    run_directory.make(layout)
    assert layout.run == layout.outside
    assert (data / "run").readlink() == layout.outside
    copy = Layout(tmp_path / ("copy" * 30))
    copy.data.mkdir()
    (copy.data / "run").symlink_to(layout.outside)
    inside = layout.run / "ins-00000001"
    inside.mkdir()
    environment = {**os.environ, "DRYSTONE_DAEMON": "1"}
    with subprocess.Popen(["sleep", "600"], cwd=inside, env=environment) as daemon:
        killer = threading.Timer(30, daemon.kill)
        killer.start()
        try:
            until(lambda: Path(f"/proc/{daemon.pid}/cmdline").read_bytes().startswith(b"sleep"), "the program")
            with pytest.raises(UnavailableError, match=f"is a copy.*process {daemon.pid}"):
                run_directory.make(copy)
            run_directory.make(layout)
        finally:
            daemon.kill()
            killer.cancel()
    run_directory.make(copy)
    assert copy.run == copy.outside != layout.run
    for one in (layout, copy):
        subprocess.run(["rm", "-r", str(one.outside)], check=True)

"""Files of the host by descriptor: what is swapped while it is looked at leads nowhere."""

import os
import threading
from pathlib import Path

import pytest

from drystone.domain.errors import ProtocolError, UnavailableError
from drystone.engine import host_files

STRANGER = 60_790


def content(path: Path) -> bytes:
    descriptor = host_files.open_file(path)
    try:
        return os.read(descriptor, 1 << 16)
    finally:
        os.close(descriptor)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a file, with 100 %.raw"
    path.write_bytes(b"mine")
    return path


def test_a_file_is_opened(file: Path) -> None:
    assert content(file) == b"mine"


def test_only_regular_files_with_one_name(tmp_path: Path, file: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(ProtocolError, match="not a regular file"):
            host_files.open_file(path)
    with pytest.raises(UnavailableError, match="No such file"):
        host_files.open_file(tmp_path / "none")
    with pytest.raises(UnavailableError, match="Not a directory"):
        host_files.open_file(file / "below")
    os.link(file, tmp_path / "second name")
    with pytest.raises(ProtocolError, match="2 names"):
        host_files.open_file(file)


def test_own_links_are_followed(tmp_path: Path, file: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "up").symlink_to("../" + file.name)
    (tmp_path / "way").symlink_to(inner)
    (tmp_path / "whole").symlink_to(inner.absolute() / "up")
    for path in (inner / "up", tmp_path / "way/up", tmp_path / "whole"):
        assert content(path) == b"mine"
    (inner / "round").symlink_to("round")
    with pytest.raises(ProtocolError, match="more than 40"):
        host_files.open_file(inner / "round")


@pytest.mark.root
def test_links_of_others_are_refused(tmp_path: Path, file: Path) -> None:
    for name, target in (("last", file), ("middle", tmp_path)):
        (tmp_path / name).symlink_to(target)
        os.lchown(tmp_path / name, STRANGER, STRANGER)
    for path in (tmp_path / "last", tmp_path / "middle" / file.name):
        with pytest.raises(ProtocolError, match=f"symbolic link of user {STRANGER}"):
            host_files.open_file(path)
    for path in (tmp_path / "middle" / "new.raw", tmp_path / "middle" / "sub" / "new.raw"):
        with pytest.raises(ProtocolError, match="symbolic link"):
            host_files.begin(path, ".part")


@pytest.mark.root
def test_a_name_that_is_swapped_all_the_time_never_leads_to_another_file(tmp_path: Path) -> None:
    """The owner of a directory swaps image and link in a loop; the secret is never what was opened."""
    secret, name, other = (tmp_path / each for each in ("secret", "disk.raw", "spare"))
    secret.write_bytes(b"secret")
    end = threading.Event()

    def swap() -> None:
        while not end.is_set():
            other.symlink_to(secret)
            os.lchown(other, STRANGER, STRANGER)
            other.replace(name)
            other.write_bytes(b"honest")
            other.replace(name)

    swapping = threading.Thread(target=swap)
    swapping.start()
    refusals = 0
    try:
        for _ in range(2000):
            try:
                assert content(name) in {b"honest", b""}
            except (ProtocolError, UnavailableError):
                refusals += 1
    finally:
        end.set()
        swapping.join()
    assert refusals, "it was swapped under the looks"


def test_a_new_file_has_no_name_until_it_is_whole(tmp_path: Path) -> None:
    """S54."""
    path = tmp_path / "new.raw"
    new = host_files.begin(path, ".part")
    os.write(new.descriptor, b"whole")
    assert not list(tmp_path.iterdir())
    host_files.publish(new)
    identity = host_files.identity_of(new.descriptor)
    host_files.drop(new)
    assert path.read_bytes() == b"whole"
    assert path.stat().st_mode & 0o777 == 0o600
    assert host_files.named(path, identity)
    path.unlink()
    path.write_bytes(b"other")
    assert not host_files.named(path, identity)
    assert not host_files.named(tmp_path / "none/new.raw", identity)


@pytest.mark.parametrize("nameless", [True, False])
def test_what_is_there_is_never_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, nameless: bool) -> None:
    """With a link of somebody else at its name, or at the name that it has meanwhile."""
    victim, path = tmp_path / "victim", tmp_path / "new.raw"
    victim.write_bytes(b"the victim's")
    if not nameless:
        monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY | os.O_WRONLY)
    (tmp_path / ".part").symlink_to(victim)
    new = host_files.begin(path, ".part")
    assert (new.part is None) == nameless
    os.write(new.descriptor, b"whole")
    if not nameless:
        (tmp_path / ".part").unlink()
        (tmp_path / ".part").symlink_to(victim)
    path.symlink_to(victim)
    with pytest.raises(FileExistsError):
        host_files.publish(new)
    if nameless:
        path.unlink()
        host_files.publish(new)
        assert path.read_bytes() == b"whole"
    host_files.drop(new)
    assert victim.read_bytes() == b"the victim's"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["new.raw", "victim"]


def test_a_directory_is_known_by_any_name(tmp_path: Path) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    (own / "disks").mkdir(parents=True)
    other.mkdir()
    (other / "way").symlink_to(own)
    for path in (own / "x", own / "disks" / "x", other / "way" / "x", other / ".." / "own" / "disks" / "x"):
        assert host_files.lies_in(path, (own,))
    for path in (other / "x", own / ".." / "x"):
        assert not host_files.lies_in(path, (own,))
    # A server whose snapshots are in a bucket has no directory for them.
    assert not host_files.lies_in(other / "x", (own, own / "store"))
    assert host_files.lies_in(own / "x", (own / "store", own))

"""Encrypted images: what QEMU and cryptsetup make of our headers, and where the key is not (S381)."""

import asyncio
import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from drystone.codec.luks import HEADER_BYTES, luks_header
from drystone.domain.errors import IntegrityError, UnavailableError
from drystone.domain.ids import DiskId
from drystone.engine import graph, luks
from drystone.engine.convert import ImageFile
from drystone.engine.daemon import Daemon
from drystone.engine.graph import Backing
from drystone.engine.live_disk import LiveDisk
from drystone.engine.luks import LuksKey
from drystone.engine.qmp import QmpRefusedError
from drystone.engine.volume import Qcow2Volume

DISK = DiskId("disk-aaaaaaaa")
KEY = LuksKey(bytes(range(32)))
GIB = 1 << 30
MARK = b"what a guest wrote, over and over. " * 4000


def tool(key: LuksKey, program: str, *words: str) -> str:
    """Run one of QEMU's tools with a key; return what it printed."""
    with luks.given(key) as given:
        verb, *rest = words
        first = (program, verb, *given.words) if program == "qemu-img" else (program, *given.words, verb)
        ended = subprocess.run(
            [*first, *rest], pass_fds=given.descriptors, capture_output=True, text=True, check=False
        )  # fmt: skip
    if ended.returncode:
        raise UnavailableError(ended.stdout + ended.stderr)
    return ended.stdout


def opened(path: Path, driver: str = "qcow2") -> str:
    secret = "encrypt.key-secret" if driver == "qcow2" else "key-secret"
    return f"driver={driver},{secret}={luks.SECRET},file.filename={luks.told_path(path)}"


def test_cryptsetup_and_qemu_open_a_header_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "volume"
    path.write_bytes(luks_header(KEY.passphrase.encode(), secrets.token_bytes))
    os.truncate(path, HEADER_BYTES + (1 << 20))
    assert "64 KiB" in tool(KEY, "qemu-io", "--image-opts", opened(path, "luks"), "-c", "write -P 7 64k 64k")
    assert "64 KiB" in tool(KEY, "qemu-io", "--image-opts", opened(path, "luks"), "-c", "read -P 7 64k 64k")
    with pytest.raises(UnavailableError, match="Invalid password"):
        tool(LuksKey(bytes(32)), "qemu-io", "--image-opts", opened(path, "luks"), "-c", "quit")
    if shutil.which("cryptsetup") is not None:
        words = ["cryptsetup", "open", "--test-passphrase", "--key-file=-", str(path)]
        subprocess.run(words, input=KEY.passphrase.encode(), check=True)
        assert subprocess.run(words, input=b"x", check=False, capture_output=True).returncode != 0


def test_no_two_headers_have_a_key_in_common() -> None:
    one, two = (luks_header(KEY.passphrase.encode(), secrets.token_bytes) for _ in range(2))
    parts = [{raw[at : at + 16] for at in range(4096, len(raw), 16)} for raw in (one, two)]
    assert parts[0].isdisjoint(parts[1])
    assert KEY.secret not in one
    assert KEY.passphrase.encode() not in one


@pytest.mark.parametrize("name", ["disk", "a, b"])
def test_an_encrypted_image_is_as_a_plain_one(tmp_path: Path, name: str) -> None:
    """S381: it is made in milliseconds, whole to qemu-img, grows, and has its backing."""
    volume = Qcow2Volume(id=DISK, image=tmp_path / name / "disk.qcow2", key=KEY)
    began = time.monotonic()
    asyncio.run(volume.create(10 * GIB))
    assert time.monotonic() - began < 5, "qemu-img measures how often to hash for seconds, and does not here"
    assert volume.image.stat().st_mode & 0o777 == 0o600
    assert (volume.size_bytes(), volume.has_backing(), volume.is_outdated()) == (10 * GIB, False, False)
    assert "No errors were found" in tool(KEY, "qemu-img", "check", "--image-opts", opened(volume.image))
    told = json.loads(tool(KEY, "qemu-img", "info", "--output=json", "--image-opts", opened(volume.image)))
    assert told["encrypted"] is True
    assert told["format-specific"]["data"]["encrypt"]["format"] == "luks"
    asyncio.run(volume.grow(12 * GIB))
    assert volume.size_bytes() == 12 * GIB
    assert "0 KiB" in tool(KEY, "qemu-io", "--image-opts", opened(volume.image), "-c", "read -P 0 11G 640k")
    backed = Qcow2Volume(id=DISK, image=tmp_path / name / "backed.qcow2", key=KEY)
    asyncio.run(backed.create(GIB, Backing(socket=tmp_path / "s", export="snap-1")))
    assert (backed.size_bytes(), backed.has_backing(), backed.is_outdated()) == (GIB, True, False)
    told = json.loads(subprocess.check_output(["qemu-img", "info", "--output=json", backed.image]))
    assert told["backing-filename"].endswith(f"socket={tmp_path}/s")


def test_only_an_empty_image_of_ours_is_encrypted(tmp_path: Path) -> None:
    volume = Qcow2Volume(id=DISK, image=tmp_path / "d" / "disk.qcow2")
    asyncio.run(volume.create(GIB))
    luks.encrypt_empty(volume.image, KEY)
    before = volume.image.read_bytes()
    with pytest.raises(IntegrityError, match="is no empty image of ours"):
        luks.encrypt_empty(volume.image, KEY)
    assert volume.image.read_bytes() == before
    (tmp_path / "raw").write_bytes(bytes(1 << 17))
    with pytest.raises(IntegrityError, match="is no empty image of ours"):
        luks.encrypt_empty(tmp_path / "raw", KEY)


async def _never() -> None:
    pass


def test_copies_stay_encrypted(tmp_path: Path) -> None:
    """S381: of a plain file that is imported, and of an image that is written anew."""
    plain = tmp_path / "plain.raw"
    plain.write_bytes(MARK)
    os.truncate(plain, 1 << 20)
    volume = Qcow2Volume(id=DISK, image=tmp_path / "d" / "disk.qcow2", key=KEY)
    draft = volume.draft("copy")
    asyncio.run(volume.create(GIB))
    asyncio.run(draft.create(GIB))
    descriptor = os.open(plain, os.O_RDONLY)
    try:
        file = ImageFile(name="plain", descriptor=descriptor, format="raw", scratch=tmp_path)
        asyncio.run(volume.copy_from(file, on_percent=lambda _: None, guard=_never))
    finally:
        os.close(descriptor)
    with volume.opened(tmp_path) as file:
        asyncio.run(draft.copy_from(file, on_percent=lambda _: None, guard=_never))
        assert asyncio.run(draft.same_as(file, on_percent=lambda _: None, guard=_never))
        tool(KEY, "qemu-io", "--image-opts", opened(draft.image), "-c", "write -P 1 512k 4k")
        assert not asyncio.run(draft.same_as(file, on_percent=lambda _: None, guard=_never))
    assert MARK[:64] not in volume.image.read_bytes()
    assert MARK[:64] not in draft.image.read_bytes()
    out = tmp_path / "out.raw"
    tool(KEY, "qemu-img", "convert", "-O", "raw", "--image-opts", opened(volume.image), str(out))
    assert out.read_bytes()[: len(MARK)] == MARK


def test_a_key_is_not_shown() -> None:
    """S381, S244."""
    assert "00010203" not in repr(KEY) + str(KEY)
    assert repr(KEY.secret)[3:20] not in repr(Qcow2Volume(id=DISK, image=Path("x"), key=KEY))
    with luks.given(KEY) as given:
        assert KEY.passphrase not in " ".join(given.words)
        assert [os.get_inheritable(one) for one in given.descriptors] == [False]
        assert os.fstat(given.descriptors[0]).st_mode & 0o777 == 0o600
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(given.descriptors[0])


def test_a_monitor_that_refuses_or_is_gone_tells_no_key(tmp_path: Path) -> None:
    """S381: neither what it answers, nor that it does not, nor its log."""
    log = tmp_path / "daemon.log"

    async def story() -> list[str]:
        daemon = await Daemon.start("d", tmp_path / "run", log, dict(os.environ))
        said = []
        try:
            await LiveDisk(daemon=daemon, id=DISK).give_secret("key", KEY)
            wrong = {**graph.secret(DISK, "key", KEY), "format": "nothing"}
            for arguments in (graph.secret(DISK, "key", KEY), wrong):
                with pytest.raises(QmpRefusedError) as refused:
                    await daemon.execute("object-add", arguments)
                said.append(str(refused.value))
        finally:
            os.kill(daemon.pid, signal.SIGKILL)
        with pytest.raises(UnavailableError) as gone:
            await daemon.execute("object-add", graph.secret(DISK, "other", KEY))
        await daemon.kill()
        return [*said, str(gone.value), repr(gone.value.__cause__)]

    told = asyncio.run(story())
    assert len(told) == 4
    assert not any(KEY.passphrase in one for one in (*told, log.read_text()))

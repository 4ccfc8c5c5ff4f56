"""Image files that people bring: what may be read, what is refused before QEMU sees it, and copies that are whole."""

import asyncio
import os
import random
import struct
import subprocess
from pathlib import Path

import pytest

from drystone.domain.errors import DrystoneError, ProtocolError, SpaceError, UnavailableError
from drystone.engine import convert

MIB = 1 << 20


async def nothing() -> None:
    """Guard nothing."""


def copy(source: Path, source_format: str, target: Path, target_format: str) -> None:
    asyncio.run(
        convert.convert(
            str(source), source_format, target, target_format, on_percent=lambda _percent: None, guard=nothing
        )
    )


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    rng = random.Random(4)
    path.write_bytes(rng.randbytes(MIB) + bytes(2 * MIB) + rng.randbytes(MIB))
    return path


@pytest.fixture
def qcow2(tmp_path: Path, raw: Path) -> Path:
    path = tmp_path / "disk.qcow2"
    copy(raw, "raw", path, "qcow2")
    return path


def qemu(*arguments: str | Path) -> None:
    subprocess.run(["qemu-img", *arguments], check=True, capture_output=True)


def refused(path: Path, image_format: str) -> str:
    with pytest.raises(ProtocolError) as caught:
        asyncio.run(convert.examine(path, image_format))
    return str(caught.value)


@pytest.mark.parametrize("image_format", ["qcow2", "vmdk", "vhdx"])
def test_each_format_goes_there_and_back(tmp_path: Path, raw: Path, image_format: str) -> None:
    made, back = tmp_path / f"made.{image_format}", tmp_path / "back.raw"
    copy(raw, "raw", made, image_format)
    assert convert.chosen_format(made, None) == image_format
    found = asyncio.run(convert.examine(made, image_format))
    assert (found.format, found.size_bytes) == (image_format, 4 * MIB)
    asyncio.run(convert.check(made, image_format))
    copy(made, image_format, back, "raw")
    assert back.read_bytes() == raw.read_bytes()
    assert back.stat().st_blocks * 512 < 3 * MIB, "zeros are holes"
    assert back.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_there_is_never_overwritten(raw: Path, qcow2: Path) -> None:
    before = qcow2.read_bytes()
    with pytest.raises(FileExistsError):
        copy(raw, "raw", qcow2, "qcow2")
    assert qcow2.read_bytes() == before


def test_name_and_content_must_agree(tmp_path: Path, raw: Path, qcow2: Path) -> None:
    assert convert.chosen_format(raw, None) == "raw"
    guest = tmp_path / "guest.raw"
    guest.write_bytes(qcow2.read_bytes())
    for path in (guest, tmp_path / "disk"):
        path.write_bytes(qcow2.read_bytes())
        with pytest.raises(ProtocolError, match="give the format"):
            convert.chosen_format(path, None)
    # Said to be raw, a guest's header is data.
    assert convert.chosen_format(guest, "raw") == "raw"
    assert convert.chosen_format(guest, "qcow2") == "qcow2"
    with pytest.raises(ProtocolError, match="is not a vmdk"):
        convert.chosen_format(qcow2, "vmdk")


def test_what_refers_to_other_files_is_refused(tmp_path: Path, qcow2: Path) -> None:
    over, outside = tmp_path / "over.qcow2", tmp_path / "outside.qcow2"
    qemu("create", "-f", "qcow2", "-F", "qcow2", "-b", qcow2, over)
    assert "has a backing file" in refused(over, "qcow2")
    qemu("create", "-f", "qcow2", "-o", f"data_file={tmp_path}/data.raw", outside, "4M")
    assert "keeps its data in another file" in refused(outside, "qcow2")
    flat = tmp_path / "flat.vmdk"
    qemu("convert", "-f", "qcow2", "-O", "vmdk", "-o", "subformat=monolithicFlat", qcow2, flat)
    assert "several files" in refused(flat, "vmdk")
    sparse = tmp_path / "sparse.vmdk"
    qemu("convert", "-f", "qcow2", "-O", "vmdk", qcow2, sparse)
    data = sparse.read_bytes()
    for old, new, words in (
        (b'createType="monolithicSparse"', b'createType="monolithicFlat"  ', "of one file"),
        (b"parentCID=ffffffff", b"parentCID=12345678", "parent"),
        # QEMU takes the first of two; and without a capacity it opens whatever file the descriptor names.
        (b"# Extent description\n", b'createType="vmfs"    \n', "vmfs"),
        (data[4:20], data[4:12] + bytes(8), "without a disk of its own"),
    ):
        assert old in data
        sparse.write_bytes(data.replace(old, new))
        assert words in refused(sparse, "vmdk")


def test_an_image_that_was_cut_off_is_refused(tmp_path: Path, qcow2: Path) -> None:
    cut = tmp_path / "cut.qcow2"
    cut.write_bytes(qcow2.read_bytes()[: MIB + MIB // 2])
    asyncio.run(convert.examine(cut, "qcow2"))
    with pytest.raises(ProtocolError, match="damaged or cut off"):
        asyncio.run(convert.check(cut, "qcow2"))
    short = tmp_path / "short.raw"
    short.write_bytes(bytes(1000))
    assert "cut off" in refused(short, "raw")
    empty = tmp_path / "empty.raw"
    empty.touch()
    assert "holds no disk" in refused(empty, "raw")


def test_pipes_and_devices_are_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.raw"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path, Path("/dev/zero")):
        with pytest.raises(ProtocolError, match="not a regular file"):
            convert.chosen_format(path, "raw")
    with pytest.raises(UnavailableError, match="No such file"):
        convert.chosen_format(tmp_path / "none", None)


def test_any_header_is_read_or_refused(tmp_path: Path, qcow2: Path) -> None:
    rng = random.Random(6)
    head = bytearray(qcow2.read_bytes()[:512])
    path = tmp_path / "any"
    for number in range(200):
        data = bytearray(head if number % 2 else rng.randbytes(rng.randrange(600)))
        for _ in range(rng.randrange(4)):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        if number % 5 == 0:
            data[:4] = b"KDMV"
            data[28:44] = struct.pack("<QQ", rng.randrange(1 << 40), rng.randrange(1 << 63))
        path.write_bytes(data)
        for image_format in ("qcow2", "vmdk"):
            try:
                convert.format_of(path)
                convert.refuse_references(path, image_format)
            except (ProtocolError, UnavailableError):
                continue


def test_what_the_guard_raises_ends_the_copy(tmp_path: Path, raw: Path) -> None:
    async def full() -> None:
        raise SpaceError("near the floor")

    with pytest.raises(SpaceError):
        asyncio.run(
            convert.convert(str(raw), "raw", tmp_path / "x", "raw", on_percent=lambda _percent: None, guard=full)
        )


def test_a_failure_says_why(tmp_path: Path) -> None:
    with pytest.raises(DrystoneError, match="No such file"):
        copy(tmp_path / "none.raw", "raw", tmp_path / "x.raw", "raw")

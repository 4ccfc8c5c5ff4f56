"""Image files that people bring: what may be read, what is refused before QEMU sees it, and copies that are whole."""

import asyncio
import contextlib
import errno
import os
import random
import struct
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from drystone.domain.errors import ProtocolError, SpaceError, UnavailableError
from drystone.domain.ids import DiskId
from drystone.engine import convert, host_files, image_formats, unprivileged
from drystone.engine.graph import Backing
from drystone.engine.volume import Qcow2Volume

DISK = DiskId("disk-00000001")
MIB = 1 << 20


async def nothing() -> None:
    """Guard nothing."""


@contextlib.contextmanager
def opened(path: Path, image_format: str) -> Iterator[convert.ImageFile]:
    scratch = path.parent / ("scratch, with a name that no address of a socket could hold" * 3)
    scratch.mkdir(exist_ok=True)
    descriptor = host_files.open_file(path)
    try:
        yield convert.ImageFile(name=str(path), descriptor=descriptor, format=image_format, scratch=scratch)
    finally:
        os.close(descriptor)
    assert not list(scratch.iterdir()), "nothing is left of the socket"


def chosen(path: Path, wanted: str | None, *, forced: bool = False) -> str:
    with opened(path, "raw") as file:
        return image_formats.chosen(convert.bytes_of(file.name, file.descriptor), wanted, forced=forced)


def examined(path: Path, image_format: str) -> convert.Found:
    with opened(path, image_format) as file:
        return asyncio.run(convert.examine(file))


def checked(path: Path, image_format: str) -> None:
    with opened(path, image_format) as file:
        asyncio.run(convert.check(file))


def imported(path: Path, image_format: str, target: Path, guard: convert.Guard = nothing) -> None:
    with opened(path, image_format) as file:
        size = asyncio.run(convert.examine(file)).size_bytes
        asyncio.run(Qcow2Volume(id=DISK, image=target).create(size))
        asyncio.run(convert.import_into(file, target, on_percent=lambda _percent: None, guard=guard))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    rng = random.Random(4)
    path.write_bytes(rng.randbytes(MIB) + bytes(2 * MIB) + rng.randbytes(MIB))
    return path


@pytest.fixture
def qcow2(tmp_path: Path, raw: Path) -> Path:
    path = tmp_path / "disk.qcow2"
    qemu("convert", "-f", "raw", "-O", "qcow2", raw, path)
    return path


def qemu(*arguments: str | Path) -> None:
    subprocess.run(["qemu-img", *arguments], check=True, capture_output=True)


def refused(path: Path, image_format: str) -> str:
    with pytest.raises(ProtocolError) as caught:
        examined(path, image_format)
    return str(caught.value)


FORMATS = (
    ("qcow2", "qcow2", ()),
    ("vmdk", "vmdk", ()),
    ("vhdx", "vhdx", ()),
    ("vhd", "vpc", ("-o", "force_size=on")),
    ("vhd", "vpc", ("-o", "subformat=fixed,force_size=on")),
    ("vdi", "vdi", ()),
    ("qed", "qed", ()),
    ("parallels", "parallels", ()),
)


@pytest.mark.parametrize(("image_format", "driver", "options"), FORMATS)
def test_each_format_is_told_and_imported(
    tmp_path: Path, raw: Path, image_format: str, driver: str, options: Sequence[str]
) -> None:
    made, back = tmp_path / f"made.{image_format}", tmp_path / "back.qcow2"
    qemu("convert", "-f", "raw", "-O", driver, *options, raw, made)
    assert chosen(made, None) == chosen(made, image_format) == image_format
    assert examined(made, image_format).size_bytes == 4 * MIB
    checked(made, image_format)
    # Its bytes are no disk: said to be raw, it is refused, unless somebody insists.
    with pytest.raises(ProtocolError, match=f"looks like {image_format}, not raw"):
        chosen(made, "raw")
    assert chosen(made, "raw", forced=True) == "raw"
    imported(made, image_format, back)
    status = back.stat()
    assert (status.st_mode & 0o777, status.st_uid) == (0o600, os.geteuid())
    qemu("compare", "-f", "raw", "-F", "qcow2", raw, back)
    assert status.st_blocks * 512 < 3 * MIB, "zeros are holes"


def test_a_raw_file_is_imported(tmp_path: Path, raw: Path) -> None:
    back = tmp_path / "back.qcow2"
    imported(raw, chosen(raw, None), back)
    qemu("compare", "-f", "raw", "-F", "qcow2", raw, back)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("qcow", b"QFI\xfb\0\0\0\1"), ("bochs", b"Bochs Virtual HD Image"), ("gzip", b"\x1f\x8b\x08\0"),
        ("xz", b"\xfd7zXZ\0"), ("zstd", b"\x28\xb5\x2f\xfd"), ("tar", bytes(257) + b"ustar"), ("zip", b"PK\3\4"),
        ("dmg", bytes(MIB - 512) + b"koly" + bytes(508)),
    ],
)  # fmt: skip
def test_what_is_not_imported_is_refused_by_name(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / "disk.raw"
    path.write_bytes(content + bytes(-len(content) % MIB))
    for wanted in (None, "raw", "qcow2"):
        with pytest.raises(ProtocolError, match=f"looks like {name}.*, which is not imported; "):
            chosen(path, wanted)
    assert chosen(path, "raw", forced=True) == "raw"


def test_name_and_content_must_agree(tmp_path: Path, raw: Path, qcow2: Path) -> None:
    assert chosen(raw, None) == "raw"
    for path in (tmp_path / "guest.raw", tmp_path / "disk", tmp_path / "disk.img"):
        path.write_bytes(qcow2.read_bytes())
        with pytest.raises(ProtocolError, match="give the format, `--format "):
            chosen(path, None)
        with pytest.raises(ProtocolError, match="looks like qcow2, not raw"):
            chosen(path, "raw")
        # Whoever knows that a guest wrote that header says so.
        assert chosen(path, "raw", forced=True) == "raw"
        assert chosen(path, "qcow2") == "qcow2"
    with pytest.raises(ProtocolError, match="is not a vmdk"):
        chosen(qcow2, "vmdk", forced=True)


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
    qed, based = tmp_path / "base.qed", tmp_path / "based.qed"
    qemu("create", "-f", "qed", qed, "4M")
    qemu("create", "-f", "qed", "-F", "qed", "-b", qed, based)
    assert "has a backing file" in refused(based, "qed")
    vhd = tmp_path / "disk.vhd"
    qemu("convert", "-f", "qcow2", "-O", "vpc", qcow2, vhd)
    dynamic, differencing = struct.pack(">I", 3), struct.pack(">I", 4)
    data = vhd.read_bytes()
    assert data[60:64] == data[-512:][60:64] == dynamic
    for changed in (data[:60] + differencing + data[64:], data[: len(data) - 452] + differencing + data[-448:]):
        # QEMU would read it, and zeros for all that the parent holds.
        vhd.write_bytes(changed)
        assert "merge its parent first" in refused(vhd, "vhd")


@pytest.mark.parametrize("victim_mode", [0o600, 0o644])
def test_a_header_that_changes_after_the_look_opens_nothing(
    tmp_path: Path, qcow2: Path, raw: Path, victim_mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever owns the file may write to it at any moment, also between the look and the copying."""
    secret = tmp_path / "secret.raw"
    secret.write_bytes(b"only root may read this".ljust(4 * MIB, b"!"))
    secret.chmod(victim_mode)
    over, target = tmp_path / "over.qcow2", tmp_path / "target.qcow2"
    qemu("create", "-f", "qcow2", "-F", "raw", "-b", secret, over)
    monkeypatch.setattr(image_formats, "refuse_references", lambda _file, _format: None)
    with opened(over, "qcow2") as file:
        asyncio.run(Qcow2Volume(id=DISK, image=target).create(4 * MIB))
        asyncio.run(convert.import_into(file, target, on_percent=lambda _percent: None, guard=nothing))
    qemu("convert", "-f", "qcow2", "-O", "raw", target, tmp_path / "result.raw")
    assert b"only root" not in (tmp_path / "result.raw").read_bytes()


@pytest.mark.root
def test_a_data_file_that_only_root_may_read_is_not_opened(tmp_path: Path, raw: Path) -> None:
    secret, outside, target = tmp_path / "secret.raw", tmp_path / "outside.qcow2", tmp_path / "target.qcow2"
    qemu("create", "-f", "qcow2", "-o", f"data_file={secret}", outside, "4M")
    secret.write_bytes(b"only root may read this".ljust(4 * MIB, b"!"))
    secret.chmod(0o600)
    with opened(outside, "qcow2") as file:
        asyncio.run(Qcow2Volume(id=DISK, image=target).create(4 * MIB))
        with pytest.raises(UnavailableError, match="Permission denied"):
            asyncio.run(convert.import_into(file, target, on_percent=lambda _percent: None, guard=nothing))


def test_an_image_that_was_cut_off_is_refused(tmp_path: Path, qcow2: Path) -> None:
    cut = tmp_path / "cut.qcow2"
    cut.write_bytes(qcow2.read_bytes()[: MIB + MIB // 2])
    examined(cut, "qcow2")
    with pytest.raises(ProtocolError, match="damaged or cut off"):
        checked(cut, "qcow2")
    short = tmp_path / "short.raw"
    short.write_bytes(bytes(1000))
    assert "cut off" in refused(short, "raw")
    empty = tmp_path / "empty.raw"
    empty.touch()
    assert "holds no disk" in refused(empty, "raw")


def test_any_header_is_read_or_refused(tmp_path: Path, qcow2: Path) -> None:
    rng = random.Random(6)
    head = bytearray(qcow2.read_bytes()[:512])
    path = tmp_path / "any"
    magics = [b"KDMV", b"conectix", b"QED\0", b"QFI\xfb"]
    for number in range(300):
        data = bytearray(head if number % 2 else rng.randbytes(rng.randrange(600)))
        for _ in range(rng.randrange(4)):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        if number % 3 == 0:
            magic = rng.choice(magics)
            data[: len(magic)] = magic
            data[28:44] = struct.pack("<QQ", rng.randrange(1 << 40), rng.randrange(1 << 63))
        path.write_bytes(data)
        descriptor = host_files.open_file(path)
        file = convert.bytes_of("any", descriptor)
        for image_format in image_formats.IMPORTED:
            with contextlib.suppress(ProtocolError):
                image_formats.claimed(file)
                image_formats.refuse_references(file, image_format)
        os.close(descriptor)


def test_what_the_guard_raises_ends_the_copy(tmp_path: Path, raw: Path) -> None:
    async def full() -> None:
        raise SpaceError("near the floor")

    with pytest.raises(SpaceError):
        imported(raw, "raw", tmp_path / "x.qcow2", guard=full)


def test_a_source_that_is_gone_says_why(tmp_path: Path) -> None:
    new = host_files.begin(tmp_path / "x.raw", ".part")
    try:
        with pytest.raises(UnavailableError, match="the snapshot cannot be read: No such file"):
            asyncio.run(
                convert.export_into(
                    Backing(socket=tmp_path / "none.sock", export="snap"), new.descriptor, "raw",
                    on_percent=lambda _percent: None, guard=nothing,
                )
            )  # fmt: skip
    finally:
        host_files.drop(new)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_system_that_lets_nobody_give_files_away_is_told(
    tmp_path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As NFS with root_squash."""

    def refuse(*_arguments: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    target = tmp_path / "target"
    with monkeypatch.context() as squashed:
        squashed.setattr(os, "fchown", refuse)
        with pytest.raises(UnavailableError, match=r"root_squash.*local file system"):
            imported(raw, "raw", target)
    target.unlink()
    imported(raw, "raw", target)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_no_two_programs_have_one_user(tmp_path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S190: one user's programs could look into each other."""
    running, most, run = list[str](), [0], convert._run

    async def noted(command: Sequence[str], **rest: object) -> tuple[int, bytes]:
        (uid,) = [word for word in command if word.startswith("--reuid=")]
        assert uid not in running
        running.append(uid)
        most[0] = max(most[0], len(running))
        try:
            return await run(command, **rest)  # type: ignore[arg-type]
        finally:
            running.remove(uid)

    monkeypatch.setattr(convert, "_run", noted)

    async def both() -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(3):
                directory = tmp_path / str(number)
                directory.mkdir()
                (directory / "image").write_bytes(raw.read_bytes())
                file = files.enter_context(opened(directory / "image", "raw"))
                tasks.create_task(convert.examine(file))

    with contextlib.ExitStack() as files:
        asyncio.run(both())
    assert most[0] > 1
    monkeypatch.setattr(unprivileged, "USERS_EACH", 1)
    with unprivileged.user(), pytest.raises(UnavailableError, match="try again"), unprivileged.user():
        pass
    with unprivileged.user() as uid:
        assert uid in range(60_706, 61_184)

"""What the machine is started from, made of small hosts of this directory."""

import io
import lzma
import subprocess
import tarfile
from pathlib import Path

import pytest

from drystone.prove import appliance, programs
from drystone.prove.appliance import ApplianceError, cpio, find_kernel, initramfs, load_order
from drystone.prove.programs import closure, parse_packages
from tests.prove.machines import PATH

DEPENDENCIES = """kernel/fs/xfs/xfs.ko.xz: kernel/lib/libcrc32c.ko.xz
kernel/lib/libcrc32c.ko.xz:
kernel/drivers/virtio/virtio_blk.ko.xz: kernel/drivers/virtio/virtio_ring.ko.xz kernel/drivers/virtio/virtio.ko.xz
kernel/drivers/virtio/virtio_ring.ko.xz: kernel/drivers/virtio/virtio.ko.xz
kernel/drivers/virtio/virtio.ko.xz:
"""


def kernel_of(root: Path, version: str) -> None:
    modules = root / "lib/modules" / version
    (root / "boot").mkdir(exist_ok=True)
    (root / "boot" / f"vmlinuz-{version}").write_bytes(b"kernel")
    modules.mkdir(parents=True)
    (modules / "modules.dep").write_text(DEPENDENCIES)
    for line in DEPENDENCIES.splitlines():
        file = modules / line.partition(":")[0]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(lzma.compress(file.name.encode()))


def test_the_kernel_is_one_for_machines_and_the_newest(tmp_path: Path) -> None:
    with pytest.raises(ApplianceError, match="package linux-image"):
        find_kernel(tmp_path, "linux-image-cloud-amd64")
    for version in ("6.1.0-9-amd64", "6.1.0-10-amd64"):
        kernel_of(tmp_path, version)
    (tmp_path / "boot/vmlinuz-7.0").touch()
    assert find_kernel(tmp_path, "").version == "6.1.0-10-amd64"
    kernel_of(tmp_path, "6.1.0-9-cloud-amd64")
    assert find_kernel(tmp_path, "").version == "6.1.0-9-cloud-amd64"


def test_modules_are_loaded_after_what_they_need() -> None:
    order = [path.rpartition("/")[2] for path in load_order(DEPENDENCIES, ["virtio_blk", "built_in", "xfs"])]
    assert order == ["virtio.ko.xz", "virtio_ring.ko.xz", "virtio_blk.ko.xz", "libcrc32c.ko.xz", "xfs.ko.xz"]


def test_the_first_file_system_holds_modules_and_the_prover(tmp_path: Path) -> None:
    kernel_of(tmp_path, "6.1")
    archive = initramfs(find_kernel(tmp_path, ""))
    listed = subprocess.run(["busybox", "cpio", "-t"], input=archive, capture_output=True, check=True).stdout.decode()
    names = listed.splitlines()
    assert {"init", "busybox", "drystone/modules/virtio_blk.ko", "drystone/drystone/prove/guest/main.py"} <= set(names)
    read = subprocess.run(
        ["busybox", "cpio", "-i", "--to-stdout", "drystone/modules/xfs.ko"],
        input=archive,
        capture_output=True,
        check=True,
    ).stdout
    assert read == b"xfs.ko.xz"
    assert cpio([]).startswith(b"070701")


def test_the_prover_imports_only_what_is_shipped(tmp_path: Path) -> None:
    """With the distribution's Python, which has none of the host's libraries."""
    for path in appliance.SHIPPED:
        target = tmp_path / "drystone" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((appliance.PACKAGE / path).read_bytes())
    subprocess.run(
        ["/usr/bin/python3", "-I", "-S", "-c",
         f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import drystone.prove.guest.main"], check=True,
    )  # fmt: skip


def test_packages_come_with_what_they_need_and_no_more() -> None:
    text = "\n".join(
        "\t".join(fields)
        for fields in (
            ("e2fsprogs", "installed", "1", "", "libc6 (>= 2)", "logsave | x, libblkid1:any (>= 1)"),
            ("libc6", "installed", "2", "", "", ""),
            ("libblkid-new", "installed", "3", "libblkid1 (= 3)", "", "debconf"),
            ("debconf", "installed", "4", "", "", "perl"),
            ("ssh", "installed", "5", "", "", "libc6"),
            ("xfsprogs", "config-files", "6", "", "", ""),
        )
    )
    assert closure(parse_packages(text)) == {"e2fsprogs": "1", "libblkid-new": "3", "libc6": "2"}


def test_what_not_every_user_may_read_is_not_in_the_image(tmp_path: Path) -> None:
    (tmp_path / "open").write_text("x")
    (tmp_path / "secret").write_text("x")
    (tmp_path / "secret").chmod(0o640)
    (tmp_path / "link").symlink_to("/etc/shadow")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w|") as tar:
        programs._fill(tar, [tmp_path / name for name in ("open", "secret", "link", "gone")])
    buffer.seek(0)
    with tarfile.open(fileobj=buffer) as tar:
        names = [Path(name).name for name in tar.getnames()]
    assert {"open", "link", "proc"} <= set(names)
    assert not {"secret", "gone"} & set(names)
    listed = ["/etc/passwd", "/usr/share/doc/x", "relative", "/usr/lib/../lib/x.so", "/bin/true"]
    found = [str(path) for path in programs._wanted(listed) if programs.LOCALES not in path.parents]
    assert not any(path.startswith(("/etc", "/usr/share/doc")) for path in found)
    assert "/usr/bin/true" in found or not Path("/bin").is_symlink()


def test_what_a_killed_packer_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_pack", lambda _packer, _files, image, _path: image.write_bytes(b"image"))
    environment = {"PATH": PATH}
    for _ in range(2):  # With no image yet, and with one.
        (tmp_path / f"{programs.UNFINISHED}left").write_bytes(b"half")
        image = programs.ensure(tmp_path, environment)
        assert {path.name for path in tmp_path.iterdir()} == {"lock", image.name}

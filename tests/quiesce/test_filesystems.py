"""Which file systems may be frozen: those whose every device is of the snapshot's disks, by the kernel's word."""

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from drystone.domain.quiesce import Step, StepKind
from drystone.quiesce.actions import FileSystem, action_of
from drystone.quiesce.filesystems import devices_of, path_devices
from drystone.quiesce.plan import Plan
from drystone.quiesce.program import StepError
from tests.images import MIB, loop, made

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="block devices need root")
SMALLEST = {"ext4": 16 * MIB, "xfs": 320 * MIB, "btrfs": 128 * MIB}


@contextlib.contextmanager
def mounted(where: Path, *arguments: str) -> Iterator[Path]:
    where.mkdir(exist_ok=True)
    subprocess.run(["mount", *arguments, str(where)], check=True)
    try:
        assert where.is_mount()
        yield where
    finally:
        subprocess.run(["umount", str(where)], check=True)


def numbers(*devices: str) -> frozenset[int]:
    return frozenset(Path(device).stat().st_rdev for device in devices)


def frozen(where: Path, allowed: frozenset[int], *, never: frozenset[int] = frozenset()) -> None:
    """Freeze it, prove that a write waits until it is thawed, and thaw it.

    Raises:
        StepError: It is refused.
    """
    plan = Plan(
        steps=(), seconds_max=30, stop_at_failure=True, devices=tuple(sorted(allowed)), never=tuple(sorted(never)),
        path="/usr/sbin:/usr/bin:/sbin:/bin",
    )  # fmt: skip
    action = action_of(Step(kind=StepKind.FILESYSTEM, mount=str(where), seconds_max=30), plan)
    assert isinstance(action, FileSystem)
    written = threading.Event()

    def write() -> None:
        (where / "probe").write_text("x")
        written.set()

    action.freeze()
    try:
        threading.Thread(target=write, daemon=True).start()
        waited = not written.wait(0.3)
    finally:
        action.thaw()
        os.close(action.descriptor)
    assert waited, "it was not frozen"
    assert written.wait(30)


@pytest.mark.parametrize("kind", SMALLEST)
def test_a_file_system_of_the_disk_is_frozen(kind: str, tmp_path: Path) -> None:
    image, other = made(tmp_path / "image", kind, SMALLEST[kind]), made(tmp_path / "other")
    with loop(image) as device, loop(other) as foreign, mounted(tmp_path / "mount", device) as where:
        assert path_devices(where) == numbers(device)
        frozen(where, numbers(device))
        for allowed in (frozenset[int](), numbers(foreign)):
            with pytest.raises(StepError, match=f"{kind} on device .* not of this snapshot's disks"):
                frozen(where, allowed)
        with pytest.raises(StepError, match="Drystone's own data"):
            frozen(where, numbers(device), never=numbers(device))
        # The same file system under another name.
        with mounted(tmp_path / "bound", "--bind", str(where)) as bound:
            frozen(bound, numbers(device))


def test_subvolumes_of_a_btrfs_are_the_same_file_system(tmp_path: Path) -> None:
    with loop(made(tmp_path / "image", "btrfs", SMALLEST["btrfs"])) as device:
        with mounted(tmp_path / "mount", device) as where:
            subprocess.run(["btrfs", "subvolume", "create", where / "sub"], check=True, capture_output=True)
            assert where.stat().st_dev != (where / "sub").stat().st_dev
            frozen(where / "sub", numbers(device))
        with mounted(tmp_path / "mount", "-o", "subvol=sub", device) as where:
            frozen(where, numbers(device))


def test_a_btrfs_of_several_devices_is_frozen_if_all_are_of_the_snapshot(tmp_path: Path) -> None:
    images = [tmp_path / "first", tmp_path / "second"]
    for image in images:
        with image.open("wb") as file:
            file.truncate(SMALLEST["btrfs"])
    with loop(images[0]) as one, loop(images[1]) as two:
        subprocess.run(["mkfs.btrfs", "-q", "-d", "raid1", "-m", "raid1", one, two], check=True)
        subprocess.run(["btrfs", "device", "scan", one, two], check=True, capture_output=True)
        with mounted(tmp_path / "mount", two) as where:
            assert path_devices(where) == numbers(one, two)
            frozen(where, numbers(one, two))
            for device in (one, two):
                with pytest.raises(StepError, match="not of this snapshot's disks"):
                    frozen(where, numbers(device))
        # Without one of its devices nobody can say what it stands on.
        subprocess.run(["btrfs", "device", "scan", "--forget", one], check=True, capture_output=True)
        with (
            mounted(tmp_path / "mount", "-o", "degraded", two) as where,
            pytest.raises(StepError, match="btrfs on device 0:"),
        ):
            frozen(where, numbers(one, two))
        subprocess.run(["btrfs", "device", "scan", "--forget", two], check=True, capture_output=True)


def test_what_stands_on_no_device_is_refused(tmp_path: Path) -> None:
    with (
        loop(made(tmp_path / "image", "btrfs", SMALLEST["btrfs"])) as device,
        mounted(tmp_path / "below", device) as low,
    ):
        for name in ("upper", "work"):
            (low / name).mkdir()
        options = f"lowerdir={tmp_path},upperdir={low / 'upper'},workdir={low / 'work'}"
        with (
            mounted(tmp_path / "over", "-t", "overlay", "-o", options, "overlay") as where,
            pytest.raises(StepError, match="is overlay on device 0:"),
        ):
            frozen(where, numbers(device))
        with (
            mounted(tmp_path / "memory", "-t", "tmpfs", "none") as where,
            pytest.raises(StepError, match="is tmpfs on"),
        ):
            frozen(where, numbers(device))


def test_a_descriptor_says_what_it_is_after_its_name_has_gone(tmp_path: Path) -> None:
    image = made(tmp_path / "image", "btrfs", SMALLEST["btrfs"])
    with loop(image) as device, mounted(tmp_path / "mount", device) as where:
        descriptor = os.open(where, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with mounted(where, "-t", "tmpfs", "none"):
                assert devices_of(descriptor) == numbers(device)
        finally:
            os.close(descriptor)

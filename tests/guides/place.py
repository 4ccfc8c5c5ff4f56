"""A machine of its own for each page: this machine's files, of which every change is thrown away, and no network.

A page may write to /etc, mount, start servers on well-known ports and remove directories, as it would on the machine of
who reads it. Kernel, processors and devices are this machine's. Namespaces and an overlay do that; it needs root.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from drystone.engine import host_device, loop

from .pages import ROOT

INSIDE = "tests.guides.inside"
LEFT_OUT = ("data", "s3")
"""What a clone of the repository does not have, but who works on it may."""


def shell_of(place: Path) -> str:
    """Return the script that makes the machine under a directory and then becomes its argument."""
    return f"""set -e
mount --make-rprivate /
mount -t overlay overlay -o lowerdir=/,upperdir={place}/upper,workdir={place}/work {place}/root
mount -t proc proc {place}/root/proc
mount --rbind /dev {place}/root/dev
mount --rbind /sys {place}/root/sys
mount -t tmpfs tmpfs {place}/root/run
mount --bind {place}/files {place}/root/tmp
ip link set lo up
exec chroot {place}/root "$@"
"""


@contextlib.contextmanager
def made(place: Path) -> Iterator[list[str]]:
    """Make such a machine under an empty directory; yield the words before a program's to run it there.

    At the end all that ran on it is gone, and what it wrote too.
    """
    for name in ("upper", "work", "root", "files"):
        (place / name).mkdir()
    (place / "files").chmod(0o1777)
    try:
        yield [
            "unshare", "--mount", "--net", "--ipc", "--pid", "--fork", "--kill-child", "--",
            "bash", "-c", shell_of(place), "bash",
        ]  # fmt: skip
    finally:
        remove_devices(place)
        shutil.rmtree(place, ignore_errors=True)


def remove_devices(place: Path) -> None:
    """Give up the block devices of disks below a directory: a page may leave some, and they are the whole machine's."""
    ids = {path.name for path in place.rglob("disk-*") if path.parent.name == "disks"}
    for device, file in loop.standing():
        if file.name.removesuffix(" (deleted)").removesuffix(".raw") in ids:
            loop.give_up(device)
    for name in ids:
        for link in host_device.LINKS.glob(f"virtio-{name}*"):
            with contextlib.suppress(OSError):
                link.unlink()


def run_inside(words: list[str], page: str, *, show: bool) -> int:
    """Follow a page on such a machine; what it does is printed."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/root", "PYTHONPATH": f"{ROOT}/src:{ROOT}", "LANG": "C.UTF-8"}
    follow = [sys.executable, "-m", INSIDE, page, *(["--show"] if show else [])]
    return subprocess.run([*words, *follow], cwd=ROOT, env=environment, check=False).returncode

"""What the machine is started from: a kernel of the distribution, a first file system, and an image of programs.

All of it comes from the host's own packages and from this program; nothing of a guest is in it, nor anything of the
host that not every user of it may read.
"""

import gzip
import itertools
import lzma
import os
import re
import shutil
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import zstandard

PACKAGE = Path(__file__).parents[1]
SHIPPED = (
    "__init__.py", "domain/__init__.py", "domain/errors.py", "domain/ids.py", "domain/proof.py", "prove/__init__.py",
    "prove/wire.py", "prove/guest/__init__.py", "prove/guest/databases.py", "prove/guest/files.py",
    "prove/guest/main.py", "prove/guest/trial.py", "prove/guest/volumes.py",
)  # fmt: skip
"""Of this program: what the prover in the machine imports."""
BUSYBOX = Path("/bin/busybox")
BOOT = ("virtio_pci", "virtio_blk", "virtio_console", "squashfs")
"""Modules that are loaded before the image of programs can be mounted."""
LATER = {
    "ext4": ("crc32c_generic", "ext4"), "xfs": ("crc32c_generic", "xfs"), "btrfs": ("btrfs",),
    "lvm": ("dm_mod", "dm_snapshot", "dm_mirror", "dm_raid", "dm_thin_pool", "dm_cache", "dm_writecache"),
}  # fmt: skip
"""Modules that the prover loads when it meets what needs them: the first look at btrfs alone takes a second."""
FOLDER, FILE = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o755
INIT = """#!/busybox sh
box=/busybox
$box mount -t proc proc /proc
$box mount -t sysfs sys /sys
$box mount -t devtmpfs dev /dev
for module in {boot}; do $box insmod /drystone/modules/$module; done
until [ -b /dev/vda ] && [ -b /dev/vdb ]; do $box sleep 0.05; done
$box mount -t squashfs -o ro /dev/vda /root
for place in run tmp etc disk var; do $box mount -t tmpfs -o size=25% tmpfs /root/$place; done
$box chmod 1777 /root/tmp
$box cp -r /drystone /busybox /root/run
echo root:x:0:0::/:/bin/sh >/root/etc/passwd
echo prover:x:{user}:{user}::/:/bin/sh >>/root/etc/passwd
echo root:x:0: >/root/etc/group
echo prover:x:{user}: >>/root/etc/group
for place in dev proc sys; do $box mount --move /$place /root/$place; done
exec $box switch_root /root /usr/bin/python3 -I -S -c \
'import sys; sys.path.insert(0, "/run/drystone"); from drystone.prove.guest.main import main; main()'
"""
USER = 64321
"""As whom servers run in the machine: nobody of the distribution's, nor of any guest's."""


class ApplianceError(Exception):
    """The machine cannot be made here; says in one line what is missing."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel of the distribution and its modules."""

    version: str
    image: Path
    modules: Path


def find_kernel(root: Path, package: str) -> Kernel:
    """Return the kernel to start: one made for virtual machines if there is one, the newest of them.

    Args:
        root: Below it are `boot` and `lib/modules`.
        package: What to install if there is none, for the message.

    Raises:
        ApplianceError: There is none with its modules.
    """
    found = []
    for image in root.glob("boot/vmlinuz-*"):
        version = image.name.removeprefix("vmlinuz-")
        modules = root / "lib/modules" / version
        if (modules / "modules.dep").is_file():
            order = [int(part) for part in re.findall(r"[0-9]+", version)]
            found.append((("cloud" in version, order), Kernel(version, image, modules)))
    if not found:
        raise ApplianceError(f"no kernel with its modules is below {root} (package {package})")
    return max(found, key=lambda entry: entry[0])[1]


def load_order(dependencies: str, names: Sequence[str]) -> list[str]:
    """Return the files of modules, each after those that it needs; what is not named there is in the kernel itself.

    Args:
        dependencies: The text of `modules.dep`.
        names: Of modules.
    """
    needs = dict(line.split(":", 1) for line in dependencies.splitlines() if ":" in line)
    files = {_module(path): path for path in needs}
    order: dict[str, None] = {}
    for name in names:
        if name in files:
            path = files[name]
            order |= dict.fromkeys([*reversed(needs[path].split()), path])
    return list(order)


def _module(path: str) -> str:
    return path.rpartition("/")[2].partition(".ko")[0].replace("-", "_")


def _read_module(path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix == ".xz":
        return lzma.decompress(content)
    if path.suffix == ".zst":
        return zstandard.ZstdDecompressor().decompressobj().decompress(content)
    return gzip.decompress(content) if path.suffix == ".gz" else content


def initramfs(kernel: Kernel) -> bytes:
    """Return the first file system: a shell that mounts the image of programs, modules, and the prover itself.

    Raises:
        ApplianceError: The shell is not installed.
    """
    if not BUSYBOX.is_file():
        raise ApplianceError(f"{BUSYBOX} is not installed (package busybox-static)")
    dependencies = (kernel.modules / "modules.dep").read_text()
    orders = {name: load_order(dependencies, modules) for name, modules in {"boot": BOOT, **LATER}.items()}
    entries = [(name, FOLDER, b"") for name in ("proc", "sys", "dev", "root", "drystone", "drystone/modules")]
    entries.append(("busybox", FILE, BUSYBOX.read_bytes()))
    named = {name: [f"{_module(path)}.ko" for path in order] for name, order in orders.items()}
    entries.append(("init", FILE, INIT.format(boot=" ".join(named.pop("boot")), user=USER).encode()))
    for name, modules in named.items():
        entries.append((f"drystone/modules/{name}", FILE, "".join(f"{one}\n" for one in modules).encode()))
    entries += [
        (f"drystone/modules/{_module(path)}.ko", FILE, _read_module(kernel.modules / path))
        for path in sorted({path for order in orders.values() for path in order})
    ]
    folders = sorted({str(parent) for path in SHIPPED for parent in Path("drystone", path).parents} - {"."})
    entries += [(f"drystone/{folder}", FOLDER, b"") for folder in folders]
    entries += [(f"drystone/drystone/{path}", FILE, (PACKAGE / path).read_bytes()) for path in SHIPPED]
    return cpio(entries)


def cpio(entries: Sequence[tuple[str, int, bytes]]) -> bytes:
    """Return an archive of files: name, mode, content.

    Source: linux/Documentation/driver-api/early-userspace/buffer-format.rst, `newc`.
    """
    return b"".join(_members(entries))


def _members(entries: Sequence[tuple[str, int, bytes]]) -> Iterator[bytes]:
    for number, (name, mode, content) in enumerate(itertools.chain(entries, [("TRAILER!!!", 0, b"")])):
        path = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(path), 0)
        head = b"070701" + b"".join(b"%08x" % field for field in fields) + path
        yield head + bytes(-len(head) % 4) + content + bytes(-len(content) % 4)


def in_memory(name: str, content: bytes) -> int:
    """Return a descriptor of a file in memory that whoever is given it may open by `/dev/fd`, as any user."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(content)
    return descriptor


def program(name: str, package: str, path: str) -> str:
    """Return where a program of the host is.

    Raises:
        ApplianceError: It is not installed.
    """
    found = shutil.which(name, path=path)
    if found is None:
        raise ApplianceError(f"{name} is not installed (package {package})")
    return found

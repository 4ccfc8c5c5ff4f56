"""Images of file systems, made by their own tools, for tests."""

import contextlib
import struct
import subprocess
import uuid
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

MIB = 1 << 20
SECTOR = 512
LINUX_DATA = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")


@contextlib.contextmanager
def loop(image: Path) -> Iterator[str]:
    device = subprocess.run(
        ["losetup", "--find", "--show", str(image)], check=True, capture_output=True, text=True
    ).stdout.strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


@contextlib.contextmanager
def mounted(image: Path, where: Path) -> Iterator[Path]:
    where.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(where)], check=True)
    try:
        assert where.is_mount()
        yield where
    finally:
        subprocess.run(["umount", str(where)], check=True)


def made(image: Path, kind: str = "ext4", size: int = 64 * MIB, *options: str) -> Path:
    with image.open("wb") as file:
        file.truncate(size)
    subprocess.run([f"mkfs.{kind}", "-q", *options, str(image)], check=True, capture_output=True)
    return image


def copied(image: Path, name: str) -> Path:
    target = image.with_name(name)
    subprocess.run(["cp", "--sparse=always", str(image), str(target)], check=True)
    return target


def overwrite(image: Path, start: int, length: int) -> None:
    with image.open("r+b") as file:
        file.seek(start)
        file.write(b"\xa5" * length)


def put(image: Path, start: int, data: bytes) -> None:
    with image.open("r+b") as file:
        file.seek(start)
        file.write(data)


LVM_OPTIONS = (
    "activation { udev_sync=0 udev_rules=0 } backup { backup=0 archive=0 } "
    'devices { obtain_device_list_from_udev=0 scan=["/dev"] use_devicesfile=0 }'
)
LOGICAL_VOLUME = """
logical_volumes {{
  {name} {{
    id = "aaaaaa-aaaa-aaaa-aaaa-aaaa-aaaa-aaaaaa"
    status = ["READ", "WRITE", "VISIBLE"]
    segment_count = 1
    segment1 {{
      start_extent = 0
      extent_count = {extents}
      type = "striped"
      stripe_count = 1
      stripes = ["pv0", 0]
    }}
  }}
}}
"""


def lvm_of(image: Path, content: Path, group: str, name: str) -> Path:
    """Make an image for LVM with a logical volume that holds another image; the kernel takes no part in it."""
    size = content.stat().st_size
    with image.open("wb") as file:
        file.truncate(size + 8 * MIB)
    with loop(image) as device:

        def lvm(*arguments: str) -> None:
            subprocess.run(
                ["lvm", arguments[0], "--config", LVM_OPTIONS, "--devices", device, *arguments[1:]],
                check=True, capture_output=True,
            )  # fmt: skip

        text = image.with_suffix(".vg")
        lvm("pvcreate", device)
        lvm("vgcreate", "--physicalextentsize", "1m", group, device)
        lvm("vgcfgbackup", "-f", str(text), group)
        head, brace, _ = text.read_text().rpartition("}")
        text.write_text(head + LOGICAL_VOLUME.format(name=name, extents=size // MIB) + brace + "\n")
        lvm("vgcfgrestore", "-f", str(text), group)
    subprocess.run(["dd", f"if={content}", f"of={image}", "bs=1M", "seek=1", "conv=notrunc", "status=none"], check=True)
    return image


def disk_of(images: Mapping[str, Path], disk: Path) -> dict[str, str]:
    """Join images to a disk with a partition each; return the partitions' titles.

    Source: UEFI Specification 2.10, chapter 5 (GUID partition table).
    """
    entries, titles, at = b"", {}, 2048
    with disk.open("wb") as file:
        for number, (name, image) in enumerate(images.items(), 1):
            sectors = -(-image.stat().st_size // SECTOR)
            file.truncate((at + sectors) * SECTOR)
            entries += struct.pack(
                "<16s16sQQQ72s",
                LINUX_DATA.bytes_le,
                uuid.uuid5(LINUX_DATA, name).bytes_le,
                at,
                at + sectors - 1,
                0,
                b"",
            )
            titles[name] = f"partition {number}"
            subprocess.run(
                ["dd", f"if={image}", f"of={disk}", "bs=1M", f"seek={at // 2048}", "conv=sparse,notrunc",
                 "status=none"], check=True,
            )  # fmt: skip
            at += -(-sectors // 2048) * 2048
        last = at + 2048
        file.truncate((last + 1) * SECTOR)
    entries = entries.ljust(128 * 128, b"\0")

    def head(here: int, there: int, table: int) -> bytes:
        def packed(crc: int) -> bytes:
            return struct.pack(
                "<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, crc, 0, here, there, 34, last - 34, LINUX_DATA.bytes_le,
                table, 128, 128, zlib.crc32(entries),
            )  # fmt: skip

        return packed(zlib.crc32(packed(0)))

    protective = struct.pack("<BBBBBBBBII", 0, 0, 2, 0, 0xEE, 255, 255, 255, 1, last)
    put(disk, 446, protective.ljust(64, b"\0") + b"\x55\xaa")
    put(disk, SECTOR, head(1, last, 2))
    put(disk, 2 * SECTOR, entries)
    put(disk, (last - 32) * SECTOR, entries)
    put(disk, last * SECTOR, head(last, 1, last - 32))
    return titles

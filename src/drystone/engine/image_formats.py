"""What format an image file is, by its bytes, and whether it refers to any other file.

A file that somebody brings may lie: a guest can write the header of another format into its raw disk, and a header can
name other files of this host as its backing or its data. So nothing is opened by a guessed format, and the headers of
those that may be imported are read here first.
"""

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from drystone.domain.errors import ProtocolError

SECTOR_BYTES = 512
IMPORTED: Mapping[str, str] = MappingProxyType(
    {
        "qcow2": "qcow2", "raw": "raw", "vmdk": "vmdk", "vhdx": "vhdx", "vhd": "vpc", "vdi": "vdi", "qed": "qed",
        "parallels": "parallels",
    }
)  # fmt: skip
"""Formats that are imported, and the name of QEMU's driver for each."""
ENDINGS: Mapping[str, str] = MappingProxyType(
    {"img": "raw", "raw": "raw", "vpc": "vhd", "hds": "parallels", "hdd": "parallels"}
)
"""Endings of file names that are not the name of the format itself."""
_QCOW2 = b"QFI\xfb"
_VHD = b"conectix"
_AT_START: tuple[tuple[int, bytes, str], ...] = (
    (0, _QCOW2 + b"\0\0\0\1", "qcow"),
    (0, _QCOW2, "qcow2"),
    (0, b"KDMV", "vmdk"),
    (0, b"COWD", "vmdk"),
    (0, b"vhdxfile", "vhdx"),
    (0, _VHD, "vhd"),
    (64, b"\x7f\x10\xda\xbe", "vdi"),
    (0, b"QED\0", "qed"),
    (0, b"WithoutFreeSpace", "parallels"),
    (0, b"WithouFreSpacExt", "parallels"),
    (0, b"Bochs Virtual HD Image", "bochs"),
    (0, b"#!/bin/sh\n#V2.0 Format\n", "cloop"),
    (0, b"EVF\x09\x0d\x0a\xff\x00", "EnCase (EWF)"),
    (0, b"\x1f\x8b\x08", "gzip"),
    (0, b"\xfd7zXZ\0", "xz"),
    (0, b"BZh", "bzip2"),
    (0, b"\x28\xb5\x2f\xfd", "zstd"),
    (0, b"\x04\x22\x4d\x18", "lz4"),
    (0, b"PK\x03\x04", "zip"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z"),
    (257, b"ustar", "tar (an OVA is one)"),
)
"""Offset, bytes, format. Sources: the files of QEMU's docs/interop and block/, and the formats' own descriptions."""
_HEAD_BYTES = 512
_VHD_FOOTERS = (512, 511)
"""Where a fixed VHD's footer begins, from the end; programs before 2004 wrote one of 511 bytes."""
_DMG_FOOTER = (512, b"koly")
_DESCRIPTOR_BYTES_MAX = 1 << 20
_DESCRIPTOR_BYTES_MIN = 20 * SECTOR_BYTES
_DESCRIPTOR_SECTOR_MAX = 1 << 32
_VMDK_KINDS = (b"monolithicsparse", b"streamoptimized")
_QCOW2_DATA_FILE = 1 << 2
"""Bit of `incompatible_features`. Source: QEMU docs/interop/qcow2.rst."""
_QED_BACKING = 1 << 0
"""Bit of `features`. Source: QEMU docs/interop/qed_spec.rst."""
_VHD_OF_ONE_FILE = (2, 3)
"""Fixed and dynamic; 4 is differencing. Source: Microsoft's Virtual Hard Disk Image Format, Hard Disk Footer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bytes:
    """The bytes of a file."""

    name: str
    size: int
    read: Callable[[int, int], bytes]
    """Returns what lies at an offset, fewer at the end."""


def claimed(file: Bytes) -> str | None:
    """Return the format that a file's bytes claim, one that is imported or not; None if it is raw by its looks."""
    head = file.read(0, _HEAD_BYTES)
    for offset, magic, name in _AT_START:
        if head[offset : offset + len(magic)] == magic:
            return name
    if head.lstrip().lower().startswith(b"# disk descriptorfile"):
        return "vmdk"
    if any(_from_end(file, offset, _VHD) for offset in _VHD_FOOTERS):
        return "vhd"
    return "dmg" if _from_end(file, *_DMG_FOOTER) else None


def _from_end(file: Bytes, offset: int, magic: bytes) -> bool:
    return file.size >= offset and file.read(file.size - offset, len(magic)) == magic


def chosen(file: Bytes, wanted: str | None, *, forced: bool) -> str:
    """Return the format to open a file with: what was asked for, or what name and bytes agree on.

    Args:
        file: The file.
        wanted: What was asked for, if anything.
        forced: Take bytes that look like another format's for those of a raw disk, if raw was asked for.

    Raises:
        ProtocolError: They do not agree, or the file is not what was asked for, or of a format that is not imported.
    """
    looks = claimed(file)
    if looks is not None and looks not in IMPORTED and not (forced and wanted == "raw"):
        raise ProtocolError(f"{file.name} looks like {looks}, which is not imported; {_way_out(looks)}")
    if wanted is not None:
        if wanted == "raw" and looks is not None and not forced:
            # The container's bytes would become the disk, and nobody would be told.
            raise ProtocolError(
                f"{file.name} looks like {looks}, not raw; give that format, or force raw if a guest wrote these bytes"
            )
        if wanted not in {"raw", looks}:
            raise ProtocolError(f"{file.name} is not a {wanted} image; it looks like {looks or 'raw'}")
        return wanted
    ending = file.name.rpartition("/")[2].rpartition(".")[2].lower()
    named = ENDINGS.get(ending, ending)
    if named not in IMPORTED or (looks or "raw") != named:
        # A guest that wrote a header into its raw disk must not choose how it is read.
        seen = f"looks like {looks}" if looks is not None else "looks like no image"
        way = f"`--format {looks}` if it is" if looks is not None else "`--format raw` if it is a raw disk"
        raise ProtocolError(f"{file.name} {seen}, which its name does not say: give the format, {way}")
    return named


def _way_out(looks: str) -> str:
    if looks in {"qcow", "bochs", "cloop", "dmg"}:
        return f"make a qcow2 of it, with `qemu-img convert -f {looks} -O qcow2`"
    return "unpack it first"


def refuse_references(file: Bytes, image_format: str) -> None:
    """Refuse a header that makes QEMU open any other file, that needs a secret, or whose parent it would leave out.

    Raises:
        ProtocolError: It does, or it is cut off.
    """
    check = {"qcow2": _refuse_qcow2, "vmdk": _refuse_vmdk, "vhd": _refuse_vhd, "qed": _refuse_qed}.get(image_format)
    if check is not None:
        check(file)


def _refuse_qcow2(file: Bytes) -> None:
    head = file.read(0, 104)
    if len(head) < 72 or head[:4] != _QCOW2:
        raise ProtocolError(f"{file.name} is not a qcow2 image")
    version, backing, _length, _bits, _size, crypt = struct.unpack(">IQIIQI", head[4:36])
    features = struct.unpack(">Q", head[72:80])[0] if version >= 3 and len(head) >= 80 else 0
    if version not in (2, 3):
        raise ProtocolError(f"{file.name} is qcow2 of version {version}; 2 and 3 are known")
    if backing:
        raise ProtocolError(f"{file.name} has a backing file; merge it first, with `qemu-img convert`")
    if features & _QCOW2_DATA_FILE:
        raise ProtocolError(f"{file.name} keeps its data in another file; merge it first, with `qemu-img convert`")
    if crypt:
        raise ProtocolError(f"{file.name} is encrypted; decrypt it first, with `qemu-img convert`")


def _refuse_vhd(file: Bytes) -> None:
    """Refuse a differencing VHD: QEMU reads it as if it had no parent, and what the parent holds would be zeros."""
    places = (0, *(file.size - offset for offset in _VHD_FOOTERS))
    footers = [found for place in places if place >= 0 and (found := file.read(place, SECTOR_BYTES)).startswith(_VHD)]
    kinds = {struct.unpack(">I", footer[60:64])[0] for footer in footers if len(footer) >= 64}
    if not kinds or not kinds <= set(_VHD_OF_ONE_FILE):
        raise ProtocolError(
            f"{file.name} is a VHD of kind {sorted(kinds)}, not fixed or dynamic; merge its parent first"
        )


def _refuse_qed(file: Bytes) -> None:
    head = file.read(0, 64)
    if len(head) < 64 or head[:4] != b"QED\0":
        raise ProtocolError(f"{file.name} is not a qed image")
    if struct.unpack("<Q", head[16:24])[0] & _QED_BACKING:
        raise ProtocolError(f"{file.name} has a backing file; merge it first, with `qemu-img convert`")


def _refuse_vmdk(file: Bytes) -> None:
    head = file.read(0, SECTOR_BYTES)
    if head[:4] != b"KDMV" or len(head) < SECTOR_BYTES:
        raise ProtocolError(f"{file.name} is a vmdk of several files; make it one, with `qemu-img convert -O vmdk`")
    # Source: VMware's Virtual Disk Format 1.1, SparseExtentHeader. Without a capacity the header only leads to a
    # descriptor, which may name any file.
    capacity, _grain, offset, length = struct.unpack("<QQQQ", head[12:44])
    if capacity == 0 or offset == 0 or offset > _DESCRIPTOR_SECTOR_MAX:
        raise ProtocolError(
            f"{file.name} is a vmdk without a disk of its own; make it one, with `qemu-img convert -O vmdk`"
        )
    # QEMU looks at 20 sectors, whatever the length says; what stands in them twice is nobody's honest work.
    wanted = max(_DESCRIPTOR_BYTES_MIN, min(length * SECTOR_BYTES, _DESCRIPTOR_BYTES_MAX))
    text = file.read(offset * SECTOR_BYTES, wanted).lower()
    kinds = re.findall(rb'createtype\s*=\s*"?([a-z0-9]+)', text)
    if len(kinds) != 1 or text.count(b"createtype") != 1 or kinds[0] not in _VMDK_KINDS:
        told = b", ".join(kinds).decode() or "unknown"
        raise ProtocolError(f"{file.name} is a vmdk of kind {told}, not of one file")
    if b"parentfilenamehint" in text or set(re.findall(rb"parentcid\s*=\s*([0-9a-f]+)", text)) - {b"ffffffff"}:
        raise ProtocolError(f"{file.name} has a parent file; merge it first, with `qemu-img convert`")
    if len(re.findall(rb"^(?:rw|rdonly|noaccess)\s", text, re.MULTILINE)) > 1:
        raise ProtocolError(f"{file.name} is a vmdk of several files; make it one, with `qemu-img convert -O vmdk`")

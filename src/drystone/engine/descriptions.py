"""The descriptions beside the images: enough to adopt a disk when the database is gone (F11)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from drystone.domain.disk import Disk, DiskEncryption
from drystone.domain.errors import IntegrityError, ProtocolError
from drystone.domain.ids import AccountId, DiskId, SnapshotId, StoreId
from drystone.domain.quiesce import QuiesceProfile
from drystone.durable_files import sync_file, write_durably
from drystone.engine.layout import Layout
from drystone.engine.volume import volume_of

FORMAT = 1


class DiskDescription(msgspec.Struct, frozen=True, kw_only=True):
    """What `disk.json` says."""

    format: int
    store: StoreId
    id: DiskId
    account_id: AccountId
    name: str
    size_gib: int
    type: str
    charge_type: str
    zone: str
    project_id: int
    usage: str
    portable: bool
    delete_with_instance: bool
    delete_snapshot: bool
    throughput_performance: int
    burst_performance: bool
    tags: tuple[tuple[str, str], ...]
    source_snapshot_id: SnapshotId | None
    created_at: float
    encryption: DiskEncryption | None = None


class _Quiesce(msgspec.Struct, frozen=True, kw_only=True):
    """What `quiesce.json` says. It holds no passwords: a profile names files and services that do."""

    format: int
    profile: QuiesceProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDisk:
    """A disk's directory with a description and an image that fit each other."""

    description: DiskDescription
    size_bytes: int
    """The image's own."""
    hydrating: bool
    """The image still reads from its source."""
    quiesce: QuiesceProfile | None = None
    """The disk's own profile, if it has one that can be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnfitDisk:
    """A disk's directory that cannot be adopted, and why; it is left alone."""

    directory: Path
    reason: str


def write_disk(layout: Layout, disk: Disk, store_id: StoreId) -> None:
    """Write `disk.json` beside a disk's image, durably: enough to adopt the disk when the database is gone (P10)."""
    told = DiskDescription(
        format=FORMAT, store=store_id, **{name: getattr(disk, name) for name in DiskDescription.__struct_fields__[2:]}
    )
    path = layout.description(disk.id)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_durably(path, msgspec.json.encode(told))


def read_encryption(layout: Layout, disk_id: DiskId) -> DiskEncryption | None:
    """Return how a disk is encrypted by its `disk.json`; None if it is not, or that cannot be read."""
    try:
        return _described(layout.description(disk_id), disk_id).encryption
    except (ProtocolError, OSError):
        return None


def find_disks(layout: Layout) -> Iterator[FoundDisk | UnfitDisk]:
    """Yield what lies under `disks/`, by name; nothing is changed."""
    root = layout.data / "disks"
    for directory in sorted(root.iterdir()) if root.is_dir() else ():
        try:
            yield _read(layout, DiskId(directory.name))
        except (IntegrityError, ProtocolError, OSError) as error:
            yield UnfitDisk(directory=directory, reason=str(error))


def _described(path: Path, disk_id: DiskId) -> DiskDescription:
    try:
        description = msgspec.json.decode(path.read_bytes(), type=DiskDescription)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"{path}: {error}") from error
    if description.format != FORMAT:
        raise ProtocolError(f"{path}: format {description.format}, this program reads {FORMAT}")
    if description.id != disk_id:
        raise ProtocolError(f"{path} describes {description.id}")
    return description


def _read(layout: Layout, disk_id: DiskId) -> FoundDisk:
    description = _described(layout.description(disk_id), disk_id)
    volume = volume_of(layout, disk_id)
    return FoundDisk(
        description=description, size_bytes=volume.size_bytes(), hydrating=volume.has_backing(),
        quiesce=_read_quiesce(layout.quiesce(disk_id), disk_id),
    )  # fmt: skip


def _read_quiesce(path: Path, disk_id: DiskId) -> QuiesceProfile | None:
    """Return a profile, None if it cannot be read: the disk's snapshots are crash-consistent then, and say so."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_Quiesce)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found.profile if found.format == FORMAT and found.profile.resource_id == disk_id else None


def write_quiesce(layout: Layout, disk_id: DiskId, profile: QuiesceProfile | None) -> None:
    """Write a disk's own profile beside its image, durably, or take away what is there."""
    path = layout.quiesce(disk_id)
    if profile is not None:
        write_durably(path, msgspec.json.encode(_Quiesce(format=FORMAT, profile=profile)))
    elif path.exists():
        path.unlink()
        sync_file(path.parent)

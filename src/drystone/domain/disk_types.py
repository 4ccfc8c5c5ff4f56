"""Disk types: size limits and performance, as CBS documents them."""

from collections.abc import Mapping
from dataclasses import dataclass

GIB = 1 << 30
MIB = 1 << 20
EXTRA_PERFORMANCE_GIB_MIN = 460
"""Bought throughput needs a larger disk than this, bursts one of at least this size, as CBS documents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a disk of a type may do: reads and writes together, per second. What of it is enforced: `engine.graph`."""

    iops: int
    bytes_per_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskType:
    """One row of the documented table; `iops = min(iops_base + iops_per_gib * size, iops_max)`, and so on."""

    name: str
    size_gib_min: int
    size_gib_max: int
    iops_base: int
    iops_per_gib: float
    iops_max: int
    mb_per_s_base: float
    mb_per_s_per_gib: float
    mb_per_s_max: float
    extra_iops_max: int = 0
    extra_mb_per_s_max: int = 0
    sold: bool = True

    @property
    def has_extra(self) -> bool:
        """Whether throughput may be bought for it, and bursts."""
        return self.extra_mb_per_s_max > 0

    def may_have_extra(self, size_gib: int, *, throughput: bool) -> bool:
        """Tell whether a disk of this size may have bought throughput (or else bursts alone)."""
        return self.has_extra and size_gib >= EXTRA_PERFORMANCE_GIB_MIN + throughput

    def limits(self, size_gib: int, extra_mb_per_s: int = 0) -> Limits:
        """Return the limits of a disk of `size_gib` with `extra_mb_per_s` of bought throughput."""
        iops = min(self.iops_base + self.iops_per_gib * size_gib, self.iops_max)
        mb_per_s = min(self.mb_per_s_base + self.mb_per_s_per_gib * size_gib, self.mb_per_s_max)
        iops += min(128 * extra_mb_per_s, self.extra_iops_max)
        mb_per_s += min(extra_mb_per_s, self.extra_mb_per_s_max)
        return Limits(iops=int(iops), bytes_per_s=int(mb_per_s * MIB))


def _row(
    name: str,
    sizes: tuple[int, int],
    iops: tuple[int, float, int],
    mb: tuple[float, float, float],
    extra: tuple[int, int] = (0, 0),
    *,
    sold: bool = True,
) -> DiskType:
    return DiskType(
        name=name,
        size_gib_min=sizes[0],
        size_gib_max=sizes[1],
        iops_base=iops[0],
        iops_per_gib=iops[1],
        iops_max=iops[2],
        mb_per_s_base=mb[0],
        mb_per_s_per_gib=mb[1],
        mb_per_s_max=mb[2],
        extra_iops_max=extra[0],
        extra_mb_per_s_max=extra[1],
        sold=sold,
    )


DISK_TYPES: Mapping[str, DiskType] = {
    row.name: row
    for row in (
        _row("CLOUD_BASIC", (10, 16000), (1000, 0, 1000), (100, 0, 100), sold=False),
        _row("CLOUD_PREMIUM", (10, 32000), (1800, 8, 6000), (100, 0.15, 150)),
        _row("CLOUD_BSSD", (20, 32000), (1800, 15, 10000), (100, 0.15, 190)),
        _row("CLOUD_SSD", (20, 32000), (1800, 30, 26000), (120, 0.2, 260)),
        _row("CLOUD_HSSD", (20, 32000), (1800, 50, 50000), (120, 0.5, 350), (50000, 650)),
        _row("CLOUD_TSSD", (20, 32000), (4000, 100, 50000), (120, 0.5, 350), (950000, 3650)),
    )
}
SOLD_TYPES = tuple(row.name for row in DISK_TYPES.values() if row.sold)
"""What new disks may be."""
EXTRA_TYPES = tuple(row.name for row in DISK_TYPES.values() if row.has_extra)
"""What extra performance may be had for."""

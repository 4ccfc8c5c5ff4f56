"""CBS 2017-03-12, an action at a time: what one takes, does and answers stands together. `CBS` has them by name."""

from drystone.api.cbs import (
    charges,
    disk_backups,
    disk_configs,
    disks,
    policies,
    remote_disks,
    snapshot_groups,
    snapshots,
)
from drystone.api.cbs.service import CBS

__all__ = [
    "CBS",
    "charges",
    "disk_backups",
    "disk_configs",
    "disks",
    "policies",
    "remote_disks",
    "snapshot_groups",
    "snapshots",
]

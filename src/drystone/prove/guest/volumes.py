"""What the clone consists of: its partitions, as the machine's kernel sees them, and logical volumes on them."""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from drystone.prove.guest.trial import Trials, last_line, not_proven

CLONE = Path("/dev/vdb")
SYSTEM = Path("/sys/block")
MODULES = Path("/run/drystone/modules")
BUSYBOX = "/run/busybox"
VOLUMES_MAX = 128
SECTORS_MIN = 3
"""An extended partition has one or two, and no content of its own."""
NO_UDEV = "activation { udev_sync=0 udev_rules=0 } devices { obtain_device_list_from_udev=0 scan_lvs=0 }"


@dataclass(frozen=True, slots=True)
class Volume:
    """The whole disk, a partition of it, or a logical volume."""

    title: str
    device: str


def partitions(clone: Path = CLONE, system: Path = SYSTEM) -> list[Volume]:
    """Return a volume for each partition; for the whole disk if the kernel sees none.

    Raises:
        TrialError: There are more than are looked at.
    """
    found = {}
    for entry in (system / clone.name).glob(f"{clone.name}*"):
        if int((entry / "size").read_text()) >= SECTORS_MIN:
            found[int((entry / "partition").read_text())] = str(clone.with_name(entry.name))
    if len(found) > VOLUMES_MAX:
        raise not_proven(f"it has {len(found)} partitions, and {VOLUMES_MAX} are looked at")
    return [Volume(f"partition {number}", device) for number, device in sorted(found.items())] or [
        Volume("disk", str(clone))
    ]


def load(kind: str) -> None:
    """Load the kernel's modules for a kind of content; those that it has already are passed over."""
    try:
        names = (MODULES / kind).read_text().split()
    except FileNotFoundError:
        return
    for name in names:
        subprocess.run((BUSYBOX, "insmod", str(MODULES / name)), check=False, capture_output=True)


def logical_volumes(trials: Trials) -> list[Volume]:
    """Return the logical volumes of the groups that are whole on this clone, activated.

    Raises:
        TrialError: LVM is not installed, or does not take them.
    """
    lvm = trials.program("lvm", "lvm2")
    load("lvm")
    code, text = trials.run(lvm, "vgchange", "--config", NO_UDEV, "-qq", "-ay", "--sysinit")
    if code != 0:
        raise not_proven(f"lvm: {last_line(text)}")
    code, text = trials.run(
        lvm, "lvs", "--config", NO_UDEV, "--noheadings", "--separator=|", "-o", "vg_name,lv_name,lv_dm_path,lv_active",
    )  # fmt: skip
    if code != 0:
        raise not_proven(f"lvm: {last_line(text)}")
    return parse_logical_volumes(text.splitlines())


def parse_logical_volumes(lines: Sequence[str]) -> list[Volume]:
    """Return the volumes of what `lvs` printed.

    Raises:
        TrialError: There is none, one is not active, or there are more than are looked at.
    """
    rows = [found.groups() for line in lines if (found := re.fullmatch(r" *([^|]+)\|([^|]+)\|([^|]*)\|(.*)", line))]
    if not rows:
        raise not_proven("there is none on what LVM calls its own")
    if len(rows) > VOLUMES_MAX:
        raise not_proven(f"it has {len(rows)} logical volumes, and {VOLUMES_MAX} are looked at")
    for group, name, _, active in rows:
        if active != "active":
            raise not_proven(f"the logical volume {group}/{name} is not active: a part of it is elsewhere")
    return [Volume(f"logical volume {group}/{name}", device) for group, name, device, _ in rows]

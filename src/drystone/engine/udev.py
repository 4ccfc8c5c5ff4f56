"""Where udev runs: what guests have on their disks is left alone when these become block devices of this host.

Without a rule udev would look for signatures on them, LVM and md would assemble what they find, and desktops mount it.
Source: systemd's 60-persistent-storage.rules, lvm2's 69-dm-lvm.rules, mdadm's 64-md-raid-assembly.rules, udisks(8).
"""

from pathlib import Path

import structlog

from drystone.domain.errors import UnavailableError
from drystone.engine import command

log = structlog.get_logger()
CONTROL = Path("/run/udev/control")
RULES = Path("/run/udev/rules.d/59-drystone.rules")
"""Before the rules that look for signatures (60). Gone with the devices at a reboot."""
_FLAGS = (
    'ENV{UDEV_DISABLE_PERSISTENT_STORAGE_RULES_FLAG}="1", ENV{DM_UDEV_DISABLE_OTHER_RULES_FLAG}="1", '
    'ENV{UDISKS_IGNORE}="1"'
)
TEXT = f"""# Disks of Drystone's guests: what is on them is theirs. Written at each start of the server.
SUBSYSTEM=="block", ATTRS{{loop/backing_file}}=="*/disk-????????.raw", {_FLAGS}
"""


async def leave_disks_alone() -> None:
    """Write the rule if udev runs here. Logs what it cannot: disks are served without it."""
    if not CONTROL.exists():
        return
    try:
        if not RULES.exists() or RULES.read_text() != TEXT:
            RULES.parent.mkdir(parents=True, exist_ok=True)
            RULES.write_text(TEXT)
            await command.run("udevadm", "control", "--reload")
    except (OSError, UnavailableError) as error:
        log.warning("udev.rule_not_written", path=str(RULES), error=str(error))

"""Tags, 2018-08-13: of disks and snapshots, and by themselves. `TAG` has the actions by name."""

from drystone.api.tag import known, resources
from drystone.api.tag.service import TAG

__all__ = ["TAG", "known", "resources"]

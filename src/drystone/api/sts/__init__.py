"""Who calls, as `sts` 2018-08-13 tells it. `STS` has the actions by name."""

from drystone.api.sts import identity
from drystone.api.sts.service import STS

__all__ = ["STS", "identity"]

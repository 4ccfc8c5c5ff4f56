"""The services that are served."""

from drystone.api.cbs import CBS
from drystone.api.drystone import DRYSTONE

SERVICES = (CBS, DRYSTONE)

"""The services that are served."""

from drystone.api.cbs import CBS
from drystone.api.cvm import CVM
from drystone.api.drystone import DRYSTONE
from drystone.api.sts import STS
from drystone.api.tag import TAG

SERVICES = (CBS, DRYSTONE, TAG, CVM, STS)
"""Where nothing but a version says which service is meant, it is the first of these that has the action (S364)."""

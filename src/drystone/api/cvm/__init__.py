"""Instances, zones and regions of this installation, as `cvm` 2017-03-12 tells them. `CVM` has the actions by name."""

from drystone.api.cvm import instances, places
from drystone.api.cvm.service import CVM

__all__ = ["CVM", "instances", "places"]

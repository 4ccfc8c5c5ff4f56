"""The second service; its actions stand beside this file."""

from drystone.api.actions import Service

DRYSTONE = Service(name="drystone", version="2026-11-01", regional=False)

"""CBS 2017-03-12: which of its documented actions are not served here; the others stand beside this file."""

from drystone.api.actions import Service

NOT_SERVED = frozenset(
    {
        "AttachRemoteDisks",
        "CreateRemoteDisks",
        "DetachRemoteDisks",
        "InquirePriceCreateRemoteDisks",
        "InquirePriceRenewRemoteDisks",
        "ModifyRemoteDiskAttributes",
        "RenewRemoteDisk",
        "SwitchParameterCreateRemoteDisks",
        "SwitchParameterRenewRemoteDisks",
        "TerminateRemoteDisks",
    }
)
"""Documented actions that answer UnsupportedOperation, so that a client can tell them from a misspelt name."""

CBS = Service(name="cbs", version="2017-03-12", regional=True, not_served=NOT_SERVED)

"""Every refusal of every action: its code, how the cause ends, and whether the documented list of the action has it.

The service refuses by kind; `CODES` and `CODES_OF_ACTIONS` say which code that is here.

How a refusal ends decides what clients do. Terraform's provider tries a call again, for five minutes, if the code
begins with one of `RETRIED`; anything else ends its run. So what passes by itself has such a code, and what never
passes has none. Where the documented list has no code that is right, `REASONS` says which side was chosen, and why.

The documented lists are in `documented_codes`. Source of the rule of what is tried again: Tencent's Terraform provider
(common/common.go).
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from drystone.domain.errors import DrystoneError, Refusal

RETRIED = ("ResourceUnavailable", "ResourceInUse", "ResourceBusy", "RequestLimitExceeded")


CODES: Mapping[str, str] = MappingProxyType(
    {
        Refusal.BAD_VALUE: "InvalidParameterValue",
        Refusal.MISSING: "MissingParameter",
        Refusal.TOO_MANY: "InvalidParameterValue.LimitExceeded",
        Refusal.TOO_MANY_TAGS: "LimitExceeded.TagQuotaLimitExceeded",
        Refusal.BAD_FILTER: "InvalidFilter",
        Refusal.BAD_TOKEN: "InvalidParameter.InvalidClientToken",
        Refusal.NOT_SOLD: "InvalidParameter.DiskConfigNotSupported",
        Refusal.NOT_OFFERED: "UnsupportedOperation",
        Refusal.SIZES_DIFFER: "InvalidParameter.DiskSizeNotMatch",
        Refusal.NOT_TOGETHER: "InvalidParameter",
        Refusal.NO_SUCH_DISK: "InvalidDiskId.NotFound",
        Refusal.NO_SUCH_SNAPSHOT: "InvalidSnapshotId.NotFound",
        Refusal.NO_SUCH_GROUP: "InvalidSnapshotId.NotFound",
        Refusal.NO_SUCH_INSTANCE: "InvalidInstanceId.NotFound",
        Refusal.NO_SUCH_BACKUP: "ResourceNotFound.NotFound",
        Refusal.NO_SUCH_POLICY: "InvalidAutoSnapshotPolicyId.NotFound",
        Refusal.NO_SUCH_THING: "ResourceNotFound",
        Refusal.DISK_UNFIT: "InvalidDisk.NotSupported",
        Refusal.INSTANCE_UNFIT: "InvalidInstance.NotSupported",
        Refusal.NOT_ELASTIC: "InvalidDisk.NotPortable",
        Refusal.OTHER_ZONE: "ResourceUnavailable.ZoneNotMatch",
        Refusal.ATTACHED: "ResourceUnavailable.Attached",
        Refusal.SEVERAL_INSTANCES: "UnsupportedOperation.SnapshotGroupDiskAttachMultiInstance",
        Refusal.ALREADY_BOUND: "InvalidDisk.AlreadyBound",
        Refusal.IN_USE: "ResourceInUse",
        Refusal.SHARED: "UnsupportedOperation.SnapHasShared",
        Refusal.SNAPSHOT_UNFIT: "InvalidSnapshot.NotSupported",
        Refusal.BUSY: "ResourceBusy",
        Refusal.SNAPSHOT_CREATING: "ResourceUnavailable.SnapshotCreating",
        Refusal.ROLLING_BACK: "ResourceInUse.DiskRollbacking",
        Refusal.BACKUP_CREATING: "ResourceUnavailable.DiskBackupCreating",
        Refusal.BACKUP_QUOTA: "ResourceInsufficient.OverQuota",
        Refusal.GROUP_BUSY: "UnsupportedOperation.StateError",
        Refusal.NOT_NOW: "ResourceUnavailable.NotSupported",
        Refusal.LINEAGE_UNKNOWN: "ResourceUnavailable.LineageUnknown",
        Refusal.FULL: "ResourceInsufficient",
        Refusal.DISK_QUOTA: "ResourceInsufficient.OverQuota",
        Refusal.SNAPSHOT_QUOTA: "InsufficientSnapshotQuota",
        Refusal.POLICY_QUOTA: "LimitExceeded.AutoSnapshotPolicyOutOfQuota",
        Refusal.BIND_LIMIT: "InvalidParameterValue.BindDiskLimitExceeded",
        Refusal.SHARE_QUOTA: "ResourceInsufficient.OverQuota",
        Refusal.INSTANCE_FULL: "LimitExceeded.InstanceAttachedDisk",
        Refusal.LIMIT: "LimitExceeded",
        Refusal.TOO_MUCH_AT_ONCE: "RequestLimitExceeded",
        Refusal.NOT_ALLOWED: "UnauthorizedOperation",
        Refusal.PASSWORD_WRONG: "AuthFailure.PasswordWrong",
        Refusal.PASSWORD_NEEDED: "AuthFailure.PasswordRequired",
        Refusal.CANCELLED: "FailedOperation.Cancelled",
        Refusal.TOO_LATE: "UnsupportedOperation.StateError",
        Refusal.NO_ANSWER: "ResourceUnavailable",
        Refusal.NOT_DONE: "InternalError.ResourceOpFailed",
        Refusal.INTERNAL: "InternalError",
    }
)
"""The code of each kind of refusal."""

_NO_RESOURCE = "InvalidParameterValue.ResourceDescriptionError"
_TAGGED: Mapping[str, str] = {
    Refusal.BAD_VALUE: "InvalidParameter.Tag",
    **dict.fromkeys((Refusal.NO_SUCH_DISK, Refusal.NO_SUCH_SNAPSHOT, Refusal.NO_SUCH_THING), _NO_RESOURCE),
}
"""Of the actions that change tags: what a resource's name says and what a tag is are refused alike in all of them."""
CODES_OF_ACTIONS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "ApplyDiskBackup": {
            Refusal.SNAPSHOT_CREATING: "ResourceBusy",
            Refusal.SIZES_DIFFER: "InvalidDisk.NotSupported",
        },
        "ApplySnapshotGroup": {
            **dict.fromkeys(
                (Refusal.BAD_VALUE, Refusal.NO_SUCH_DISK, Refusal.NO_SUCH_GROUP, Refusal.SIZES_DIFFER),
                "InvalidParameter",
            ),
            **dict.fromkeys(
                (Refusal.BUSY, Refusal.SNAPSHOT_CREATING, Refusal.ROLLING_BACK, Refusal.DISK_UNFIT),
                "UnsupportedOperation.StateError",
            ),
        },
        "CopyAutoSnapshotPolicyCrossAccount": {
            Refusal.BAD_VALUE: "InvalidParameter",
            Refusal.POLICY_QUOTA: "ResourceInsufficient.OverQuota",
        },
        "CreateDiskBackup": {Refusal.NOT_DONE: "InternalError"},
        "CreateSnapshotGroup": {Refusal.BUSY: "ResourceInUse", Refusal.NOT_DONE: "InternalError.ComponentError"},
        "CreateTag": {
            Refusal.IN_USE: "ResourceInUse.TagDuplicate",
            Refusal.LIMIT: "LimitExceeded.TagKey",
            Refusal.TOO_MANY: "LimitExceeded.TagValue",
        },
        "DeleteDiskBackups": {Refusal.SNAPSHOT_CREATING: "ResourceBusy"},
        "DeleteQuiesceProfile": {Refusal.NOT_ALLOWED: "AuthFailure.UnauthorizedOperation"},
        "DeleteSnapshotGroup": {
            Refusal.BAD_VALUE: "InvalidParameter",
            Refusal.SHARED: "UnsupportedOperation.StateError",
        },
        "DeleteTag": {
            Refusal.IN_USE: "FailedOperation.TagAttachedResource",
            Refusal.NO_SUCH_THING: "ResourceNotFound.TagNonExist",
        },
        "DescribeSnapshotGroups": {Refusal.BAD_VALUE: "InvalidParameter"},
        "GetResources": {Refusal.TOO_MANY: "LimitExceeded.ResourceNumPerRequest"},
        "InitializeDisks": {Refusal.SNAPSHOT_CREATING: "ResourceBusy"},
        "ModifyDiskBackupQuota": {Refusal.NO_SUCH_DISK: "ResourceNotFound.NotFound"},
        "ModifyResourceTags": {
            **_TAGGED,
            Refusal.LIMIT: "LimitExceeded.Quota",
            Refusal.TOO_MANY_TAGS: "LimitExceeded.ResourceAttachedTags",
            Refusal.NOT_TOGETHER: "InvalidParameterValue.DeleteTagsParamError",
        },
        "RewriteDisk": {Refusal.SNAPSHOT_CREATING: "ResourceBusy"},
        "SetQuiesceProfile": {Refusal.NOT_ALLOWED: "AuthFailure.UnauthorizedOperation"},
        "TagResources": {
            **_TAGGED,
            Refusal.TOO_MANY: "LimitExceeded.ResourceNumPerRequest",
            Refusal.LIMIT: "LimitExceeded.TagNumPerRequest",
            Refusal.TOO_MANY_TAGS: "LimitExceeded.ResourceAttachedTags",
        },
        "TerminateDisks": {Refusal.SNAPSHOT_CREATING: "ResourceBusy", Refusal.DISK_UNFIT: "UnsupportedOperation"},
        "UnTagResources": {
            **_TAGGED,
            Refusal.TOO_MANY: "LimitExceeded.ResourceNumPerRequest",
            Refusal.LIMIT: "LimitExceeded.TagNumPerRequest",
        },
    }
)
"""Where an action documents another code for a kind."""


class Ends(StrEnum):
    """When the same call may be accepted."""

    NEVER = "never"
    """Not as it is: its parameters are wrong, or what it names is not there or is of another kind."""
    ALONE = "alone"
    """By itself: work is under way, or too much is asked at once."""
    ACT = "act"
    """When somebody acts: detaches a disk, frees space, sets a clock, mends a part of the service."""


def _rows(*, never: str = "", alone: str = "", act: str = "") -> Mapping[str, Ends]:
    rows = {
        code: ends
        for ends, text in ((Ends.NEVER, never), (Ends.ALONE, alone), (Ends.ACT, act))
        for code in text.split()
    }
    return MappingProxyType(rows)


COMMON = _rows(
    never="InvalidAction InvalidParameter InvalidParameterValue InvalidParameterValue.LimitExceeded InvalidRequest "
    "MissingParameter NoSuchVersion RequestSizeLimitExceeded UnknownParameter UnsupportedOperation UnsupportedProtocol "
    "UnsupportedRegion AuthFailure AuthFailure.InvalidAuthorization AuthFailure.InvalidSecretId "
    "AuthFailure.SecretIdNotFound AuthFailure.SignatureFailure AuthFailure.TokenFailure",
    alone="RequestLimitExceeded RequestLimitExceeded.IPLimitExceeded RequestLimitExceeded.UinLimitExceeded",
    act="AuthFailure.SignatureExpire InternalError ServiceUnavailable ResourceInsufficient",
)
"""Of any action. A service that is full, overloaded or broken ends a run of Terraform: somebody must look."""

_DISK = "InvalidDiskId.NotFound"
_SNAPSHOT = "InvalidSnapshotId.NotFound"
_POLICY = "InvalidAutoSnapshotPolicyId.NotFound"

CBS: Mapping[str, Mapping[str, Ends]] = MappingProxyType(
    {
        "ApplyDiskBackup": _rows(
            never=f"{_DISK} ResourceNotFound.NotFound",
            alone="ResourceBusy ResourceInUse.DiskRollbacking",
            act="InvalidDisk.NotSupported",
        ),
        "ApplySnapshot": _rows(
            never=f"{_DISK} {_SNAPSHOT} InvalidParameter.DiskSizeNotMatch",
            alone="ResourceBusy ResourceInUse.DiskRollbacking ResourceUnavailable.SnapshotCreating",
            act="InvalidDisk.NotSupported",
        ),
        "ApplySnapshotGroup": _rows(
            act="UnsupportedOperation.SnapshotGroupDiskAttachMultiInstance UnsupportedOperation.StateError"
        ),
        "AttachDisks": _rows(
            never=f"{_DISK} InvalidInstanceId.NotFound InvalidDisk.NotPortable InvalidInstance.NotSupported "
            "ResourceUnavailable.ZoneNotMatch",
            alone="ResourceBusy",
            act="InvalidDisk.NotSupported LimitExceeded.InstanceAttachedDisk ResourceUnavailable.Attached",
        ),
        "BindAutoSnapshotPolicy": _rows(
            never=f"{_POLICY} {_DISK} InvalidDisk.AlreadyBound InvalidParameterValue.BindDiskLimitExceeded",
            act="InvalidDisk.NotSupported",
        ),
        "CopyAutoSnapshotPolicyCrossAccount": _rows(
            never=f"{_POLICY} UnauthorizedOperation", act="ResourceInsufficient.OverQuota"
        ),
        "CopySnapshotCrossRegions": _rows(never=_SNAPSHOT),
        "CreateAutoSnapshotPolicy": _rows(act="LimitExceeded.AutoSnapshotPolicyOutOfQuota"),
        "CreateDiskBackup": _rows(
            never=_DISK,
            alone="ResourceBusy ResourceInUse.DiskRollbacking ResourceUnavailable.SnapshotCreating",
            act="InvalidDisk.NotSupported ResourceInsufficient.OverQuota ResourceUnavailable",
        ),
        "CreateDisks": _rows(
            never=f"{_SNAPSHOT} {_POLICY} InvalidParameterValue.BindDiskLimitExceeded "
            "InvalidParameter.DiskConfigNotSupported InvalidParameter.InvalidClientToken "
            "LimitExceeded.TagQuotaLimitExceeded",
            alone="ResourceBusy",
            act="ResourceInsufficient.OverQuota",
        ),
        "CreateSnapshot": _rows(
            never=f"{_DISK} ResourceNotFound.NotFound LimitExceeded.TagQuotaLimitExceeded",
            alone="ResourceBusy ResourceInUse.DiskRollbacking ResourceUnavailable.DiskBackupCreating "
            "ResourceUnavailable.SnapshotCreating",
            act="InvalidDisk.NotSupported InsufficientSnapshotQuota InternalError.ResourceOpFailed ResourceUnavailable",
        ),
        "CreateSnapshotGroup": _rows(
            never=f"{_DISK} LimitExceeded.TagQuotaLimitExceeded",
            alone="ResourceInUse ResourceInUse.DiskRollbacking ResourceUnavailable.SnapshotCreating "
            "ResourceUnavailable.NotSupported",
            act="InvalidDisk.NotSupported InsufficientSnapshotQuota InternalError.ComponentError",
        ),
        "DeleteAutoSnapshotPolicies": _rows(never=_POLICY),
        "DeleteDiskBackups": _rows(never="ResourceNotFound.NotFound", alone="ResourceBusy"),
        "DeleteSnapshotGroup": _rows(never=_SNAPSHOT, act="UnsupportedOperation.StateError"),
        "DeleteSnapshots": _rows(
            never=_SNAPSHOT,
            alone="ResourceBusy ResourceUnavailable.SnapshotCreating",
            act="UnsupportedOperation.SnapHasShared",
        ),
        "DescribeAutoSnapshotPolicies": _rows(never="InvalidFilter"),
        "DescribeDedicatedClusterDiskStatistics": _rows(),
        "DescribeDiskAssociatedAutoSnapshotPolicy": _rows(),
        "DescribeDiskBackups": _rows(never="InvalidFilter"),
        "DescribeDiskConfigQuota": _rows(),
        "DescribeDiskStoragePool": _rows(never="InvalidFilter"),
        "DescribeDisks": _rows(never="InvalidFilter"),
        "DescribeInstancesDiskNum": _rows(never="InvalidInstanceId.NotFound"),
        "DescribeRemoteDiskConfigQuota": _rows(never="InvalidFilter"),
        "DescribeRemoteDisks": _rows(never="InvalidFilter"),
        "DescribeRemoteDisksDeniedActions": _rows(),
        "DescribeSnapshotGroups": _rows(never="InvalidFilter"),
        "DescribeSnapshotOverview": _rows(),
        "DescribeSnapshotSharePermission": _rows(never=_SNAPSHOT),
        "DescribeSnapshots": _rows(never="InvalidFilter"),
        "DetachDisks": _rows(never=_DISK, alone="ResourceBusy", act="InvalidDisk.NotSupported"),
        "GetSnapOverview": _rows(),
        "InitializeDisks": _rows(never=_DISK, alone="ResourceBusy", act="InvalidDisk.NotSupported"),
        "InquirePriceModifyDiskBackupQuota": _rows(never=_DISK),
        "InquirePriceModifyDiskExtraPerformance": _rows(never=_DISK),
        "InquiryPriceCreateDisks": _rows(never="InvalidParameter.DiskConfigNotSupported"),
        "InquiryPriceRenewDisks": _rows(never=f"{_DISK} InvalidDisk.NotPortable"),
        "InquiryPriceResizeDisk": _rows(never=f"{_DISK} InvalidDisk.NotPortable"),
        "ModifyAutoSnapshotPolicyAttribute": _rows(never=_POLICY),
        "ModifyDiskAttributes": _rows(
            never=f"{_DISK} InvalidDisk.NotSupported InvalidParameter.DiskConfigNotSupported",
            alone="ResourceUnavailable.NotSupported",
        ),
        "ModifyDiskBackupQuota": _rows(never="ResourceNotFound.NotFound"),
        "ModifyDiskExtraPerformance": _rows(never=_DISK, alone="ResourceBusy", act="InvalidDisk.NotSupported"),
        "ModifyDisksChargeType": _rows(
            never=f"{_DISK} InvalidDisk.NotPortable",
            alone="ResourceUnavailable.NotSupported",
            act="InvalidDisk.NotSupported",
        ),
        "ModifyDisksRenewFlag": _rows(never=_DISK),
        "ModifySnapshotAttribute": _rows(never=_SNAPSHOT, act="UnsupportedOperation.SnapHasShared"),
        "ModifySnapshotsSharePermission": _rows(
            never=f"{_SNAPSHOT} InvalidSnapshot.NotSupported",
            alone="ResourceUnavailable.SnapshotCreating",
            act="ResourceInsufficient.OverQuota",
        ),
        "RenewDisk": _rows(
            never=f"{_DISK} InvalidDisk.NotPortable InvalidDisk.NotSupported",
            alone="ResourceUnavailable.NotSupported",
        ),
        "ResizeDisk": _rows(
            never=f"{_DISK} InvalidParameter.DiskConfigNotSupported",
            alone="ResourceBusy ResourceUnavailable.SnapshotCreating",
            act="InvalidDisk.NotSupported ResourceInsufficient.OverQuota",
        ),
        "TerminateDisks": _rows(never=_DISK, alone="ResourceBusy"),
        "UnbindAutoSnapshotPolicy": _rows(never=_POLICY),
    }
)
"""What each action of CBS is refused with, beside `COMMON`."""

_TAGGED_ROWS = f"{_NO_RESOURCE} InvalidParameter.Tag"
TAG: Mapping[str, Mapping[str, Ends]] = MappingProxyType(
    {
        "CreateTag": _rows(never="ResourceInUse.TagDuplicate", act="LimitExceeded.TagKey LimitExceeded.TagValue"),
        "DeleteTag": _rows(never="ResourceNotFound.TagNonExist", act="FailedOperation.TagAttachedResource"),
        "DescribeResourceTagsByResourceIds": _rows(),
        "DescribeTagKeys": _rows(),
        "DescribeTagValues": _rows(),
        "GetResources": _rows(never=f"{_NO_RESOURCE} LimitExceeded.ResourceNumPerRequest"),
        "GetTags": _rows(never="InvalidParameter.PaginationTokenInvalid"),
        "ModifyResourceTags": _rows(
            never=f"{_TAGGED_ROWS} InvalidParameterValue.DeleteTagsParamError LimitExceeded.Quota",
            act="LimitExceeded.ResourceAttachedTags",
        ),
        "TagResources": _rows(
            never=f"{_TAGGED_ROWS} LimitExceeded.ResourceNumPerRequest LimitExceeded.TagNumPerRequest",
            act="LimitExceeded.ResourceAttachedTags",
        ),
        "UnTagResources": _rows(
            never=f"{_TAGGED_ROWS} LimitExceeded.ResourceNumPerRequest LimitExceeded.TagNumPerRequest"
        ),
    }
)
"""What each action of `tag` is refused with, beside `COMMON`."""

CVM: Mapping[str, Mapping[str, Ends]] = MappingProxyType(
    {
        "DescribeInstances": _rows(never="InvalidFilter"),
        "DescribeInstancesStatus": _rows(),
        "DescribeRegions": _rows(),
        "DescribeZones": _rows(),
    }
)
"""The same of `cvm`."""

STS: Mapping[str, Mapping[str, Ends]] = MappingProxyType({"GetCallerIdentity": _rows()})
"""The same of `sts`."""

DRYSTONE = _rows(
    never="AuthFailure.UnauthorizedOperation InvalidAutoSnapshotPolicyId.NotFound InvalidDiskId.NotFound "
    "InvalidFilter InvalidInstanceId.NotFound InvalidSnapshotId.NotFound ResourceNotFound UnauthorizedOperation "
    "UnsupportedOperation.StateError",
    alone="ResourceBusy ResourceInUse.DiskRollbacking ResourceUnavailable.SnapshotCreating",
    act="AuthFailure.PasswordRequired InsufficientSnapshotQuota InternalError.ResourceOpFailed "
    "InvalidDisk.NotSupported LimitExceeded "
    "ResourceInUse ResourceInsufficient.OverQuota ResourceUnavailable ResourceUnavailable.Attached "
    "ResourceUnavailable.LineageUnknown",
)
"""What the actions of the second service are refused with, beside `COMMON`; there is no documented list of it."""

TABLES: Mapping[str, Mapping[str, Mapping[str, Ends]]] = MappingProxyType(
    {"cbs": CBS, "cvm": CVM, "sts": STS, "tag": TAG}
)
"""The table of each service whose actions are documented."""

REASONS: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("AttachDisks", "ResourceUnavailable.ZoneNotMatch"): "The documented list has this one code for it. There is "
        "one zone here, so it cannot be met.",
        ("CreateDisks", "InvalidAutoSnapshotPolicyId.NotFound"): "The list is from before the parameter; all others "
        "use this.",
        ("CreateDisks", "InvalidParameterValue.BindDiskLimitExceeded"): "As above.",
        ("CreateDiskBackup", "InvalidDisk.NotSupported"): "The list has ResourceUnavailable.NotSupported alone, which "
        "clients try again; a disk does not leave the recycle bin by itself.",
        ("CreateDiskBackup", "ResourceUnavailable"): "As for CreateSnapshot.",
        ("CreateDisks", "ResourceInsufficient.OverQuota"): "The list has no code for a quota of disks; snapshots' one "
        "is this.",
        ("CreateSnapshot", "LimitExceeded.TagQuotaLimitExceeded"): "The list has no code for too many tags; that of "
        "CreateDisks is this.",
        ("CreateSnapshot", "ResourceUnavailable"): "The store or the guest does not answer. It may pass by itself or "
        "not; to try again for minutes is right.",
        ("CreateSnapshotGroup", "LimitExceeded.TagQuotaLimitExceeded"): "As for CreateSnapshot.",
        ("DescribeInstancesDiskNum", "InvalidInstanceId.NotFound"): "The list has no code for an unknown instance; all "
        "others use this.",
        ("DescribeRemoteDiskConfigQuota", "InvalidFilter"): "The list is a copy of another action's.",
        ("DescribeRemoteDisks", "InvalidFilter"): "As for DescribeRemoteDiskConfigQuota.",
        ("InitializeDisks", "InvalidDisk.NotSupported"): "The list has ResourceBusy alone, which clients try again; an "
        "attached disk does not detach itself.",
        ("InitializeDisks", "InvalidDiskId.NotFound"): "The list has no code for an unknown disk; all others use this.",
        ("InquirePriceModifyDiskExtraPerformance", "InvalidDiskId.NotFound"): "As for TerminateDisks.",
        ("InquiryPriceCreateDisks", "InvalidParameter.DiskConfigNotSupported"): "As CreateDisks would refuse it.",
        ("InquiryPriceResizeDisk", "InvalidDiskId.NotFound"): "As for TerminateDisks.",
        ("ModifyDiskExtraPerformance", "ResourceBusy"): "As for ResizeDisk.",
        ("DescribeSnapshotSharePermission", "InvalidSnapshotId.NotFound"): "The list has no code for an unknown "
        "snapshot; all others use this.",
        ("ModifySnapshotsSharePermission", "ResourceUnavailable.SnapshotCreating"): "The list has no code for a "
        "snapshot that is still being created; all others use this.",
        ("ResizeDisk", "ResourceBusy"): "For a state that passes the list has InvalidDisk.Busy, which ends a run of "
        "Terraform.",
        ("ResizeDisk", "ResourceInsufficient.OverQuota"): "As for CreateDisks.",
        ("CreateTag", "ResourceInUse.TagDuplicate"): "The documented list has this one code for it.",
        ("TagResources", "LimitExceeded.ResourceAttachedTags"): "The list has no code for a resource that has too many "
        "tags; that of ModifyResourceTags is this.",
        ("TerminateDisks", "InvalidDiskId.NotFound"): "The list has no code for an unknown disk; all others use this.",
    }
)  # fmt: skip
"""Why a refusal has a code that the list of its action does not have, or that clients take in another way."""


class WireError(DrystoneError):
    """A request that is refused, as a client is told.

    Args:
        code: The code of the API, for example `InvalidDiskId.NotFound`.
        message: One sentence: what, which object, values seen and expected, what to do.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def code_of(kind: str, action: str = "") -> str:
    """Return the code by which an action refuses a kind; what is no kind is a code already."""
    return CODES_OF_ACTIONS.get(action, {}).get(kind) or CODES.get(kind, kind)


def ends(service: str, action: str, code: str) -> Ends | None:
    """Return how a refusal ends; None if the table does not have it, which is a fault of the table or of the code."""
    own = TABLES[service].get(action, {}) if service in TABLES else DRYSTONE
    return own.get(code, COMMON.get(code))


def retried(code: str) -> bool:
    """Tell whether Terraform's provider tries a call again that was refused so."""
    return code.startswith(RETRIED)

"""The documented codes of each action of CBS and of its neighbours, without those of any action (`refusals.COMMON`).

An action whose list is empty is documented with none of its own; the lists of the actions on remote disks are copies
of others', and none of them is refused in a way of its own here.

Source: the comments of Tencent's SDK for Go (client.go of each service); of `cvm` its list of all codes.
"""

from collections.abc import Mapping
from types import MappingProxyType


def _codes(text: str) -> frozenset[str]:
    return frozenset(text.split())


DOCUMENTED: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "ApplyDiskBackup": _codes(
            "InvalidDisk.Busy InvalidDisk.NotSupported InvalidDiskId.NotFound InvalidInstance.NotSupported "
            "ResourceBusy ResourceInUse.DiskRollbacking ResourceNotFound ResourceNotFound.NotFound "
            "ResourceUnavailable ResourceUnavailable.NotSupported"
        ),
        "ApplySnapshot": _codes(
            "InvalidDisk.Busy InvalidDisk.NotSupported InvalidDisk.SnapshotCreating InvalidDiskId.NotFound "
            "InvalidInstance.NotSupported InvalidInstanceId.NotFound InvalidParameter.DiskSizeNotMatch "
            "InvalidParameter.ShouldConvertSnapshotToImage InvalidSnapshot.NotSupported InvalidSnapshotId.NotFound "
            "ResourceBusy ResourceInUse.DiskRollbacking ResourceNotFound.NotFound ResourceUnavailable.NotSupported "
            "ResourceUnavailable.SnapshotCreating UnauthorizedOperation.MFAExpired"
        ),
        "ApplySnapshotGroup": _codes(
            "UnsupportedOperation.SnapshotGroupDiskAttachMultiInstance UnsupportedOperation.StateError"
        ),
        "AttachDisks": _codes(
            "InternalError.ComponentError InternalError.ResourceOpFailed InvalidDisk.NotPortable "
            "InvalidDisk.NotSupported InvalidDisk.TypeError InvalidDiskId.NotFound InvalidInstance.NotSupported "
            "InvalidInstanceId.NotFound LimitExceeded.InstanceAttachedDisk ResourceBusy ResourceInUse.DiskMigrating "
            "ResourceNotFound.NotFound ResourceUnavailable.Attached ResourceUnavailable.NotPortable "
            "ResourceUnavailable.NotSupported ResourceUnavailable.TypeError ResourceUnavailable.ZoneNotMatch"
        ),
        "AttachRemoteDisks": _codes(""),
        "BindAutoSnapshotPolicy": _codes(
            "InvalidAutoSnapshotPolicyId.NotFound InvalidDisk.AlreadyBound InvalidDisk.NotSupported "
            "InvalidDiskId.NotFound InvalidParameterValue.BindDiskLimitExceeded ResourceNotFound.NotFound "
            "ResourceUnavailable.NotSupported"
        ),
        "CopyAutoSnapshotPolicyCrossAccount": _codes(
            "InternalError.ComponentError InternalError.FailQueryResource InvalidAccount.InsufficientBalance "
            "InvalidAutoSnapshotPolicyId.NotFound InvalidParameterValue.InvalidAction ResourceBusy "
            "ResourceInsufficient.OverQuota UnauthorizedOperation UnauthorizedOperation.AuthFailure"
        ),
        "CopySnapshotCrossRegions": _codes(
            "InsufficientSnapshotQuota InternalError.ComponentError InvalidAccount.InsufficientBalance "
            "InvalidSnapshot.NotSupported InvalidSnapshotId.NotFound ResourceBusy ResourceInUse.CopySnapshotConflict "
            "UnsupportedOperation.SnapshotNotSupportCopy"
        ),
        "CreateAutoSnapshotPolicy": _codes(
            "InvalidAccount.InsufficientBalance LimitExceeded.AutoSnapshotPolicyOutOfQuota"
        ),
        "CreateDiskBackup": _codes(
            "InvalidDisk.Busy InvalidDiskId.NotFound ResourceBusy ResourceInUse ResourceInUse.DiskRollbacking "
            "ResourceInsufficient.OverQuota ResourceNotFound.NotFound ResourceUnavailable.NotSupported "
            "ResourceUnavailable.SnapshotCreating"
        ),
        "CreateDisks": _codes(
            "InternalError.ComponentError InvalidAccount.InsufficientBalance InvalidInstanceId.NotFound "
            "InvalidParameter.DiskConfigNotSupported InvalidParameter.InvalidClientToken "
            "InvalidParameter.ProjectIdNotExist InvalidSnapshotId.NotFound LimitExceeded.InstanceAttachedDisk "
            "LimitExceeded.TagQuotaLimitExceeded ResourceBusy TradeDealConflict UnauthorizedOperation "
            "UnauthorizedOperation.NotCertification UnauthorizedOperation.NotHavePaymentRight "
            "UnauthorizedOperation.RoleNotExists"
        ),
        "CreateRemoteDisks": _codes(""),
        "CreateSnapshot": _codes(
            "InsufficientSnapshotQuota InternalError.ComponentError InternalError.ResourceOpFailed "
            "InvalidAccount.InsufficientBalance InvalidDisk.Busy InvalidDisk.NotSupportSnapshot "
            "InvalidDisk.NotSupported InvalidDisk.SnapshotCreating InvalidDisk.TypeError InvalidDiskId.NotFound "
            "InvalidParameter.InvalidClientToken InvalidParameter.ProjectIdNotExist "
            "LimitExceeded.InstanceAttachedDisk ResourceBusy ResourceInUse ResourceInUse.DiskMigrating "
            "ResourceInUse.DiskRollbacking ResourceInsufficient.OverQuota ResourceNotFound.NotFound "
            "ResourceUnavailable.DiskBackupCreating ResourceUnavailable.DiskSnapshotChainTooLarge "
            "ResourceUnavailable.NotSupported ResourceUnavailable.SnapshotCreating "
            "ResourceUnavailable.TooManyCreatingSnapshot UnsupportedOperation.DiskEncrypt"
        ),
        "CreateSnapshotGroup": _codes(
            "InsufficientSnapshotQuota InternalError.ComponentError InvalidAccount.InsufficientBalance "
            "InvalidDisk.NotSupported InvalidDisk.SnapshotCreating InvalidDiskId.NotFound ResourceInUse "
            "ResourceInUse.DiskMigrating ResourceInUse.DiskRollbacking ResourceNotFound.NotFound "
            "ResourceUnavailable.NotSupported ResourceUnavailable.SnapshotCreating"
        ),
        "DeleteAutoSnapshotPolicies": _codes("InvalidAutoSnapshotPolicyId.NotFound"),
        "DeleteDiskBackups": _codes("ResourceBusy ResourceNotFound ResourceNotFound.NotFound"),
        "DeleteSnapshotGroup": _codes(
            "InvalidSnapshotId.NotFound UnsupportedOperation.SnapshotHasBindedImage UnsupportedOperation.StateError"
        ),
        "DeleteSnapshots": _codes(
            "InvalidSnapshot.NotSupported InvalidSnapshotId.NotFound ResourceBusy "
            "ResourceUnavailable.SnapshotCreating UnauthorizedOperation.MFAExpired UnsupportedOperation.SnapHasShared "
            "UnsupportedOperation.SnapshotHasBindedImage"
        ),
        "DescribeAutoSnapshotPolicies": _codes("InvalidFilter"),
        "DescribeDedicatedClusterDiskStatistics": _codes(""),
        "DescribeDiskAssociatedAutoSnapshotPolicy": _codes("UnauthorizedOperation.InvalidToken"),
        "DescribeDiskBackups": _codes("InvalidFilter"),
        "DescribeDiskConfigQuota": _codes(""),
        "DescribeDiskStoragePool": _codes("InvalidFilter"),
        "DescribeDisks": _codes("InvalidFilter"),
        "DescribeInstancesDiskNum": _codes("InvalidDisk.NotPortable InvalidDiskId.NotFound"),
        "DescribeRemoteDiskConfigQuota": _codes(""),
        "DescribeRemoteDisks": _codes(""),
        "DescribeRemoteDisksDeniedActions": _codes(""),
        "DescribeSnapshotGroups": _codes("InvalidFilter"),
        "DescribeSnapshotOverview": _codes("InvalidFilter"),
        "DescribeSnapshotSharePermission": _codes(""),
        "DescribeSnapshots": _codes("InvalidFilter"),
        "DetachDisks": _codes(
            "InternalError.ComponentError InternalError.ResourceOpFailed InvalidDisk.NotPortable "
            "InvalidDisk.NotSupported InvalidDisk.TypeError InvalidDiskId.NotFound InvalidInstance.NotSupported "
            "InvalidInstanceId.NotFound ResourceBusy ResourceInUse.DiskMigrating ResourceNotFound.NotFound "
            "ResourceUnavailable.NotPortable ResourceUnavailable.NotSupported ResourceUnavailable.TypeError "
            "UnauthorizedOperation.MFAExpired UnsupportedOperation.DetachPod"
        ),
        "DetachRemoteDisks": _codes(""),
        "GetSnapOverview": _codes(""),
        "InitializeDisks": _codes("ResourceBusy"),
        "InquirePriceCreateRemoteDisks": _codes(""),
        "InquirePriceModifyDiskBackupQuota": _codes("InvalidDisk.Busy InvalidDisk.NotSupported InvalidDiskId.NotFound"),
        "InquirePriceModifyDiskExtraPerformance": _codes("ResourceUnavailable.Expire ResourceUnavailable.NotSupported"),
        "InquirePriceRenewRemoteDisks": _codes(""),
        "InquiryPriceCreateDisks": _codes(""),
        "InquiryPriceRenewDisks": _codes(
            "InvalidDisk.NotPortable InvalidDisk.NotSupported InvalidDiskId.NotFound ResourceNotFound.NotFound "
            "ResourceUnavailable.NotPortable ResourceUnavailable.NotSupported"
        ),
        "InquiryPriceResizeDisk": _codes(
            "InvalidDisk.Expire InvalidDisk.NotPortable InvalidInstanceId.NotFound ResourceUnavailable.Expire"
        ),
        "ModifyAutoSnapshotPolicyAttribute": _codes(
            "InvalidAccount.InsufficientBalance InvalidAutoSnapshotPolicyId.NotFound UnsupportedOperation.StateError"
        ),
        "ModifyDiskAttributes": _codes(
            "InternalError.ComponentError InvalidAccount.InsufficientBalance InvalidDisk.NotSupported "
            "InvalidDiskId.NotFound InvalidInstanceId.NotFound InvalidParameter.DiskConfigNotSupported "
            "ResourceInUse.DiskMigrating ResourceInsufficient.UpgradeServiceBusy ResourceNotFound.NotFound "
            "ResourceUnavailable.NotSupported TradeDealConflict"
        ),
        "ModifyDiskBackupQuota": _codes(
            "InternalError.ComponentError InvalidAccount.InsufficientBalance ResourceNotFound.NotFound "
            "ResourceUnavailable.Attached ResourceUnavailable.NotSupported TradeDealConflict "
            "UnauthorizedOperation.NotHavePaymentRight"
        ),
        "ModifyDiskExtraPerformance": _codes(
            "InvalidAccount.InsufficientBalance InvalidDisk.Busy InvalidDisk.Expire InvalidDisk.NotSupported "
            "InvalidDiskId.NotFound"
        ),
        "ModifyDisksChargeType": _codes(
            "InternalError.ComponentError InvalidAccount.InsufficientBalance InvalidDisk.Busy InvalidDisk.NotPortable "
            "InvalidDisk.NotSupported InvalidDiskId.NotFound ResourceUnavailable.NotPortable "
            "ResourceUnavailable.NotSupported TradeDealConflict UnauthorizedOperation.NotHavePaymentRight"
        ),
        "ModifyDisksRenewFlag": _codes(
            "InvalidDiskId.NotFound ResourceNotFound.NotFound UnauthorizedOperation.MFAExpired"
        ),
        "ModifyRemoteDiskAttributes": _codes(""),
        "ModifySnapshotAttribute": _codes(
            "InvalidSnapshot.NotSupported InvalidSnapshotId.NotFound UnsupportedOperation.SnapHasShared "
            "UnsupportedOperation.SnapshotHasBindedImage"
        ),
        "ModifySnapshotsSharePermission": _codes(
            "InvalidSnapshot.NotSupported InvalidSnapshotId.NotFound ResourceInsufficient.OverQuota"
        ),
        "RenewDisk": _codes(
            "InternalError.ComponentError InvalidAccount.InsufficientBalance InvalidDisk.Busy InvalidDisk.NotPortable "
            "InvalidDisk.NotSupported InvalidDiskId.NotFound ResourceUnavailable.NotPortable "
            "ResourceUnavailable.NotSupported TradeDealConflict"
        ),
        "RenewRemoteDisk": _codes(""),
        "ResizeDisk": _codes(
            "InternalError.ComponentError InvalidAccount.InsufficientBalance InvalidDisk.Busy InvalidDisk.Expire "
            "InvalidDisk.NotSupported InvalidDiskId.NotFound InvalidParameter.DiskConfigNotSupported "
            "ResourceNotFound.NotFound ResourceUnavailable.Expire ResourceUnavailable.NotSupported "
            "ResourceUnavailable.SnapshotCreating TradeDealConflict UnauthorizedOperation.NotHavePaymentRight "
            "UnsupportedOperation.InstanceNotStopped"
        ),
        "SwitchParameterCreateRemoteDisks": _codes(""),
        "SwitchParameterRenewRemoteDisks": _codes(""),
        "TerminateDisks": _codes(
            "InsufficientRefundQuota InternalError.FailQueryResource InvalidDisk.Expire ResourceBusy "
            "ResourceInsufficient.OverRefundQuota ResourceUnavailable.Expire ResourceUnavailable.NotSupportRefund "
            "ResourceUnavailable.NotSupported ResourceUnavailable.RepeatRefund TradeDealConflict"
        ),
        "TerminateRemoteDisks": _codes(""),
        "UnbindAutoSnapshotPolicy": _codes(
            "InvalidAutoSnapshotPolicyId.NotFound InvalidDiskId.NotFound ResourceUnavailable.NotSupported"
        ),
    }
)
"""By the action's name."""

BESIDE: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "CreateTag": _codes(
            "FailedOperation InvalidParameter.ReservedTagKey InvalidParameterValue.ReservedTagKey "
            "InvalidParameterValue.TagKeyCharacterIllegal InvalidParameterValue.TagKeyDuplicate "
            "InvalidParameterValue.TagKeyEmpty InvalidParameterValue.TagKeyLengthExceeded "
            "InvalidParameterValue.TagValueCharacterIllegal InvalidParameterValue.TagValueEmpty "
            "InvalidParameterValue.TagValueLengthExceeded LimitExceeded.TagKey LimitExceeded.TagValue "
            "ResourceInUse.TagDuplicate"
        ),
        "DeleteTag": _codes(
            "FailedOperation FailedOperation.TagAttachedQuota FailedOperation.TagAttachedResource "
            "InvalidParameterValue.TagKeyCharacterIllegal InvalidParameterValue.TagKeyDuplicate "
            "InvalidParameterValue.TagKeyEmpty InvalidParameterValue.TagValueCharacterIllegal "
            "InvalidParameterValue.TagValueEmpty InvalidParameterValue.TagValueLengthExceeded "
            "ResourceNotFound.TagNonExist"
        ),
        "DescribeInstances": _codes("InvalidFilter"),
        "DescribeInstancesStatus": _codes(""),
        "DescribeRegions": _codes(""),
        "DescribeResourceTagsByResourceIds": _codes(
            "FailedOperation InvalidParameterValue.RegionInvalid InvalidParameterValue.ResourceIdInvalid "
            "InvalidParameterValue.ResourcePrefixInvalid InvalidParameterValue.ServiceTypeInvalid "
            "InvalidParameterValue.UinInvalid"
        ),
        "DescribeTagKeys": _codes("FailedOperation InvalidParameterValue.UinInvalid"),
        "DescribeTagValues": _codes(
            "FailedOperation InvalidParameterValue.TagKeyEmpty InvalidParameterValue.UinInvalid"
        ),
        "DescribeZones": _codes(""),
        "GetCallerIdentity": _codes(
            "AuthFailure.AccessKeyIllegal InternalError.GetSeedTokenError InvalidParameter.AccessKeyNotSupport"
        ),
        "GetResources": _codes(
            "AuthFailure.UnauthorizedOperation FailedOperation FailedOperation.ResourceTagProcessing "
            "InvalidParameter.PaginationTokenInvalid InvalidParameter.ReservedTagKey InvalidParameter.Tag "
            "InvalidParameterValue.ResourceDescriptionError InvalidParameterValue.TagKeyDuplicate "
            "InvalidParameterValue.TagKeyEmpty InvalidParameterValue.TagKeyLengthExceeded "
            "InvalidParameterValue.TagValueCharacterIllegal InvalidParameterValue.TagValueLengthExceeded "
            "LimitExceeded.ResourceNumPerRequest LimitExceeded.TagNumPerRequest LimitExceeded.TagValue"
        ),
        "GetTags": _codes(
            "FailedOperation InvalidParameter.PaginationTokenInvalid InvalidParameter.ReservedTagKey "
            "InvalidParameterValue.TagKeyEmpty LimitExceeded"
        ),
        "ModifyResourceTags": _codes(
            "FailedOperation FailedOperation.PolicyEnforcedInvalid InvalidParameter.ReservedTagKey "
            "InvalidParameter.Tag InvalidParameterValue.DeleteTagsParamError "
            "InvalidParameterValue.ResourceDescriptionError InvalidParameterValue.TagKeyCharacterIllegal "
            "InvalidParameterValue.TagKeyEmpty InvalidParameterValue.TagKeyLengthExceeded "
            "InvalidParameterValue.TagValueCharacterIllegal InvalidParameterValue.TagValueLengthExceeded "
            "LimitExceeded.Quota LimitExceeded.ResourceAttachedTags LimitExceeded.TagKey LimitExceeded.TagValue"
        ),
        "TagResources": _codes(
            "AuthFailure.UnauthorizedOperation FailedOperation FailedOperation.PolicyEnforcedInvalid "
            "FailedOperation.ResourceTagProcessing InvalidParameter.ReservedTagKey InvalidParameter.Tag "
            "InvalidParameter.UnsupportedService InvalidParameterValue.ResourceDescriptionError "
            "InvalidParameterValue.TagKeyCharacterIllegal InvalidParameterValue.TagKeyDuplicate "
            "InvalidParameterValue.TagKeyEmpty InvalidParameterValue.TagKeyLengthExceeded "
            "InvalidParameterValue.TagValueCharacterIllegal InvalidParameterValue.TagValueEmpty "
            "InvalidParameterValue.TagValueLengthExceeded LimitExceeded.ResourceNumPerRequest "
            "LimitExceeded.TagNumPerRequest LimitExceeded.TagValue"
        ),
        "UnTagResources": _codes(
            "AuthFailure.UnauthorizedOperation FailedOperation FailedOperation.PolicyEnforcedInvalid "
            "FailedOperation.ResourceTagProcessing InvalidParameter.ReservedTagKey InvalidParameter.Tag "
            "InvalidParameterValue.ResourceDescriptionError InvalidParameterValue.TagKeyCharacterIllegal "
            "InvalidParameterValue.TagKeyDuplicate InvalidParameterValue.TagKeyEmpty "
            "InvalidParameterValue.TagKeyLengthExceeded InvalidParameterValue.TagValueCharacterIllegal "
            "LimitExceeded.ResourceNumPerRequest LimitExceeded.TagNumPerRequest"
        ),
    }
)
"""The same of the actions of `tag`, `cvm` and `sts` that are served."""

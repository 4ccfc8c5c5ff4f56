"""CBS 2017-03-12: which of its documented actions are not served here; the others stand beside this file."""

from drystone.api.actions import Service

NOT_SERVED = frozenset(
    {
        "ApplyDiskBackup",
        "AttachRemoteDisks",
        "BindAutoSnapshotPolicy",
        "CopyAutoSnapshotPolicyCrossAccount",
        "CopySnapshotCrossRegions",
        "CreateAutoSnapshotPolicy",
        "CreateDiskBackup",
        "CreateRemoteDisks",
        "DeleteAutoSnapshotPolicies",
        "DeleteDiskBackups",
        "DescribeAutoSnapshotPolicies",
        "DescribeDedicatedClusterDiskStatistics",
        "DescribeDiskAssociatedAutoSnapshotPolicy",
        "DescribeDiskBackups",
        "DescribeDiskStoragePool",
        "DescribeRemoteDiskConfigQuota",
        "DescribeRemoteDisks",
        "DescribeRemoteDisksDeniedActions",
        "DescribeSnapshotSharePermission",
        "DetachRemoteDisks",
        "InquirePriceCreateRemoteDisks",
        "InquirePriceModifyDiskBackupQuota",
        "InquirePriceModifyDiskExtraPerformance",
        "InquirePriceRenewRemoteDisks",
        "InquiryPriceCreateDisks",
        "InquiryPriceRenewDisks",
        "InquiryPriceResizeDisk",
        "ModifyAutoSnapshotPolicyAttribute",
        "ModifyDiskBackupQuota",
        "ModifyDiskExtraPerformance",
        "ModifyDisksChargeType",
        "ModifyDisksRenewFlag",
        "ModifyRemoteDiskAttributes",
        "ModifySnapshotsSharePermission",
        "RenewDisk",
        "RenewRemoteDisk",
        "SwitchParameterCreateRemoteDisks",
        "SwitchParameterRenewRemoteDisks",
        "TerminateRemoteDisks",
        "UnbindAutoSnapshotPolicy",
    }
)
"""Documented actions that answer UnsupportedOperation, so that a client can tell them from a misspelt name."""

CBS = Service(name="cbs", version="2017-03-12", regional=True, not_served=NOT_SERVED)

"""The service `cvm` 2017-03-12: its documented actions that are not served here. The others stand beside this file."""

from drystone.api.actions import Service

_NAMES = """
    AllocateHosts AssociateInstancesKeyPairs AssociateSecurityGroups ConfigureChcAssistVpc ConfigureChcDeployVpc
    ConvertOperatingSystems CreateDisasterRecoverGroup CreateHpcCluster CreateImage CreateKeyPair
    CreateLaunchTemplate CreateLaunchTemplateVersion DeleteDisasterRecoverGroups DeleteHpcClusters DeleteImages
    DeleteInstancesActionTimer DeleteInstancesDisasterRecoverGroups DeleteKeyPairs DeleteLaunchTemplate
    DeleteLaunchTemplateVersions DescribeAccountQuota DescribeChcDeniedActions DescribeChcHosts
    DescribeDisasterRecoverGroupQuota DescribeDisasterRecoverGroups DescribeHosts DescribeHpcClusters
    DescribeImageFromFamily DescribeImageQuota DescribeImageSharePermission DescribeImages DescribeImportImageOs
    DescribeInstanceFamilyConfigs DescribeInstanceInternetBandwidthConfigs DescribeInstanceTypeConfigs
    DescribeInstanceVncUrl DescribeInstancesActionTimer DescribeInstancesAttributes
    DescribeInstancesModification DescribeInstancesOperationLimit DescribeInternetChargeTypeConfigs
    DescribeKeyPairs DescribeLaunchTemplateVersions DescribeLaunchTemplates DescribeResourcePoolPackInstances
    DescribeResourcePoolPackTypeConfigs DescribeResourcePoolPacks DescribeTaskInfo
    DescribeZoneInstanceConfigInfos DisassociateInstancesKeyPairs DisassociateSecurityGroups EnterRescueMode
    ExitRescueMode ExportImages ImportImage ImportInstancesActionTimer ImportKeyPair
    InquirePricePurchaseResourcePoolPacks InquiryPriceModifyInstancesChargeType InquiryPriceRenewHosts
    InquiryPriceRenewInstances InquiryPriceResetInstance InquiryPriceResetInstancesInternetMaxBandwidth
    InquiryPriceResetInstancesType InquiryPriceResizeInstanceDisks InquiryPriceRunInstances
    InquiryPriceTerminateInstances ModifyChcAttribute ModifyChcNetworkMode ModifyDisasterRecoverGroupAttribute
    ModifyHostsAttribute ModifyHpcClusterAttribute ModifyImageAttribute ModifyImageSharePermission
    ModifyInstanceDiskType ModifyInstancesAttribute ModifyInstancesChargeType
    ModifyInstancesDisasterRecoverGroup ModifyInstancesProject ModifyInstancesRenewFlag
    ModifyInstancesVpcAttribute ModifyKeyPairAttribute ModifyLaunchTemplateDefaultVersion ProgramFpgaImage
    PurchaseResourcePoolPacks RebootInstances RemoveChcAssistVpc RemoveChcDeployVpc RenewHosts RenewInstances
    RepairTaskControl ResetInstance ResetInstancesInternetMaxBandwidth ResetInstancesPassword ResetInstancesType
    ResizeInstanceDisks RunInstances StartInstances StopInstances SyncImages TerminateInstances
    TerminateResourcePoolPacks
"""
NOT_SERVED = frozenset(_NAMES.split())
"""Documented actions that answer UnsupportedOperation, so that a client can tell them from a misspelt name."""

CVM = Service(name="cvm", version="2017-03-12", regional=False, not_served=NOT_SERVED)

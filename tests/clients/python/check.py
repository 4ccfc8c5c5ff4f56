"""The small story with Tencent's SDK for Python: `check.py SIGNING METHOD`."""

import json
import os
import sys
import time
from typing import Any

from tencentcloud.cbs.v20170312 import models
from tencentcloud.cbs.v20170312.cbs_client import CbsClient
from tencentcloud.common.common_client import CommonClient
from tencentcloud.common.credential import Credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile

SIGNING, METHOD = sys.argv[1:]
KEY = Credential(os.environ["TENCENTCLOUD_SECRET_ID"], os.environ["TENCENTCLOUD_SECRET_KEY"])
REGION, ZONE = os.environ["TENCENTCLOUD_REGION"], os.environ["DRYSTONE_ZONE"]
PROFILE = ClientProfile(
    signMethod=SIGNING, httpProfile=HttpProfile(protocol="http", endpoint=os.environ["CBS_ENDPOINT"], reqMethod=METHOD)
)


def filled(kind: type, **fields: object) -> Any:
    request = kind()
    request.from_json_string(json.dumps(fields))
    return request


def beside(service: str, action: str, **parameters: object) -> Any:
    return CommonClient(service, "2018-08-13", KEY, REGION, PROFILE).call_json(action, parameters)["Response"]


def main() -> None:
    cbs: Any = CbsClient(KEY, REGION, PROFILE)
    made = cbs.CreateDisks(
        filled(
            models.CreateDisksRequest, Placement={"Zone": ZONE}, DiskName="python 云盘", DiskType="CLOUD_PREMIUM",
            DiskChargeType="POSTPAID_BY_HOUR", DiskSize=10, Tags=[{"Key": "by", "Value": "python & co"}],
        )
    )  # fmt: skip
    (disk,) = made.DiskIdSet
    filters = [{"Name": "disk-id", "Values": [disk]}]
    (shown,) = cbs.DescribeDisks(filled(models.DescribeDisksRequest, Filters=filters)).DiskSet
    assert (shown.DiskName, shown.Tags[0].Value) == ("python 云盘", "python & co"), shown
    name = f"qcs::cvm:{REGION}:uin/:volume/{disk}"
    beside("tag", "ModifyResourceTags", Resource=name, ReplaceTags=[{"TagKey": "by", "TagValue": "tag"}])
    (mapped,) = beside("tag", "GetResources", ResourceList=[name])["ResourceTagMappingList"]
    assert mapped["Tags"][0]["TagValue"] == "tag", mapped
    assert beside("sts", "GetCallerIdentity")["AccountId"]
    taken = cbs.CreateSnapshot(filled(models.CreateSnapshotRequest, DiskId=disk, SnapshotName="python*~'()!"))
    while True:
        wanted = filled(models.DescribeSnapshotsRequest, SnapshotIds=[taken.SnapshotId])
        if cbs.DescribeSnapshots(wanted).SnapshotSet[0].SnapshotState == "NORMAL":
            break
        time.sleep(0.2)
    cbs.DeleteSnapshots(filled(models.DeleteSnapshotsRequest, SnapshotIds=[taken.SnapshotId]))
    cbs.TerminateDisks(filled(models.TerminateDisksRequest, DiskIds=[disk]))
    try:
        cbs.TerminateDisks(filled(models.TerminateDisksRequest, DiskIds=["disk-00000000"]))
    except TencentCloudSDKException as refused:
        print("python", SIGNING, METHOD, "refused as", refused.code)
    else:
        sys.exit("nothing was refused")


if __name__ == "__main__":
    main()

"""Calls in the order of real clients: in parallel, and without a look at what state a disk is in."""

from collections.abc import Iterator

import pytest
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from tests.system.harness import Installation, installation
from tests.system.provider import apply_and_destroy


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installation(tmp_path_factory.mktemp("provider") / "data") as made:
        yield made


def test_a_snapshot_is_taken_while_its_disk_is_being_attached(system: Installation) -> None:
    for _ in range(3):
        disk_id = system.create_disk()
        system.call("AttachDisks", InstanceId=system.nbd_instance, DiskIds=[disk_id])
        snapshot_id = system.call("CreateSnapshot", DiskId=disk_id).SnapshotId
        system.wait_normal(snapshot_id)


def test_a_disk_is_destroyed_and_attached_right_after_it_was_detached(system: Installation) -> None:
    for action in ("TerminateDisks", "AttachDisks", "ResizeDisk", "InitializeDisks"):
        disk_id = system.create_disk()
        # Both at once while it is being attached: the second waits for the first.
        system.call("AttachDisks", InstanceId=system.nbd_instance, DiskIds=[disk_id])
        system.call("DetachDisks", DiskIds=[disk_id])
        more = {"InstanceId": system.nbd_instance} if action == "AttachDisks" else {}
        named = {"DiskId": disk_id, "DiskSize": 20} if action == "ResizeDisk" else {"DiskIds": [disk_id]}
        system.call(action, **named, **more)


def test_one_client_token_is_one_disk_whatever_the_order_of_its_tags(system: Installation) -> None:
    tags = [{"Key": key, "Value": "x"} for key in "abcdef"]
    made = [
        system.create_disk(ClientToken="cluster/pvc-1", DiskName="pvc-1", Tags=order)
        for order in (tags, tags[::-1], tags[3:] + tags[:3])
    ]
    assert len(set(made)) == 1
    with pytest.raises(TencentCloudSDKException, match="used with other parameters"):
        system.create_disk(ClientToken="cluster/pvc-1", DiskName="pvc-1", Tags=tags[1:])


def test_an_apply_of_everything_at_once_goes_through(tmp_path_factory: pytest.TempPathFactory) -> None:
    with installation(tmp_path_factory.mktemp("apply") / "data") as system:
        apply_and_destroy(system, 5)

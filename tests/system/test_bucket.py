"""The bucket is enough: a host whose catalog is gone, a catalog from a backup; and people who come and leave."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from drystone.snapstore.reader_copy import NAME
from tests.system.harness import SECONDS, Installation, installation, random_bytes

MIB = 1 << 20
GIB = 1 << 30


def drystone(*arguments: object, check: bool = True) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "drystone", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done


def refused_start(system: Installation) -> str:
    done = drystone("serve", "--data", system.data, "--port", 0, check=False)
    assert done.returncode == 1
    return done.stderr


def tree(root: Path) -> set[str]:
    """The objects of a store, but for its claims."""
    left_out = {".temporary", "epochs"}
    return {
        str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and not left_out & set(path.parts)
    }


def digest(path: Path, length: int) -> str:
    with path.open("rb") as file:
        return hashlib.sha256(file.read(length)).hexdigest()


def wait_published(system: Installation, snapshot_id: str, name: str) -> None:
    (store,) = (path for path in (system.data / "store").iterdir() if not path.name.startswith("."))
    attributes = store / "snapshots" / snapshot_id / "attributes"
    system.wait(
        lambda: attributes.exists() and json.loads(attributes.read_bytes())["name"] == name, f"{snapshot_id} published"
    )


def test_a_host_without_its_database_and_a_database_from_a_backup(tmp_path: Path) -> None:
    rng = np.random.default_rng(21)
    with installation(tmp_path / "data") as system:
        disk_id = system.create_disk(DiskName="db")
        system.attach(disk_id)
        data = bytearray(random_bytes(rng, 3 * MIB))
        system.write(disk_id, 0, bytes(data))
        first = system.take(disk_id, SnapshotName="first")
        frozen = {first: bytes(data)}
        data[MIB : MIB + 8192] = random_bytes(rng, 8192)
        system.write(disk_id, MIB, bytes(data[MIB : MIB + 8192]))
        second = system.take(disk_id)
        frozen[second] = bytes(data)
        system.call("ModifySnapshotAttribute", SnapshotId=second, SnapshotName="golden")
        system.call("ModifyDiskAttributes", DiskIds=[disk_id], DiskName="renamed")
        wait_published(system, second, "golden")
        description = system.data / "disks" / disk_id / "disk.json"
        system.wait(lambda: json.loads(description.read_bytes())["name"] == "renamed", "disk.json follows")
        # Newer than any snapshot: only the disk itself has it.
        data[2 * MIB : 2 * MIB + 4096] = random_bytes(rng, 4096)
        system.write(disk_id, 2 * MIB, bytes(data[2 * MIB : 2 * MIB + 4096]))
        system.host_stop()

        # The stand-alone reader, from a copy of the bucket, without Drystone.
        (store,) = (path for path in (system.data / "store").iterdir() if not path.name.startswith("."))
        image = tmp_path / "second.raw"
        subprocess.run(
            [sys.executable, "-I", store / NAME, store, "write", second, image], check=True, capture_output=True
        )
        assert image.stat().st_size == 10 * GIB
        assert digest(image, len(data)) == hashlib.sha256(frozen[second]).hexdigest()
        image.unlink()

        # The database is gone.
        for path in [*system.data.glob("catalog.db*"), system.data / "credentials.env"]:
            path.unlink()
        shutil.rmtree(system.data / "backups", ignore_errors=True)
        assert "drystone store recover --data" in refused_start(system)
        assert not (system.data / "catalog.db").exists()
        before = tree(store)
        report = json.loads(drystone("store", "recover", "--data", system.data, "--json").stdout)
        assert (sorted(report["snapshots_imported"]), report["disks_adopted"]) == (sorted(frozen), [disk_id])
        assert tree(store) == before
        system.start()
        assert system.snapshot(second).SnapshotName == "golden"
        assert system.disk(disk_id).DiskName == "renamed"
        system.attach(disk_id)
        assert system.read(disk_id, 0, len(data)) == bytes(data)
        for snapshot_id, content in frozen.items():
            assert system.content(snapshot_id, len(data)) == content
        # It goes on: the next snapshot compares with the newest, and stores only what differs.
        third = system.take(disk_id)
        record = system.record(third)
        assert record["ParentSnapshotId"] == second
        assert record["ChangedBytes"] == 4096, record
        frozen[third] = bytes(data)
        assert system.own("DescribeStore")["Held"] != ""
        drystone("store", "confirm", "--yes", "--data", system.data)
        assert drystone("store", "confirm", "--yes", "--data", system.data).stdout.strip() == "nothing was held"

        # A copy of the database, and what happened since: more snapshots, one deleted.
        copy = Path(drystone("store", "backup", "--data", system.data).stdout.strip())
        assert copy.stat().st_mode & 0o777 == 0o600
        for number in range(3):
            data[number * 8192 : number * 8192 + 4096] = random_bytes(rng, 4096)
            system.write(disk_id, number * 8192, bytes(data[number * 8192 : number * 8192 + 4096]))
            frozen[system.take(disk_id)] = bytes(data)
        system.call("DeleteSnapshots", SnapshotIds=[first])
        system.wait_idle()
        system.kill()
        for path in system.data.glob("catalog.db*"):
            path.unlink()
        shutil.copy(copy, system.data / "catalog.db")
        words = refused_start(system)
        assert "older than its snapshot store" in words
        assert "drystone store reconcile --data" in words
        before = tree(store)
        report = json.loads(drystone("store", "reconcile", "--data", system.data, "--json").stdout)
        assert tree(store) == before
        del frozen[first]
        assert (len(report["snapshots_imported"]), report["snapshots_gone"]) == (3, [first])
        system.start()
        assert system.snapshot(first) is None
        system.wait(lambda: system.detail(disk_id)["NbdUri"] is not None, "served again")
        assert system.read(disk_id, 0, len(data)) == bytes(data)
        newest = max(frozen, key=lambda one: system.snapshot(one).CreateTime)
        for snapshot_id in (second, newest):
            assert system.content(snapshot_id, len(data)) == frozen[snapshot_id]
        # Deleting is held: what is asked for now waits, and every object stays.
        system.call("DeleteSnapshots", SnapshotIds=[third])
        assert before <= tree(store)
        drystone("store", "confirm", "--yes", "--data", system.data)
        system.wait_idle()
        assert not before <= tree(store)
        assert system.content(newest, len(data)) == frozen[newest]


def operation(system: Installation, operation_id: str) -> dict[str, Any]:
    return dict(system.own("DescribeOperations", OperationIds=[operation_id])["OperationSet"][0])


def wait_done(system: Installation, operation_id: str) -> None:
    system.wait(lambda: operation(system, operation_id)["State"] != "RUNNING", f"{operation_id} ended")
    assert operation(system, operation_id)["State"] == "DONE", operation(system, operation_id)


def test_export_and_import_in_every_format(tmp_path: Path) -> None:
    rng = np.random.default_rng(22)
    outside = tmp_path / "files"
    outside.mkdir()
    with installation(tmp_path / "data") as system:
        disk_id = system.create_disk()
        system.attach(disk_id)
        data = random_bytes(rng, 2 * MIB) + bytes(MIB) + random_bytes(rng, MIB)
        system.write(disk_id, 0, data)
        snapshot_id = system.take(disk_id)
        system.detach(disk_id)
        qcow2, raw = outside / "disk.qcow2", outside / "disk.raw"
        assert drystone("snapshot", "export", snapshot_id, qcow2, "--data", system.data).stdout.strip() == str(qcow2)
        # A raw one, and the server is killed while it is written; the next one finishes it, or begins again.
        exporting = system.own("ExportSnapshot", SnapshotId=snapshot_id, Path=str(raw))["OperationId"]
        system.kill()
        system.start()
        wait_done(system, exporting)
        assert raw.stat().st_size == 10 * GIB
        assert raw.stat().st_blocks * 512 < 16 * MIB, "zeros are holes"
        assert digest(raw, len(data)) == hashlib.sha256(data).hexdigest()
        compared = subprocess.run(["qemu-img", "compare", "-f", "qcow2", "-F", "raw", qcow2, raw], check=False)
        assert compared.returncode == 0
        # The snapshot is not pinned any more, and nothing lies beside the files.
        assert {path.name for path in outside.iterdir()} == {"disk.qcow2", "disk.raw"}
        for image_format, driver in (("vmdk", "vmdk"), ("vhdx", "vhdx"), ("vhd", "vpc")):
            subprocess.run(
                ["qemu-img", "convert", "-f", "qcow2", "-O", driver, qcow2, outside / f"disk.{image_format}"],
                check=True,
            )
        made = json.loads(drystone("disk", "import", qcow2, "--data", system.data, "--json").stdout)
        assert (made["state"], made["size_gib"]) == ("UNATTACHED", 10)
        made_ids = [made["disk_id"]]
        for file in (raw, outside / "disk.vhd"):
            begun = system.own("ImportDisk", Path=str(file))
            wait_done(system, begun["OperationId"])
            made_ids.append(begun["DiskId"])
        for made_id in made_ids:
            system.attach(made_id)
            assert system.read(made_id, 0, len(data)) == data
            system.detach(made_id)
        # Killed in the middle: it is whole or not there, and no half disk is left.
        importing = system.own("ImportDisk", Path=str(outside / "disk.vhdx"), DiskName="killed", DiskSize=12)
        system.kill()
        system.start()
        wait_done(system, importing["OperationId"])
        system.attach(importing["DiskId"])
        assert system.disk(importing["DiskId"]).DiskSize == 12
        assert system.read(importing["DiskId"], 0, len(data)) == data
        first = system.take(importing["DiskId"])
        assert system.record(first)["Tracking"] == "full"
        assert system.stored(first).read(0, len(data)) == data
        system.detach(importing["DiskId"])
        bad_input(system, outside, snapshot_id)


def refusal(system: Installation, action: str, **parameters: Any) -> str:
    with pytest.raises(TencentCloudSDKException) as caught:
        system.own(action, **parameters)
    return str(caught.value)


def bad_input(system: Installation, outside: Path, snapshot_id: str) -> None:
    """Each is refused with a reason, and nothing is left of it."""
    disks_before = {path.name for path in (system.data / "disks").iterdir()}
    files_before = {path.name for path in outside.iterdir()}
    qcow2 = outside / "disk.qcow2"
    overlay, cut, text, guest = (outside / name for name in ("over.qcow2", "cut.qcow2", "text.qcow2", "guest.raw"))
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", qcow2, overlay], check=True)
    cut.write_bytes(qcow2.read_bytes()[: 3 * MIB])
    text.write_text("not an image\n" * 100)
    shutil.copy(overlay, guest)
    inside = system.data / "disks" / next(iter(disks_before)) / "disk.qcow2"
    for words, file, more in (
        ("has a backing file", overlay, {}), ("looks like no image", text, {}), ("give the format", guest, {}),
        ("No such file", outside / "none.qcow2", {}), ("own directory", inside, {}),
        ("holds a disk of", qcow2, {"DiskSize": 5}), ("is not a vmdk", qcow2, {"Format": "vmdk"}),
        ("not a regular file", outside, {"Format": "raw"}), ("must be absolute", Path("disk.raw"), {}),
        ("looks like vhd, not raw", outside / "disk.vhd", {"Format": "raw"}), ("names no file", Path("/"), {}),
    ):  # fmt: skip
        assert words in refusal(system, "ImportDisk", Path=str(file), **more)
    # That its data ends early is only found by reading all of its tables: the operation says so.
    done = drystone("disk", "import", cut, "--data", system.data, check=False)
    assert done.returncode == 1
    assert "damaged or cut off" in done.stderr
    system.wait_idle()
    assert {path.name for path in (system.data / "disks").iterdir()} == disks_before
    for words, target in (
        ("there already", qcow2),
        ("own directory", system.data / "x.raw"),
        ("unknown", outside / "x"),
    ):
        assert words in refusal(system, "ExportSnapshot", SnapshotId=snapshot_id, Path=str(target))
    new = {"over.qcow2", "cut.qcow2", "text.qcow2", "guest.raw"}
    assert {path.name for path in outside.iterdir()} == files_before | new

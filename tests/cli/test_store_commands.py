"""Commands that tell space and get it back, against a recorded service."""

import json

from tests.cli.conftest import Command
from tests.cli.fake_service import FakeService, RefusalError, operation

BEGUN = {"OperationId": "op-aaaaaaaa", "Threshold": 0, "PackCount": 2, "PackBytes": 90, "DeadBytes": 40}


def test_show_tells_unique_and_shared_bytes(command: Command, service: FakeService) -> None:
    shown = json.loads(command("snapshot", "show", "snap-aaaaaaaa", "--json").out)
    assert (shown["unique_bytes"], shown["shared_bytes"]) == (4096, 8192)
    service.on("DescribeSnapshotSpace", RefusalError("ResourceUnavailable.LineageUnknown", "not known"))
    ended = command("snapshot", "show", "snap-aaaaaaaa", "--json")
    assert json.loads(ended.out)["unique_bytes"] is None
    assert "LineageUnknown" in ended.err


def test_a_dry_run_of_a_deletion_deletes_nothing(command: Command, service: FakeService) -> None:
    told = json.loads(command("snapshot", "delete", "snap-aaaaaaaa", "snap-bbbbbbbb", "--dry-run", "--json").out)
    assert (told["dead_bytes"], told["reclaimable_bytes"]) == (5000, 3000)
    assert [one["snapshot_id"] for one in told["snapshots"]] == ["snap-aaaaaaaa", "snap-bbbbbbbb"]
    assert service.asked("DeleteSnapshots") == []


def test_store_show(command: Command) -> None:
    shown = json.loads(command("store", "show", "--json").out)
    assert (shown["stored_bytes"], shown["dead_bytes"], shown["threshold_percent"]) == (9000, 3000, 20)


def test_gc_waits_and_tells_what_came_back(command: Command, service: FakeService) -> None:
    service.on("CollectGarbage", BEGUN)
    result = {"rewritten_packs": 2, "freed_bytes": 39, "waiting_bytes": 0, "note": ""}
    ended = operation("op-aaaaaaaa", Kind="compact", State="DONE", Result=result)
    service.on("DescribeOperations", {"TotalCount": 1, "OperationSet": [ended]})
    told = json.loads(command("store", "gc", "--threshold", "0", "--json").out)
    assert (told["dead_bytes"], told["rewritten_packs"], told["freed_bytes"], told["note"]) == (40, 2, 39, None)
    assert service.asked("CollectGarbage") == [{"DryRun": False, "Threshold": 0}]


def test_gc_dry_run_and_failure(command: Command, service: FakeService) -> None:
    service.on("CollectGarbage", BEGUN | {"OperationId": None})
    told = json.loads(command("store", "gc", "--dry-run", "--json").out)
    assert (told["operation_id"], told["dead_bytes"], told["freed_bytes"]) == (None, 40, None)
    assert command("store", "gc", "--threshold", "101").code == 2
    service.on("CollectGarbage", BEGUN)
    ended = operation("op-aaaaaaaa", Kind="compact", State="FAILED", ErrorMessage="the store is full")
    service.on("DescribeOperations", {"TotalCount": 1, "OperationSet": [ended]})
    failed = command("store", "gc")
    assert failed.code == 1
    assert "the store is full" in failed.err


def test_store_status_tells_whose_it_is_and_whether_it_answers(command: Command, service: FakeService) -> None:
    service.on("DescribeStoreHealth", {"OldestProofTime": "2026-11-22T09:36:07+00:00", "PacksDue": 3})
    ended = command("store", "status", "--json")
    told = json.loads(ended.out)
    assert (ended.code, told["place"], told["owner"], told["days"]) == (0, "s3://b", "this catalog", [])
    assert told["oldest_verification_at"] == "2026-11-22T09:36:07+00:00"
    day = {"Day": "2026-11-22", "WriteRequests": 7}
    service.on("DescribeStoreStatus", {"StoreId": "st-1", "State": "foreign", "Fault": "claimed", "DaySet": [day]})
    ended = command("store", "status", "--json")
    told = json.loads(ended.out)
    assert (ended.code, told["owner"], told["days"][0]["write_requests"]) == (
        1, "another catalog, or a newer state of this one", 7
    )  # fmt: skip
    assert ended.err.startswith("drystone: the store cannot be used: claimed")

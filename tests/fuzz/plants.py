"""Faults that the fuzzer must find: each is planted into a running service; a fuzzer that misses one is broken."""

import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any
from unittest import mock

from sqlalchemy import Connection

from drystone.api.parameters import Ids, Parameters, Text
from drystone.catalog import disks, snapshots
from drystone.domain.errors import RefusalError
from drystone.service.caller import Caller
from tests.api.real_service import RealService

Run = Callable[[Caller, Any], Awaitable[Mapping[str, Any]]]


def _replace_run(service: RealService, name: str, run_of: Callable[[Run], Run]) -> None:
    """Have an action run something else."""
    of = service.actions[name]
    actions: Any = of.actions
    actions[name] = dataclasses.replace(actions[name], run=run_of(actions[name].run))


def late_deadline(_service: RealService) -> None:
    """A deadline in the last hours of the last year is accepted, and no zone east of Greenwich can show it."""
    mock.patch("drystone.service.calls.attributes.TIME_S_MAX", 253_402_300_799.0).start()
    mock.patch("drystone.domain.times.clamped", lambda at_s: at_s).start()


def forgotten_bound(service: RealService) -> None:
    """A number has no upper bound, and the catalog's columns have 63 bits."""

    class Unbounded(Parameters, frozen=True, kw_only=True):
        disk_ids: Ids
        disk_name: Text | None = None
        portable: bool | None = None
        project_id: int | None = None
        delete_with_instance: bool | None = None
        disk_type: Text | None = None
        burst_performance_operation: Text | None = None

    # The use case checks once more what the parameters check first.
    mock.patch("drystone.service.calls.disk_records.PROJECT_ID_MAX", 1 << 70).start()
    actions: Any = service.actions["ModifyDiskAttributes"].actions
    actions["ModifyDiskAttributes"] = dataclasses.replace(actions["ModifyDiskAttributes"], parameters=Unbounded)


def leaked_id(service: RealService) -> None:
    """A list that is asked for by ids does not look whose they are."""

    def run_of(run: Run) -> Run:
        async def leaking(caller: Caller, given: Any) -> Mapping[str, Any]:
            def owner(conn: Connection) -> str | None:
                first = disks.get(conn, given.disk_ids[0]) if given.disk_ids else None
                return None if first is None else first.account_id

            found: Any = await service.installation.db.read(owner)
            return await run(dataclasses.replace(caller, account_id=found or caller.account_id), given)

        return leaking

    _replace_run(service, "DescribeDisks", run_of)


def told_apart(service: RealService) -> None:
    """A refusal tells whether an id is another account's or nobody's."""

    def run_of(run: Run) -> Run:
        async def telling(caller: Caller, given: Any) -> Mapping[str, Any]:
            def owner(conn: Connection) -> object:
                return snapshots.get(conn, given.snapshot_id)

            found: Any = await service.installation.db.read(owner)
            if found is not None and found.account_id != caller.account_id:
                raise RefusalError("UnauthorizedOperation", "This snapshot is not yours.")
            return await run(caller, given)

        return telling

    _replace_run(service, "ModifySnapshotAttribute", run_of)


def wrong_count(service: RealService) -> None:
    """A filtered list counts what the filter leaves out."""

    def run_of(run: Run) -> Run:
        async def miscounting(caller: Caller, given: Any) -> Mapping[str, Any]:
            answer = await run(caller, given)
            return {**answer, "TotalCount": answer["TotalCount"] + 1} if given.filters else answer

        return miscounting

    _replace_run(service, "DescribeDisks", run_of)


PLANTS: Mapping[str, Callable[[RealService], None]] = MappingProxyType(
    {
        "late-deadline": late_deadline,
        "forgotten-bound": forgotten_bound,
        "leaked-id": leaked_id,
        "told-apart": told_apart,
        "wrong-count": wrong_count,
    }
)

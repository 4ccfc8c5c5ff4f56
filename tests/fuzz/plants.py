"""Faults that the fuzzer must find: each is planted into a running service; a fuzzer that misses one is broken."""

import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any
from unittest import mock

import msgspec
from sqlalchemy import Connection

from drystone.api.actions import Context
from drystone.catalog import disks, snapshots
from drystone.domain.errors import Refusal, RefusalError
from drystone.service.caller import Caller
from tests.api.real_service import RealService

Run = Callable[[Any, Context, Caller], Awaitable[Any]]


def _replace_run(service: RealService, name: str, run_of: Callable[[Run], Run]) -> None:
    """Have an action run something else."""
    actions: Any = service.actions[name].actions
    actions[name] = msgspec.defstruct(
        name, [], bases=(actions[name],), namespace={"__call__": run_of(actions[name].__call__)}, frozen=True
    )


def late_deadline(_service: RealService) -> None:
    """A deadline in the last hours of the last year is accepted, and no zone east of Greenwich can show it."""
    mock.patch("drystone.service.calls.attributes.TIME_S_MAX", 253_402_300_799.0).start()
    mock.patch("drystone.domain.times.clamped", lambda at_s: at_s).start()


def forgotten_bound(service: RealService) -> None:
    """A number has no upper bound, and the catalog's columns have 63 bits."""

    actions: Any = service.actions["ModifyDiskAttributes"].actions
    bounded = actions["ModifyDiskAttributes"]
    unbounded = msgspec.defstruct(
        "ModifyDiskAttributes", [("project_id", int | None, None)], bases=(bounded,), frozen=True, kw_only=True
    )

    # The use case checks once more what the parameters check first.
    mock.patch("drystone.service.calls.disk_records.PROJECT_ID_MAX", 1 << 70).start()
    actions["ModifyDiskAttributes"] = unbounded


def leaked_id(service: RealService) -> None:
    """A list that is asked for by ids does not look whose they are."""

    def run_of(run: Run) -> Run:
        async def leaking(given: Any, on: Context, caller: Caller) -> Any:
            def owner(conn: Connection) -> str | None:
                first = disks.get(conn, given.disk_ids[0]) if given.disk_ids else None
                return None if first is None else first.account_id

            found: Any = await service.parts.db.read(owner)
            return await run(given, on, dataclasses.replace(caller, account_id=found or caller.account_id))

        return leaking

    _replace_run(service, "DescribeDisks", run_of)


def told_apart(service: RealService) -> None:
    """A refusal tells whether an id is another account's or nobody's."""

    def run_of(run: Run) -> Run:
        async def telling(given: Any, on: Context, caller: Caller) -> Any:
            def owner(conn: Connection) -> object:
                return snapshots.get(conn, given.snapshot_id)

            found: Any = await service.parts.db.read(owner)
            if found is not None and found.account_id != caller.account_id:
                raise RefusalError(Refusal.NOT_ALLOWED, "This snapshot is not yours.")
            return await run(given, on, caller)

        return telling

    _replace_run(service, "ModifySnapshotAttribute", run_of)


def wrong_count(service: RealService) -> None:
    """A filtered list counts what the filter leaves out."""

    def run_of(run: Run) -> Run:
        async def miscounting(given: Any, on: Context, caller: Caller) -> Any:
            answer = await run(given, on, caller)
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

"""This machine and its clock; for administrators."""

import math
from typing import TypedDict

from drystone.api.actions import Action, Context
from drystone.api.answers import iso_time, iso_time_if
from drystone.api.drystone.service import DRYSTONE
from drystone.service import views
from drystone.service.caller import Caller


class Daemon(TypedDict):
    """A storage daemon."""

    Name: str
    Pid: int
    DiskCount: int


class Clock(TypedDict):
    """What the clocks say. DoubtedSince is null while this machine's clock is believed."""

    MachineTime: str
    SteadyTime: str
    DoubtedSince: str | None
    ExpiryWaitsSeconds: int


class _Host(TypedDict):
    Version: str
    QemuVersion: str
    DataDirectory: str
    Region: str
    Zone: str
    StoreId: str
    FreeBytes: int
    FloorBytes: int
    StoredBytes: int
    StoreBytesPerSecond: int
    DiskCount: int
    SnapshotCount: int
    DaemonSet: list[Daemon]
    Clock: Clock


@DRYSTONE.read
class DescribeHost(Action, frozen=True, kw_only=True):
    """Describe the host."""

    async def __call__(self, on: Context, caller: Caller) -> _Host:
        view = await on.calls.host.describe(caller)
        facts = view.facts
        return {
            "Version": facts.version,
            "QemuVersion": facts.qemu_version,
            "DataDirectory": facts.data_directory,
            "Region": view.region,
            "Zone": view.zone,
            "StoreId": view.store_id,
            "FreeBytes": facts.free_bytes,
            "FloorBytes": facts.floor_bytes,
            "StoredBytes": facts.stored_bytes,
            "StoreBytesPerSecond": facts.store_bytes_per_s,
            "DiskCount": view.disk_count,
            "SnapshotCount": view.snapshot_count,
            "DaemonSet": [
                {"Name": daemon.name, "Pid": daemon.pid, "DiskCount": daemon.disk_count} for daemon in facts.daemons
            ],
            "Clock": _clock(facts.clock),
        }


class _ConfirmedClock(TypedDict):
    Clock: Clock


@DRYSTONE.change
class ConfirmClock(Action, frozen=True, kw_only=True):
    """Believe this machine's clock as it is; return what the clocks said before."""

    async def __call__(self, on: Context, caller: Caller) -> _ConfirmedClock:
        return {"Clock": _clock(await on.calls.clock.confirm(caller))}


def _clock(clock: views.ClockView) -> Clock:
    return {
        "MachineTime": iso_time(clock.machine_at),
        "SteadyTime": iso_time(clock.steady_at),
        "DoubtedSince": iso_time_if(clock.doubted_since),
        "ExpiryWaitsSeconds": math.ceil(clock.waits_s),
    }

"""Worker processes: results, errors by kind, cancelling, death half way, parents that die."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

from drystone.domain.errors import DrystoneError, Refusal, RefusalError, SnapshotBrokenError, UnavailableError
from drystone.domain.ids import StoreId
from drystone.nbd.client import NbdClient
from drystone.objects.address import DirectoryAddress
from drystone.objects.contract import NotFoundError
from drystone.objects.measured import Tally
from drystone.snapstore.manifests import list_manifests, put_manifest
from drystone.transfer import pool as pool_module
from drystone.transfer.addresses import Endpoint, StoreAddress
from drystone.transfer.jobs import Job, Progress, RollbackJob, RollbackResult, UploadResult
from drystone.transfer.pool import WorkerPool
from drystone.transfer.store_jobs import CollectJob, CollectResult, DeathsJob, DeathsResult
from tests.transfer.snapshots import Snapshots, unequal
from tests.transfer.storage_daemon import qcow2, storage_daemon

MIB = 1 << 20
SIZE = 64 * MIB

# A stand-in that is told what to do by the field `plan.path` or the store's id: quick to start, nothing to set up.
_SCRIPT = """
import json, os, sys
for line in sys.stdin:
    job = json.loads(line)
    word, _, rest = job["store"]["store_id"].partition(":")
    if word == "fail":
        kind, _, message = rest.partition(":")
        print(json.dumps({"type": "failure", "kind": kind, "message": message, "refused": "full"}), flush=True)
    elif word == "die":
        print(json.dumps({"type": "progress", "done_bytes": 1, "total_bytes": 2}), flush=True)
        os._exit(9)
    elif word == "count":
        one = {"store": "s", "kind": "get", "requests": 7, "bytes": 1, "errors": 2, "seconds": 3.0}
        print(json.dumps({"type": "counts", "counts": [one]}), flush=True)
        print(json.dumps({"type": "progress", "done_bytes": 1, "total_bytes": 2}), flush=True)
        sys.stdin.read()
    elif word == "hang":
        print(json.dumps({"type": "progress", "done_bytes": os.getpid(), "total_bytes": 2}), flush=True)
        sys.stdin.read()
    elif word == "garbage":
        print("garbage", flush=True)
    else:
        print(json.dumps({"type": "collected", "dead": [str(os.getpid())]}), flush=True)
"""
FAKE = (sys.executable, "-S", "-c", _SCRIPT)


def fake(word: str) -> Job:
    return CollectJob(store=StoreAddress(objects=DirectoryAddress(root="/"), store_id=word), packs=(), living=())  # type: ignore[arg-type]


def test_what_a_worker_has_asked_for_is_counted_though_it_is_killed() -> None:
    """S273."""
    tally = Tally()

    async def story() -> None:
        async with WorkerPool(size=1, command=FAKE, tally=tally) as pool:
            reached = asyncio.Event()
            job = asyncio.ensure_future(pool.run(fake("count"), CollectResult, lambda _: reached.set()))
            await reached.wait()
            job.cancel()
            with pytest.raises(asyncio.CancelledError):
                await job

    asyncio.run(story())
    assert [(one.requests, one.errors) for one in tally.counts()] == [(7, 2)]


async def warmth() -> None:
    async with WorkerPool(size=2, command=FAKE) as pool:
        # The first job starts its own process; warming starts the other one, once.
        first = await pool.run(fake("pid"), CollectResult)
        await pool.warm()
        await pool.warm()
        pids = {(await pool.run(fake("pid"), CollectResult)).dead[0] for _ in range(6)}
        assert len(pids) == 2
        assert first.dead[0] in pids
        # With every process at work there is nothing to warm, and nothing is disturbed.
        started = asyncio.Event()
        hanging = [
            asyncio.ensure_future(pool.run(fake("hang"), CollectResult, lambda _: started.set())) for _ in range(2)
        ]
        await started.wait()
        await pool.warm()
        for one in hanging:
            one.cancel()
        for one in hanging:
            with pytest.raises(asyncio.CancelledError):
                await one


def test_processes_are_started_by_jobs_or_by_warming() -> None:
    asyncio.run(warmth())


async def reuse_and_replacement() -> None:
    async with WorkerPool(size=1, command=FAKE) as pool:
        first = await pool.run(fake("pid"), CollectResult)
        assert await pool.run(fake("pid"), CollectResult) == first
        with pytest.raises(UnavailableError, match="died"):
            await pool.run(fake("die"), CollectResult)
        second = await pool.run(fake("pid"), CollectResult)
        assert second != first
        # One that dies while idle is replaced, too.
        os.kill(int(second.dead[0]), signal.SIGKILL)
        # The first job may still meet the corpse; that is a failure that may be retried.
        try:
            third = await pool.run(fake("pid"), CollectResult)
        except UnavailableError:
            third = await pool.run(fake("pid"), CollectResult)
        assert third != second


def test_reuse_and_replacement() -> None:
    asyncio.run(reuse_and_replacement())


def test_errors_keep_their_kind() -> None:
    async def body() -> None:
        async with WorkerPool(size=1, command=FAKE) as pool:
            first = await pool.run(fake("pid"), CollectResult)
            for kind in (SnapshotBrokenError, NotFoundError, UnavailableError):
                with pytest.raises(kind, match="what"):
                    await pool.run(fake(f"fail:{kind.__name__}:what"), CollectResult)
            with pytest.raises(RefusalError) as caught:
                await pool.run(fake("fail:RefusalError:what"), CollectResult)
            assert caught.value.kind is Refusal.FULL
            with pytest.raises(DrystoneError, match="new"):
                await pool.run(fake("fail:ErrorOfTheFuture:new"), CollectResult)
            assert await pool.run(fake("pid"), CollectResult) == first
            with pytest.raises(AssertionError, match="worker: x"):
                await pool.run(fake("fail:bug:x"), CollectResult)
            with pytest.raises(UnavailableError):
                await pool.run(fake("garbage"), CollectResult)
            assert await pool.run(fake("pid"), CollectResult) != first

    asyncio.run(body())


def test_cancelling_kills_and_the_queue_is_bounded() -> None:
    async def body() -> None:
        async with WorkerPool(size=1, command=FAKE) as pool:
            started = asyncio.Event()
            pids: list[int] = []

            def on_progress(progress: Progress) -> None:
                pids.append(progress.done_bytes)
                started.set()

            async def hang() -> None:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(60) as limit:
                        await started_or_run(limit)

            async def started_or_run(limit: asyncio.Timeout) -> None:
                async with asyncio.TaskGroup() as inner:
                    inner.create_task(expire(limit))
                    await pool.run(fake("hang"), CollectResult, on_progress)

            async def expire(limit: asyncio.Timeout) -> None:
                await started.wait()
                await refused.wait()
                limit.reschedule(asyncio.get_running_loop().time())

            async def wait_for_a_place() -> None:
                await started.wait()
                await pool.run(fake("pid"), CollectResult)

            async def be_refused() -> None:
                await started.wait()
                await asyncio.sleep(0)
                with pytest.raises(
                    RefusalError, match="1 calls of this account wait for a worker already"
                ) as refused_with:
                    await pool.run(fake("pid"), CollectResult, waiting_max=1)
                assert refused_with.value.kind == Refusal.TOO_MUCH_AT_ONCE
                # Another account finds a worker at once (S156).
                await pool.run(fake("pid"), CollectResult, account="another", waiting_max=1)
                refused.set()

            refused = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                group.create_task(hang())
                group.create_task(wait_for_a_place())
                group.create_task(be_refused())
            with pytest.raises(ProcessLookupError):
                os.kill(pids[0], 0)

    asyncio.run(body())


def test_what_was_accepted_waits_its_turn_however_much_it_is() -> None:
    async def body() -> None:
        async with WorkerPool(size=1, command=FAKE) as pool, asyncio.TaskGroup() as group:
            # 17 groups of 4 disks, all frozen: none of them may fail for want of a worker.
            for _ in range(4 * 17):
                group.create_task(pool.run(fake("pid"), CollectResult))

    asyncio.run(body())


def test_closing_ends_the_processes() -> None:
    async def body() -> tuple[int, WorkerPool]:
        async with WorkerPool(size=2, command=FAKE) as pool:
            result = await pool.run(fake("pid"), CollectResult)
        with pytest.raises(UnavailableError):
            await pool.run(fake("pid"), CollectResult)
        return int(result.dead[0]), pool

    pid, _pool = asyncio.run(body())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_real_worker_ends_with_its_parent() -> None:
    worker = subprocess.Popen(
        [sys.executable, "-m", "drystone.transfer.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert worker.stdin is not None
        assert worker.stdout is not None
        store = StoreAddress(objects=DirectoryAddress(root="/nonexistent/store"), store_id=StoreId("s"))
        job = CollectJob(store=store, packs=(), living=())
        worker.stdin.write(msgspec.json.encode(job) + b"\n")
        worker.stdin.flush()
        answer = msgspec.json.decode(worker.stdout.readline())
        assert answer["type"] == "failure"
        worker.stdin.close()
        assert worker.wait(30) == 0
    finally:
        worker.kill()
        worker.wait()
        assert worker.stdout is not None
        worker.stdout.close()


def test_upload_killed_half_way_then_again_and_rollback_and_garbage(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path / "store", SIZE)
    rng = np.random.default_rng(6)
    model = rng.bytes(SIZE)

    async def body() -> None:
        with storage_daemon(tmp_path / "qsd") as daemon:
            daemon.open_disk(qcow2(tmp_path / "d.qcow2", SIZE))
            with NbdClient(daemon.nbd, "disk", timeout_s=60) as client:
                client.pwrite(0, model[: SIZE // 2])
                client.pwrite(SIZE // 2, model[SIZE // 2 :])
            view = daemon.freeze(SIZE)
            async with WorkerPool(size=1, nice=0) as pool:

                def kill_half_way(progress: Progress) -> None:
                    assert progress.total_bytes == SIZE
                    for process in tuple(pool._running):
                        process.kill()

                with pytest.raises(UnavailableError, match="died"):
                    await pool.run(snapshots.job(view, "full"), UploadResult, kill_half_way)
                assert list(list_manifests(snapshots.store)) == []
                # The view is as it was: a new session does it.
                seen: list[Progress] = []
                job = snapshots.job(view, "full")
                result = await pool.run(job, UploadResult, seen.append)
                put_manifest(snapshots.store, result.manifest, result.sealed)
                assert seen
                assert not unequal(snapshots.content(result.manifest), model)
                daemon.release()

                block = bytes([1]) * 4096
                with NbdClient(daemon.nbd, "disk", timeout_s=60) as client:
                    client.pwrite(7 * MIB, block)
                back = RollbackJob(
                    store=snapshots.address, manifest=result.manifest, disk=daemon.endpoint("disk"), plan=None
                )
                rolled = await pool.run(back, RollbackResult)
                assert rolled.written_bytes == 4096

                with NbdClient(daemon.nbd, "disk", timeout_s=60) as client:
                    client.pwrite(7 * MIB, block)
                snapshots.last, snapshots.chain = result, (job.snapshot,)
                second = await pool.run(
                    snapshots.job(daemon.freeze(SIZE, old="b1", new="b2"), "delta", bitmap="b1"), UploadResult
                )
                put_manifest(snapshots.store, second.manifest, second.sealed)
                died = await pool.run(
                    DeathsJob(
                        store=snapshots.address, manifest=result.manifest, near=(second.manifest,),
                        candidate_maps=(second.map.object,),
                    ),
                    DeathsResult,
                )  # fmt: skip
                assert sum(died.blocks_by_pack.values()) == 1
                assert set(died.blocks_by_pack) <= {pack.pack for pack in result.packs}
                everything = tuple(pack.object for pack in (*result.packs, *second.packs))
                for living, dead in (
                    ((result.manifest, second.manifest), set()),
                    ((second.manifest,), set()),
                    ((result.manifest,), {pack.object for pack in second.packs}),
                    ((), set(everything)),
                ):
                    collected = await pool.run(
                        CollectJob(store=snapshots.address, packs=everything, living=living), CollectResult
                    )
                    assert set(collected.dead) == dead

    asyncio.run(body())


def test_jobs_survive_json() -> None:
    job = RollbackJob(
        store=StoreAddress(objects=DirectoryAddress(root="r"), store_id="s"),  # type: ignore[arg-type]
        manifest="m",
        disk=Endpoint(socket="s", export="e"),
        plan=None,
    )
    assert msgspec.json.decode(msgspec.json.encode(job), type=Job) == job
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"type":"rollback","surprise":1}', type=Job)


@pytest.mark.parametrize(
    "error", [OSError(12, "Cannot allocate memory"), OSError(24, "Too many open files"), MemoryError()]
)
def test_a_process_that_cannot_be_started_now_is_tried_again(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """No memory, no descriptors: a snapshot waits for it, and is no bug."""
    monkeypatch.setattr(pool_module, "START_SECONDS", 0.001)
    real = asyncio.create_subprocess_exec
    failures = 0

    async def start(*arguments: object, **options: object) -> asyncio.subprocess.Process:
        nonlocal failures
        if failures:
            failures -= 1
            raise error
        return await real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)

    async def body() -> None:
        nonlocal failures
        async with WorkerPool(size=1, command=FAKE) as pool:
            failures = pool_module.START_ATTEMPTS - 1
            await pool.run(fake("pid"), CollectResult)
            await pool.run(fake("pid"), CollectResult)
        async with WorkerPool(size=1, command=FAKE) as pool:
            failures = 1000
            with pytest.raises(UnavailableError, match="no worker process can be started"):
                await pool.run(fake("pid"), CollectResult)
            assert failures == 1000 - pool_module.START_ATTEMPTS
            # Its place is free all the same.
            failures = 0
            await pool.run(fake("pid"), CollectResult)

    asyncio.run(body())


def test_an_interrupt_at_the_terminal_leaves_workers_to_the_server() -> None:
    """It reaches every process of the terminal's group; each worker used to print a trace."""
    worker = subprocess.Popen(
        [sys.executable, "-m", "drystone.transfer.worker", "0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        status = Path(f"/proc/{worker.pid}/status")
        until = time.monotonic() + 20
        ignored = 0
        while not ignored & 1 << signal.SIGINT - 1 and time.monotonic() < until:
            ignored = int(re.search(r"SigIgn:\s*([0-9a-f]+)", status.read_text())[1], 16)  # type: ignore[index]
        worker.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            worker.wait(0.5)
        _, said = worker.communicate(timeout=20)
        assert (worker.returncode, said) == (0, b"")
    finally:
        worker.kill()

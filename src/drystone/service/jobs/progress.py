"""Running a worker's job while its progress goes to the rows."""

import asyncio
import functools
from collections.abc import Callable
from typing import TypeVar

from drystone.domain.errors import DrystoneError, ungrouped
from drystone.domain.ids import AccountId
from drystone.service.transactions import Change, Transactions
from drystone.transfer.jobs import Job, Progress
from drystone.transfer.pool import WorkerPool

R = TypeVar("R")
EVERY_SECONDS = 0.5


async def run_job(
    job: Job,
    result: type[R],
    *,
    account_id: AccountId,
    workers: WorkerPool,
    transactions: Transactions,
    record: Callable[[Change, int], None],
) -> R:
    """Run a job of an account in a worker; `record` is given the percentage in a transaction, at most twice a second.

    Raises:
        DrystoneError: As `WorkerPool.run`.
    """
    percent = 0

    def note(progress: Progress) -> None:
        nonlocal percent
        if progress.total_bytes:
            percent = min(99, progress.done_bytes * 100 // progress.total_bytes)

    async def write() -> None:
        written = 0
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            if percent != written:
                written = percent
                await transactions.change(functools.partial(_note, record=record, percent=written))

    with ungrouped(DrystoneError):
        async with asyncio.TaskGroup() as tasks:
            writer = tasks.create_task(write())
            answer = await workers.run(job, result, note, account=account_id)
            writer.cancel()
    return answer


def _note(change: Change, *, record: Callable[[Change, int], None], percent: int) -> None:
    record(change, percent)

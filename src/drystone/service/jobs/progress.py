"""Running a worker's job while its progress goes to the rows."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection

from drystone.domain.errors import DrystoneError, ungrouped
from drystone.domain.ids import AccountId
from drystone.service.installation import Installation
from drystone.transfer.jobs import Job, Progress

R = TypeVar("R")
EVERY_SECONDS = 0.5


async def run_job(
    installation: Installation,
    account_id: AccountId,
    job: Job,
    result: type[R],
    record: Callable[[Connection, int], None],
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
                await installation.db.write(lambda conn, now=written: record(conn, now))  # type: ignore[misc]

    with ungrouped(DrystoneError):
        async with asyncio.TaskGroup() as tasks:
            writer = tasks.create_task(write())
            answer = await installation.workers.run(job, result, note, account=account_id)
            writer.cancel()
    return answer

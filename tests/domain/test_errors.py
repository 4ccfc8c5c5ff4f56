"""What a task group raises, as whoever waits for one error wants it."""

import asyncio

import pytest

from drystone.domain.errors import DrystoneError, SpaceError, UnavailableError, ungrouped


async def _failing(*errors: BaseException) -> None:
    async def fail(error: BaseException) -> None:
        raise error

    async with asyncio.TaskGroup() as tasks:
        for error in errors:
            tasks.create_task(fail(error))


def test_the_first_of_a_kind_comes_by_itself_however_nested() -> None:
    async def nested() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_failing(SpaceError("full"), UnavailableError("gone")))

    with pytest.raises(SpaceError, match="full") as told, ungrouped(DrystoneError):
        asyncio.run(nested())
    assert told.value.__cause__ is None


def test_what_else_there_is_is_not_hidden() -> None:
    for errors in ((SpaceError("full"), ValueError("a bug")), (ValueError("a bug"),)):
        with pytest.raises(ExceptionGroup) as told, ungrouped(DrystoneError):
            asyncio.run(_failing(*errors))
        assert told.value.exceptions == errors
    with pytest.raises(SpaceError), ungrouped(DrystoneError):
        raise SpaceError("not of a group")

"""Running another program to its end."""

import asyncio
from collections.abc import Sequence

from drystone.domain.errors import SpaceError, UnavailableError

SECONDS_MAX = 60.0


async def run(*arguments: str, descriptors: Sequence[int] = ()) -> str:
    """Run a program without a shell and return what it printed, both streams together.

    It inherits `descriptors`.

    Raises:
        SpaceError: It failed because the file system is full.
        UnavailableError: It failed, and the message has its last line; or it took over 60 s and was killed.
    """
    what = " ".join(arguments[:2])
    process = await asyncio.create_subprocess_exec(
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        pass_fds=tuple(descriptors),
    )
    try:
        async with asyncio.timeout(SECONDS_MAX):
            output, _ = await process.communicate()
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise UnavailableError(f"{what} took over {SECONDS_MAX:g} s") from error
    text = output.decode(errors="replace")
    if process.returncode != 0:
        last = (text.strip().splitlines() or ["no message"])[-1]
        kind = SpaceError if "No space left" in last else UnavailableError
        raise kind(f"{what} failed: {last}")
    return text

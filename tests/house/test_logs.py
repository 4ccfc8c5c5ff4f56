"""The log is lines of JSON, whoever writes to it."""

import asyncio
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from drystone.logs import configure_logs


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_what_nobody_waited_for_is_a_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info")

    async def fails() -> None:
        future = asyncio.get_running_loop().create_future()
        future.set_exception(EOFError("the daemon is gone"))
        del future

    asyncio.run(fails())
    (line,) = capsys.readouterr().err.splitlines()
    said = json.loads(line)
    assert (said["event"], said["level"], said["logger"]) == ("library", "error", "asyncio")
    assert "EOFError: the daemon is gone" in said["exception"]


def test_a_level_hides_what_is_below_it(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("error")
    structlog.get_logger().warning("disk.small")
    logging.getLogger("uvicorn").info("started")
    logging.getLogger("uvicorn").warning("not so good")
    structlog.get_logger().error("disk.gone", disk_id="disk-aaaaaaaa")
    assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == ["disk.gone"]

"""The log is lines of JSON, whoever writes to it."""

import asyncio
import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from drystone.logs import LineWriter, configure_logs, say


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


def test_a_full_log_costs_its_lines_and_says_how_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drystone.logs._PROBE_S", 0.0)
    where, full = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT), os.open("/dev/full", os.O_WRONLY)
    kept = os.dup(where)
    write = LineWriter(where)
    write("one")
    os.dup2(full, where)
    write("two")
    write("three")
    os.dup2(kept, where)
    write("four")
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[0] == "one"
    assert json.loads(lines[1]) == {"lines": 2, "event": "log.lines_lost", "level": "error"}
    assert lines[2:] == ["four"]
    for descriptor in (where, full, kept):
        os.close(descriptor)


def test_a_reader_that_has_stopped_holds_up_nobody() -> None:
    reading, writing = os.pipe()
    write = LineWriter(writing)
    began = time.monotonic()
    for _ in range(200):
        write("x" * 5000)
    assert time.monotonic() - began < 5.0
    os.close(reading)
    write("nobody reads this any more")
    os.close(writing)
    write("nor this")


def test_nobody_reads_what_is_said() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    say("ready", stream)
    with pytest.raises(BrokenPipeError):
        stream.close()

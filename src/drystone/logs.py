"""Logs: one JSON object per line on standard error, what libraries have to say among it.

Logging never fails and never waits for long (S135): a full disk, a closed pipe or a reader that has stopped costs the
lines of that time, which are counted, never the call that logs.
"""

import contextlib
import json
import logging
import os
import select
import sys
import threading
import time
from typing import Any, Final, TextIO

import structlog

PATIENCE_MS: Final = 250
"""How long a line waits for a reader that is merely slow; while lines are being lost, none waits."""
_CHUNK_BYTES: Final = select.PIPE_BUF
"""A pipe that is ready takes this much without blocking."""
_PROBE_S: Final = 1.0
"""How often it is tried whether a log that failed works again: each try of a broken drive may itself take long."""


class LineWriter:
    """Writes whole lines to a file descriptor, or loses and counts them."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._lost = 0
        self._torn = False
        self._tried_s = 0.0

    def __call__(self, line: str) -> None:
        """Write a line; the number of lines lost before it goes first."""
        with self._lock:
            now_s = time.monotonic()
            if self._lost and now_s - self._tried_s < _PROBE_S:
                self._lost += 1
                return
            self._tried_s = now_s
            patience_ms = 0 if self._lost else PATIENCE_MS
            if self._lost:
                note = json.dumps({"lines": self._lost, "event": "log.lines_lost", "level": "error"})
                line = f"{note}\n{line}"
            if self._write(line, patience_ms):
                self._lost = 0
            else:
                self._lost += 1

    def _write(self, line: str, patience_ms: int) -> bool:
        # What was torn ends with its line.
        data = (b"\n" if self._torn else b"") + line.encode("utf-8", "backslashreplace") + b"\n"
        at = 0
        try:
            while at < len(data):
                waiting = select.poll()
                waiting.register(self._descriptor, select.POLLOUT)
                if not waiting.poll(patience_ms):
                    return False
                at += os.write(self._descriptor, data[at : at + _CHUNK_BYTES])
        except OSError:
            return False
        finally:
            self._torn = at != len(data) if at else self._torn
        return True


class _Logger:
    """What structlog hands a rendered line to."""

    def __init__(self, write: LineWriter) -> None:
        self._write = write

    def msg(self, message: str) -> None:
        """Write it."""
        self._write(message)

    log = debug = info = warn = warning = error = critical = exception = fatal = failure = err = msg


def _factory(stream: TextIO) -> Any:  # noqa: ANN401 - structlog's logger factories are called with anything
    """Return a logger factory for a stream; one without a file beneath it (a test's) is printed to."""
    try:
        logger = _Logger(LineWriter(stream.fileno()))
    except (OSError, ValueError, AttributeError):
        return structlog.PrintLoggerFactory(stream)
    return lambda *_: logger


def configure_logs(level: str) -> None:
    """Log to standard error from now on; for the processes that serve.

    Args:
        level: One of `config.LOG_LEVELS`: what is below is not logged. Of libraries, only warnings and errors ever are.
    """
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=repr),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_factory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_Libraries()], force=True)


def say(line: str, stream: TextIO) -> None:
    """Print a line for whoever started this process; that nobody can read it ends nothing (S135)."""
    with contextlib.suppress(OSError, ValueError):
        print(line, file=stream, flush=True)


class _Libraries(logging.Handler):
    """What asyncio, uvicorn or the QMP client log goes where everything goes: a bare trace is no line of JSON."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record, with its trace if it has one."""
        try:
            structlog.get_logger().log(
                record.levelno, "library", logger=record.name, message=record.getMessage(), exc_info=record.exc_info
            )
        except Exception:  # noqa: BLE001 - what a library says must not break it: that is how handlers do it
            self.handleError(record)

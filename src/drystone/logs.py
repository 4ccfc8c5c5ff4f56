"""The server's log: one JSON object per line on standard error, what libraries have to say among it."""

import logging
import sys

import structlog


def configure_logs(level: str) -> None:
    """Log to standard error from now on; for the process that serves.

    Args:
        level: One of `config.LOG_LEVELS`: what is below is not logged. Of libraries, only warnings and errors ever are.
    """
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_Libraries()], force=True)


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

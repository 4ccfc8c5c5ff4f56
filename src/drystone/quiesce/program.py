"""Running a step's program, within its time."""

import contextlib
import os
import selectors
import signal
import subprocess
import time
from pathlib import Path

OUTPUT_BYTES_MAX = 2000


class StepError(Exception):
    """A step could not be done."""


def run_bounded(arguments: tuple[str, ...], environment: dict[str, str], seconds: float) -> str:
    """Run a program without a shell, end it with all its children when its time is up; return its last output.

    Raises:
        StepError: It failed, did not end in time, or could not be run.
    """
    try:
        process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment,
            cwd="/", start_new_session=True, preexec_fn=as_others,  # noqa: PLW1509 - this process has one thread
        )  # fmt: skip
    except OSError as error:
        raise StepError(f"{arguments[0]} cannot be run: {error.strerror}") from error
    assert process.stdout is not None
    deadline = time.monotonic() + seconds
    try:
        output = read_until(process.stdout.fileno(), deadline, None)
        code = process.wait(max(0.0, deadline - time.monotonic()))
    except (TimeoutError, subprocess.TimeoutExpired) as error:
        raise StepError(f"{arguments[0]} did not end within {seconds:g} s") from error
    finally:
        # A child that it left behind would go on holding what it holds.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    if code != 0:
        raise StepError(f"{arguments[0]} ended with {code}: {output[-200:]}")
    return output[-200:]


def as_others() -> None:
    """The user's programs heed the signals that we ignore, and the kernel ends them as it would any other."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("0")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def read_until(descriptor: int, deadline: float, marker: str | None) -> str:
    """Read text until the marker, or the end of the stream; only the last part is kept.

    Raises:
        TimeoutError: The time is up.
    """
    text = b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while marker is None or marker.encode() not in text:
            left = deadline - time.monotonic()
            if left <= 0 or not selector.select(left):
                raise TimeoutError
            part = os.read(descriptor, 65536)
            if not part:
                break
            text = (text + part)[-OUTPUT_BYTES_MAX:]
    return text.decode(errors="replace").strip()

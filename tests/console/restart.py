"""Ends the server of a data directory by SIGKILL and starts it again at the same port; returns when it is ready.

`python -m tests.console.restart DATA PORT`: what the browser's tests call in the middle of a flow.
"""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path


def end(data: Path) -> None:
    """Kill the server that holds the data directory, if any, and wait until it has gone."""
    text = (data / "lock").read_text().strip() if (data / "lock").exists() else ""
    if not text:
        return
    try:
        descriptor = os.pidfd_open(int(text))
    except ProcessLookupError:
        return
    try:
        if f"--data\0{data}\0".encode() in Path(f"/proc/{text}/cmdline").read_bytes():
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            # That it has ended is told even while its parent has not asked for it.
            ended, _, _ = select.select([descriptor], [], [], 60)
            assert ended, f"the server (pid {text}) does not end"
    finally:
        os.close(descriptor)


def main(data: Path, port: str) -> None:
    """End it and start it."""
    end(data)
    with (data / "server.log").open("a") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "drystone", "serve", "--data", str(data), "--port", port],
            stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True,
        )  # fmt: skip
    assert server.stdout is not None
    line = server.stdout.readline()
    assert line.startswith("ready "), line


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])

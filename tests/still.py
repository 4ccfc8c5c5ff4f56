"""Whether the machine stood still while a test ran: a virtual machine of a busy host is now and then not run at all.

A test that holds a bound in real time, marked `clock`, tells nothing where everything stood still for longer than
that: it is run once more then, and pytest lists it as RERUN. Where the machine ran, a failure is a failure.
"""

import threading
import time

INTERVAL_S = 0.05
STILL_S = 0.25
"""A wake-up that is later than this is no matter of what else runs here."""


class Watch:
    """Adds up how late a thread of this process wakes up, for as long as the process lives."""

    def __init__(self) -> None:
        self._still_s = 0.0
        self._before_s = 0.0
        threading.Thread(target=self._run, name="still", daemon=True).start()

    def test_begins(self) -> None:
        """Forget what was before."""
        self._before_s = self._still_s

    def stood_still(self) -> bool:
        """Say whether the machine stood still since the test began."""
        return self._still_s > self._before_s

    def _run(self) -> None:
        last = time.monotonic()
        while True:
            time.sleep(INTERVAL_S)
            now = time.monotonic()
            late = now - last - INTERVAL_S
            if late > STILL_S:
                self._still_s += late
            last = now

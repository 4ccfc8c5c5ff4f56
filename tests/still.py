"""Whether the machine stood still while a test ran: a virtual machine of a busy host is now and then not run at all.

A test that holds a bound in real time, marked `clock`, tells nothing where everything stood still for longer than
that: it is run once more then, and pytest lists it as RERUN. Where the machine ran, a failure is a failure, and so is
every failure of a test that is not about time. (`bench/stalls.py` measures the same to the millisecond, with a
real-time process per core: too much to run beside every test.)
"""

import threading
import time

INTERVAL_S = 0.05
STILL_S = 0.25
"""A wake-up that is later than this is no matter of what else runs here."""


class Watch:
    """A thread that notices when it wakes up late, for as long as the process lives."""

    def __init__(self) -> None:
        self._stood_still = False
        threading.Thread(target=self._run, name="still", daemon=True).start()

    def test_begins(self) -> None:
        """Forget what was before."""
        self._stood_still = False

    def stood_still(self) -> bool:
        """Say whether the machine stood still since the test began."""
        return self._stood_still

    def _run(self) -> None:
        while True:
            began = time.monotonic()
            time.sleep(INTERVAL_S)
            if time.monotonic() - began > INTERVAL_S + STILL_S:
                self._stood_still = True

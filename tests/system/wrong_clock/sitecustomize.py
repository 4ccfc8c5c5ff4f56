"""Sets the clock of one Python process wrong, while it runs: seconds by which, in the file that `WRONG_CLOCK` names.

On PYTHONPATH of a server under test; the program itself knows nothing of it. The times on files are the machine's, so
what the program reads of them is moved alike.
"""

import os
import time
from pathlib import Path

_by = Path(os.environ["WRONG_CLOCK"])
_time, _fstat = time.time, os.fstat


def _wrong_by() -> float:
    return float(_by.read_text() or 0)


class _Moved:
    """What `os.fstat` found, with its times moved."""

    def __init__(self, found: os.stat_result) -> None:
        self._found = found

    def __getattr__(self, name: str) -> object:
        return self._found.st_mtime + _wrong_by() if name == "st_mtime" else getattr(self._found, name)


time.time = lambda: _time() + _wrong_by()
os.fstat = lambda file: _Moved(_fstat(file))  # type: ignore[assignment,return-value]

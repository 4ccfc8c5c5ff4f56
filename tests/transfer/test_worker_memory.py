"""A worker does not give memory back that its next pack takes again."""

import subprocess
import sys

PROGRAM = """
import resource
from drystone.transfer.worker import keep_freed_memory
keep_freed_memory()
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    frames = [b"x" * 200_000 for _ in range(100)]
    del frames
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_freed_memory_is_not_mapped_anew() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=120)
    # 20 MB are 4,900 pages.
    assert int(done.stdout) < 500

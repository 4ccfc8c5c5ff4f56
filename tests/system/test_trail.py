"""The audit trail of the running program: read by those who may, and complete after an orderly stop."""

import json
import sys
from pathlib import Path
from subprocess import run

from drystone.service.calls.trail import REFUSED_PER_MINUTE
from tests.system.harness import installation


def test_refused_calls_that_were_only_counted_are_in_the_trail_after_a_stop(tmp_path: Path) -> None:
    """S158, S180."""
    data = tmp_path / "d"
    calls = 2 * REFUSED_PER_MINUTE + 20
    with installation(data) as system:
        disk = system.create_disk()
        for _ in range(calls):
            assert system.code("TerminateDisks", DiskIds=["disk-00000000"]) == "InvalidDiskId.NotFound"
        system.stop()
        system.start()

        def listed(*options: str) -> str:
            program = [sys.executable, "-m", "drystone", "audit", "list", "--data", str(data), *options]
            return run(program, check=True, capture_output=True, text=True, timeout=60).stdout

        refused = json.loads(listed("--outcome", "REFUSED", "--limit", "1000", "--json"))
        assert sum(entry["calls"] for entry in refused) == calls
        assert {(entry["action"], entry["code"]) for entry in refused} == {("TerminateDisks", "InvalidDiskId.NotFound")}
        # The calls may have spread over three minutes of a slow machine.
        assert len(refused) < calls
        (made,) = json.loads(listed("--resource", disk, "--action", "CreateDisks", "--json"))
        assert (made["code"], made["at"][-6:]) == ("OK", "+00:00")
        assert disk in listed()

"""Clients that are suspended while they read and write hold up no snapshot, their own or a neighbour's (S125)."""

from pathlib import Path

from tests.system.harness import installation
from tests.system.stuck_clients import run

CALL_S_MAX = 10.0
"""Far above what these calls take, far below the 30 s after which a storage daemon's command is given up."""


def test_snapshots_are_taken_beside_clients_that_are_suspended(tmp_path: Path) -> None:
    with installation(tmp_path / "data") as system:
        found = run(system, 2, seed=1, half=False, filled_mib=128)
    assert not found.failed
    assert max(found.calls_s) < CALL_S_MAX
    # Whoever only reads is never disconnected.
    assert found.cut["nbdcopy"] == 0

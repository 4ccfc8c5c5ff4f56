"""Building a package builds the console into it; an editable installation is served from the sources."""

import subprocess
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ConsoleBuildHook(BuildHookInterface):
    """Runs `./dev console`, which does nothing if the console is built of these sources."""

    def initialize(self, version: str, build_data: dict[str, object]) -> None:  # noqa: ARG002 - hatchling's signature
        """Build the console before files are gathered; without it the package would serve none."""
        if version != "editable":
            subprocess.run([Path(self.root) / "dev", "console"], check=True)

"""Run real clients against a fresh server, and print one line for each: `./dev judges`."""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from tests.clients import custodian, sdks, terraform_csi
from tests.clients.verdict import Verdict
from tests.system.harness import Installation, installation

Judge = Callable[[Installation, Path], Verdict]
JUDGES: Mapping[str, Judge] = {
    **{sdk: partial(sdks.judged, sdk) for sdk in sdks.RUN},
    "custodian": custodian.judged,
    "terraform": terraform_csi.terraform,
    "csi": terraform_csi.csi,
}


def main() -> int:
    """Build, run, and return 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("judges", nargs="*", choices=[[], *JUDGES], help="all of them if none is named")
    chosen = parser.parse_args().judges or list(JUDGES)
    failed = False
    for name in chosen:
        with (
            tempfile.TemporaryDirectory() as directory,
            installation(Path(directory) / "data", _settings()) as system,
        ):
            verdict = _verdict(JUDGES[name], system, Path(directory))
        for failure in verdict.failures:
            print(f"{name}: {failure}", flush=True)
        failed = failed or bool(verdict.failures)
        print(verdict.line(name), flush=True)
    return 1 if failed else 0


def _verdict(judge: Judge, system: Installation, scratch: Path) -> Verdict:
    """Have a judge judge; one that cannot be built, or hangs, has failed, and the others go on."""
    try:
        return judge(system, scratch)
    except (OSError, subprocess.SubprocessError) as error:
        return Verdict(failures=(str(error),))


def _settings() -> str:
    """Return the settings that all judges run with: a server answers only to names that it knows."""
    known = ", ".join(f'"{name}"' for name in (sdks.NAME, *custodian.names("ap-local")))
    return f"host_names = [{known}]\n"


if __name__ == "__main__":
    sys.exit(main())

"""Run the SDKs' small story in each way of signing, at a host name and at a bare address: `./dev clients`.

Each makes a disk, lists it, takes a snapshot, waits, deletes both, and is refused something. Builds are kept in
`.clients/`, and made anew when their sources change.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.system.harness import Installation, installation

ROOT = Path(__file__).resolve().parents[2]
SOURCES = Path(__file__).parent
BUILDS = ROOT / ".clients"
NAME = "cbs.drystone.internal"
"""A host name as the public cloud has it: the service is its first label."""
BUILD: Mapping[str, Sequence[Sequence[str]]] = {
    "node": [["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"]],
    "java": [["mvn", "-q", "-B", "package", "dependency:copy-dependencies"]],
    "go": [["go", "build", "-o", "check", "."]],
}
RUN: Mapping[str, Sequence[str]] = {
    "node": ["node", "check.js"],
    "java": ["java", "-cp", "target/check-1.jar:target/dependency/*", "Check"],
    "go": ["./check"],
}
SIGNINGS = ("TC3-HMAC-SHA256", "HmacSHA256", "HmacSHA1")
SECONDS_MAX = 120.0


def built(sdk: str) -> Path:
    """Return the directory of a build, made if it is not there."""
    files = sorted(file for file in (SOURCES / sdk).rglob("*") if file.is_file())
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
    place = BUILDS / f"{sdk}-{digest}"
    if not (place / ".built").exists():
        print(f"building {sdk}", flush=True)
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(SOURCES / sdk, place)
        for command in BUILD[sdk]:
            subprocess.run(command, cwd=place, check=True, env={**os.environ, "CGO_ENABLED": "0"})
        (place / ".built").touch()
    return place


def command_at(endpoint: str, command: Sequence[str], hosts: Path) -> Sequence[str]:
    """Return the command with a name of our own in /etc/hosts, for it alone."""
    if not endpoint.startswith(NAME):
        return command
    script = 'mount --bind "$0" /etc/hosts && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", script, str(hosts), *command]


def run(system: Installation, sdks: Sequence[str]) -> int:
    """Run all; print a line for each; return how many failed."""
    failed = passed = 0
    port = system.endpoint.rpartition(":")[2]
    hosts = system.data.parent / "hosts"
    hosts.write_text(f"{Path('/etc/hosts').read_text()}\n127.0.0.1 {NAME}\n")
    for sdk in sdks:
        place = built(sdk)
        for endpoint in (f"{NAME}:{port}", f"127.0.0.1:{port}", f"localhost:{port}"):
            for signing in SIGNINGS:
                for method in ("POST", "GET"):
                    told = subprocess.run(
                        command_at(endpoint, [*RUN[sdk], signing, method], hosts), cwd=place, check=False, text=True,
                        capture_output=True, timeout=SECONDS_MAX,
                        env={**os.environ, **system.environment, "CBS_ENDPOINT": endpoint},
                    )  # fmt: skip
                    good = told.returncode == 0
                    passed, failed = passed + good, failed + (not good)
                    last = ((told.stdout + told.stderr).strip().splitlines() or [""])[-1]
                    print(f"{'pass' if good else 'FAIL'}  {sdk} {endpoint} {signing} {method}  {last}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return failed


def main() -> int:
    """Build, run, and return 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sdks", nargs="*", choices=[[], *RUN], help="all of them if none is named")
    given = parser.parse_args()
    sdks = given.sdks or list(RUN)
    for sdk in sdks:
        built(sdk)
    with (
        tempfile.TemporaryDirectory() as directory,
        installation(Path(directory) / "data", f'host_names = ["{NAME}"]\n') as system,
    ):
        return 1 if run(system, sdks) else 0


if __name__ == "__main__":
    sys.exit(main())

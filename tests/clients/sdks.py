"""Tencent's SDKs: the same small story in each way of signing, at a host name, at a bare address and at localhost.

It makes a disk, lists it, takes a snapshot, waits, deletes both, and is refused something.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.clients.verdict import Verdict
from tests.system.harness import Installation

ROOT = Path(__file__).resolve().parents[2]
SOURCES = Path(__file__).parent
BUILDS = ROOT / ".clients"
"""Builds are kept, and made anew when what they are made of changes."""
NAME = "cbs.drystone.internal"
"""A host name as the public cloud has it: the service is its first label."""
BUILD: Mapping[str, Sequence[Sequence[str]]] = {
    "python": [],
    "node": [["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"]],
    "java": [["mvn", "-q", "-B", "package", "dependency:copy-dependencies"]],
    "go": [["go", "build", "-o", "check", "."]],
}
RUN: Mapping[str, Sequence[str]] = {
    "python": [sys.executable, "check.py"],
    "node": ["node", "check.js"],
    "java": ["java", "-cp", "target/check-1.jar:target/dependency/*", "Check"],
    "go": ["./check"],
}
SIGNINGS = ("TC3-HMAC-SHA256", "HmacSHA256", "HmacSHA1")
SECONDS_MAX = 120.0


def kept(name: str, made_of: bytes) -> tuple[Path, bool]:
    """Return the directory of a build, and whether it is there; an old one of that name is removed."""
    place = BUILDS / f"{name}-{hashlib.sha256(made_of).hexdigest()[:12]}"
    if (place / ".built").exists():
        return place, True
    print(f"building {name}", flush=True)
    for old in BUILDS.glob(f"{name}-*"):
        shutil.rmtree(old)
    return place, False


def environment(name: str) -> Path:
    """Return a virtual environment of what `requirements-NAME.lock` names, made if it is not there."""
    lock = ROOT / f"requirements-{name}.lock"
    place, there = kept(name, lock.read_bytes())
    if not there:
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        pip = [str(place / "bin/pip"), "install", "-q", "--disable-pip-version-check", "--require-hashes"]
        subprocess.run([*pip, "-r", str(lock)], check=True)
        (place / ".built").touch()
    return place


def built(sdk: str) -> Path:
    """Return the directory of an SDK's build, made if it is not there."""
    files = sorted(file for file in (SOURCES / sdk).rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    place, there = kept(sdk, b"".join(file.read_bytes() for file in files))
    if not there:
        shutil.copytree(SOURCES / sdk, place)
        for command in BUILD[sdk]:
            subprocess.run(command, cwd=place, check=True, env={**os.environ, "CGO_ENABLED": "0"})
        (place / ".built").touch()
    return place


def with_hosts(command: Sequence[str], hosts: Path, *more: tuple[Path, Path]) -> Sequence[str]:
    """Return a command with another /etc/hosts, for it alone; `more` are other files in the place of files."""
    over = [(hosts, Path("/etc/hosts")), *more]
    mounts = " && ".join(f'mount --bind "${2 * number + 1}" "${2 * number + 2}"' for number in range(len(over)))
    script = f'{mounts} && shift {2 * len(over)} && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", script, "sh", *(str(path) for pair in over for path in pair), *command]


def judged(sdk: str, system: Installation, scratch: Path) -> Verdict:
    """Run an SDK's story in each way."""
    place = built(sdk)
    port = system.endpoint.rpartition(":")[2]
    hosts = scratch / "hosts"
    hosts.write_text(f"{Path('/etc/hosts').read_text()}\n127.0.0.1 {NAME}\n")
    passed, failures = 0, []
    for endpoint in (f"{NAME}:{port}", f"127.0.0.1:{port}", f"localhost:{port}"):
        for signing in SIGNINGS:
            for method in ("POST", "GET"):
                command = [*RUN[sdk], signing, method]
                told = subprocess.run(
                    with_hosts(command, hosts) if endpoint.startswith(NAME) else command, cwd=place, check=False,
                    text=True, capture_output=True, timeout=SECONDS_MAX,
                    env={**os.environ, **system.environment, "CBS_ENDPOINT": endpoint},
                )  # fmt: skip
                passed += told.returncode == 0
                if told.returncode != 0:
                    last = ((told.stdout + told.stderr).strip().splitlines() or [""])[-1]
                    failures.append(f"{endpoint} {signing} {method}: {last}")
    return Verdict(passed=passed, failures=tuple(failures))

"""The scripts and the lock files hold what they say."""

import ast
import os
import re
import subprocess
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("requirements.lock", "requirements-dev.lock")


def bash(script: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["bash", "-c", script, "bash", *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def pinned(lock: str) -> dict[str, str]:
    text = (ROOT / lock).read_text()
    return dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^ ;\\]+)", text, re.MULTILINE))


@pytest.mark.parametrize("script", ["dev", ".ci/run", "examples/tiny-guest"])
def test_scripts_are_executable_and_parse(script: str) -> None:
    path = ROOT / script
    assert os.access(path, os.X_OK)
    assert bash('bash -n "$1"', str(path)).returncode == 0


def test_dev_usage() -> None:
    assert {"up", "test", "lint", "fmt", "bench", "lock"} <= set(
        re.findall(r"^  (\w+) ", bash('"$1"', str(ROOT / "dev")).stdout, re.MULTILINE)
    )
    wrong = bash('"$1" frobnicate', str(ROOT / "dev"))
    assert wrong.returncode == 1
    assert wrong.stderr.splitlines()[-1] == "dev: error: unknown command: frobnicate"


def test_ci_runs_the_tests() -> None:
    assert "exec ./dev test" in (ROOT / ".ci/run").read_text()


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_have_hashes_and_name_no_host(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert not re.search(r"://|index-url|find-links|trusted-host| @ |^-|\.(org|com|net|io)\b", text, re.MULTILINE)
    requirements = re.split(r"\n(?=\S)", text.strip())
    assert len(requirements) > 20
    for requirement in requirements:
        assert re.match(r"[A-Za-z0-9_.-]+==", requirement), requirement
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", requirement), requirement


def test_what_installs_the_rest_is_pinned_too() -> None:
    script = (ROOT / "dev").read_text()
    for line in script.splitlines():
        if " pip install" in line or (" pip " in line and " install " in line):
            assert "--require-hashes" in line or "--no-deps --no-build-isolation -e" in line, line
    assert re.match(r"uv==[0-9.]+ \\\n    --hash=sha256:[0-9a-f]{64}", (ROOT / "requirements-uv.lock").read_text())


def test_what_is_locked_directly_is_imported() -> None:
    direct = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    sources = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    modules = {"argon2-cffi": "argon2", "prometheus-client": "prometheus_client"}
    # What is there for others: an event loop and a parser that uvicorn picks by name, a driver that SQLAlchemy does,
    # the zones that zoneinfo does.
    picked = {"uvloop", "httptools", "psycopg", "tzdata"}
    for name in names(direct) - picked:
        module = modules.get(name, re.sub(r"-sdk-python.*", "", name).replace("qemu-qmp", "qemu.qmp"))
        assert re.search(rf"^\s*(import|from) {re.escape(module)}\b", sources, re.MULTILINE), name


def names(requirements: Sequence[str]) -> set[str]:
    return {re.split(r"[<>=~! \[]", text)[0].lower().replace(".", "-").replace("_", "-") for text in requirements}


def test_locks_hold_all_that_is_asked_for_and_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    runtime, dev = pinned("requirements.lock"), pinned("requirements-dev.lock")
    asked = names(project["project"]["dependencies"])
    build = names(project["build-system"]["requires"]) | {"editables"}
    assert asked | build <= runtime.keys(), "run ./dev lock"
    assert names(project["dependency-groups"]["dev"]) <= dev.keys(), "run ./dev lock"
    assert {name: dev.get(name) for name in runtime} == runtime
    documented = (ROOT / "docs/dependencies.md").read_text()
    for name in asked | names(project["dependency-groups"]["dev"]):
        short = name.removeprefix("tencentcloud-sdk-python")
        assert name in documented or name.replace("-", ".") in documented or short in documented, name


DEB822 = """# the installer's
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://security.example
Suites: bookworm-security
Components: main
"""
EMBEDDED_KEY = """Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINB
 -----END PGP PUBLIC KEY BLOCK-----
"""


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        (
            "sources.list.d/debian.sources",
            DEB822,
            "http://mirror.example/debian\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n",
        ),
        (
            "sources.list.d/debian.sources",
            EMBEDDED_KEY,
            "http://mirror.example/debian\nSigned-By: \n" + "".join(EMBEDDED_KEY.partition("Signed-By:\n")[2]),
        ),
        ("sources.list.d/debian.sources", "Enabled: no\n" + DEB822.partition("\n")[2], ""),
        ("sources.list", "# a\ndeb http://mirror.example/debian bookworm main\n", "http://mirror.example/debian\n"),
        (
            "sources.list",
            "deb-src http://x bookworm main\ndeb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm",
            "http://mirror.example/debian\nSigned-By: /k.gpg\n",
        ),
        ("sources.list", "deb http://mirror.example/debian bookworm-updates main\n", ""),
    ],
)
def test_backports_come_from_the_machines_own_source(tmp_path: Path, file: str, text: str, expected: str) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / file).write_text(text)
    script = (ROOT / "dev").read_text()
    function = script[script.index("debian_source() {") :].partition("\n}\n")[0] + "\n}\n"
    found = bash(function.replace("/etc/apt", str(tmp_path)) + "debian_source bookworm")
    assert (found.stdout, found.stderr) == (expected, "")


def test_no_error_is_raised_by_a_clause_that_would_put_it_into_a_group() -> None:
    """Python before 3.11.4 does that, and Debian 12 has 3.11.2: `domain.errors.ungrouped` is what to use."""
    found = [
        f"{path}:{node.lineno}"
        for path in (ROOT / "src").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.TryStar)
    ]
    assert found == []

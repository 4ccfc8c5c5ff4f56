"""What others need for the same bytes: zstd, restic and borg, each as it comes. Seconds."""

import os
import resource
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path


def _timed(command: list[str], environment: Mapping[str, str] | None = None, stdout: int = subprocess.DEVNULL) -> float:
    began = time.perf_counter()
    done = subprocess.run(
        command, stdout=stdout, stderr=subprocess.PIPE, check=False, env={**os.environ, **(environment or {})}
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr.decode(errors='replace')[-500:]}")
    return seconds


def _synced(path: Path) -> float:
    began = time.perf_counter()
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return time.perf_counter() - began


def cpu_seconds() -> float:
    """Return the processor time of all programs run so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def settle() -> None:
    """Write out what earlier steps left in the page cache, so that nobody pays for another's writes."""
    os.sync()


def zstd_to_nothing(image: Path) -> float:
    """Compress with `zstd -1 -T2`, and throw it away."""
    return _timed(["zstd", "-1", "-T2", "-q", "-c", str(image)])


def zstd_to_file(image: Path, out: Path) -> float:
    """Compress with `zstd -1 -T2` to a file, and make it durable."""
    out.unlink(missing_ok=True)
    return _timed(["zstd", "-1", "-T2", "-q", "-f", str(image), "-o", str(out)]) + _synced(out)


def unzstd_to_nothing(compressed: Path) -> float:
    """Decompress with `zstd -d`, and throw it away."""
    return _timed(["zstd", "-d", "-q", "-c", str(compressed)])


def unzstd_to_file(compressed: Path, out: Path) -> float:
    """Decompress with `zstd -d` to a file, and make it durable."""
    out.unlink(missing_ok=True)
    seconds = _timed(["zstd", "-d", "-q", "-f", str(compressed), "-o", str(out)]) + _synced(out)
    out.unlink()
    return seconds


def restic_backup(image: Path, work: Path) -> tuple[float, int]:
    """Back up to a new repository; return seconds and stored bytes."""
    repository, home = work / "restic", work / "restic-home"
    environment = {"RESTIC_PASSWORD": "bench", "RESTIC_REPOSITORY": str(repository), "HOME": str(home)}
    try:
        _timed(["restic", "init", "-q"], environment)
        seconds = _timed(["restic", "backup", "-q", "--no-cache", str(image)], environment)
        return seconds, _stored(repository)
    finally:
        shutil.rmtree(repository, ignore_errors=True)
        shutil.rmtree(home, ignore_errors=True)


def borg_create(image: Path, work: Path) -> tuple[float, int]:
    """Back up to a new repository in fixed chunks of 4 MiB with lz4; return seconds and stored bytes."""
    repository, home = work / "borg", work / "borg-home"
    environment = {"BORG_BASE_DIR": str(home), "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}
    try:
        _timed(["borg", "init", "-e", "none", str(repository)], environment)
        command = ["borg", "create", "--compression", "lz4", "--chunker-params", "fixed,4194304"]
        return _timed([*command, f"{repository}::a", str(image)], environment), _stored(repository)
    finally:
        shutil.rmtree(repository, ignore_errors=True)
        shutil.rmtree(home, ignore_errors=True)


def _stored(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())

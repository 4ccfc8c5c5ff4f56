"""The image of programs: files of packages that this host has, in a file system that is only read.

Checkers and database servers are the host's own packages, in their versions, with all that they depend on. Settings of
this host (`/etc`), secrets and whatever else no package brought are not in it, nor what only root may read.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import stat
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from drystone.prove.appliance import ApplianceError, program

FORM = "1"
"""Part of the image's name: raised when what goes into it changes."""
WANTED = re.compile(
    r"python3|e2fsprogs|xfsprogs|btrfs-progs|dosfstools|lvm2|util-linux|mount|kmod|coreutils"
    r"|mariadb-server(-core.*|-[0-9.]+)?|mariadb-client(-core.*|-[0-9.]+)?|mysql-common|postgresql-[0-9]+"
)
"""Packages whose programs the prover starts, as far as they are installed."""
UNWANTED = re.compile(
    r"perl.*|libperl.*|libdbi-perl|libllvm.*|debconf.*|adduser|ucf|dpkg|tar|lsb-base|init-system-helpers|systemd.*|udev"
    r"|postgresql(-client)?-common|ssl-cert|media-types|dmeventd|login|passwd|galera.*|rsync|socat|lsof|iproute2|procps"
)
"""What maintainer scripts and other uses need, and the programs do not."""
SKIPPED = re.compile(
    r"/etc/|/usr/share/(doc|man|info|locale|i18n|lintian|bug|bash-completion|icons|pixmaps)/|/usr/include/|.*/tests?/"
    r"|.*/bitcode/"
)
LOCALES = Path("/usr/lib/locale")
"""Made on this host, not brought by a package: a database is opened only where its locale is known."""
FOLDERS = ("proc", "sys", "dev", "run", "tmp", "etc", "disk", "var")
MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
BUILD_SECONDS_MAX = 600.0
UNFINISHED = ".programs-"
KEPT = 2
"""Images that stay: this one, and one that a proof which is under way may still begin with."""


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package: its version, what it stands for beside its own name, and what it needs."""

    version: str
    provides: frozenset[str]
    needs: tuple[tuple[str, ...], ...]


def parse_packages(text: str) -> dict[str, Package]:
    """Return the installed packages of what `dpkg-query` printed (see `ensure`)."""
    found = {}
    for line in text.splitlines():
        name, status, version, provides, *needs = line.split("\t")
        if status == "installed":
            alternatives = tuple(
                tuple(re.sub(r"[(:[].*", "", one).strip() for one in group.split("|"))
                for group in ",".join(needs).split(",")
                if group.strip()
            )
            given = frozenset(re.sub(r"[(:].*", "", one).strip() for one in provides.split(",")) - {""}
            found[name] = Package(version, given, alternatives)
    return found


def closure(packages: Mapping[str, Package]) -> dict[str, str]:
    """Return the packages of the image with their versions: what is wanted, and what that needs."""
    providers = {given: name for name, package in packages.items() for given in package.provides}
    chosen: dict[str, str] = {}
    waiting = [name for name in packages if WANTED.fullmatch(name)]
    while waiting:
        name = waiting.pop()
        if name in chosen or UNWANTED.fullmatch(name):
            continue
        chosen[name] = packages[name].version
        for alternatives in packages[name].needs:
            known = (one if one in packages else providers.get(one) for one in alternatives)
            waiting += [one for one in known if one is not None][:1]
    return dict(sorted(chosen.items()))


def ensure(directory: Path, environment: Mapping[str, str]) -> Path:
    """Have the image of today's packages in a directory; return it. It takes seconds, once for each upgrade.

    Raises:
        ApplianceError: It cannot be made; the directory is as before.
    """
    path = environment["PATH"]
    query, packer = program("dpkg-query", "dpkg", path), program("sqfstar", "squashfs-tools", path)
    status = "${Package}\t${db:Status-Status}\t${Version}\t${Provides}\t${Pre-Depends}\t${Depends}\n"
    listed = _run(query, "-W", "-f", status, path=path)
    chosen = closure(parse_packages(listed))
    if "python3" not in chosen:
        raise ApplianceError("python3 of the distribution is not installed (package python3)")
    made_at = [str(entry.stat().st_mtime_ns) for entry in sorted(LOCALES.glob("*"))]
    told = "\n".join([FORM, *made_at, *(f"{name} {version}" for name, version in chosen.items())])
    image = directory / f"programs-{hashlib.sha256(told.encode()).hexdigest()[:16]}.img"
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (directory / "lock").open("w") as lock:
        # Of several proofs, and several servers that share a directory, one makes it.
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in directory.glob(f"{UNFINISHED}*"):
            left.unlink()  # Whoever made it was killed: it held the lock.
        if not image.exists():
            files = _run(query, "-L", *chosen, path=path).splitlines()
            _pack(packer, _wanted(files), image, path)
            for old in sorted(directory.glob("programs-*.img"), key=lambda one: one.stat().st_mtime)[:-KEPT]:
                old.unlink()
    return image


def _run(*arguments: str, path: str) -> str:
    try:
        return subprocess.run(
            arguments, check=True, capture_output=True, text=True, timeout=BUILD_SECONDS_MAX,
            env={"PATH": path, "LC_ALL": "C.UTF-8"},
        ).stdout  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        raise ApplianceError(f"{Path(arguments[0]).name}: {error}") from error


def _wanted(files: Iterable[str]) -> Iterator[Path]:
    """Yield the files of the image by their real places: `/bin` and its like are links to folders of `/usr`."""
    places: dict[str, str] = {}
    seen = set()
    for file in files:
        folder, _, name = file.rpartition("/")
        if not file.startswith("/") or SKIPPED.match(file):
            continue
        path = Path(places.setdefault(folder, os.path.realpath(folder or "/")), name)
        if path not in seen:
            seen.add(path)
            yield path
            if path.suffix == ".py":
                # Compiled at installation, which no package lists: compiling takes the machine seconds.
                yield from path.parent.glob(f"__pycache__/{path.stem}.cpython-*.pyc")
    yield from (entry for entry in LOCALES.rglob("*") if entry not in seen)


def _pack(packer: str, files: Iterable[Path], image: Path, path: str) -> None:
    descriptor, name = tempfile.mkstemp(prefix=UNFINISHED, dir=image.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        # It writes its own file and refuses one that is no image of its own.
        temporary.unlink()
        process = subprocess.Popen(
            [packer, "-comp", "lz4", "-all-root", "-no-xattrs", "-no-progress", "-quiet", str(temporary)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={"PATH": path},
        )  # fmt: skip
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), tarfile.open(fileobj=process.stdin, mode="w|") as tar:
            _fill(tar, files)
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.stdin = None
        _, said = process.communicate(timeout=BUILD_SECONDS_MAX)
        if process.returncode != 0:
            last = (said.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
            raise ApplianceError(f"the image of programs cannot be made: {last}")
        # Read by a user who has no right to anything else here, by a descriptor.
        temporary.chmod(0o444)
        with temporary.open("rb") as made:
            os.fsync(made.fileno())
        temporary.rename(image)
    except (OSError, subprocess.SubprocessError) as error:
        raise ApplianceError(f"the image of programs cannot be made: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _fill(tar: tarfile.TarFile, files: Iterable[Path]) -> None:
    for name in FOLDERS:
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(entry)
    for name in MERGED:
        if Path("/", name).is_symlink():
            _add_link(tar, name, f"usr/{name}")
    for path in files:
        try:
            found = path.lstat()
            if stat.S_ISLNK(found.st_mode):
                _add_link(tar, str(path).lstrip("/"), str(path.readlink()))
            elif stat.S_ISREG(found.st_mode) and found.st_mode & stat.S_IROTH:
                entry = tarfile.TarInfo(str(path).lstrip("/"))
                entry.size, entry.mode, entry.mtime = found.st_size, found.st_mode & 0o755, int(found.st_mtime)
                with path.open("rb") as file:
                    tar.addfile(entry, file)
        except FileNotFoundError:
            continue


def _add_link(tar: tarfile.TarFile, name: str, target: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, target, 0o777
    tar.addfile(entry)

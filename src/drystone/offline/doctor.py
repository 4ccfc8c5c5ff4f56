"""`drystone doctor`: what this machine and this installation lack, one line each, with what to do.

It only looks: nothing is written, and a server may run or not.
"""

import contextlib
import ctypes
import fcntl
import os
import platform
import re
import resource
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from drystone.catalog.backup import made_at, newest_first, quick_check, read_meta, schema_of
from drystone.catalog.migrations import HEAD
from drystone.client_settings import ClientSettings
from drystone.config import Config
from drystone.domain.clock import age_s
from drystone.domain.errors import ConfigError, DrystoneError, IntegrityError
from drystone.engine.layout import Layout
from drystone.engine.space import look
from drystone.objects.address import DirectoryAddress, open_objects
from drystone.server.serve import QEMU_MAJOR_MIN
from drystone.server.store_opening import STORE_ID, stores_in
from drystone.server.store_place import KEYS_FILE, store_place
from drystone.service.upkeep.backups import KIND

State = Literal["ok", "warn", "fail"]
PROGRAMS: Final = (
    ("qemu-img", "fail", "install qemu-utils"),
    ("fusermount3", "fail", "install fuse3"),
    ("losetup", "warn", "install util-linux; without it no disk becomes a block device of this host"),
)
"""Programs that the server starts, how bad it is without one, and the package of Debian that has it."""
LIBRARIES: Final = (("libnbd.so.0", "install libnbd0"),)
SECRETS: Final = ("credentials.env", KEYS_FILE, "catalog.db")
"""Files of the data directory that nobody but the server's user may read."""
KERNEL_MIN: Final = (5, 15)
FILES_MIN: Final = 4096
"""Open files: each disk that is served, and each connection, needs some."""
CHECK_SECONDS_MAX: Final = 30.0
PROGRAM_SECONDS_MAX: Final = 10.0
PORT_SECONDS_MAX: Final = 3.0
BACKUPS_LATE: Final = 3
"""A copy of the catalog is late after so many times the configured minutes."""
_UNSYNCHRONISED: Final = 0x40
"""STA_UNSYNC of adjtimex(2)."""
_TIME_ERROR: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What one look has shown."""

    name: str
    state: State
    found: str
    do: str = ""
    """What to do; empty where nothing must be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What is asked of the machine; tests bring their own."""

    clock: Callable[[], float]
    printed: Callable[..., str | None] = field(default_factory=lambda: _printed)
    """What a program prints; None if it is not there or fails."""
    root: Path = Path("/")
    release: str = field(default_factory=platform.release)
    is_root: bool = field(default_factory=lambda: os.geteuid() == 0)
    files: tuple[int, int] = field(default_factory=lambda: resource.getrlimit(resource.RLIMIT_NOFILE))
    """Open files that a process may have: the soft limit, and the hard one."""
    library: Callable[[str], bool] = field(default_factory=lambda: _library)
    synchronised: Callable[[], bool | None] = field(default_factory=lambda: _synchronised)
    """Whether the kernel's clock is kept right; None: it does not say."""
    answers: Callable[[str, int], bool] = field(default_factory=lambda: _answers)
    """Whether something takes connections at a host and port."""


def examine(data: Path, machine: Machine) -> list[Checked]:
    """Look at everything; a look that fails is a finding itself."""
    findings = list(_machine(machine))
    try:
        config = Config.load(data)
    except ConfigError as error:
        return [*findings, _fail("configuration", str(error), "correct it; docs/configuration.md has every setting")]
    findings.append(
        _ok("configuration", str(data / "drystone.toml") if _is(data / "drystone.toml") else "the defaults")
    )
    if not data.is_dir():
        todo = f"it is made by the first start: `drystone serve --data {data}`, or give --data DIR"
        return [*findings, _warn("data directory", f"{data} is not there", todo)]
    for step in (_directory, _secrets, _space, _catalog, _backups, _store, _port):
        name = step.__name__.removeprefix("_").replace("_", " ")
        try:
            findings += step(config, machine)
        except (OSError, DrystoneError) as error:
            findings.append(_fail(name, f"it could not be looked at: {error}", "run this as the server's user"))
    return findings


# --- the machine ------------------------------------------------------------------------------------------------------


def _machine(machine: Machine) -> Iterator[Checked]:
    version = machine.printed("qemu-storage-daemon", "--version")
    major = re.search(r"version (\d+)\.", version or "")
    todo = f"install qemu-storage-daemon {QEMU_MAJOR_MIN} or newer (Debian: qemu-utils, qemu-system-common)"
    if major is None:
        yield _fail("QEMU", "there is no qemu-storage-daemon", todo)
    else:
        text = (version or "").splitlines()[0]
        yield _ok("QEMU", text) if int(major[1]) >= QEMU_MAJOR_MIN else _fail("QEMU", text, todo)
    for name, bad, todo in PROGRAMS:
        there = machine.printed(name, "--version") is not None
        yield (
            Checked(name=name, state="ok", found="it is there")
            if there
            else Checked(name=name, state="fail" if bad == "fail" else "warn", found="it is not there", do=todo)
        )
    for name, todo in LIBRARIES:
        yield _ok(name, "it is there") if machine.library(name) else _fail(name, "it is not there", todo)
    yield _device(machine, "FUSE", "dev/fuse", "fail", "load the kernel's module: modprobe fuse")
    todo = "load the kernel's module: modprobe loop; without it no disk becomes a block device of this host"
    yield _device(machine, "loop devices", "dev/loop-control", "warn", todo)
    yield _kernel(machine.release)
    if machine.is_root:
        yield _ok("user", "root")
    else:
        todo = "run the server as root for block devices of this host and restore tests; NBD works without"
        yield _warn("user", "not root", todo)
    soft, hard = machine.files
    if hard == resource.RLIM_INFINITY or hard >= FILES_MIN:
        yield _ok("open files", f"{soft}, and up to {'any number' if hard == resource.RLIM_INFINITY else hard}")
    else:
        yield _warn("open files", f"at most {hard}", f"raise the limit to {FILES_MIN} or more (LimitNOFILE, ulimit -n)")
    yield _clock(machine.synchronised())


def _device(machine: Machine, name: str, path: str, bad: State, todo: str) -> Checked:
    device = machine.root / path
    if os.access(device, os.R_OK | os.W_OK):
        return _ok(name, f"/{path}")
    found = f"/{path} may not be opened" if _is(device) else f"/{path} is not there"
    return Checked(name=name, state=bad, found=found, do=todo)


def _kernel(release: str) -> Checked:
    found = re.match(r"(\d+)\.(\d+)", release)
    if found is not None and (int(found[1]), int(found[2])) < KERNEL_MIN:
        return _warn("kernel", release, f"use {KERNEL_MIN[0]}.{KERNEL_MIN[1]} or newer: older ones are not tested")
    return _ok("kernel", release)


def _clock(synchronised: bool | None) -> Checked:  # noqa: FBT001 - what was found
    if synchronised is None:
        return _warn("clock", "the kernel does not say whether it is kept right", "see `timedatectl`")
    if synchronised:
        return _ok("clock", "synchronised")
    todo = "run a time service (systemd-timesyncd, chrony): deadlines and signatures go by the clock"
    return _warn("clock", "not synchronised", todo)


# --- the installation -------------------------------------------------------------------------------------------------


def _directory(config: Config, _machine: Machine) -> list[Checked]:
    mode = stat.S_IMODE(config.data.stat().st_mode)
    if mode & 0o077:
        return [_warn("data directory", f"{config.data} has the mode {mode:o}", f"chmod 700 {config.data}")]
    return [_ok("data directory", str(config.data))]


def _secrets(config: Config, _machine: Machine) -> list[Checked]:
    files = [config.data / name for name in SECRETS]
    files += sorted((config.data / "backups").glob("*.db"))
    files += [Path(one) for one in (config.tls_key,) if one is not None]
    read = [path for path in files if path.is_file() and path.stat().st_mode & 0o077]
    if read:
        names = " ".join(str(path) for path in read[:5])
        return [_fail("secrets", f"others may read {len(read)} files with secrets", f"chmod 600 {names}")]
    return [_ok("secrets", "only their owner may read them")]


def _space(config: Config, _machine: Machine) -> list[Checked]:
    space = look(config.data, floor_bytes_max=config.floor_bytes_max, floor_percent=config.floor_percent)
    found = f"{space.free_bytes >> 20} MiB free, {space.floor_bytes >> 20} MiB of it for the disks alone"
    if space.above_floor_bytes <= 0:
        return [_fail("free space", found, "free some: no snapshot and no disk can be made")]
    if space.above_floor_bytes < 1 << 30:
        return [_warn("free space", found, "free some: the next snapshot may fail")]
    return [_ok("free space", found)]


def _catalog(config: Config, _machine: Machine) -> list[Checked]:
    if config.catalog_url is not None:
        return [_ok("catalog", "in PostgreSQL; look at it with that server's own tools")]
    catalog = Layout(config.data).catalog
    if not catalog.exists():
        return [_warn("catalog", f"{catalog} is not there", "the first start makes it; else `drystone store recover`")]
    todo = "stop the server, put a copy from DATA/backups in its place, then `drystone store reconcile`"
    try:
        wrong = quick_check(catalog, seconds_max=CHECK_SECONDS_MAX)
    except IntegrityError as error:
        return [_fail("catalog", str(error), todo)]
    except DrystoneError as error:
        return [_warn("catalog", str(error), "try again when the machine has less to do")]
    if wrong is not None:
        return [_fail("catalog", f"{catalog}: {wrong}", todo)]
    schema = schema_of(catalog)
    if schema is not None and schema > HEAD:
        return [_fail("catalog", f"schema {schema} is newer than this program's, {HEAD}", "use the newer version")]
    return [_ok("catalog", f"whole, schema {schema}")]


def _backups(config: Config, machine: Machine) -> list[Checked]:
    if config.backup_minutes == 0 or config.catalog_url is not None:
        return [_warn("copies of the catalog", "the server makes none", "set backup_minutes, or make your own")]
    now = machine.clock()
    newest = newest_first(Layout(config.data).backups, KIND, now)[:1]
    at = made_at(newest[0]) if newest else None
    todo = "see that the server runs; `drystone store backup` makes one now"
    if at is None:
        return [_warn("copies of the catalog", "there is none", todo)]
    minutes = round(age_s(at, now) / 60)
    found = f"the newest is {minutes} minutes old"
    late = minutes > BACKUPS_LATE * config.backup_minutes
    return [_warn("copies of the catalog", found, todo) if late else _ok("copies of the catalog", found)]


def _store(config: Config, _machine: Machine) -> list[Checked]:
    place = store_place(config)
    where = place.root if isinstance(place, DirectoryAddress) else str(config.store_url)
    todo = "see that it is mounted and reachable; `drystone store check` tries everything"
    known = None
    if config.catalog_url is None and Layout(config.data).catalog.exists():
        known = read_meta(Layout(config.data).catalog, STORE_ID)
    if isinstance(place, DirectoryAddress) and not Path(place.root).is_dir():
        state: State = "warn" if known is None else "fail"
        return [Checked(name="snapshot store", state=state, found=f"{where} is not there", do=todo)]
    try:
        found = list(stores_in(open_objects(place, attempts=1)))
    except DrystoneError as error:
        return [_fail("snapshot store", f"{where} does not answer: {error}", todo)]
    if known is not None and known not in found:
        return [_fail("snapshot store", f"{where} has not the store of this catalog, {known}", todo)]
    return [_ok("snapshot store", where)]


def _port(config: Config, machine: Machine) -> list[Checked]:
    where = f"{config.host}:{config.port}"
    answers = machine.answers(config.host, config.port)
    if _is_served(config.data):
        # It may have been started with another --port than is configured, and wrote down which.
        url = urlsplit(ClientSettings.load(config.data).endpoint)
        if url.hostname is not None and url.port is not None and machine.answers(url.hostname, url.port):
            return [_ok("server", f"it answers at {url.geturl()}")]
        todo = "look at its log; it may still be starting"
        return [_warn("server", f"it runs and does not answer at {url.geturl()}", todo)]
    if answers:
        return [_fail("server", f"another program answers at {where}", "choose another port in drystone.toml")]
    return [_warn("server", f"it does not run; {where} is free", f"`drystone serve --data {config.data}` starts it")]


def _is_served(data: Path) -> bool:
    """Return whether a server holds the data directory."""
    try:
        descriptor = os.open(data / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


# --- asking the machine -----------------------------------------------------------------------------------------------


def _printed(*words: str) -> str | None:
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=PROGRAM_SECONDS_MAX, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _library(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def _synchronised() -> bool | None:
    """Ask adjtimex(2); the kernel's structure has its status as the sixth word, and is not changed with no modes."""
    timex = (ctypes.c_long * 64)()
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR and not timex[5] & _UNSYNCHRONISED


def _answers(host: str, port: int) -> bool:
    target = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - asked for, not listened on
    with contextlib.suppress(OSError), socket.create_connection((target, port), timeout=PORT_SECONDS_MAX):
        return True
    return False


def _is(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return path.exists()
    return False


def _ok(name: str, found: str) -> Checked:
    return Checked(name=name, state="ok", found=found)


def _warn(name: str, found: str, do: str) -> Checked:
    return Checked(name=name, state="warn", found=found, do=do)


def _fail(name: str, found: str, do: str) -> Checked:
    return Checked(name=name, state="fail", found=found, do=do)

"""Opening databases of a throw-away clone: their own server is started on them, recovers, and reads every table.

A server is started on a unix socket as a user whom nobody else is, who is given the files. What a guest's settings,
plugins and links have it run, it may run: the machine is the wall. What is known of these is switched off all the same,
for a program that is not there says nothing of the data. Nothing is repaired: what a server would mend by itself in
files without a log is switched off, so that only recovery from its own log counts as opening.
"""

import contextlib
import os
import re
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from drystone.prove.guest.trial import (
    Owner,
    TrialError,
    Trials,
    damaged,
    end,
    first_of,
    last_line,
    lines_with,
    not_proven,
    open_file,
    read_file,
)

DEPTH_MAX = 4
"""How deep below the mount a data directory is looked for: `lib/mysql`, `postgresql/15/main`."""
DIRECTORIES_MAX = 5000
POLL_SECONDS = 0.05
LOG_BYTES_MAX = 1 << 20
INDEX_BYTES_MAX = 1 << 20
VERSION_BYTES_MAX = 16
VERSION_WITH_RECOVERY_SETTINGS = 12
"""Older ones have a file for them."""
SERVERS = Path("/usr/lib/postgresql")
"""Where Debian has one directory for each version of PostgreSQL."""
MARIADB_WRONG = re.compile(
    r"corrupt|checksum mismatch|cannot be read|failed read of file|log sequence number .* in the future"
    r"|marked as crashed|Invalid flags|Invalid page|is in an invalid|Assertion failure|InnoDB: .*(?:missing|truncated)"
    r"|No valid checkpoint",
    re.IGNORECASE,
)
MARIADB_RECOVERED = re.compile(
    r"InnoDB: Starting (?:crash recovery|final batch)|recovery from checkpoint", re.IGNORECASE
)
POSTGRES_FAILED = re.compile(r"(?:PANIC|FATAL|ERROR):")
"""What is logged as less is part of every recovery, also words like `invalid record length`: the end of the log."""
POSTGRES_WRONG = re.compile(
    r"PANIC:|invalid (?:page|checkpoint|primary|resource manager|magic|record|contrecord)|corrupt|checksum"
    r"|could not read|incorrect|bogus|unexpected (?:pageaddr|data beyond)|could not locate",
    re.IGNORECASE,
)
POSTGRES_RECOVERED = re.compile(r"automatic recovery in progress|redo done at|redo starts at")


@dataclass(frozen=True, slots=True)
class Place:
    """Where databases of a kind are looked for, and how their directories are known.

    `marks` are files that a data directory has.
    """

    kind: str
    title: str
    marks: tuple[str, ...]


MARIADB = Place("mariadb", "MariaDB", ("ibdata1", "mysql"))
POSTGRESQL = Place("postgresql", "PostgreSQL", ("PG_VERSION", "global/pg_control"))
PLACES = {place.kind: place for place in (MARIADB, POSTGRESQL)}


def find(root: Path, place: Place) -> list[Path]:
    """Return the data directories of a kind below a mount; links are not followed."""
    found: list[Path] = []
    waiting = [(root, 0)]
    seen = 0
    while waiting and seen < DIRECTORIES_MAX:
        directory, depth = waiting.pop()
        seen += 1
        if all((directory / mark).exists() for mark in place.marks):
            found.append(directory)
            continue
        if depth < DEPTH_MAX:
            with contextlib.suppress(OSError), os.scandir(directory) as entries:
                waiting += [(directory / entry.name, depth + 1) for entry in entries if _is_folder(entry)]
    return sorted(found)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    return entry.is_dir(follow_symlinks=False)


def hand_over(directory: Path, owner: Owner) -> None:
    """Give a data directory, and all that is in it, to the user of the servers; links are not followed."""
    for path, folders, names in os.walk(directory):
        for name in (".", *folders, *names):
            os.chown(Path(path, name), owner.uid, owner.gid, follow_symlinks=False)


def _run_directory(owner: Owner) -> tuple[Path, Path]:
    """Return a directory for the socket, whose path is short as sockets need it, and where the log goes.

    The log is out of the server's reach but for its end.
    """
    directory = Path("/run") / f"{time.monotonic_ns():x}"
    directory.mkdir(mode=0o700)
    os.chown(directory, owner.uid, owner.gid)
    return directory, directory.with_suffix(".log")


@contextlib.contextmanager
def _served(
    trials: Trials, arguments: tuple[str, ...], owner: Owner, log: Path, ready: Callable[[], bool]
) -> Iterator["subprocess.Popen[bytes]"]:
    """Have a server running until the block ends.

    Raises:
        TrialError: It ended, or was not ready in time; the caller reads its log.
    """
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        process = trials.start(*arguments, owner=owner, output=descriptor)
    finally:
        os.close(descriptor)
    deadline = time.monotonic() + trials.seconds_max
    try:
        while not ready():
            if process.poll() is not None:
                raise not_proven(f"the server ended with {process.returncode}")
            if time.monotonic() > deadline:
                raise not_proven(f"the server was not ready within {trials.seconds_max:g} s")
            time.sleep(POLL_SECONDS)
        yield process
    finally:
        end(process)


def _log(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LOG_BYTES_MAX))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def _recovered(log: str, pattern: "re.Pattern[str]") -> str:
    return "recovered from its log" if pattern.search(log) else "nothing to recover"


# --- MariaDB --------------------------------------------------------------------------------------------------------


def open_mariadb(trials: Trials, data: Path, owner: Owner) -> str:
    """Start MariaDB on a data directory and have every table checked.

    Raises:
        TrialError: It does not open, a table is damaged, or it could not be tried.
    """
    server = trials.program("mariadbd", "mariadb-server")
    checker = trials.program("mariadb-check", "mariadb-client")
    admin = trials.program("mariadb-admin", "mariadb-client")
    elsewhere = [path.name for path in data.glob("*/*.isl")] + [
        path.name for path in data.iterdir() if path.is_symlink()
    ]
    if elsewhere:
        raise not_proven(f"parts of it lie on other file systems ({elsewhere[0]})")
    if not (data / "ib_logfile0").exists():
        raise not_proven("its log (ib_logfile0) is not on this disk")
    hand_over(data, owner)
    run, log = _run_directory(owner)
    socket = run / "s"
    binary_log = _binary_log(data, run, owner)
    arguments = (
        server, "--no-defaults", f"--datadir={data}", f"--socket={socket}", f"--pid-file={run}/pid", "--tmpdir=/tmp",
        "--skip-networking", "--skip-grant-tables", "--skip-slave-start", "--event-scheduler=OFF", "--server-id=1",
        f"--innodb-page-size={page_bytes(data / 'ibdata1')}", "--innodb-buffer-pool-size=128M",
        "--innodb-buffer-pool-load-at-startup=OFF", "--innodb-buffer-pool-dump-at-shutdown=OFF",
        "--myisam-recover-options=OFF", "--aria-recover-options=OFF", "--console", *binary_log,
    )  # fmt: skip
    client = ("--no-defaults", f"--socket={socket}", "--user=root")

    def ready() -> bool:
        return socket.exists() and trials.run(admin, *client, "ping", owner=owner)[0] == 0

    try:
        with _served(trials, arguments, owner, log, ready) as process:
            code, text = trials.run(checker, *client, "--all-databases", "--check", owner=owner)
            alive = process.poll() is None
    except TrialError as error:
        wrong = _wrong_in_mariadb(_log(log))
        if wrong:
            raise damaged(f"the server does not open it: {wrong[0]}") from error
        refused = [line for line in _log(log).splitlines() if "[ERROR]" in line]
        raise not_proven(f"{error}: {first_of(refused, _log(log))}") from error
    said = _log(log)
    bad = [line for line in text.splitlines() if line.strip().lower().startswith("error")]
    wrong = _wrong_in_mariadb(said)
    if bad or wrong:
        raise damaged(_table_of(text, bad[0]) if bad else wrong[0])
    if not alive or code != 0:
        raise not_proven(f"mariadb-check ended with {code}: {last_line(text)}")
    tables = sum(line.rstrip().endswith("OK") for line in text.splitlines())
    return f"{tables} tables checked, {_recovered(said, MARIADB_RECOVERED)}"


def _wrong_in_mariadb(log: str) -> list[str]:
    return [line for line in lines_with(log, MARIADB_WRONG) if "[Note]" not in line]


def _binary_log(data: Path, run: Path, owner: Owner) -> tuple[str, ...]:
    """Return the options of the binary log that lies in the data directory, if one does.

    Without it a server cannot end transactions that were between its two logs. Its index may name files by paths of
    where it came from: an index of our own names those that are here.
    """
    for index in sorted(data.glob("*.index")):
        lines = read_file(index, INDEX_BYTES_MAX).decode(errors="replace").splitlines()
        named = [Path(line.strip()).name for line in lines if line.strip()]
        here = [data / name for name in named if re.fullmatch(r".+\.[0-9]+", name) and (data / name).is_file()]
        if named and len(here) == len(named):
            _write(run / "bin.index", "".join(f"{path}\n" for path in here), owner)
            return (f"--log-bin={data / index.stem}", f"--log-bin-index={run}/bin.index")
    return ()


def _table_of(text: str, complaint: str) -> str:
    """Return a complaint of `mariadb-check` with the table above it."""
    table = ""
    for line in text.splitlines():
        if line == complaint:
            break
        if line and not line.lower().startswith((" ", "error", "warning", "note", "status", "info")):
            table = line.split()[0]
    return f"{table}: {' '.join(complaint.split())}"


def page_bytes(ibdata: Path) -> int:
    """Return the page size that InnoDB's first file was made with; the default if its header makes no sense.

    Source: MariaDB storage/innobase/include/fsp0types.h (`FSP_FLAGS_...`, `FSP_FLAGS_FCRC32_...`).
    """
    with open_file(ibdata) as file:
        head = file.read(58)
    flags = struct.unpack(">I", head[54:58])[0] if len(head) == 58 else 0
    shift = flags & 0xF if flags & 0x10 else (flags >> 6) & 0xF
    return 512 << shift if 3 <= shift <= 7 else 16384


# --- PostgreSQL -----------------------------------------------------------------------------------------------------


def open_postgresql(trials: Trials, data: Path, owner: Owner) -> str:
    """Start PostgreSQL on a data directory and have every table and index checked.

    Raises:
        TrialError: It does not open, a table is damaged, or it could not be tried.
    """
    version = read_file(data / "PG_VERSION", VERSION_BYTES_MAX).decode(errors="replace").strip()
    programs = SERVERS / version / "bin"
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", version) or not (programs / "postgres").exists():
        raise not_proven(f"PostgreSQL {version} is not installed on this host (package postgresql-{version})")
    elsewhere = [path for path in (data / "pg_wal", *(data / "pg_tblspc").glob("*")) if path.is_symlink()]
    if elsewhere:
        raise not_proven(f"parts of it lie on other file systems ({elsewhere[0].name})")
    hand_over(data, owner)
    run, log = _run_directory(owner)
    _write(run / "hba", "local all all trust\n", owner)
    _write(run / "conf", "", owner)
    settings = {
        "config_file": f"{run}/conf", "hba_file": f"{run}/hba", "ident_file": f"{run}/conf",
        "listen_addresses": "", "unix_socket_directories": str(run), "shared_preload_libraries": "",
        "local_preload_libraries": "", "session_preload_libraries": "", "archive_mode": "off", "jit": "off",
        "autovacuum": "off", "logging_collector": "off", "ssl": "off", "fsync": "off",
        "log_destination": "stderr", "lc_messages": "C", "shared_buffers": "64MB", "dynamic_shared_memory_type": "mmap",
    }  # fmt: skip
    if int(version.partition(".")[0]) >= VERSION_WITH_RECOVERY_SETTINGS:
        names = ("restore_command", "archive_cleanup_command", "recovery_end_command", "primary_conninfo")
        settings |= dict.fromkeys(names, "")
    options = tuple(word for name, value in settings.items() for word in ("-c", f"{name}={value}"))
    arguments = (str(programs / "postgres"), "-D", str(data), *options)

    def ready() -> bool:
        code, _ = trials.run(str(programs / "pg_isready"), "-q", "-h", str(run), owner=owner)
        return code == 0

    try:
        with _served(trials, arguments, owner, log, ready):
            code, text = _check_postgresql(trials, programs, run, owner)
    except TrialError as error:
        refused = lines_with(_log(log), POSTGRES_FAILED)
        wrong = [line for line in refused if POSTGRES_WRONG.search(line)]
        if wrong:
            raise damaged(f"the server does not open it: {wrong[0]}") from error
        raise not_proven(f"{error}: {first_of(refused, _log(log))}") from error
    # Source: bin/pg_amcheck/pg_amcheck.c ends with 2 if it found corruption, with 1 if it could not look.
    if code == 2:
        raise damaged(f"pg_amcheck: {first_of([line for line in text.splitlines() if line.strip()], text)}")
    if code != 0:
        wrong = lines_with(text, POSTGRES_WRONG)
        raise damaged(f"pg_amcheck: {wrong[0]}") if wrong else not_proven(f"pg_amcheck: {last_line(text)}")
    return f"every table and index checked, {_recovered(_log(log), POSTGRES_RECOVERED)}"


def _check_postgresql(trials: Trials, programs: Path, run: Path, owner: Owner) -> tuple[int, str]:
    checker = programs / "pg_amcheck"
    if not checker.exists():
        raise not_proven("pg_amcheck is not installed on this host: it is part of PostgreSQL 14 and newer")
    # Its extension is put into the clone only.
    return trials.run(
        str(checker), "--all", "--install-missing", "--heapallindexed", "-h", str(run), "-U", "postgres",
        "--no-password", owner=owner,
    )  # fmt: skip


def _write(path: Path, text: str, owner: Owner) -> None:
    path.write_text(text)
    os.chown(path, owner.uid, owner.gid)

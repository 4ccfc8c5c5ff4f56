"""Real database servers for tests: each with its data in a directory that is given, on a socket, ended with the block.

They are Debian's packages, which `./dev test` installs; one that is missing fails the test.
"""

import atexit
import contextlib
import functools
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.images import overwrite

SECONDS = 120.0
"""How long anything may take on a loaded machine."""
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where flushes cost nothing."""
PATH = os.environ.get("PATH", os.defpath) + ":/usr/sbin"
HARMS = ("page", "log", "file", "no log")
"""A page of a table overwritten; the log, where it begins to be read; a table's file gone; the log gone."""
MARIADBD = shutil.which("mariadbd", path=PATH)
FIRST_OF_USERS = 16384
"""Below it are the relations of PostgreSQL itself. Source: access/transam.h, FirstNormalObjectId."""
POSTGRES = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))), None)


def ended(process: "subprocess.Popen[bytes]", number: int = signal.SIGTERM) -> None:
    """End a server; it is gone when this returns."""
    process.send_signal(number)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(30)
    process.kill()
    process.wait()


class MariaDb:
    """A MariaDB server; `root` is its user of the database, without a password."""

    def __init__(self, data: Path, scratch: Path) -> None:
        assert MARIADBD is not None, "./dev test installs mariadb-server"
        self.data = data
        self.scratch = scratch
        self.socket = scratch / "s"
        self.options = scratch / "options.cnf"
        self.process: subprocess.Popen[bytes] | None = None

    def install(self) -> None:
        """Make the data directory."""
        self.data.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", "--sparse=always", str(_mariadb_template()), str(self.data)], check=True)

    def start(self, *options: str) -> None:
        """Start it and wait until it answers."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        shutil.chown(self.scratch, "mysql")
        self.process = subprocess.Popen(
            [str(MARIADBD), "--no-defaults", f"--datadir={self.data}", f"--socket={self.socket}", "--user=mysql",
             "--skip-networking", f"--log-bin={self.data}/bin", f"--log-error={self.scratch}/error.log",
             f"--pid-file={self.scratch}/pid", "--innodb-buffer-pool-size=64M", "--innodb-log-file-size=16M", *options],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.write_options("")
        deadline = time.monotonic() + SECONDS
        while self.query("SELECT 1") != "1":
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it, in order unless told otherwise."""
        process, self.process = self.process, None
        if process is not None:
            ended(process, number)

    def log(self) -> str:
        """Return the end of its log."""
        return (self.scratch / "error.log").read_text()[-3000:]

    def write_options(self, password: str) -> None:
        """Write the client's option file."""
        self.options.touch(mode=0o600)
        self.options.write_text(f"[client]\nsocket={self.socket}\nuser=root\npassword={password}\n")

    def query(self, text: str) -> str:
        """Run statements with the client; return what it printed."""
        ran = subprocess.run(
            ["mariadb", f"--defaults-extra-file={self.options}", "--batch", "--skip-column-names", "-e", text],
            capture_output=True, text=True, check=False, env={"PATH": PATH},
        )  # fmt: skip
        return ran.stdout.strip()

    def harm(self, how: str) -> None:
        """Damage the data of a server that does not run."""
        table, log = self.data / "d" / "t.ibd", self.data / "ib_logfile0"
        if how == "page":
            overwrite(table, 3 * 16384 + 8192, 4096)  # The root of its first index.
        elif how == "log":
            overwrite(log, 4096, 8192)  # Both checkpoints.
        else:
            {"file": table, "no log": log}[how].unlink()


@functools.cache
def _mariadb_template() -> Path:
    """Make a data directory once for all tests of this process: it takes seconds."""
    directory = tempfile.TemporaryDirectory(prefix="drystone-", dir=MEMORY)
    atexit.register(directory.cleanup)
    Path(directory.name).chmod(0o755)
    data = Path(directory.name) / "data"
    program = shutil.which("mariadb-install-db", path=PATH)
    assert program is not None
    subprocess.run(
        [program, "--no-defaults", f"--datadir={data}", "--user=mysql", "--skip-test-db",
         "--auth-root-authentication-method=normal", "--innodb-log-file-size=16M"],
        check=True, capture_output=True, env={"PATH": PATH},
    )  # fmt: skip
    return data


class PostgreSql:
    """A PostgreSQL server; `postgres` is its user of the database, and that of the system where this one is root."""

    def __init__(self, data: Path, scratch: Path) -> None:
        assert POSTGRES is not None, "./dev test installs postgresql"
        self.programs = POSTGRES.parent
        self.data = data
        self.scratch = scratch
        self.user = "postgres" if os.geteuid() == 0 else None
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def connection(self) -> str:
        """How to connect."""
        return f"host={self.scratch} user=postgres dbname=postgres"

    def install(self) -> None:
        """Make the data directory."""
        self._own(self.data)
        self.data.chmod(0o700)
        subprocess.run(
            [str(self.programs / "initdb"), "--no-sync", "-A", "trust", "-U", "postgres", "--no-locale", "-E", "UTF8",
             "-D", str(self.data)],
            check=True, capture_output=True, user=self.user, cwd="/",
        )  # fmt: skip

    def start(self, *options: str) -> None:
        """Start it and wait until it answers. It ends with this process, however that ends."""
        self._own(self.scratch)
        with (self.scratch / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "QUIT", str(self.programs / "postgres"), "-D", str(self.data),
                 "-k", str(self.scratch), "-c", "listen_addresses=", *options],
                stdout=log, stderr=log, user=self.user, cwd="/",
            )  # fmt: skip
        deadline = time.monotonic() + SECONDS
        while self.query("SELECT 1") != "1":
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def _own(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        if self.user is not None:
            shutil.chown(directory, self.user)

    def stop(self, number: int = signal.SIGINT) -> None:
        """End it, in order unless told otherwise."""
        process, self.process = self.process, None
        if process is not None:
            ended(process, number)

    def log(self) -> str:
        """Return the end of its log."""
        return (self.scratch / "log").read_text()[-3000:]

    def query(self, text: str) -> str:
        """Run statements with the client; return what it printed."""
        ran = subprocess.run(
            ["psql", "--no-psqlrc", "-Atq", "-d", self.connection, "-c", text],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return ran.stdout.strip()

    def harm(self, how: str) -> None:
        """Damage the data of a server that does not run."""
        relations = (int(path.name) for path in (self.data / "base").glob("*/*") if path.name.isdigit())
        (table,) = (self.data / "base").glob(f"*/{min(oid for oid in relations if oid >= FIRST_OF_USERS)}")
        if how == "page":
            overwrite(table, 4096, 4096)
        elif how == "log":
            told = subprocess.run(
                [str(self.programs / "pg_controldata"), str(self.data)], check=True, capture_output=True, text=True
            ).stdout
            (segment,) = re.findall(r"REDO WAL file: +(\S+)", told)
            log = self.data / "pg_wal" / segment
            overwrite(log, 0, log.stat().st_size)
        elif how == "file":
            table.unlink()
        else:
            shutil.rmtree(self.data / "pg_wal")


@contextlib.contextmanager
def short_directory(*, memory: bool = False) -> Iterator[Path]:
    """Make a directory whose path is short enough for sockets, and that every user may pass through."""
    with tempfile.TemporaryDirectory(prefix="drystone-", dir=MEMORY if memory else None) as name:
        Path(name).chmod(0o755)
        yield Path(name)

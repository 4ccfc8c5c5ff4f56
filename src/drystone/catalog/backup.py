"""Consistent copies of a SQLite catalog, while it is used or not."""

import math
import os
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from drystone.catalog.migrations import HEAD
from drystone.domain.clock import recent
from drystone.domain.errors import IntegrityError, SpaceError, UnavailableError
from drystone.durable_files import sync_file

_STAMP = "%Y%m%dT%H%M%S.%fZ"
_MODE = 0o600
"""A catalog holds the secret keys of all accounts."""


def schema_of(catalog: Path) -> str | None:
    """Return the revision of a catalog's schema; None if it is not there or has none yet.

    Raises:
        IntegrityError, UnavailableError: It cannot be read.
    """
    if not catalog.exists() or catalog.stat().st_size == 0:
        return None
    try:
        with closing(_connect(catalog)) as connection:
            known = connection.execute("SELECT name FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone() if known else None
    except sqlite3.DatabaseError as error:
        raise _translated(catalog, error) from error
    return None if row is None else str(row[0])


def read_meta(catalog: Path, key: str) -> str | None:
    """Return a value of a catalog's table `meta`, whatever schema it has; it may be in use, and is not changed.

    Raises:
        IntegrityError, UnavailableError: It cannot be read.
    """
    try:
        with closing(_connect(catalog)) as connection:
            known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone()
            row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone() if known else None
    except sqlite3.DatabaseError as error:
        raise _translated(catalog, error) from error
    return None if row is None else str(row[0])


def back_up(catalog: Path, directory: Path, *, kind: str, at: float, kept: int) -> Path:
    """Write a copy of one moment of `catalog` into `directory`, and remove all but the newest of its kind.

    Others may read and write the catalog meanwhile. The copy is checked, and on disk when this returns; before, there
    is no file of its name. It is readable by its owner alone: it holds the secret keys of all accounts.

    Args:
        catalog: The SQLite file.
        directory: Where to; made if missing.
        kind: What it is taken for: begins the file's name, for example `catalog`.
        at: Now, seconds since the epoch.
        kept: How many of this kind stay, at least one.

    Returns:
        The new file.

    Raises:
        IntegrityError: The catalog, or the copy, is damaged; older copies are all kept.
        SpaceError, UnavailableError: It could not be written; as above.
    """
    assert kept > 0
    target = directory / f"{kind}-{datetime.fromtimestamp(at, UTC).strftime(_STAMP)}.db"
    part = directory / f".{target.name}.part"
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for stale in directory.glob(f".{kind}-*.part*"):
            stale.unlink(missing_ok=True)
        os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE))
        with closing(_connect(catalog)) as source, closing(sqlite3.connect(part)) as copy:
            # One step: one moment of the source, whoever writes to it meanwhile.
            source.backup(copy, pages=-1)
            # The copy is one file, without a log beside it.
            copy.execute("PRAGMA journal_mode=DELETE").close()
            _check(copy, catalog)
        sync_file(part)
        part.replace(target)
        sync_file(directory)
    except sqlite3.DatabaseError as error:
        part.unlink(missing_ok=True)
        raise _translated(catalog, error) from error
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UnavailableError(f"{catalog} could not be copied to {target}: {error.strerror}") from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    for old in newest_first(directory, kind, at)[kept:]:
        old.unlink(missing_ok=True)
    return target


def back_up_before_migration(catalog: Path, directory: Path, *, at: float, kept: int) -> Path | None:
    """Copy a catalog whose schema is another than this version's, which opening it would change; else None.

    Raises:
        DrystoneError: As `back_up`: do not open the catalog.
    """
    schema = schema_of(catalog)
    if schema is None or schema == HEAD:
        return None
    return back_up(catalog, directory, kind=f"before-migration-{schema}", at=at, kept=kept)


def quick_check(catalog: Path, *, seconds_max: float) -> str | None:
    """Check the structure of a catalog that may be in use, reading only; return what is wrong, None if nothing is.

    Raises:
        IntegrityError, UnavailableError: It cannot be read, or not within that time.
    """
    end = time.monotonic() + seconds_max
    try:
        with closing(sqlite3.connect(f"file:{quote(str(catalog))}?mode=ro", uri=True, timeout=10.0)) as connection:
            connection.set_progress_handler(lambda: int(time.monotonic() > end), 100_000)
            verdict = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.DatabaseError as error:
        if str(error) == "interrupted":
            raise UnavailableError(f"it was not checked within {seconds_max:g} s") from error
        raise _translated(catalog, error) from error
    return None if verdict == "ok" else verdict


def newest_first(directory: Path, kind: str, now: float) -> list[Path]:
    """Return the copies of a kind, by the time in their names.

    Those that are dated ahead of now come last: a clock that was wrong dated them, and they would push out whatever is
    copied until it is that late.
    """

    def place(path: Path) -> tuple[bool, str]:
        at = made_at(path)
        return at is not None and recent(at, now, math.inf), path.name

    return sorted(directory.glob(f"{kind}-[0-9]*.db"), key=place, reverse=True)


def made_at(path: Path) -> float | None:
    """Return the time in a copy's name; None if it has none."""
    try:
        return datetime.strptime(path.stem.rpartition("-")[2], _STAMP).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _connect(catalog: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(catalog))}?mode=rw", uri=True, timeout=10.0)


def _translated(catalog: Path, error: sqlite3.DatabaseError) -> Exception:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return SpaceError(f"there is no space for a copy of {catalog}")
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return IntegrityError(f"{catalog} is damaged: {error}")
    return UnavailableError(f"{catalog} cannot be read now: {error}")


def _check(copy: sqlite3.Connection, catalog: Path) -> None:
    verdict = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise IntegrityError(f"the copy of {catalog} is damaged ({verdict}); it was not kept")

"""Opens the catalog that an address names."""

from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from drystone.catalog.database import Database
from drystone.catalog.migrations import CatalogError
from drystone.catalog.sqlite import MakeRoom, SqliteDatabase, no_room


def open_database(where: str | Path, *, make_room: MakeRoom = no_room) -> Database:
    """Open a database, make it if it is a file that is not there, and bring its schema up to date.

    Args:
        where: The path of a SQLite file, or a URL of PostgreSQL.
        make_room: Frees some space, if it can, when a write to a file finds none.

    Raises:
        CatalogError: It cannot be opened as it is, or the URL is none.
        IntegrityError: It is not a database, or a broken one.
        UnavailableError: It cannot be read or written now.
    """
    if isinstance(where, Path):
        return SqliteDatabase.open(where, make_room=make_room)
    try:
        backend = make_url(where).get_backend_name()
    except ArgumentError:
        backend = ""
    if backend != "postgresql":
        raise CatalogError("The catalog's URL must be postgresql+psycopg://USER@HOST/DATABASE.")
    # Its driver takes a fifth of a second to import, and most catalogs are files.
    from drystone.catalog.postgres import PostgresDatabase  # noqa: PLC0415 - see above

    return PostgresDatabase.open(where)

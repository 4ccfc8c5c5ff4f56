"""Steps from one schema to the next, run when a database is opened."""

from collections.abc import Collection

from sqlalchemy import Connection

from drystone.catalog import triggers
from drystone.catalog.schema import metadata
from drystone.domain.errors import DrystoneError

HEAD = "0026"
"""The schema that this version of the program uses."""


class CatalogError(DrystoneError):
    """The database cannot be opened as it is; nothing was changed."""


class NewerSchemaError(CatalogError):
    """The database was written by a newer version than this one."""


def upgrade(conn: Connection, present: Collection[str], *, to: str = HEAD) -> None:
    """Bring the schema from `present` to this version's, or to one before it, within the caller's transaction.

    Raises:
        NewerSchemaError: `present` is not a schema that this version knows; nothing was changed.
    """
    # Alembic takes most of a second to import, and nearly every start finds nothing to do.
    from alembic import command  # noqa: PLC0415 - see above
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "drystone.catalog:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = conn
    known = {revision.revision for revision in ScriptDirectory.from_config(config).walk_revisions()}
    for revision in present:
        if revision not in known:
            raise NewerSchemaError(
                f"The database has schema {revision}, which this version of Drystone does not know: "
                "it was used with a newer one. Start that one."
            )
    command.upgrade(config, to)
    if to == HEAD:
        triggers.renew(conn)


def create(conn: Connection) -> None:
    """Make the schema of this version in a database of PostgreSQL that has none, within the caller's transaction.

    The steps up to 0015 are SQLite's alone: there is no older catalog in PostgreSQL.
    """
    metadata.create_all(conn, checkfirst=False)
    conn.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)")
    conn.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{HEAD}')")  # noqa: S608 - a constant
    conn.exec_driver_sql("INSERT INTO meta (key, value) VALUES ('host_id', gen_random_uuid()::text)")
    triggers.renew(conn)

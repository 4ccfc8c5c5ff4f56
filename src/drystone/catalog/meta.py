"""Facts about the installation: store_id, owner, region, zone, catalog_epoch, created_at, held."""

from collections.abc import Mapping

from sqlalchemy import Connection, delete, insert, select

from drystone.catalog.schema import meta


def get(conn: Connection, key: str) -> str | None:
    """Return the value kept under `key`, if any."""
    value: str | None = conn.execute(select(meta.c.value).where(meta.c.key == key)).scalar_one_or_none()
    return value


def put(conn: Connection, key: str, value: str) -> None:
    """Keep `value` under `key` in place of what was there."""
    conn.execute(delete(meta).where(meta.c.key == key))
    conn.execute(insert(meta).values(key=key, value=value))


def remove(conn: Connection, key: str) -> None:
    """Forget what is kept under `key`, if anything is."""
    conn.execute(delete(meta).where(meta.c.key == key))


def everything(conn: Connection) -> Mapping[str, str]:
    """Return all keys and values."""
    return {row.key: row.value for row in conn.execute(select(meta))}

"""Data keys that are destroyed, or that are being: rows of `meta`, which are never removed."""

import msgspec
from sqlalchemy import Connection

from drystone.catalog import meta
from drystone.domain.ids import AccountId, DiskId, KeyId

_ROW = "destroyed_keys"


class DestroyedKey(msgspec.Struct, frozen=True, kw_only=True):
    """A data key of an encrypted disk of which no wrap may be left; `gone` once a listing of the store showed none."""

    key: KeyId
    account: AccountId
    disk: DiskId
    gone: bool = False


def everything(conn: Connection) -> list[DestroyedKey]:
    """Return all of them, in the order in which it was begun."""
    return msgspec.json.decode(meta.get(conn, _ROW) or "[]", type=list[DestroyedKey])


def put(conn: Connection, *keys: DestroyedKey) -> None:
    """Add some, or replace those of the same key."""
    known = {one.key: one for one in everything(conn)} | {one.key: one for one in keys}
    meta.put(conn, _ROW, msgspec.json.encode(list(known.values())).decode())


def is_pending(conn: Connection, disk_id: DiskId) -> bool:
    """Tell whether a data key of a disk is being destroyed."""
    return any(one.disk == disk_id and not one.gone for one in everything(conn))

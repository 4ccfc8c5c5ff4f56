"""Accounts, their keys, and the totals over their snapshots."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, bindparam, func, select, update
from sqlalchemy import delete as delete_from

from drystone.catalog import packs
from drystone.catalog.rows import Rows
from drystone.catalog.schema import access_key, account, account_quota, account_usage
from drystone.domain.account import AccessKey, Account, DiskQuota
from drystone.domain.ids import AccountId
from drystone.domain.login import SESSION_PREFIX

_accounts = Rows(account, Account)
_keys = Rows(access_key, AccessKey)
_quotas = Rows(account_quota, DiskQuota)
_USAGE = select(account_usage.c.snapshots, account_usage.c.normal_snapshots).where(
    account_usage.c.account_id == bindparam("account")
)

insert = _accounts.insert
"""The usage row comes with it, by a trigger."""
get = _accounts.get
compare_and_set = _accounts.compare_and_set
insert_key = _keys.insert
get_key = _keys.get
insert_quota = _quotas.insert
get_quota = _quotas.get
delete_quota = _quotas.delete


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Totals over the snapshots of an account that clients see."""

    snapshots: int = 0
    """CREATING and NORMAL."""
    normal_snapshots: int = 0
    stored_bytes: int = 0
    """What they hold in the store: living bytes of packs, each once (`packs.held`)."""


def by_name(conn: Connection, name: str) -> Account | None:
    """Return the account of this name."""
    row = conn.execute(select(account).where(account.c.name == name)).one_or_none()
    return None if row is None else _accounts.value(row)


def find(conn: Connection, *, offset: int, limit: int) -> tuple[list[Account], int]:
    """Return a page of accounts, oldest first, and the number of all."""
    page = select(account).order_by(account.c.created_at, account.c.id).offset(offset).limit(limit)
    total: int = conn.execute(select(func.count()).select_from(account)).scalar_one()
    return _accounts.all(conn, page), total


def key_ids(conn: Connection, *, limit: int) -> frozenset[str]:
    """Return the ids of all enabled keys, up to so many."""
    return frozenset(conn.execute(select(access_key.c.secret_id).where(access_key.c.enabled).limit(limit)).scalars())


def keys_of(conn: Connection, account_id: AccountId) -> list[AccessKey]:
    """Return the keys of an account, oldest first."""
    query = select(access_key).where(access_key.c.account_id == account_id)
    return _keys.all(conn, query.order_by(access_key.c.created_at, access_key.c.secret_id))


def delete_keys_made_by(conn: Connection, session: str) -> int:
    """Remove the keys that a browser's session made, for whomever, and those that these made; return how many."""
    return _delete_with_made(conn, access_key.c.made_by == session)


def delete_keys_of_sessions(conn: Connection, account_id: AccountId, *, but: str) -> int:
    """Remove the keys of an account that browsers' sessions made, all or all but those of one; return how many.

    With them go those that they made, for whomever.
    """
    columns = access_key.c
    return _delete_with_made(
        conn, columns.account_id == account_id, columns.made_by.startswith(SESSION_PREFIX), columns.made_by != but
    )


def delete_key(conn: Connection, secret_id: str) -> bool:
    """Remove a key; return whether there was one. What it made counts as made by its own maker from now on."""
    made_by = select(access_key.c.made_by).where(access_key.c.secret_id == secret_id).scalar_subquery()
    conn.execute(update(access_key).where(access_key.c.made_by == secret_id).values(made_by=made_by))
    return _keys.delete(conn, secret_id)


def _delete_with_made(conn: Connection, *which: ColumnElement[bool]) -> int:
    """Remove keys and all that they made, and so on (S188): whoever had one of them has these too."""
    gone = select(access_key.c.secret_id).where(*which).cte(recursive=True)
    gone = gone.union(select(access_key.c.secret_id).where(access_key.c.made_by == gone.c.secret_id))
    return conn.execute(delete_from(access_key).where(access_key.c.secret_id.in_(select(gone.c.secret_id)))).rowcount


def snapshot_count(conn: Connection, account_id: AccountId) -> int:
    """Return how many snapshots of an account clients see."""
    row = conn.execute(_USAGE, {"account": account_id}).one_or_none()
    return 0 if row is None else int(row.snapshots)


def usage(conn: Connection, account_id: AccountId) -> Usage:
    """Return the totals over an account's snapshots; zeros for an account that is not known."""
    row = conn.execute(_USAGE, {"account": account_id}).one_or_none()
    if row is None:
        return Usage()
    return Usage(
        snapshots=row.snapshots,
        normal_snapshots=row.normal_snapshots,
        stored_bytes=packs.held(conn, [account_id])[account_id],
    )

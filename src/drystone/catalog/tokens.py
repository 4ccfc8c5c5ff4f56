"""Client tokens: what makes a repeated call answer like the first one."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from sqlalchemy import Connection, select
from sqlalchemy import delete as delete_from
from sqlalchemy import insert as insert_into

from drystone.catalog.schema import client_token
from drystone.domain.ids import AccountId


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientToken:
    """One token, the request it came with, and what that was answered."""

    account_id: AccountId
    token: str
    action: str
    request_hash: str
    response: Mapping[str, object]
    created_at: float


def insert(conn: Connection, value: ClientToken) -> None:
    """Add a token; one that the account has used is an `sqlalchemy.exc.IntegrityError`."""
    conn.execute(insert_into(client_token).values({field.name: getattr(value, field.name) for field in fields(value)}))


def get(conn: Connection, account_id: AccountId, token: str) -> ClientToken | None:
    """Return what an account used this token for."""
    query = select(client_token).where(client_token.c.account_id == account_id, client_token.c.token == token)
    row = conn.execute(query).one_or_none()
    return None if row is None else ClientToken(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name


def delete(conn: Connection, account_id: AccountId, token: str) -> None:
    """Remove a token if it is there."""
    columns = client_token.c
    conn.execute(delete_from(client_token).where(columns.account_id == account_id, columns.token == token))


def prune(conn: Connection, before: float, limit: int) -> int:
    """Remove up to `limit` tokens older than this time; return how many."""
    columns = client_token.c
    old = select(columns.account_id, columns.token).where(columns.created_at < before)
    gone = conn.execute(old.order_by(columns.created_at).limit(limit)).all()
    for account_id, token in gone:
        delete(conn, account_id, token)
    return len(gone)

"""Passwords of accounts, and the sessions of browsers."""

from sqlalchemy import Connection, or_, select
from sqlalchemy import delete as delete_from

from drystone.catalog.rows import Rows
from drystone.catalog.schema import browser_session, password
from drystone.domain.ids import AccountId
from drystone.domain.login import BrowserSession, Password

_passwords = Rows(password, Password)
_sessions = Rows(browser_session, BrowserSession)

get_password = _passwords.get
insert_session = _sessions.insert
get_session = _sessions.get
compare_and_set_session = _sessions.compare_and_set
delete_session = _sessions.delete


def put_password(conn: Connection, value: Password) -> None:
    """Keep a password in place of the one that the account had."""
    _passwords.delete(conn, value.account_id)
    _passwords.insert(conn, value)


def sessions_of(conn: Connection, account_id: AccountId) -> list[BrowserSession]:
    """Return the sessions of an account, oldest first."""
    query = select(browser_session).where(browser_session.c.account_id == account_id)
    return _sessions.all(conn, query.order_by(browser_session.c.created_at, browser_session.c.token_hash))


def delete_sessions_of(conn: Connection, account_id: AccountId, *, but: str = "") -> int:
    """Remove the sessions of an account, all or all but one; return how many."""
    columns = browser_session.c
    gone = delete_from(browser_session).where(columns.account_id == account_id, columns.token_hash != but)
    return conn.execute(gone).rowcount


def prune_sessions(conn: Connection, *, used_before: float, created_before: float, limit: int) -> int:
    """Remove up to `limit` sessions that were not used, or that began, before these times; return how many."""
    columns = browser_session.c
    old = select(columns.token_hash).where(or_(columns.used_at < used_before, columns.created_at < created_before))
    return conn.execute(delete_from(browser_session).where(columns.token_hash.in_(old.limit(limit)))).rowcount

"""Sessions of browsers that have logged in: rows, so that they survive a restart of the server (S70)."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import Connection

from drystone.catalog import accounts, logins
from drystone.catalog.database import Database
from drystone.domain.account import Account
from drystone.domain.ids import IdSource
from drystone.domain.login import BrowserSession, Password, SessionLimits

SESSIONS_MAX = 20
"""Of one account: beyond it the oldest ends."""
TOUCH_S = 60.0
"""A session's use is noted once a minute: a page asks every second while something is under way."""
PRUNED_MAX = 1000
TOKEN_CHARS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSession:
    """A session and whose it is; with its token where that is known."""

    session: BrowserSession
    account: Account
    token: str = field(repr=False)

    @property
    def csrf_token(self) -> str:
        """What a page must send with each change: only who can read the session's answers knows it.

        It is derived from the token, which no page can read, and tells nothing of it.
        """
        return hashlib.sha256(f"drystone csrf {self.token}".encode()).hexdigest()

    @property
    def public_id(self) -> str:
        """What the audit trail calls it."""
        return self.session.public_id


@dataclass(frozen=True, slots=True, kw_only=True)
class BrowserSessions:
    """Opens, finds and ends sessions."""

    db: Database
    clock: Callable[[], float]
    ids: IdSource
    limits: SessionLimits
    """When a session ends by itself."""
    keys_revoked: Callable[[], None] = lambda: None
    """Called after a session's keys were revoked."""

    async def begin(self, account: Account, *, verified: Password, instead_of: str | None) -> OpenSession | None:
        """Begin a session.

        Args:
            account: Whose password was verified.
            verified: The password's row as it was then.
            instead_of: Token of the session that the browser had, if any, which ends.

        Returns:
            The session; None if the password was changed since it was verified, and nothing has changed (S71).
        """
        now = self.clock()
        token = self.ids.session_token()
        session = BrowserSession(token_hash=_hash(token), account_id=account.id, created_at=now, used_at=now)

        def add(conn: Connection) -> bool:
            if logins.get_password(conn, account.id) != verified:
                return False
            if instead_of is not None:
                logins.delete_session(conn, _hash(instead_of))
            present = logins.sessions_of(conn, account.id)
            for old in present[: max(0, len(present) - SESSIONS_MAX + 1)]:
                logins.delete_session(conn, old.token_hash)
            logins.insert_session(conn, session)
            return True

        if not await self.db.write(add):
            return None
        return OpenSession(session=session, account=account, token=token)

    async def find(self, token: str) -> OpenSession | None:
        """Return the session of this token; None if there is none, or it has ended."""
        if len(token) != TOKEN_CHARS:
            return None
        now = self.clock()

        def look(conn: Connection) -> tuple[BrowserSession, Account] | None:
            # By its hash: comparing tokens one by one could tell them apart by time.
            session = logins.get_session(conn, _hash(token))
            if session is None or self.limits.over(session, now):
                return None
            account = accounts.get(conn, session.account_id)
            assert account is not None, "a session has an account"
            return session, account

        found = await self.db.read(look)
        if found is None:
            return None
        session, account = found
        if now - session.used_at >= TOUCH_S:
            await self.db.write(
                lambda conn: logins.compare_and_set_session(
                    conn, session.token_hash, expected={"used_at": session.used_at}, values={"used_at": now}
                )
            )
        return OpenSession(session=session, account=account, token=token)

    async def end(self, session: BrowserSession, *, with_keys: bool = False) -> int:
        """End a session: from now on its token is one that nobody knows.

        Args:
            session: Which.
            with_keys: Whether the access keys that it made are revoked, in the same transaction.

        Returns:
            How many keys were revoked.
        """

        def remove(conn: Connection) -> int:
            logins.delete_session(conn, session.token_hash)
            return accounts.delete_keys_made_by(conn, session.public_id) if with_keys else 0

        revoked = await self.db.write(remove)
        if revoked:
            self.keys_revoked()
        return revoked

    async def prune(self) -> int:
        """Remove sessions that have ended by themselves; return how many."""
        now = self.clock()
        return await self.db.write(
            lambda conn: logins.prune_sessions(
                conn,
                used_before=now - self.limits.idle_s,
                created_before=now - self.limits.age_s,
                limit=PRUNED_MAX,
            )
        )


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()

"""Passwords of accounts, for the console."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from drystone.catalog import accounts, logins, meta
from drystone.catalog.database import Database
from drystone.domain.account import Account
from drystone.domain.errors import Refusal, RefusalError
from drystone.domain.ids import AccountId, IdSource
from drystone.domain.login import PASSWORD_CHARS_MAX, Password, check_new_password, public_id
from drystone.service.caller import Caller
from drystone.service.calls.password_hashing import PasswordHashing

FIRST = "first_password_of"
"""Key of `meta`: the account whose first password `credentials.env` holds; absent once that was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passwords:
    """Sets and verifies passwords."""

    db: Database
    clock: Callable[[], float]
    ids: IdSource
    hashing: PasswordHashing
    changed: Callable[[], Awaitable[None]]
    """Called after an account's password was changed."""

    async def verify(self, account_name: str, password: str) -> tuple[Account, Password] | None:
        """Return the account of this name, and the row of its password, if this is the password.

        It takes the same time whether the account is unknown, has no password, or another one. That time is long
        enough for the password to be changed meanwhile: whoever acts on the answer compares the row again (S71).

        Raises:
            RefusalError: `TOO_MUCH_AT_ONCE`: too many are being verified.
        """

        def look(conn: Connection) -> tuple[Account | None, Password | None]:
            account = accounts.by_name(conn, account_name)
            return account, None if account is None else logins.get_password(conn, account.id)

        account, known = await self.db.read(look)
        hashed = None if known is None else known.hashed
        if not await self.hashing.verify(hashed, password[: PASSWORD_CHARS_MAX + 1]):
            return None
        assert account is not None, "nothing is nobody's password"
        assert known is not None, "nothing is nobody's password"
        return account, known

    async def first(self, keep: Callable[[str], Awaitable[None]]) -> str | None:
        """Make a password for the oldest account if it has none.

        Args:
            keep: Puts the password where its owner finds it. It is durable there before the account has it, so that a
                crash between the two makes another one, not one that nobody knows.

        Returns:
            The password; None if there is one already.
        """
        account = await self.db.read(_oldest)
        if await self.db.read(lambda conn: logins.get_password(conn, account.id)) is not None:
            return None
        password = self.ids.password()
        row = Password(account_id=account.id, hashed=await self.hashing.hash(password), changed_at=self.clock())
        await keep(password)  # S72

        def put(conn: Connection) -> None:
            logins.put_password(conn, row)
            meta.put(conn, FIRST, account.id)

        await self.db.write(put)
        return password

    async def first_holds(self) -> bool:
        """Tell whether the oldest account still has the password that `first` made."""
        return await self.db.read(lambda conn: meta.get(conn, FIRST) == _oldest(conn).id)

    async def change(self, account: Account, old: str, new: str, *, session: str) -> None:
        """Change the password of an account whose owner knows it; its other sessions end, with the keys they made.

        Args:
            account: Whose.
            old: The password until now.
            new: The password from now on.
            session: Hash of the token of the session that asks, which goes on.

        Raises:
            RefusalError: `PASSWORD_WRONG`, `BAD_VALUE` or `TOO_MUCH_AT_ONCE`; nothing was
                changed.
        """
        check_new_password(new)
        verified = await self.verify(account.name, old)
        if verified is None:
            raise _old_is_wrong()
        await self._put(account.id, new, but_session=session, instead_of=verified[1])

    async def set(
        self, caller: Caller, account_id: str | None, account_name: str | None, new: str | None
    ) -> str | None:
        """Set the password of any account; all its sessions end, with the keys they made. For administrators.

        Args:
            caller: An administrator. One who came through the console changes the own password with the old one.
            account_id: Whose, or
            account_name: Whose.
            new: The password; None makes one.

        Returns:
            The password that was made; None if it was given.

        Raises:
            RefusalError: `NOT_ALLOWED`, `NO_SUCH_THING`, `MISSING`, `BAD_VALUE` or
                `TOO_MUCH_AT_ONCE`; nothing was changed.
        """
        caller.require_admin()
        if (account_id is None) == (account_name is None):
            raise RefusalError(Refusal.MISSING, "Give one of AccountId and AccountName.")

        def look(conn: Connection) -> Account | None:
            if account_name is not None:
                return accounts.by_name(conn, account_name)
            return accounts.get(conn, account_id or "")

        account = await self.db.read(look)
        if account is None:
            raise RefusalError(Refusal.NO_SUCH_THING, f"There is no account {(account_name or account_id or '')[:60]}.")
        if caller.browser and account.id == caller.account_id:
            raise RefusalError(Refusal.NOT_ALLOWED, "Change your own password with the old one.")
        caller.require_password()
        if new is not None:
            check_new_password(new)
        made = self.ids.password() if new is None else None
        await self._put(account.id, made or new or "", but_session="")
        return made

    async def _put(
        self, account_id: AccountId, password: str, *, but_session: str, instead_of: Password | None = None
    ) -> None:
        assert password
        row = Password(account_id=account_id, hashed=await self.hashing.hash(password), changed_at=self.clock())

        def put(conn: Connection) -> None:
            if instead_of is not None and logins.get_password(conn, account_id) != instead_of:
                raise _old_is_wrong()
            logins.put_password(conn, row)
            # S71
            logins.delete_sessions_of(conn, account_id, but=but_session)
            # S153: whoever knew the password before could make keys with it.
            accounts.delete_keys_of_sessions(conn, account_id, but=public_id(but_session))
            if meta.get(conn, FIRST) == account_id:
                meta.remove(conn, FIRST)

        await self.db.write(put)
        await self.changed()


def _old_is_wrong() -> RefusalError:
    return RefusalError(Refusal.PASSWORD_WRONG, "The old password is wrong.")


def _oldest(conn: Connection) -> Account:
    found, _ = accounts.find(conn, offset=0, limit=1)
    assert found, "the administrator's account is made first"
    return found[0]

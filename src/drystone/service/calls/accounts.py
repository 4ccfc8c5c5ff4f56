"""Accounts and access keys.

For administrators, but for the lookup that verifies a signature and for what an account does with its own keys.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from drystone.catalog import accounts
from drystone.catalog.database import Database
from drystone.domain.account import AccessKey, Account, DiskQuota
from drystone.domain.errors import Refusal, RefusalError
from drystone.domain.ids import AccountId, IdSource
from drystone.service.caller import Caller, Identity
from drystone.service.calls.attributes import plain_name
from drystone.service.calls.filters import page
from drystone.service.views import KeyView, NewKey, Page

KEYS_MAX = 10
"""Keys of one account: enough to change them one by one."""
CACHE_S = 5.0
"""How long a verified key may go on to be accepted after another process removed it."""
CACHED_MAX = 1000
LISTED_MAX = 100_000
"""Ids of keys that are held in memory at once; further keys wait until the address's failures are over."""


@dataclass(slots=True, kw_only=True, eq=False)
class Accounts:
    """Makes and describes accounts and their keys."""

    db: Database
    clock: Callable[[], float]
    ids: IdSource
    _cache: dict[str, tuple[float, Identity]] = field(init=False, default_factory=dict)
    _removals: int = field(init=False, default=0)
    _listing: asyncio.Lock = field(init=False, default_factory=asyncio.Lock)
    _listed: tuple[float, frozenset[str]] | None = field(init=False, default=None)

    async def authenticate(self, secret_id: str, *, sparing: bool = False) -> Identity | None:
        """Return whose enabled key this is; None when there is no such key or it is disabled.

        A key is looked up anew after five seconds, and at once after it was deleted here.

        Args:
            secret_id: The key's id.
            sparing: Whether an id that is not there must cost no read of its own: all ids are read at once, and a key
                that another process made may be unknown for five seconds.
        """
        now = self.clock()
        cached = self._cache.get(secret_id)
        if cached is not None and 0 <= now - cached[0] < CACHE_S:
            return cached[1]
        if sparing and secret_id not in await self._ids_there():
            return None
        removals = self._removals
        identity = await self.db.read(lambda conn: _identity(conn, secret_id))
        # A key that was deleted while this read was under way must not come back for five seconds.
        if identity is not None and removals == self._removals:
            if len(self._cache) >= CACHED_MAX:
                self._cache.clear()
            self._cache[secret_id] = (now, identity)
        return identity

    async def _ids_there(self) -> frozenset[str]:
        async with self._listing:
            now = self.clock()
            if self._listed is None or not 0 <= now - self._listed[0] < CACHE_S:
                self._listed = (now, await self.db.read(lambda conn: accounts.key_ids(conn, limit=LISTED_MAX)))
            return self._listed[1]

    async def first(self, name: str) -> NewKey | None:
        """Make the administrator's account, with a key, if there is no account yet; otherwise return None."""
        if (await self.db.read(lambda conn: accounts.find(conn, offset=0, limit=1)))[1]:
            return None  # Nothing is written at most starts: there may be no room for it.
        account, key = self._new(name, admin=True)

        def add(conn: Connection) -> bool:
            if accounts.find(conn, offset=0, limit=1)[1]:
                return False
            accounts.insert(conn, account)
            accounts.insert_key(conn, key)
            return True

        return _shown(key) if await self.db.write(add) else None

    async def create(self, caller: Caller, name: str) -> NewKey:
        """Make an account, not an administrator's, with a key.

        Raises:
            RefusalError: `NOT_ALLOWED`, or `BAD_VALUE` for a name that is taken or unfit.
        """
        caller.require_admin()
        caller.require_password()
        if not name:
            raise RefusalError(Refusal.BAD_VALUE, "AccountName is empty; give a name.")
        account, key = self._new(plain_name(name, "AccountName"), admin=False, made_by=caller.secret_id)

        def add(conn: Connection) -> None:
            if accounts.by_name(conn, account.name) is not None:
                raise RefusalError(Refusal.BAD_VALUE, f"There is an account named {account.name} already.")
            accounts.insert(conn, account)
            accounts.insert_key(conn, key)

        await self.db.write(add)
        self._listed = None
        return _shown(key)

    async def describe(self, caller: Caller, offset: int, limit: int) -> Page[Account]:
        """Return a page of accounts, oldest first.

        Raises:
            RefusalError: `NOT_ALLOWED` or `BAD_VALUE`.
        """
        caller.require_admin()
        offset, limit = page(offset, limit)
        found, total = await self.db.read(lambda conn: accounts.find(conn, offset=offset, limit=limit))
        return Page(items=tuple(found), total=total)

    async def set_quota(self, caller: Caller, account_id: str, disks: int | None, disk_gib: int | None) -> None:
        """Set what an account may have of disks; None is what the configuration says, 0 is no limit.

        What it has already stays, however much it is.

        Raises:
            RefusalError: `NOT_ALLOWED`, or `NO_SUCH_THING`.
        """
        caller.require_admin()
        quota = DiskQuota(account_id=AccountId(account_id), disks=disks, disk_gib=disk_gib)

        def put(conn: Connection) -> None:
            if accounts.get(conn, account_id) is None:
                raise RefusalError(Refusal.NO_SUCH_THING, f"There is no account {account_id[:60]}.")
            accounts.delete_quota(conn, account_id)
            accounts.insert_quota(conn, quota)

        await self.db.write(put)

    async def create_key(self, caller: Caller, account_id: str) -> NewKey:
        """Add a key to an account.

        Raises:
            RefusalError: `NOT_ALLOWED`, `NO_SUCH_THING`, or `LIMIT` for too many keys.
        """
        caller.require_admin()
        return await self._add_key(caller, AccountId(account_id))

    async def create_own_key(self, caller: Caller) -> NewKey:
        """Add a key to the caller's account.

        Raises:
            RefusalError: `LIMIT` for too many keys.
        """
        return await self._add_key(caller, caller.account_id)

    async def _add_key(self, caller: Caller, account_id: AccountId) -> NewKey:
        caller.require_password()
        key = self._key(account_id, made_by=caller.secret_id)

        def add(conn: Connection) -> None:
            count = len(accounts.keys_of(conn, _known(conn, account_id).id))
            if count >= KEYS_MAX:
                raise RefusalError(
                    Refusal.LIMIT, f"Account {account_id} has {count} keys; {KEYS_MAX} are allowed. Delete some."
                )
            accounts.insert_key(conn, key)

        await self.db.write(add)
        self._listed = None
        return _shown(key)

    async def delete_key(self, caller: Caller, secret_id: str) -> None:
        """Remove a key; calls signed with it are refused from now on.

        Raises:
            RefusalError: `NOT_ALLOWED`, `NO_SUCH_THING`, or `IN_USE` for the key that this very
                call is signed with, so that an administrator cannot lock everybody out.
        """
        caller.require_admin()
        if secret_id == caller.secret_id:
            raise RefusalError(Refusal.IN_USE, "This call is signed with that key; delete it with another one.")

        def remove(conn: Connection) -> None:
            if not accounts.delete_key(conn, secret_id):
                raise RefusalError(Refusal.NO_SUCH_THING, f"There is no key {secret_id[:60]}.")

        await self._remove_key(secret_id, remove)

    async def delete_own_key(self, caller: Caller, secret_id: str, *, force: bool) -> None:
        """Remove a key of the caller's account; calls signed with it are refused from now on.

        Args:
            caller: Whose key it is.
            secret_id: The key.
            force: Also the last key of the account, and the one that this very call is signed with.

        Raises:
            RefusalError: `NO_SUCH_THING`, also for a key of another account, or `IN_USE` without `force`.
        """
        if secret_id == caller.secret_id and not force:
            raise RefusalError(Refusal.IN_USE, "This call is signed with that key; delete it with another one.")

        def remove(conn: Connection) -> None:
            keys = [key.secret_id for key in accounts.keys_of(conn, caller.account_id)]
            if secret_id not in keys:
                raise RefusalError(Refusal.NO_SUCH_THING, f"There is no key {secret_id[:60]}.")
            if keys == [secret_id] and not force:
                raise RefusalError(
                    Refusal.IN_USE, "This is the last key of the account; programs can no longer call without one."
                )
            accounts.delete_key(conn, secret_id)

        await self._remove_key(secret_id, remove)

    async def _remove_key(self, secret_id: str, remove: Callable[[Connection], None]) -> None:
        await self.db.write(remove)
        self._removals += 1
        self._cache.pop(secret_id, None)

    def forget(self) -> None:
        """Look every key up anew: some were removed otherwise than here."""
        self._removals += 1
        self._cache.clear()

    async def describe_own_keys(self, caller: Caller) -> tuple[KeyView, ...]:
        """Return the keys of the caller's account, oldest first, without their secrets."""
        return _views(await self.db.read(lambda conn: accounts.keys_of(conn, caller.account_id)))

    async def describe_keys(self, caller: Caller, account_id: str) -> tuple[KeyView, ...]:
        """Return the keys of an account, oldest first, without their secrets.

        Raises:
            RefusalError: `NOT_ALLOWED` or `NO_SUCH_THING`.
        """
        caller.require_admin()
        keys = await self.db.read(lambda conn: accounts.keys_of(conn, _known(conn, account_id).id))
        return _views(keys)

    def _new(self, name: str, *, admin: bool, made_by: str | None = None) -> tuple[Account, AccessKey]:
        account = Account(id=self.ids.account(), name=name, admin=admin, created_at=self.clock())
        return account, self._key(account.id, made_by=made_by)

    def _key(self, account_id: AccountId, *, made_by: str | None) -> AccessKey:
        return AccessKey(
            secret_id=self.ids.secret_id(),
            secret_key=self.ids.secret_key(),
            account_id=account_id,
            created_at=self.clock(),
            made_by=made_by,
        )


def _identity(conn: Connection, secret_id: str) -> Identity | None:
    key = accounts.get_key(conn, secret_id)
    if key is None or not key.enabled:
        return None
    account = accounts.get(conn, key.account_id)
    assert account is not None, f"key {secret_id} has no account"
    return Identity(account_id=account.id, admin=account.admin, secret_key=key.secret_key)


def _known(conn: Connection, account_id: str) -> Account:
    account = accounts.get(conn, account_id)
    if account is None:
        raise RefusalError(Refusal.NO_SUCH_THING, f"There is no account {account_id[:60]}.")
    return account


def _views(keys: Sequence[AccessKey]) -> tuple[KeyView, ...]:
    return tuple(
        KeyView(secret_id=key.secret_id, enabled=key.enabled, created_at=key.created_at, made_by=key.made_by)
        for key in keys
    )


def _shown(key: AccessKey) -> NewKey:
    return NewKey(account_id=key.account_id, secret_id=key.secret_id, secret_key=key.secret_key)

"""Accounts, their keys and passwords, and the trail of what they changed."""

from collections.abc import Sequence
from typing import TypedDict

from drystone.api.actions import Action, Context, Paged
from drystone.api.answers import iso_time
from drystone.api.drystone.service import DRYSTONE
from drystone.api.parameters import Filters, Id, Text, Time, Unsigned, conditions
from drystone.domain import trail
from drystone.service import views
from drystone.service.caller import Caller
from drystone.service.requests import AuditQuery


class _AccountKey(TypedDict):
    AccountId: str
    SecretId: str
    SecretKey: str


@DRYSTONE.change
class CreateAccount(Action, frozen=True, kw_only=True):
    """Make an account and its first key; for administrators. The secret is shown this time only."""

    password_again = True
    account_name: Text

    async def __call__(self, on: Context, caller: Caller) -> _AccountKey:
        key = await on.calls.accounts.create(caller, self.account_name)
        return {"AccountId": key.account_id, "SecretId": key.secret_id, "SecretKey": key.secret_key}


@DRYSTONE.change
class SetAccountQuota(Action, frozen=True, kw_only=True):
    """Set what an account may have of disks; what is not given is as configured, 0 is no limit."""

    account_id: Id
    disks: Unsigned | None = None
    disk_gib: Unsigned | None = None

    async def __call__(self, on: Context, caller: Caller) -> None:
        await on.calls.accounts.set_quota(caller, self.account_id, self.disks, self.disk_gib)


class _SetPassword(TypedDict):
    Password: str | None


@DRYSTONE.change
class SetAccountPassword(Action, frozen=True, kw_only=True):
    """Set a password; one of id and name says whose. Without a password one is made, and shown this time only."""

    password_again = True
    account_id: Id | None = None
    account_name: Text | None = None
    password: Text | None = None

    async def __call__(self, on: Context, caller: Caller) -> _SetPassword:
        made = await on.calls.passwords.set(caller, self.account_id, self.account_name, self.password)
        return {"Password": made}


class Account(TypedDict):
    """An owner of disks and snapshots."""

    AccountId: str
    AccountName: str
    Admin: bool
    CreateTime: str


class _Accounts(TypedDict):
    TotalCount: int
    AccountSet: list[Account]


@DRYSTONE.read
class DescribeAccounts(Paged, frozen=True, kw_only=True):
    """List accounts; for administrators."""

    async def __call__(self, on: Context, caller: Caller) -> _Accounts:
        page = await on.calls.accounts.describe(caller, *self.page)
        return {
            "TotalCount": page.total,
            "AccountSet": [
                {
                    "AccountId": account.id,
                    "AccountName": account.name,
                    "Admin": account.admin,
                    "CreateTime": iso_time(account.created_at),
                }
                for account in page.items
            ],
        }


# --- keys -----------------------------------------------------------------------------------------------------------


class Key(TypedDict):
    """An access key without its secret; `MadeBy` is the key, or the session of the console, that made it."""

    SecretId: str
    Enabled: bool
    CreateTime: str
    MadeBy: str | None


class _Keys(TypedDict):
    KeySet: list[Key]


class _NewKey(TypedDict):
    SecretId: str
    SecretKey: str  # shown this time only


@DRYSTONE.change
class CreateAccessKey(Action, frozen=True, kw_only=True):
    """Make a key of an account; for administrators."""

    password_again = True
    account_id: Id

    async def __call__(self, on: Context, caller: Caller) -> _NewKey:
        key = await on.calls.accounts.create_key(caller, self.account_id)
        return {"SecretId": key.secret_id, "SecretKey": key.secret_key}


@DRYSTONE.change
class CreateKey(Action, frozen=True, kw_only=True):
    """Make a key of the caller's account."""

    password_again = True

    async def __call__(self, on: Context, caller: Caller) -> _NewKey:
        key = await on.calls.accounts.create_own_key(caller)
        return {"SecretId": key.secret_id, "SecretKey": key.secret_key}


@DRYSTONE.change
class DeleteAccessKey(Action, frozen=True, kw_only=True):
    """Delete a key of any account; for administrators."""

    secret_id: Id

    async def __call__(self, on: Context, caller: Caller) -> None:
        await on.calls.accounts.delete_key(caller, self.secret_id)


@DRYSTONE.change
class DeleteKey(Action, frozen=True, kw_only=True):
    """Delete a key of the caller's account.

    `Force` allows for the last key, and for the one that the call is signed with.
    """

    secret_id: Id
    force: bool | None = None

    async def __call__(self, on: Context, caller: Caller) -> None:
        await on.calls.accounts.delete_own_key(caller, self.secret_id, force=bool(self.force))


@DRYSTONE.read
class DescribeAccessKeys(Action, frozen=True, kw_only=True):
    """List an account's keys; for administrators."""

    account_id: Id

    async def __call__(self, on: Context, caller: Caller) -> _Keys:
        return _keys(await on.calls.accounts.describe_keys(caller, self.account_id))


@DRYSTONE.read
class DescribeKeys(Action, frozen=True, kw_only=True):
    """List the keys of the caller's account."""

    async def __call__(self, on: Context, caller: Caller) -> _Keys:
        return _keys(await on.calls.accounts.describe_own_keys(caller))


def _keys(keys: Sequence[views.KeyView]) -> _Keys:
    return {
        "KeySet": [
            {
                "SecretId": key.secret_id,
                "Enabled": key.enabled,
                "CreateTime": iso_time(key.created_at),
                "MadeBy": key.made_by,
            }
            for key in keys
        ]
    }


# --- the audit trail ------------------------------------------------------------------------------------------------


class AuditEntry(TypedDict):
    """A call that changed something or tried to; or, where Calls is above 1, so many refused ones that were counted."""

    EntryId: int
    At: str
    AccountId: str
    SecretId: str
    Source: str
    Action: str
    Resource: str
    Code: str
    RequestId: str
    Calls: int


class _AuditTrail(TypedDict):
    TotalCount: int
    AuditEntrySet: list[AuditEntry]


@DRYSTONE.read
class DescribeAuditTrail(Paged, frozen=True, kw_only=True):
    """List the trail, the newest first; filters are account-id, action, code, outcome (OK, REFUSED) and resource-id.

    Times are ISO 8601 with an offset; the end is the first moment that is not meant.
    """

    filters: Filters | None = None
    begin_time: Time | None = None
    end_time: Time | None = None

    async def __call__(self, on: Context, caller: Caller) -> _AuditTrail:
        offset, limit = self.page
        query = AuditQuery(
            filters=conditions(self.filters), begin=self.begin_time, end=self.end_time, offset=offset, limit=limit
        )
        page = await on.calls.audit_records.describe(caller, query)
        return {"TotalCount": page.total, "AuditEntrySet": [_audit_entry(entry) for entry in page.items]}


def _audit_entry(entry: trail.TrailEntry) -> AuditEntry:
    return {
        "EntryId": entry.id or 0,
        "At": iso_time(entry.at),
        "AccountId": entry.account_id,
        "SecretId": entry.secret_id,
        "Source": entry.source,
        "Action": entry.action,
        "Resource": entry.resource,
        "Code": entry.code,
        "RequestId": entry.request_id,
        "Calls": entry.calls,
    }

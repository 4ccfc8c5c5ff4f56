"""Who the accounts in the manifests are: ids, names and who administers, without any key (L11)."""

from collections.abc import Iterable

import msgspec

from drystone.codec.sealed import Kind
from drystone.domain.errors import IntegrityError, ProtocolError
from drystone.domain.ids import AccountId
from drystone.objects.contract import NotFoundError
from drystone.snapstore.seals import STORES_OWN
from drystone.snapstore.store import Store

NAME = "accounts"
FORMAT = 1


class AccountName(msgspec.Struct, frozen=True, kw_only=True):
    """One account."""

    id: AccountId
    name: str
    admin: bool = False


class _Accounts(msgspec.Struct, frozen=True, kw_only=True):
    format: int = FORMAT
    accounts: tuple[AccountName, ...]


def write_accounts(store: Store, accounts: Iterable[AccountName]) -> None:
    """Replace the store's list of accounts."""
    ordered = tuple(sorted(accounts, key=lambda account: account.id))
    plain = msgspec.json.encode(_Accounts(accounts=ordered))
    store.objects.replace(store.name(NAME), store.enclose(store.name(NAME), Kind.ACCOUNTS, STORES_OWN, plain))


def read_accounts(store: Store) -> tuple[AccountName, ...]:
    """Return the store's list of accounts; empty if it has none.

    Raises:
        ProtocolError: It cannot be read, or is of a newer format.
    """
    name = store.name(NAME)
    try:
        found = msgspec.json.decode(store.disclose(name, Kind.ACCOUNTS, store.objects.get(name)), type=_Accounts)
    except NotFoundError:
        return ()
    except (IntegrityError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"{name}: {error}") from error
    if found.format != FORMAT:
        raise ProtocolError(f"{name}: format {found.format}, this program reads {FORMAT}")
    return found.accounts

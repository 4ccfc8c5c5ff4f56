"""`credentials.env`: what the first start makes for clients on this machine, and where it writes it down."""

import asyncio
import functools
import sys
from dataclasses import dataclass
from pathlib import Path

import structlog
from sqlalchemy import Connection

from drystone.catalog import accounts as account_rows
from drystone.catalog import instances as instance_rows
from drystone.catalog import meta
from drystone.client_settings import CONSOLE_PASSWORD, CREDENTIALS_FILE, ClientSettings, parse_credentials
from drystone.config import Config
from drystone.domain.account import AccessKey
from drystone.domain.errors import DrystoneError, UnavailableError, expected
from drystone.domain.ids import IdSource
from drystone.domain.instance import Instance, InstanceKind
from drystone.durable_files import write_durably
from drystone.engine.ballast import Ballast
from drystone.logs import say
from drystone.service.calls.accounts import Accounts
from drystone.service.calls.passwords import Passwords
from drystone.service.transactions import Change, Transactions

METRICS_TOKEN = "metrics_token"  # noqa: S105 - the name of a row
"""Key of `meta`: what a reader of `/metrics` elsewhere sends."""
log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """`credentials.env` (0600): what clients on this machine need, and the console's first password while it holds."""

    config: Config
    transactions: Transactions
    ballast: Ballast
    ids: IdSource
    endpoint: str
    tls_ca: Path | None = None
    tls_fingerprint: str | None = None

    async def write(self, password: str | None) -> None:
        """Make a key and the two instances if there are none, and the file if it is out of date. It is durable then."""
        # Asked first: there may be no room to write, or another program may hold the catalog.
        settings = await self.transactions.read(lambda conn: self._known(conn, password))
        if settings is None:
            # Secrets are not drawn in a transaction: they must not be told from its ids.
            secrets = (self.ids.secret_id(), self.ids.secret_key(), self.ids.session_token())
            settings = await self.transactions.change(lambda change: self._made(change, password, *secrets))
        text = settings.credentials().encode()
        if not self.path.exists() or self.path.read_bytes() != text:
            # Without it nobody finds the server: what is kept for the catalog is kept for this, too.
            write = functools.partial(write_durably, self.path, text)
            await asyncio.to_thread(self.ballast.with_room, write)

    def _known(self, conn: Connection, password: str | None) -> ClientSettings | None:
        """Return what the file is to say, None while a row of it is missing or another."""
        account = account_rows.find(conn, offset=0, limit=1)[0][0]
        keys = account_rows.keys_of(conn, account.id)
        found = {_row_of(kind): meta.get(conn, _row_of(kind)) for kind in InstanceKind}
        place = (meta.get(conn, "region"), meta.get(conn, "zone"))
        token = meta.get(conn, METRICS_TOKEN)
        if not keys or token is None or None in found.values() or place != (self.config.region, self.config.zone):
            return None
        return ClientSettings(
            endpoint=self.endpoint, region=self.config.region, zone=self.config.zone,
            secret_id=keys[0].secret_id, secret_key=keys[0].secret_key,
            console_account=account.name, console_password=password, **found,
            tls_ca=None if self.tls_ca is None else str(self.tls_ca), tls_fingerprint=self.tls_fingerprint,
            metrics_token=token,
        )  # fmt: skip

    def _made(
        self, change: Change, password: str | None, secret_id: str, secret_key: str, metrics_token: str
    ) -> ClientSettings:
        """Make the rows that are missing; return what the file is to say."""
        conn = change.conn
        account = account_rows.find(conn, offset=0, limit=1)[0][0]
        if not account_rows.keys_of(conn, account.id):
            # Whoever may read this file owns the installation; without a key nobody could set a lost password.
            key = AccessKey(
                secret_id=secret_id, secret_key=secret_key, account_id=account.id, created_at=change.at
            )  # fmt: skip
            account_rows.insert_key(conn, key)
        for kind in InstanceKind:
            if meta.get(conn, _row_of(kind)) is None:
                instance = Instance(
                    id=change.ids.instance(), account_id=account.id, name=kind.value.lower(), kind=kind,
                    zone=self.config.zone, created_at=change.at,
                )  # fmt: skip
                instance_rows.insert(conn, instance)
                meta.put(conn, _row_of(kind), instance.id)
        if meta.get(conn, METRICS_TOKEN) is None:
            meta.put(conn, METRICS_TOKEN, metrics_token)
        meta.put(conn, "region", self.config.region)
        meta.put(conn, "zone", self.config.zone)
        known = self._known(conn, password)
        assert known is not None
        return known

    async def refresh(self, passwords: Passwords) -> None:
        """Write the file anew, without the first password once that was changed."""
        kept = None
        if self.path.exists() and await passwords.first_holds():
            kept = parse_credentials(self.path.read_text(encoding="utf-8")).get(CONSOLE_PASSWORD)
        await self.write(kept)

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.config.data / CREDENTIALS_FILE


def _row_of(kind: InstanceKind) -> str:
    """Return the key of `meta`, and the field of `ClientSettings`, of the instance that the first start makes."""
    return f"{kind.value.lower()}_instance_id"


async def first_start(accounts: Accounts, passwords: Passwords, credentials: Credentials) -> bool:
    """Make the first account with a key and a password, and what else `credentials.env` names.

    Returns:
        Whether the file is up to date; if not, `Credentials.refresh` is to be tried again.

    Raises:
        DrystoneError: The file is not there, and cannot be written.
    """
    password, written = None, True
    try:
        await accounts.first("admin")
        password = await passwords.first(credentials.write)
        if password is None:
            await credentials.refresh(passwords)
    except (DrystoneError, OSError) as error:
        why = expected(error)
        # Without it nobody could use this server. One of an earlier start is brought up to date as soon as may be.
        if not isinstance(why, UnavailableError) or not credentials.path.exists():
            raise why or error from error
        log.error("credentials.not_written", error=str(why))  # noqa: TRY400 - an expected failure
        written = False
    if sys.stderr.isatty():
        # To a terminal only: a journal would keep the password.
        shown = f", account admin, password {password}" if password else ""
        say(f"console {credentials.endpoint}/console/{shown}", sys.stderr)
        if credentials.tls_fingerprint is not None:
            say(f"certificate SHA-256 {credentials.tls_fingerprint}", sys.stderr)
    return written

"""`credentials.env`: what the first start makes for clients on this machine, and where it writes it down."""

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from drystone.catalog import accounts as account_rows
from drystone.catalog import instances as instance_rows
from drystone.catalog import meta
from drystone.config import CONSOLE_PASSWORD, CREDENTIALS_FILE, ClientSettings, Config, parse_credentials
from drystone.domain.account import AccessKey
from drystone.domain.instance import Instance, InstanceKind
from drystone.engine.checkpoints import write_durably
from drystone.service.accounts import Accounts
from drystone.service.installation import Installation
from drystone.service.passwords import Passwords

METRICS_TOKEN = "metrics_token"  # noqa: S105 - the name of a row
"""Key of `meta`: what a reader of `/metrics` elsewhere sends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """`credentials.env` (0600): what clients on this machine need, and the console's first password while it holds."""

    config: Config
    installation: Installation
    endpoint: str
    tls_ca: Path | None = None
    tls_fingerprint: str | None = None

    async def write(self, password: str | None) -> None:
        """Make a key and the two instances if there are none, and the file if it is out of date. It is durable then."""
        db, clock, ids = self.installation.db, self.installation.clock, self.installation.ids

        def ensure(conn: Connection) -> ClientSettings:
            account = account_rows.find(conn, offset=0, limit=1)[0][0]
            keys = account_rows.keys_of(conn, account.id)
            if not keys:
                # Whoever may read this file owns the installation; without a key nobody could set a lost password.
                keys = [
                    AccessKey(
                        secret_id=ids.secret_id(), secret_key=ids.secret_key(), account_id=account.id,
                        created_at=clock(),
                    )
                ]  # fmt: skip
                account_rows.insert_key(conn, keys[0])
            found = {}
            for kind in InstanceKind:
                name = f"{kind.value.lower()}_instance_id"
                instance_id = meta.get(conn, name)
                if instance_id is None:
                    instance = Instance(
                        id=ids.instance(), account_id=account.id, name=kind.value.lower(), kind=kind,
                        zone=self.config.zone, created_at=clock(),
                    )  # fmt: skip
                    instance_rows.insert(conn, instance)
                    meta.put(conn, name, instance.id)
                    instance_id = instance.id
                found[name] = instance_id
            token = meta.get(conn, METRICS_TOKEN)
            if token is None:
                token = ids.session_token()
                meta.put(conn, METRICS_TOKEN, token)
            meta.put(conn, "region", self.config.region)
            meta.put(conn, "zone", self.config.zone)
            return ClientSettings(
                endpoint=self.endpoint, region=self.config.region, zone=self.config.zone,
                secret_id=keys[0].secret_id, secret_key=keys[0].secret_key,
                console_account=account.name, console_password=password, **found,
                tls_ca=None if self.tls_ca is None else str(self.tls_ca), tls_fingerprint=self.tls_fingerprint,
                metrics_token=token,
            )  # fmt: skip

        settings = await db.write(ensure)
        text = settings.credentials().encode()
        if not self.path.exists() or self.path.read_bytes() != text:
            await asyncio.to_thread(write_durably, self.path, text)

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


async def first_start(accounts: Accounts, passwords: Passwords, credentials: Credentials) -> None:
    """Make the first account with a key and a password, and what else `credentials.env` names."""
    await accounts.first("admin")
    password = await passwords.first(credentials.write)
    if password is None:
        await credentials.refresh(passwords)
    if sys.stderr.isatty():
        # To a terminal only: a journal would keep the password.
        shown = f", account admin, password {password}" if password else ""
        print(f"console {credentials.endpoint}/console/{shown}", file=sys.stderr, flush=True)  # noqa: T201 - for a person
        if credentials.tls_fingerprint is not None:
            print(f"certificate SHA-256 {credentials.tls_fingerprint}", file=sys.stderr, flush=True)  # noqa: T201 - as above

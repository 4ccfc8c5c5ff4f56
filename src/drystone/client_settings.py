"""How a client finds its server and its key: in the environment, or in a data directory's `credentials.env`."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from drystone.domain.errors import ConfigError

CREDENTIALS_FILE = "credentials.env"
CONSOLE_PASSWORD = "DRYSTONE_CONSOLE_PASSWORD"  # noqa: S105 - the name of a line, not a password
DEFAULT_ENDPOINT = "http://127.0.0.1:8080"
ENVIRONMENT = "the environment"
DATA_PLACES = (Path("data"), Path("/var/lib/drystone"))
"""Where a data directory is looked for that nobody named."""
_KEY = ("TENCENTCLOUD_SECRET_ID", "TENCENTCLOUD_SECRET_KEY")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """Where the server is and with which key to call it.

    Attributes:
        endpoint: URL of the server, for example `http://127.0.0.1:8080`.
        region: Region that requests name.
        zone: Zone in which new disks are made.
        secret_id: Public half of the access key.
        secret_key: Secret half; never printed.
        host_instance_id: The instance whose disks become block devices of the server's host, if known.
        nbd_instance_id: The instance whose disks are served as NBD, if known.
        console_account: Name of the account that logs in to the console, if known.
        console_password: Its first password, as long as it has that one; never printed.
        tls_ca: File of certificates that the server's is verified by; without it, those of the SDK.
        tls_fingerprint: SHA-256 of the server's certificate if it made that itself, for people to compare.
        metrics_token: What a reader of `/metrics` on another machine sends, if known; never printed.
        source: Where they were found: a file, or the environment.
        unused: What else was named and is another installation, and what to do; a sentence.
    """

    endpoint: str
    region: str
    zone: str
    secret_id: str
    secret_key: str = field(repr=False)
    host_instance_id: str | None = None
    nbd_instance_id: str | None = None
    console_account: str | None = None
    console_password: str | None = field(default=None, repr=False)
    tls_ca: str | None = None
    tls_fingerprint: str | None = None
    metrics_token: str | None = field(default=None, repr=False)
    source: str | None = field(default=None, compare=False)
    unused: str | None = field(default=None, compare=False)

    @classmethod
    def load(cls, data: Path | None = None, environment: Mapping[str, str] | None = None) -> "ClientSettings":
        """Find the server and the key.

        In this order: `data`; the environment, if it names a server and a key; the directory that
        DRYSTONE_DATA names; `./data`; `/var/lib/drystone`; the environment's key with the default endpoint.
        The place that is chosen is used alone: values of two are never mixed, so no key goes astray.

        Args:
            data: A server's data directory, whose `credentials.env` is read.
            environment: Stands for the process environment, in tests.

        Raises:
            ConfigError: Nothing was found, or what was found cannot be read or lacks a value.
        """
        variables = os.environ if environment is None else environment
        if data is not None:
            return cls._from_file(data / CREDENTIALS_FILE)
        if all(variables.get(name) for name in ("DRYSTONE_ENDPOINT", *_KEY)):
            settings = cls._from_variables(variables, ENVIRONMENT)
            return replace(settings, unused=_unused(settings, variables.get("DRYSTONE_DATA")))
        named = variables.get("DRYSTONE_DATA")
        if named:
            return cls._from_file(Path(named) / CREDENTIALS_FILE)
        for directory in DATA_PLACES:
            path = directory / CREDENTIALS_FILE
            if os.access(path, os.R_OK):
                return cls._from_file(path)
        if all(variables.get(name) for name in _KEY):
            return cls._from_variables(variables, ENVIRONMENT)
        raise ConfigError(
            "no server known: give --data DIR (the server's data directory), or set DRYSTONE_ENDPOINT, "
            "TENCENTCLOUD_SECRET_ID and TENCENTCLOUD_SECRET_KEY",
        )

    @classmethod
    def _from_file(cls, path: Path) -> "ClientSettings":
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise ConfigError(
                f"{path} does not exist: give --data the directory of a server that was started once",
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read {path}: {error}; run as the user who owns it") from None
        return cls._from_variables(parse_credentials(text), str(path))

    @classmethod
    def _from_variables(cls, variables: Mapping[str, str], where: str) -> "ClientSettings":
        for name in _KEY:
            if not variables.get(name):
                raise ConfigError(f"{name} is missing in {where}")
        endpoint = variables.get("DRYSTONE_ENDPOINT") or DEFAULT_ENDPOINT
        if not endpoint.startswith(("http://", "https://")):
            raise ConfigError(
                f"DRYSTONE_ENDPOINT in {where} is {endpoint!r}: it must begin with http:// or https://",
            )
        return cls(
            endpoint=endpoint.rstrip("/"),
            region=variables.get("TENCENTCLOUD_REGION") or "ap-local",
            zone=variables.get("DRYSTONE_ZONE") or "ap-local-1",
            secret_id=variables["TENCENTCLOUD_SECRET_ID"],
            secret_key=variables["TENCENTCLOUD_SECRET_KEY"],
            host_instance_id=variables.get("DRYSTONE_HOST_INSTANCE_ID") or None,
            nbd_instance_id=variables.get("DRYSTONE_NBD_INSTANCE_ID") or None,
            console_account=variables.get("DRYSTONE_CONSOLE_ACCOUNT") or None,
            console_password=variables.get(CONSOLE_PASSWORD) or None,
            tls_ca=variables.get("DRYSTONE_TLS_CA") or None,
            tls_fingerprint=variables.get("DRYSTONE_TLS_FINGERPRINT") or None,
            metrics_token=variables.get("DRYSTONE_METRICS_TOKEN") or None,
            source=where,
        )

    def credentials(self) -> str:
        """Return the text of `credentials.env`: KEY=value lines that a shell can source, secret included."""
        lines = {
            "TENCENTCLOUD_SECRET_ID": self.secret_id,
            "TENCENTCLOUD_SECRET_KEY": self.secret_key,
            "TENCENTCLOUD_REGION": self.region,
            "DRYSTONE_ENDPOINT": self.endpoint,
            "DRYSTONE_ZONE": self.zone,
            "DRYSTONE_HOST_INSTANCE_ID": self.host_instance_id,
            "DRYSTONE_NBD_INSTANCE_ID": self.nbd_instance_id,
            "DRYSTONE_CONSOLE_ACCOUNT": self.console_account,
            CONSOLE_PASSWORD: self.console_password,
            "DRYSTONE_TLS_CA": self.tls_ca,
            "DRYSTONE_TLS_FINGERPRINT": self.tls_fingerprint,
            "DRYSTONE_METRICS_TOKEN": self.metrics_token,
        }
        return "".join(f"{name}={value}\n" for name, value in lines.items() if value is not None)


def data_directory(environment: Mapping[str, str] | None = None) -> Path:
    """Return the data directory that is meant where none is given: DRYSTONE_DATA's, else the first that is there."""
    named = (os.environ if environment is None else environment).get("DRYSTONE_DATA")
    return Path(named) if named else next((one for one in DATA_PLACES if one.is_dir()), DATA_PLACES[0])


def _unused(used: ClientSettings, named: str | None) -> str | None:
    """Say that the directory of DRYSTONE_DATA is not used, unless it is of the installation that is."""
    if not named:
        return None
    try:
        other = parse_credentials((Path(named) / CREDENTIALS_FILE).read_text(encoding="utf-8", errors="replace"))
    except PermissionError:
        return None
    except OSError:
        other = {}
    if (other.get("DRYSTONE_ENDPOINT"), other.get(_KEY[0])) == (used.endpoint, used.secret_id):
        return None
    return (
        f"DRYSTONE_DATA={named} is not used, as DRYSTONE_ENDPOINT and the key of the environment name {used.endpoint}: "
        f"give --data {named}, or `unset DRYSTONE_ENDPOINT {' '.join(_KEY)}`"
    )


def parse_credentials(text: str) -> dict[str, str]:
    """Return the variables of KEY=value lines.

    Empty lines and lines that begin with `#` are skipped; one pair of quotes around a value is cut.
    """
    variables: dict[str, str] = {}
    for line in text.splitlines():
        name, separator, value = line.strip().removeprefix("export ").partition("=")
        if not separator or name.startswith("#"):
            continue
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        variables[name.strip()] = value
    return variables

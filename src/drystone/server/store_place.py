"""Where the snapshots of a data directory are, as its configuration has it: nobody else decides that."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from drystone.config import Config, environment_of_store
from drystone.domain.errors import ConfigError, UnavailableError
from drystone.engine.layout import Layout
from drystone.objects.address import DirectoryAddress, ObjectsAddress, S3Address
from drystone.objects.limited import Limits, parse_hours
from drystone.objects.s3_keys import read_authority, read_keys

KEYS_FILE = "store.env"
_KEYS_BY_ENVIRONMENT = (
    "AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)  # fmt: skip


def store_place(
    config: Config, *, floor_bytes: int = 0, environment: Mapping[str, str] | None = None
) -> ObjectsAddress:
    """Return the address of the object store.

    Args:
        config: Whose.
        floor_bytes: What of the directory's file system is left to the disks.
        environment: Stands for the process's, in tests.

    Raises:
        ConfigError: There are no keys for a bucket, or others may read them; or no certificates where there should be.
    """
    layout = Layout(config.data)
    variables = environment_of_store() if environment is None else environment
    if config.store_url is None:
        return DirectoryAddress(root=str(layout.store), floor_bytes=floor_bytes)
    bucket, _, prefix = config.store_url.removeprefix("s3://").strip("/").partition("/")
    keys = config.data / KEYS_FILE
    try:
        if config.store_ca_file is not None:
            read_authority(Path(config.store_ca_file))
        if keys.exists():
            read_keys(keys)
    except UnavailableError as error:
        raise ConfigError(str(error)) from None
    if not keys.exists() and not any(name in variables for name in _KEYS_BY_ENVIRONMENT):
        raise ConfigError(
            f"there are no keys for {config.store_url}: write AWS_ACCESS_KEY_ID=... and AWS_SECRET_ACCESS_KEY=... into "
            f"{keys}, which only the server's user may read, or set them in its environment"
        )
    return S3Address(
        bucket=bucket, prefix=prefix, region=config.store_region, endpoint=config.store_endpoint,
        ca_file=config.store_ca_file, keys_file=str(keys) if keys.exists() else None,
        path_style=config.store_path_style, limits=limits_of(config),
        bandwidth_file=str(layout.run / "store-bandwidth"), cache_directory=str(layout.store_cache),
    )  # fmt: skip


def limits_of(config: Config) -> Limits:
    """Return what may go to the bucket and come from it, at each hour."""
    return Limits(
        bytes_per_s=config.store_mb_per_s * 1_000_000, hours=parse_hours(config.store_mb_per_s_at),
        time_zone=config.store_time_zone or "",
    )  # fmt: skip


def first(place: ObjectsAddress) -> ObjectsAddress:
    """Return an address for those whom guests wait for: their bytes count, and no bandwidth holds them back."""
    return msgspec.structs.replace(place, first=True) if isinstance(place, S3Address) else place

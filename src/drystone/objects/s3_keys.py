"""The files by which a bucket is reached: keys, which others cannot read, and certificates to trust."""

import os
import ssl
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from drystone.domain.errors import UnavailableError

OTHERS: Final = 0o077


def read_keys(path: Path) -> Mapping[str, str]:
    """Return the variables of a file of keys.

    Raises:
        UnavailableError: It cannot be read, others than its owner can read it, or it lacks a key.
    """
    text = read_file(path).decode("utf-8", "replace")
    mode = path.stat().st_mode
    if stat.S_IMODE(mode) & OTHERS:
        raise UnavailableError(f"chmod 600 {path}: it has keys, and others may read it")
    lines = (line.strip().removeprefix("export ").partition("=") for line in text.splitlines())
    values = {name.strip(): value.strip().strip("'\"") for name, _, value in lines if not name.startswith("#")}
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        if not values.get(name):
            raise UnavailableError(f"{path} has no {name}")
    return values


def read_authority(path: Path) -> bytes:
    """Return certificates in PEM.

    Raises:
        UnavailableError: The file cannot be read, or has none.
    """
    raw = read_file(path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=str(path))
    except ssl.SSLError as error:
        raise UnavailableError(f"{path} (store_ca_file) has no certificates in PEM") from error
    return raw


def read_file(path: Path) -> bytes:
    """Return what is in a file.

    Raises:
        UnavailableError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnavailableError(f"{path} cannot be read: {os.strerror(error.errno or 0)}") from error

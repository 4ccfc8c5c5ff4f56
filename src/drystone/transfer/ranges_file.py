"""Block ranges in a file: little-endian int64 pairs, known by their SHA-256."""

import hashlib
from pathlib import Path

import numpy as np

from drystone.domain.blocks import Ranges, normalize
from drystone.domain.errors import IntegrityError, UnavailableError
from drystone.transfer.addresses import RangesFile


def write_ranges(path: Path, ranges: Ranges) -> RangesFile:
    """Write `ranges` to a new or replaced file and return what a job needs to read them.

    It is not made durable: a plan that must survive a power cut is kept elsewhere.
    """
    body = np.ascontiguousarray(ranges, dtype="<i8").tobytes()
    path.write_bytes(body)
    return RangesFile(path=str(path), sha256=hashlib.sha256(body).hexdigest())


def read_ranges(file: RangesFile) -> Ranges:
    """Return the ranges of a file.

    Raises:
        UnavailableError: It cannot be read.
        IntegrityError: It does not hold what was written.
    """
    try:
        body = Path(file.path).read_bytes()
    except OSError as error:
        raise UnavailableError(f"ranges {file.path}: {error}") from error
    digest = hashlib.sha256(body).hexdigest()
    if digest != file.sha256 or len(body) % 16:
        raise IntegrityError(f"ranges {file.path}: SHA-256 {digest}, expected {file.sha256}")
    return normalize(np.frombuffer(body, dtype="<i8").astype(np.int64).reshape(-1, 2))

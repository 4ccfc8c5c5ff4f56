"""What things cost in a store with many snapshots: `python -m tests.service.requests_at [COUNT]`.

Counts the requests of a start, a snapshot, deletions and a compaction, in a directory and on a real S3 server. 100,000
snapshots take some minutes.
"""

import argparse
import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from drystone.objects.contract import ObjectStore
from drystone.objects.local import LocalStore
from drystone.objects.s3 import S3Store
from tests.s3_server import s3_server
from tests.service.test_requests import requests_with

PLACES = ("directory", "bucket")


def written(content: Mapping[str, bytes], root: Path) -> None:
    """Write objects as files, as a directory and the S3 server have them."""
    for name, raw in content.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)


@contextlib.contextmanager
def place(kind: str) -> Iterator[tuple[ObjectStore, Path]]:
    """Have a store that is empty yet, and the directory in which its objects are."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        work = Path(directory)
        if kind == "directory":
            yield LocalStore(work, 0), work
            return
        with s3_server(work, keep_alive=True) as server:
            yield S3Store(server.address("bucket", work / "keys")), server.bucket("bucket")


def main() -> None:
    """Count."""
    parser = argparse.ArgumentParser()
    parser.add_argument("count", type=int, nargs="?", default=100_000)
    parser.add_argument("--places", nargs="+", default=PLACES, choices=PLACES)
    options = parser.parse_args()
    for kind in options.places:
        with place(kind) as (objects, root):

            def elsewhere(
                content: Mapping[str, bytes], objects: ObjectStore = objects, root: Path = root
            ) -> ObjectStore:
                written(content, root)
                return objects

            began = time.monotonic()
            told, _ = requests_with(options.count, elsewhere)
            for what, counts in told.items():
                kinds = " ".join(f"{name} {number}" for name, number in sorted(counts.items()) if number)
                print(f"{kind:9} {options.count} snapshots: {what:11} {counts.total():4}: {kinds}", flush=True)
            print(f"{kind:9} took {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()

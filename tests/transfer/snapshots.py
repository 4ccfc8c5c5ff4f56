"""A store, and jobs with the fields that these tests do not look at filled in."""

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from drystone.codec.manifest import DiskAttributes
from drystone.domain.ids import AccountId, DiskId, SessionId, SnapshotId, StoreId
from drystone.objects.address import DirectoryAddress
from drystone.objects.local import LocalStore
from drystone.snapstore.manifests import put_manifest
from drystone.snapstore.reader import SnapshotReader
from drystone.snapstore.store import Store, create_store
from drystone.transfer.addresses import Endpoint, StoreAddress
from drystone.transfer.jobs import ManifestTemplate, UploadJob, UploadResult
from drystone.transfer.upload import upload

STORE = StoreId("store")


def unequal(left: bytes | bytearray, right: bytes | bytearray) -> list[int]:
    """Return the first block numbers at which two disks differ; comparing them in an assertion takes minutes."""
    if len(left) != len(right):
        return [-1]
    rows = [np.frombuffer(side, dtype=np.uint64).reshape(-1, 512) for side in (left, right)]
    found: list[int] = np.flatnonzero((rows[0] != rows[1]).any(axis=1))[:10].tolist()
    return found


@dataclass
class Snapshots:
    """A store in a directory and the snapshots that were made of one disk."""

    root: Path
    size: int
    rng: random.Random = field(default_factory=lambda: random.Random(11))
    made: int = 0
    last: UploadResult | None = None
    chain: tuple[SnapshotId, ...] = ()

    def __post_init__(self) -> None:
        self.address = StoreAddress(objects=DirectoryAddress(root=str(self.root)), store_id=STORE)
        self.store: Store = create_store(LocalStore(self.root, 0), STORE, "owner", self.rng.randbytes(32))

    def job(self, view: Endpoint, mode: Any, **more: Any) -> UploadJob:
        """Return a job on top of the last snapshot (none for `full`)."""
        self.made += 1
        base = None if mode == "full" or self.last is None else self.last.manifest
        template = ManifestTemplate(
            account=AccountId("100000000001"), disk=DiskId("disk-aaaaaaaa"), size_bytes=self.size,
            taken_at="2026-11-22T16:00:00Z", ancestry=self.chain if base else (), tracking_reason="test",
            freeze_ms=1.0, consistency="crash", disk_attributes=DiskAttributes(type="t", name="n", usage="u"),
        )  # fmt: skip
        fields = {
            "store": self.address, "session": SessionId(f"{self.rng.getrandbits(128):032x}"), "view": view,
            "snapshot": SnapshotId(f"snap-{self.made:08d}"), "template": template, "mode": mode,
            "base_manifest": base,
        }  # fmt: skip
        return UploadJob(**(fields | more))

    def take(self, view: Endpoint, mode: Any, **more: Any) -> UploadResult:
        """Run a job in this process and make its snapshot the last."""
        job = self.job(view, mode, **more)
        result = upload(job, self.store, self.rng, lambda _done, _total: None)
        put_manifest(self.store, result.manifest, result.sealed)
        self.last = result
        self.chain = (job.snapshot, *(self.chain if job.base_manifest else ()))
        return result

    def content(self, manifest: str) -> bytes:
        reader = SnapshotReader.open(self.store, manifest)
        return bytes(reader.read(0, reader.size_bytes))

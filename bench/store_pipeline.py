"""How fast the snapshot store writes and reads real data, side by side with `zstd -1 -T2` on the same bytes.

Usage: python bench/store_pipeline.py [FILE] [--directory DIR] [--bytes N]; without FILE, a tar of /usr is made.
No services are needed. Figures are wall-clock; each line says how it compares.
"""

import argparse
import random
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from drystone.codec.manifest import DiskAttributes, Manifest, ManifestMap, ManifestPack, SnapshotRecord
from drystone.domain.blocks import BLOCK_BYTES
from drystone.domain.ids import AccountId, DiskId, SessionId, SnapshotId, StoreId
from drystone.objects.local import LocalStore
from drystone.snapstore.manifests import write_manifest
from drystone.snapstore.reader import SnapshotReader
from drystone.snapstore.store import Store, create_store, hex128
from drystone.snapstore.writer import SnapshotWriter, Written

CHUNK_BYTES = 1 << 20


def commit(
    store: Store, rng: random.Random, written: Written, session: str, size: int, base: SnapshotReader | None
) -> str:
    """Write a manifest and return its name."""
    newest = ManifestMap(object=written.map_object, kind=written.kind, entries=written.entries, bytes=written.map_bytes)
    packs = tuple(ManifestPack(pack=p.pack, object=p.object, bytes=p.bytes, blocks=p.blocks) for p in written.packs)
    return write_manifest(
        store,
        Manifest(
            store=store.store_id,
            snapshot=SnapshotId(f"snap-{rng.getrandbits(32):08x}"),
            session=SessionId(session),
            account=AccountId("100000000001"),
            disk=DiskId("disk-bench000"),
            size_bytes=size,
            taken_at="2026-11-01T00:00:00Z",
            base=base.manifest.snapshot if base else None,
            ancestry=(base.manifest.snapshot,) if base else (),
            maps=(newest, *(base.manifest.maps if base else ())),
            packs=packs,
            record=SnapshotRecord(
                tracking="delta" if base else "full",
                tracking_reason="",
                read_bytes=size,
                changed_bytes=0,
                stored_bytes=written.stored_bytes,
                requests=written.requests,
                freeze_ms=0.0,
                consistency="crash",
            ),
            disk_attributes=DiskAttributes(type="CLOUD_SSD", name="bench", usage="DATA_DISK"),
        ),
    )


def cpu_seconds() -> float:
    """Return the processor time of this process and its children."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def timed(what: str, size: int, act: Callable[[], int | None]) -> float:
    """Run `act`, print its rate, and return its seconds."""
    cpu = cpu_seconds()
    began = time.perf_counter()
    stored = act()
    seconds = time.perf_counter() - began
    note = f"  {stored / size:.4f} stored per byte" if stored else ""
    print(
        f"{what:28} {size / seconds / 1e9:6.3f} GB/s  {seconds:6.2f} s  cpu {cpu_seconds() - cpu:6.2f} s{note}",
        flush=True,
    )
    return seconds


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--bytes", type=int, default=1 << 30)
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="store-pipeline-", dir=options.directory))
    try:
        measure(work, options.file, options.bytes)
    finally:
        shutil.rmtree(work)


def measure(work: Path, given: Path | None, limit: int) -> None:
    """Do all measurements in `work`."""
    source = work / "disk.img"
    with source.open("wb") as out:
        command = ["cat", str(given)] if given else ["tar", "-C", "/usr", "-cf", "-", "lib", "bin", "share"]
        reader = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert reader.stdout is not None
        while out.tell() < limit and (part := reader.stdout.read(min(1 << 20, limit - out.tell()))):
            out.write(part)
        reader.kill()
        reader.communicate()
        out.truncate(out.tell() // BLOCK_BYTES * BLOCK_BYTES)
    size = source.stat().st_size
    rng = random.Random(1)
    store = create_store(LocalStore(work / "store", floor_bytes=0), StoreId("bench"), "0" * 32, rng.randbytes(32))

    def zstd() -> int:
        subprocess.run(["zstd", "-1", "-T2", "-q", "-f", str(source), "-o", str(work / "out.zst")], check=True)
        return (work / "out.zst").stat().st_size

    def write(base: SnapshotReader | None, *, compare: bool) -> Written:
        writer = SnapshotWriter(store=store, session=SessionId(hex128(rng)), rng=rng, base=base, compare=compare)
        try:
            buffer = memoryview(bytearray(CHUNK_BYTES))
            at = 0
            with source.open("rb", buffering=0) as file:
                while got := file.readinto(buffer):
                    writer.write(at, buffer[:got])
                    at += got // BLOCK_BYTES
            return writer.finish()
        finally:
            writer.abort()

    results: list[Written] = []

    def full() -> int:
        results.append(write(None, compare=False))
        return results[-1].stored_bytes

    with source.open("rb") as file:
        while file.read(8 << 20):
            pass
    bound = timed("zstd -1 -T2", size, zstd)
    taken = timed("full snapshot", size, full)
    again = timed("zstd -1 -T2, again", size, zstd)
    print(f"full snapshot at {(bound + again) / 2 / taken:.2f} of zstd -1 -T2 (goal 0.75)")
    base = SnapshotReader.open(store, commit(store, rng, results[0], results[0].map_object.split("/")[2], size, None))

    def rescan() -> None:
        written = write(base, compare=True)
        assert written.changed_blocks == 0, written

    def read() -> None:
        with source.open("rb") as file:
            for at in range(0, size, CHUNK_BYTES):
                length = min(CHUNK_BYTES, size - at)
                assert base.read(at, length) == file.read(length)

    def unzstd() -> None:
        subprocess.run(["zstd", "-d", "-q", "-f", str(work / "out.zst"), "-o", str(work / "out")], check=True)

    timed("rescan, nothing changed", size, rescan)
    timed("read and compare", size, read)
    timed("zstd -d", size, unzstd)

    def scattered() -> int:
        writer = SnapshotWriter(store=store, session=SessionId(hex128(rng)), rng=rng, base=base)
        for block in sorted(rng.sample(range(2_600_000), 1000)):
            writer.write(block, rng.randbytes(BLOCK_BYTES))
        written = writer.finish()
        name = commit(store, rng, written, written.map_object.split("/")[2], size, base)
        return written.stored_bytes + store.objects.size(name)

    timed("1,000 scattered blocks", 1000 * BLOCK_BYTES, scattered)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")


if __name__ == "__main__":
    main()

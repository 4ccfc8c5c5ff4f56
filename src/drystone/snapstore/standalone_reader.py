# ruff: noqa: T201 - a program that prints; it imports nothing of Drystone but one file, which joins it in each store
"""Reads Drystone snapshots with nothing but the objects of their store, in a directory or a bucket.

    python3 -m pip install zstandard blake3 cryptography
    python3 reader.py [--keys FILE] STORE list | write SNAPSHOT IMAGE.raw

A sealed store needs its key: FILE is a sheet of `drystone key export`, typed in or scanned, or a directory of key
files. Then nothing that is not sealed is believed. Never run a copy of this program that lies in a store beside your
keys: take it from the package, and compare it with the sha256 on the sheet. Without --keys it needs no `cryptography`.

STORE is the directory of one store, the one that holds `owner` (and this file, as `reader.py`), or s3://BUCKET/PREFIX/ID
with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT_URL in the environment. SNAPSHOT is an id of
`list`, or a manifest's path. Nothing in STORE is ever written. Needs Python 3.10.

Every byte is verified on its way: manifest seal, map seal, page seal, hash of a frame's list of hashes, block hash. An
image is complete, and equal to the disk at the snapshot's instant, if and only if the exit status is 0; blocks that
were zeros are holes. The format is described by Drystone's docs/format.md, "Reading".
"""

from __future__ import annotations

import argparse
import bisect
import hmac
import itertools
import json
import os
import re
import struct
import sys
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import blake3

from drystone.objects.standalone_bucket import BucketPath, place_of  # in a store the texts of these stand here
from drystone.snapstore.standalone_parts import Columns, DamageError, ascending, expand, need, read_part
from drystone.snapstore.standalone_seals import TAG_BYTES, Opener, Seals, read_keys

FORMAT = 1
SEALED = 2
BLOCK = 4096
FRAME_BLOCKS_MAX = 64
INDEX_BYTES_MAX = 256 << 20
PAGE_BYTES_MAX = 8 << 20
PAGE_ENTRIES_MAX = 1 << 16
WINDOW = 1 << 14
"""Blocks that are put together at once: 64 MiB of disk."""
FRAMES_KEPT = 128
TRAILER = struct.Struct("<QIIB7x32s8s")
PACK_HEADER = struct.Struct("<8sII16s16s16s32s")
MAP_HEADER = struct.Struct("<8sII16s16s")
LAST_LINE_BYTES = 7 + 64 + 1


class Pack(NamedTuple):
    """One object of a pack and its index."""

    path: Path | BucketPath
    offsets: list[int]
    counts: tuple[int, ...]
    encodings: tuple[int, ...]
    first_rows: list[int]
    dead: tuple[int, ...]
    hashes: list[bytes]
    opener: Opener | None


class Entry(NamedTuple):
    """Consecutive blocks in consecutive slots of one frame; zeros if `frame` is None."""

    start: int
    stop: int
    slot: int
    frame: tuple[str, str, int, bytes] | None
    """Pack, its session, frame number, hash of the frame's list of hashes."""


def store_key(root: Path | BucketPath) -> bytes:
    """Return the key that everything is checked with: there twice, each with a check (none in an old store)."""
    fault: Exception = ValueError("it has no key")
    for name in ("store", "copy"):
        try:
            found = json.loads((root / "keys" / name).read_bytes())
            need(found["format"] == FORMAT, f"{root} has format {found['format']}, this program reads {FORMAT}")
            key = bytes.fromhex(found["key"])
            check = blake3.blake3(key, derive_key_context="drystone 1 key check").digest(8).hex()
        except (OSError, ValueError, KeyError, TypeError) as error:
            fault = error
            continue
        if found.get("check", check) == check:
            return key
    raise ValueError(f"its key is damaged: {fault}")


class Store:
    """One store, in a directory or a bucket."""

    def __init__(self, root: Path | BucketPath, keys: dict[str, bytes] | None = None, store_id: str = "") -> None:
        self.root = root
        self.seals: Seals | None = None
        try:
            mark = json.loads((root / "owner").read_bytes())
            need((mark["format"] == 3) == (keys is not None), "it is sealed: give --keys" if keys is None else
                 "it does not say that it is sealed; without --keys it is read so")  # fmt: skip
            if keys is not None:
                self.seals = Seals(root, store_id or (root.resolve() if isinstance(root, Path) else root).name, keys)
            secret = store_key(root) if self.seals is None else self.seals.own(str(mark["key"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DamageError(f"{root} is not the directory of a store: {error}") from error
        self.format = FORMAT if self.seals is None else SEALED
        uses = ("block", "list of block hashes", "seal")
        self.blocks, self.lists, self._seal = (
            blake3.blake3(secret, derive_key_context=f"drystone {self.format} {use}").digest() for use in uses
        )
        self._packs: dict[tuple[str, str], list[Pack]] = {}
        self._frames: OrderedDict[tuple[str, str, int, bytes], tuple[bytes, tuple[int, ...]]] = OrderedDict()

    def seal(self, *parts: bytes) -> bytes:
        """Return the seal over some bytes."""
        return blake3.blake3(b"".join(parts), key=self._seal).digest()

    def manifests(self, snapshot: str = "*") -> list[Any]:
        """Return the paths of all manifests, or of one snapshot's, but for those that have a tombstone."""
        found = set(self.root.glob(f"snapshots/{snapshot}/*"))
        return sorted(
            one for one in found
            if one.suffix == ".manifest"
            and not (one.with_suffix(".deleted") in found and self._proven(one.with_suffix(".deleted")))
        )  # fmt: skip

    def _proven(self, tombstone: Any) -> bool:  # noqa: ANN401 - a path of either kind
        """Tell whether a tombstone counts: in a sealed store anybody could have put one there."""
        try:
            return self.seals is None or bool(self.seals.whole(tombstone, "tombstone")[0])
        except (DamageError, OSError):
            return False

    def manifest(self, path: Path | BucketPath) -> dict[str, Any]:
        """Return a manifest whose seal fits."""
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise DamageError(f"{path}: {error}") from error
        purpose: dict[str, Any] = {}
        if self.seals is not None:
            body, purpose = self.seals.whole(path, "manifest", raw)
        else:
            body, last = raw[:-LAST_LINE_BYTES], raw[-LAST_LINE_BYTES:]
            found = re.fullmatch(rb"blake3 ([0-9a-f]{64})\n", last)
            need(found is not None, f"{path} is not a manifest")
            assert found is not None
            right = self.seal(b"DRYSMANI", body).hex().encode()
            need(hmac.compare_digest(right, found[1]), f"{path}: the seal does not fit")
        manifest: dict[str, Any] = json.loads(body)
        need(manifest["format"] == self.format, f"{path} has format {manifest['format']}, not {self.format}")
        for word in ("account", "disk") if self.seals is not None else ():
            need(purpose.get(word) in ((None,) if word == "disk" else ()) + (manifest[word],),
                 f"{path}: sealed by the key of another {word}")  # fmt: skip
        need(manifest["snapshot"] == path.parent.name, f"{path} is of snapshot {manifest['snapshot']}")
        need(manifest["session"] == path.name[: -len(".manifest")], f"{path} is of another session")
        return manifest

    def named(self, snapshot: str) -> dict[str, Any]:
        """Return the manifest of a snapshot id, or in a file."""
        if os.sep in snapshot:
            return self.manifest(type(self.root)(snapshot))
        found = self.manifests(snapshot)
        need(bool(found), f"there is no snapshot {snapshot}; `list` shows them")
        need(len(found) == 1, f"{snapshot} has {len(found)} manifests: give the path of one ({found[0]}, ...)")
        return self.manifest(found[0])

    def text(self, path: Path | BucketPath, kind: str) -> Any:  # noqa: ANN401 - JSON
        """Return a small object's JSON."""
        return json.loads(path.read_bytes() if self.seals is None else self.seals.whole(path, kind)[0])

    def index(self, path: Path | BucketPath, magic: bytes) -> tuple[bytes, int, Opener | None]:
        """Return a pack's or map's plain index, which is proven, where it begins, and what opens the rest."""
        if self.seals is not None:
            return self.seals.index(path, "pack" if magic == b"DRYSPIDX" else "map")
        try:
            size = path.stat().st_size
            with path.open("rb") as file:
                file.seek(max(0, size - TRAILER.size))
                raw = file.read(TRAILER.size)
                need(len(raw) == TRAILER.size and raw[-8:] == magic, f"{path} has no trailer {magic.decode()}")
                offset, stored_bytes, plain_bytes, encoding, seal, _ = TRAILER.unpack(raw)
                fits = offset + stored_bytes + TRAILER.size == size and plain_bytes <= INDEX_BYTES_MAX
                need(fits, f"{path}: its trailer does not fit its length")
                file.seek(offset)
                stored = file.read(stored_bytes)
        except OSError as error:
            raise DamageError(f"{path}: {error}") from error
        right = self.seal(magic, raw[:24], stored)
        need(hmac.compare_digest(right, seal), f"{path}: the seal of its index does not fit")
        return expand(encoding, stored, plain_bytes, str(path)), offset, None

    def pack(self, path: Path | BucketPath) -> Pack:
        """Return one object of a pack."""
        plain, end, opener = self.index(path, b"DRYSPIDX")
        what = f"index of {path}"
        columns = Columns(plain, what)
        magic, version, flags, pack, session, attempt, _salt = PACK_HEADER.unpack(columns.take(PACK_HEADER.size))
        need((magic, version, flags) == (b"DRYSPACK", self.format, 0), f"{path}: version {version} is not known here")
        named = (session.hex(), f"{pack.hex()}.{attempt.hex()}")
        need(named == (path.parent.name, path.name), f"{path} says that it is {'/'.join(named)}")
        frames, blocks = columns.number(), columns.number()
        stored = columns.column("I", frames)
        counts, encodings = columns.column("B", frames), columns.column("B", frames)
        ascending(columns.column("Q", blocks), what)
        dead = columns.column("B", blocks)
        hashes = columns.pieces(16, blocks)
        columns.finish()
        in_object = [length + TAG_BYTES if opener and length else length for length in stored]
        offsets = list(itertools.accumulate(in_object, initial=0 if opener else PACK_HEADER.size))
        first_rows = list(itertools.accumulate(counts, initial=0))
        need(offsets[-1] == end and first_rows[-1] == blocks, f"{path}: its index does not add up")
        need(all(0 < count <= FRAME_BLOCKS_MAX for count in counts), f"{path}: impossible frames")
        return Pack(path, offsets, counts, encodings, first_rows, dead, hashes, opener)

    def packs(self, pack: str, session: str) -> list[Pack]:
        """Return the objects of a pack that can be trusted, the one with most living blocks first."""
        found = self._packs.get((pack, session))
        if found is None:
            faults = []
            found = []
            listed: list[Any] = sorted((self.root / "packs" / session).glob(f"{pack}.*"))
            for path in listed:
                try:
                    found.append(self.pack(path))
                except DamageError as error:
                    faults.append(str(error))
            need(bool(found), "; ".join(faults) or f"pack {pack} of session {session} is not there")
            found.sort(key=lambda one: sum(one.dead))
            self._packs[pack, session] = found
        return found

    def frame(self, ref: tuple[str, str, int, bytes]) -> tuple[bytes, tuple[int, ...]]:
        """Return a frame's verified blocks, and which of them are dead."""
        kept = self._frames.get(ref)
        if kept is not None:
            self._frames.move_to_end(ref)
            return kept
        faults = []
        for pack in self.packs(ref[0], ref[1]):
            try:
                found = self._read_frame(pack, ref[2], ref[3])
            except DamageError as error:
                faults.append(str(error))
                continue
            self._frames[ref] = found
            if len(self._frames) > FRAMES_KEPT:
                self._frames.popitem(last=False)
            return found
        raise DamageError("; ".join(faults))

    def _read_frame(self, pack: Pack, number: int, digest: bytes) -> tuple[bytes, tuple[int, ...]]:
        what = f"{pack.path}, frame {number}"
        need(number < len(pack.counts), f"{what} is not there")
        rows = slice(pack.first_rows[number], pack.first_rows[number + 1])
        hashes, dead = pack.hashes[rows], pack.dead[rows]
        listed = blake3.blake3(b"".join(hashes), key=self.lists).digest(16)
        need(hmac.compare_digest(listed, digest), f"{what}: its list of hashes is not the map's")
        need(pack.encodings[number] not in (2, 3), f"{what} was dropped or lost, but is read")
        stored = read_part(pack.path, pack.offsets[number : number + 2], what)
        stored = stored if pack.opener is None else pack.opener.part(number, stored, what)
        plain = expand(pack.encodings[number], stored, pack.counts[number] * BLOCK, what)
        for slot, right in enumerate(hashes):
            if not dead[slot]:
                block = plain[slot * BLOCK : (slot + 1) * BLOCK]
                found = blake3.blake3(block, key=self.blocks).digest(16)
                need(hmac.compare_digest(found, right), f"{what}, slot {slot}: the block does not match its hash")
        return plain, dead


class Map:
    """One map; pages are read one after the other, as blocks are asked for in ascending order."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        # The name in a manifest begins with the store's id, which is the name of the bucket's prefix.
        self.path = store.root.joinpath(*name.split("/")[1:])
        plain, end, self._opener = store.index(self.path, b"DRYSTDIR")
        columns = Columns(plain, f"directory of {self.path}")
        self._header = columns.take(MAP_HEADER.size)
        magic, version, kind, map_id, session = MAP_HEADER.unpack(self._header)
        need((magic, version) == (b"DRYSTMAP", store.format) and kind in (0, 1), f"{self.path}: version {version}")
        named = (session.hex(), map_id.hex())
        need(named == (self.path.parent.name, self.path.name), f"{self.path} says that it is {'/'.join(named)}")
        pages, packs = columns.number(), columns.number()
        self.starts = ascending(columns.column("Q", pages), str(self.path))
        self.stops = [start + length for start, length in zip(self.starts, columns.column("Q", pages), strict=True)]
        stored = columns.column("I", pages)
        self._plain_bytes, self._entries = columns.column("I", pages), columns.column("I", pages)
        self._encodings = columns.column("B", pages)
        self._seals = columns.pieces(32, 0 if self._opener else pages)
        ids, sessions = columns.pieces(16, packs), columns.pieces(16, packs)
        self._packs = [(pack.hex(), owner.hex()) for pack, owner in zip(ids, sessions, strict=True)]
        columns.finish()
        in_object = [length + TAG_BYTES if self._opener else length for length in stored]
        self._offsets = list(itertools.accumulate(in_object, initial=0 if self._opener else MAP_HEADER.size))
        need(self._offsets[-1] == end, f"{self.path}: its directory does not add up")
        disjoint = all(stop <= start for stop, start in zip(self.stops, self.starts[1:], strict=False))
        need(disjoint, f"{self.path}: its pages overlap")
        self._at = 0
        self._kept: dict[int, tuple[list[Entry], list[int]]] = {}

    def _open(self, number: int) -> tuple[list[Entry], list[int]]:
        if number not in self._kept:
            entries = self._page(number)
            self._kept[number] = entries, [entry.stop for entry in entries]
        return self._kept[number]

    def _pass(self, at: int) -> None:
        """Let go of the pages that end at `at` or before."""
        while self._at < len(self.stops) and self.stops[self._at] <= at:
            self._kept.pop(self._at, None)
            self._at += 1

    def entries(self, start: int, stop: int) -> Iterator[Entry]:
        """Yield what touches blocks `[start, stop)`; `start` never goes back."""
        self._pass(start)
        for number in range(self._at, len(self.starts)):
            if self.starts[number] >= stop:
                return
            entries, stops = self._open(number)
            for entry in itertools.islice(entries, bisect.bisect_right(stops, start), None):
                if entry.start >= stop:
                    return
                yield entry

    def next_block(self, at: int) -> int | None:
        """Return the first block from `at` on that has an entry; `at` never goes back."""
        self._pass(at)
        if self._at == len(self.stops):
            return None
        entries, stops = self._open(self._at)
        return max(at, entries[bisect.bisect_right(stops, at)].start)

    def _page(self, number: int) -> list[Entry]:
        what = f"{self.path}, page {number}"
        stored = read_part(self.path, self._offsets[number : number + 2], what)
        if self._opener is not None:
            stored = self._opener.part(number, stored, what)
        else:
            seal = self._store.seal(b"page", self._header, stored)
            need(hmac.compare_digest(seal, self._seals[number]), f"{what}: the seal does not fit")
        need(self._plain_bytes[number] <= PAGE_BYTES_MAX, f"{what} is too large")
        columns = Columns(expand(self._encodings[number], stored, self._plain_bytes[number], what), what)
        count, frames = columns.number(), columns.number()
        need(0 < count == self._entries[number] <= PAGE_ENTRIES_MAX and frames <= count, f"{what}: impossible numbers")
        starts = ascending(columns.column("Q", count), what)
        counts = columns.column("Q", count)
        owners, slots = columns.column("i", count), columns.column("B", count)
        packs, numbers = columns.column("I", frames), columns.column("I", frames)
        digests = columns.pieces(16, frames)
        columns.finish()
        need(all(-1 <= owner < frames for owner in owners), f"{what}: an entry points nowhere")
        need(all(pack < len(self._packs) for pack in packs), f"{what}: a frame points nowhere")
        table = [
            (*self._packs[pack], frame, digest) for pack, frame, digest in zip(packs, numbers, digests, strict=True)
        ]
        entries = [
            Entry(start, start + length, slot, None if owner < 0 else table[owner])
            for start, length, owner, slot in zip(starts, counts, owners, slots, strict=True)
        ]
        lie_right = all(one.stop <= two.start for one, two in itertools.pairwise(entries))
        fit = all(one.frame is None or one.slot + one.stop - one.start <= FRAME_BLOCKS_MAX for one in entries)
        need(lie_right and fit, f"{what}: entries overlap or are too long")
        need(entries[-1].stop == self.stops[number] and entries[0].start == self.starts[number], f"{what}: wrong span")
        return entries


def visible(manifest: dict[str, Any], store: Store) -> Iterator[tuple[int, int, int, tuple[str, str, int, bytes]]]:
    """Yield (first block, blocks, slot, frame) of all data, ascending: the newest map that knows a block wins."""
    layers = [Map(store, part["object"]) for part in reversed(manifest["maps"])]
    size = -(-manifest["size_bytes"] // BLOCK)
    at = 0
    while True:
        begins = [begin for begin in (layer.next_block(at) for layer in layers) if begin is not None]
        if not begins or min(begins) >= size:
            return
        at = min(begins)
        stop = min(at + WINDOW, size)
        shown: list[Entry | None] = [None] * (stop - at)
        for layer in layers:
            for entry in layer.entries(at, stop):
                low, high = max(entry.start, at), min(entry.stop, stop)
                shown[low - at : high - at] = [entry] * (high - low)
        block = at
        for owner, run in itertools.groupby(shown):
            length = len(list(run))
            if owner is not None and owner.frame is not None:
                yield block, length, owner.slot + block - owner.start, owner.frame
            block += length
        at = stop


def write_image(store: Store, manifest: dict[str, Any], path: Path) -> int:
    """Write a snapshot as a sparse raw image; return the bytes of data in it."""
    size = manifest["size_bytes"]
    data_bytes = 0
    # A new file only: what is there already is never overwritten.
    with path.open("xb") as file:
        file.truncate(size)
        for block, count, slot, ref in visible(manifest, store):
            plain, dead = store.frame(ref)
            whole = slot + count <= len(dead) and not any(dead[slot : slot + count])
            need(whole, f"pack {ref[0]}, frame {ref[2]}: block {block} is read, but is dead or not there")
            part = plain[slot * BLOCK : (slot + count) * BLOCK][: size - block * BLOCK]
            file.seek(block * BLOCK)
            file.write(part)
            data_bytes += len(part)
        file.flush()
        os.fsync(file.fileno())
    return data_bytes


def show(store: Store) -> int:
    """Print a line for each snapshot, and one for each manifest that cannot be read."""
    print(f"{'SNAPSHOT':<16}{'DISK':<16}{'TAKEN AT':<34}{'GIB':>7}  NAME")
    damaged = 0
    for path in store.manifests():
        try:
            manifest = store.manifest(path)
        except (DamageError, KeyError, ValueError) as error:
            damaged += 1
            print(f"{path.parent.name:<16}damaged: {error}")
            continue
        try:
            name = str(store.text(path.parent / "attributes", "attributes")["name"])
        except (OSError, ValueError, KeyError, DamageError):
            name = ""
        gib = manifest["size_bytes"] / (1 << 30)
        line = f"{manifest['snapshot']:<16}{manifest['disk']:<16}{manifest['taken_at']:<34}{gib:>7.4g}  {name}"
        print("".join(char if char.isprintable() else "?" for char in line).rstrip())
    return 1 if damaged else 0


def main(arguments: list[str]) -> int:
    """Run the program and return its exit status: 0 done, 1 damage, 2 usage."""
    parser = argparse.ArgumentParser(description="Reads Drystone snapshots from their object store.")
    parser.add_argument("store", help="directory of one store, the one that holds `owner`, or s3://BUCKET/PREFIX/ID")
    parser.add_argument("--keys", type=Path, help="key of a sealed store: a sheet, or a directory of key files")
    parser.add_argument("--store-id", default="", help="of a sealed store whose directory was renamed")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="list the snapshots")
    writing = commands.add_parser("write", help="write a snapshot as a raw image")
    writing.add_argument("snapshot", help="its id, or the path of its manifest")
    writing.add_argument("image", type=Path, help="a file that does not exist yet")
    options = parser.parse_args(arguments)
    try:
        keys = None if options.keys is None else read_keys(options.keys)
        store = Store(place_of(options.store), keys, options.store_id)
        if options.command == "list":
            return show(store)
        manifest = store.named(options.snapshot)
        data_bytes = write_image(store, manifest, options.image)
        print(f"{options.image}: {manifest['size_bytes']} bytes, {data_bytes} of them data, all verified")
    except (DamageError, OSError, KeyError, ValueError) as error:
        print(f"reader: {error}; what was written is not complete", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

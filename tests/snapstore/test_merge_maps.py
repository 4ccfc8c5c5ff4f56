"""A merged map shows what its parts show, in any list that it stands in."""

import random

import msgspec
import numpy as np
import pytest

from drystone.codec.manifest import ManifestMap
from drystone.domain.blocks import BLOCK_BYTES
from drystone.domain.ids import SessionId
from drystone.snapstore import merge
from drystone.snapstore.layers import delta_addresses
from drystone.snapstore.merge import apply_merge, merge_maps, plan_merge
from drystone.snapstore.reader import DATA, SnapshotReader
from drystone.snapstore.store import Store, hex128
from tests.memory_store import MemoryStore
from tests.snapstore.model_snapshots import new_store, take

BLOCKS = 150


def chain(rng: random.Random, store: Store, count: int) -> tuple[SnapshotReader, bytes]:
    disk = bytearray(rng.randbytes(BLOCKS * BLOCK_BYTES))
    snapshot = take(store, rng, "snap-00000000", disk, [(0, BLOCKS)])
    for number in range(1, count):
        written: list[tuple[int, int]] = []
        zeros: list[tuple[int, int]] = []
        at = 0
        while (start := at + rng.randrange(20)) < BLOCKS:
            at = min(BLOCKS, start + rng.randrange(1, 12))
            zero = rng.random() < 0.4
            disk[start * BLOCK_BYTES : at * BLOCK_BYTES] = (
                bytes((at - start) * BLOCK_BYTES) if zero else rng.randbytes((at - start) * BLOCK_BYTES)
            )
            (zeros if zero else written).append((start, at))
        snapshot = take(store, rng, f"snap-{number:08d}", disk, written, snapshot, zeros=zeros)
    return snapshot, bytes(disk)


def hunt(seed: int) -> None:
    rng = random.Random(seed)
    store = new_store(MemoryStore())
    snapshot, disk = chain(rng, store, 6)
    maps = snapshot.manifest.maps
    first = rng.randrange(5)
    for stop in (first + 2, len(maps)):
        part = maps[first:stop]
        merged = merge_maps(store, SessionId(hex128(rng)), rng, part)
        assert merged.kind == part[-1].kind
        together = apply_merge(maps, part, merged)
        assert len(together) == len(maps) - len(part) + 1
        reader = SnapshotReader(store, msgspec.structs.replace(snapshot.manifest, maps=together))
        assert bool(reader.read(0, len(disk)) == disk)
        low, high = sorted(rng.sample(range(BLOCKS), 2))
        kinds, hashes = reader.hashes(low, high)
        kinds_before, hashes_before = snapshot.hashes(low, high)
        assert np.array_equal(hashes, hashes_before)
        if merged.kind == "full":
            # Zeros need no entry in a full map.
            assert np.array_equal(kinds == DATA, kinds_before == DATA)
        else:
            assert np.array_equal(kinds, kinds_before)
        assert merged.entries <= sum(one.entries for one in part) * 2
        if merged.kind == "delta":
            covered = np.zeros(BLOCKS, dtype=np.bool_)
            for single in part:
                for start, end in delta_addresses(store, single.object).tolist():
                    covered[start:end] = True
            kept = delta_addresses(store, merged.object)
            assert int((kept[:, 1] - kept[:, 0]).sum()) == int(covered.sum())


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "PAGE_ENTRIES", 5)
    monkeypatch.setattr(merge, "_WINDOW_PAGES", 2)


@pytest.mark.parametrize("seed", range(8))
def test_a_merge_shows_what_its_parts_show(seed: int) -> None:
    hunt(seed)


def test_dropped_zeros_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = merge._overlay

    def dropping(*given: object) -> object:
        rows = real(*given)  # type: ignore[arg-type]
        return rows[rows.packs != -1]

    monkeypatch.setattr(merge, "_overlay", dropping)
    with pytest.raises(AssertionError):  # noqa: PT012 - any may be the one
        for seed in range(8):
            hunt(seed)


def part(name: str, entries: int, kind: str = "delta") -> ManifestMap:
    return ManifestMap(object=name, kind=kind, entries=entries, bytes=entries)  # type: ignore[arg-type]


def test_plans() -> None:
    full = part("f", 100_000, "full")
    assert plan_merge((full,)) == ()
    assert plan_merge((part("a", 9), part("b", 9), part("c", 9), full)) == ()
    four = tuple(part(name, 10) for name in "abcd")
    assert plan_merge((*four, full)) == four
    assert plan_merge((part("x", 5000), *four, full)) == four
    large = tuple(part(name, 7000) for name in "abcd")
    assert plan_merge((*large, full)) == (*large, full)
    rising = tuple(part(str(n), 5**n) for n in range(6))
    assert plan_merge((*rising, full)) == ()
    assert plan_merge((*four, part("e", 0), full)) == four
    assert plan_merge(()) == ()


def test_a_merge_is_used_only_where_its_parts_stand_together() -> None:
    """L10."""
    a, b, c, d = (part(name, 1) for name in "abcd")
    new = part("n", 2)
    assert apply_merge((a, b, c), (b, c), new) == (a, new)
    assert apply_merge((a, d, b, c), (a, b), new) == (a, d, b, c)
    assert apply_merge((a, b), (), new) == (a, b)


def test_chains_stay_short() -> None:
    maps: tuple[ManifestMap, ...] = (part("f", 1 << 22, "full"),)
    rewritten = 0
    for number in range(2000):
        maps = (part(f"m{number}", 1000), *maps)
        chosen = plan_merge(maps)
        if chosen:
            entries = sum(one.entries for one in chosen)
            rewritten += entries
            maps = apply_merge(maps, chosen, part(f"n{number}", min(entries, 1 << 23), chosen[-1].kind))
        assert len(maps) <= merge.MAPS_GOAL + 1
    assert rewritten <= 12 * 2000 * 1000

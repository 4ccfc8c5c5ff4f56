"""What comes back is told before anything is deleted: to the byte, or by a fair sample."""

import random

import numpy as np
import pytest

from drystone.codec.map import PackRef
from drystone.domain.blocks import BLOCK_BYTES
from drystone.domain.errors import IntegrityError
from drystone.domain.ids import PackId, SessionId
from drystone.snapstore import freed
from drystone.snapstore.compaction import rewrite_pack
from drystone.snapstore.freed import Dying, PartlyDying, partly_freed
from drystone.snapstore.packs import OpenPack, open_pack, shares
from drystone.snapstore.store import Store, hex128
from tests.memory_store import MemoryStore
from tests.snapstore.model_snapshots import new_store, take
from tests.snapstore.space_histories import mixed, noise

SALT_BYTES = 48
"""What another salt may change of an index that is compressed."""


def packs_of(store: Store, blocks: int, content: str, count: int = 1) -> list[OpenPack]:
    fill = {"noise": noise, "mixed": mixed}[content]
    rng = random.Random(5)
    for number in range(count):
        disk = b"".join(fill(number * blocks + block) for block in range(blocks))
        take(store, rng, f"snap-{number:08d}", disk, [(0, blocks)])
    return [open_pack(store, entry.name) for entry in store.objects.list(store.name("packs", ""))]


def dying(pack: OpenPack, rows: list[int]) -> PartlyDying:
    header = pack.index.header
    frames = np.repeat(np.arange(len(pack.index.counts)), pack.index.counts)[rows]
    return PartlyDying(
        ref=PackRef(pack=header.pack, session=header.session), object=pack.object,
        addresses=pack.index.addresses[rows], share_bytes=float(shares(pack.index)[frames].sum()),
    )  # fmt: skip


def really_freed(store: Store, pack: OpenPack, rows: list[int]) -> int:
    dead = pack.index.dead.copy()
    dead[rows] = True
    rng = random.Random(6)
    return pack.size_bytes - rewrite_pack(store, pack, dead, hex128(rng), rng.randbytes(32))


@pytest.mark.parametrize("content", ["noise", "mixed"])
@pytest.mark.parametrize("count", [1, 40, 300])
def test_what_is_told_is_freed(content: str, count: int) -> None:
    store = new_store(MemoryStore())
    (pack,) = packs_of(store, 400, content)
    # A frame that dies whole is among those that die in part.
    rows = sorted({*random.Random(count).sample(range(400), count), *(range(64, 128) if count > 1 else ())})
    one = dying(pack, rows)
    told = partly_freed(store, [one])[one.ref]
    assert abs(told - really_freed(store, pack, rows)) <= SALT_BYTES


def test_many_are_judged_by_some(monkeypatch: pytest.MonkeyPatch) -> None:
    store = new_store(MemoryStore())
    packs = packs_of(store, 640, "mixed", 4)
    rng = random.Random(3)
    rows = [sorted(rng.sample(range(640), 200)) for _ in packs]
    truth = sum(really_freed(store, pack, chosen) for pack, chosen in zip(packs, rows, strict=True))
    looked = [dying(pack, chosen) for pack, chosen in zip(packs, rows, strict=True)]
    shared = sum(one.share_bytes for one in looked)
    for frames_max, of_pack_max, packs_max, off in ((16, 8, 8, 0.06), (100, 100, 1, 0.06), (100, 100, 8, 0.001)):
        monkeypatch.setattr(freed, "FRAMES_MAX", frames_max)
        monkeypatch.setattr(freed, "FRAMES_OF_PACK_MAX", of_pack_max)
        monkeypatch.setattr(freed, "PACKS_MAX", packs_max)
        told = sum(partly_freed(store, looked).values())
        assert abs(told - truth) <= off * truth, (told, truth, shared)
    # What was not kept of is judged by the others, too.
    unknown = [PartlyDying(ref=one.ref, object=one.object, addresses=None, share_bytes=100.0) for one in looked[:2]]
    told_each = partly_freed(store, [*unknown, *looked[2:]])
    assert told_each[unknown[0].ref] == pytest.approx(told_each[unknown[1].ref])
    assert set(partly_freed(store, unknown).values()) == {100.0}


def test_a_damaged_frame_is_judged_by_the_others() -> None:
    store = new_store(MemoryStore())
    (pack,) = packs_of(store, 200, "noise")
    one = dying(pack, [3, 70])
    before = partly_freed(store, [one])[one.ref]
    raw = bytearray(store.objects.get(pack.object))
    raw[96 + 10] ^= 1
    store.objects.replace(pack.object, bytes(raw))
    assert abs(partly_freed(store, [one])[one.ref] - before) < 100
    raw[96 + 64 * BLOCK_BYTES + 10] ^= 1
    store.objects.replace(pack.object, bytes(raw))
    assert abs(partly_freed(store, [one])[one.ref] - 2 * BLOCK_BYTES) < 100


def test_what_is_not_in_a_pack_is_no_prediction() -> None:
    store = new_store(MemoryStore())
    (pack,) = packs_of(store, 10, "noise")
    one = dying(pack, [1, 2])
    for addresses in ([3, 10], [2**40]):
        wrong = PartlyDying(
            ref=one.ref, object=one.object, addresses=np.array(addresses, dtype=np.int64), share_bytes=1.0
        )
        with pytest.raises(IntegrityError):
            partly_freed(store, [wrong])


def test_of_too_many_runs_whole_packs_are_kept() -> None:
    rng = np.random.default_rng(2)
    refs = [
        PackRef(pack=PackId(f"{number:032x}"), session=SessionId("5e" * 16)) for number in rng.permutation(40).tolist()
    ]
    kept, every = Dying(runs_max=300), Dying()
    for window in range(50):
        rows = rng.integers(0, 40, 20)
        starts = np.sort(rng.choice(1000, 20, replace=False)) * 10 + window * 10_000
        counts = rng.integers(1, 10, 20)
        kept.add(refs, rows, starts, counts)
        every.add(refs, rows, starts, counts)
    some, all_of_it = kept.addresses(refs), every.addresses(refs)
    assert 0 < sum(map(len, some.values())) < sum(map(len, all_of_it.values()))
    lowest = sorted(all_of_it, key=lambda ref: ref.pack)[: len(some)]
    assert set(some) == set(lowest)
    for ref, addresses in some.items():
        assert np.array_equal(addresses, all_of_it[ref])
        assert (np.diff(addresses) > 0).all()
    assert Dying().addresses(refs) == {}


def test_blocks_are_of_the_size_that_is_told() -> None:
    assert {len(fill(3)) for fill in (noise, mixed)} == {BLOCK_BYTES}

"""The audit of change tracking: some blocks that it calls clean are compared with the base (P8, A12)."""

from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from drystone.domain.blocks import BLOCK_BYTES, EMPTY, Ranges, count, intersect, normalize, subtract, union
from drystone.objects.address import ObjectsAddress
from drystone.snapstore.comparison import differing
from drystone.snapstore.expected import UNTRUSTED, KnownHashes
from drystone.snapstore.far import cache_at
from drystone.snapstore.reader import SnapshotReader
from drystone.snapstore.store import Store
from drystone.transfer.jobs import AuditPlan, UploadJob
from drystone.transfer.plan import READ_DEPTH, UploadPlan, byte_ranges, take_first
from drystone.transfer.source import Frozen, Tolerated

_AUDIT_STEP_BYTES: Final = (1 << 30, 64 << 30)
"""Allocation is asked for in steps that double from the first to the second until the sample is complete."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Audited:
    """What was checked of the blocks that tracking called clean, and which of them are not (A12)."""

    blocks: int = 0
    next_block: int
    complete: bool = False
    lies: Ranges = field(default_factory=lambda: EMPTY)


def audit_tracking(frozen: Frozen, store: Store, plan: UploadPlan, tolerated: Tolerated) -> Audited:
    """Compare some clean blocks of the frozen view with the base (P8, A12), before anything is trimmed.

    What the base cannot tell is left out, and the next audit goes on behind it: it is no lie, and no proof either.
    """
    asked, base = frozen.job.audit, frozen.source.base
    if asked is None or frozen.job.mode != "delta" or base is None:
        return Audited(next_block=0 if asked is None else asked.cursor_block)
    known = union(plan.read, plan.zero)
    sample, next_block = _sample(frozen, asked, known)
    base = _remembered(base, frozen.job.store.objects)
    hashes = KnownHashes(base)
    parts = []
    for start, data in frozen.view.read_ranges(byte_ranges(sample), depth=READ_DEPTH):
        parts.append(differing(store.keys, hashes, start // BLOCK_BYTES, data))
    told = subtract(sample, hashes.unknown)
    lies = intersect(union(*parts), told)
    complete = asked.blocks_max is None
    if complete:
        # What is a hole now and was data then is a change too; it is seen without reading it.
        holes = frozen.zeros(normalize([(0, frozen.size_blocks)]))
        try:
            data_ranges = base.data_ranges()
        except UNTRUSTED:
            complete, data_ranges = False, EMPTY
            hashes.maps.update(part.object for part in base.manifest.maps)
        lies = union(lies, subtract(intersect(intersect(holes, frozen.own_layer(holes)), data_ranges), known))
    left_out = count(sample) - count(told)
    if left_out or hashes.maps:
        complete = False
        tolerated.say(f"the audit left out {left_out} blocks of which the base cannot tell the hashes",
                      packs=hashes.packs, maps=hashes.maps)  # fmt: skip
    if count(lies):
        log.error("audit.tracker_lied", base=base.manifest.snapshot, blocks=count(lies), first_block=int(lies[0, 0]))
    return Audited(blocks=count(told), next_block=next_block, complete=complete, lies=lies)


def _remembered(base: SnapshotReader, address: ObjectsAddress) -> SnapshotReader:
    """Return a reader of the base that has the local cache: it is the disk that is checked, not the store (S207)."""
    cache = cache_at(address)
    if cache is None or base.store.far is None:
        return base
    return SnapshotReader(replace(base.store, far=base.store.far.remembering(cache)), base.manifest)


def describe_lies(job: UploadJob, lies: Ranges) -> str:
    """Return why the snapshot became a rescan: what had changed and was not marked."""
    return (
        f"the audit found {count(lies)} blocks that had changed since {job.template.ancestry[0]} "
        f"and were not marked, the first is block {int(lies[0, 0])}"
    )


def _sample(frozen: Frozen, asked: AuditPlan, known: Ranges) -> tuple[Ranges, int]:
    """Choose the clean blocks to audit (F22), and say where the next audit goes on."""
    size = frozen.size_blocks
    cursor = asked.cursor_block if 0 <= asked.cursor_block < size else 0
    left = size if asked.blocks_max is None else asked.blocks_max
    if asked.marked_divisor:
        left = max(left, count(known) // asked.marked_divisor)
    # From the cursor to the end, then from the beginning to the cursor.
    stretches = [(cursor, size), (0, cursor)]
    step, step_max = (size // BLOCK_BYTES for size in _AUDIT_STEP_BYTES)
    span = asked.span_blocks
    chosen, reached = EMPTY, cursor
    for low, high in stretches:
        reached = low
        while reached < high:
            if left <= 0 or span <= 0:
                return chosen, reached % size
            stretch = normalize([(reached, min(reached + min(step, span), high))])
            step = min(2 * step, step_max)
            held = subtract(frozen.own_layer(stretch), frozen.zeros(stretch))
            taken = take_first(subtract(held, known), left)
            chosen, left, span = union(chosen, taken), left - count(taken), span - count(stretch)
            reached = int(stretch[-1, 1])
            if left <= 0 and len(taken):
                return chosen, int(taken[-1, 1]) % size
    return chosen, reached % size

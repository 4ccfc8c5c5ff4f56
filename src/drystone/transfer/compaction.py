"""Writing packs again without their dead blocks: proof, writing, reading back; the service alone switches (L8)."""

from dataclasses import replace

import msgspec
import numpy as np
import numpy.typing as npt

from drystone.objects.noting import Noting
from drystone.snapstore.compaction import plan_compaction, rewrite_pack
from drystone.snapstore.expected import UNTRUSTED
from drystone.snapstore.living import Living
from drystone.snapstore.packs import OpenPack, open_pack
from drystone.snapstore.store import RandomBits, Store
from drystone.transfer.store_jobs import CompactJob, CompactResult, PackTarget, PackVerdict
from drystone.transfer.upload import Report

_SALT_BITS = 256


def compact(job: CompactJob, store: Store, rng: RandomBits, report: Report) -> CompactResult:
    """Judge each pack by its own index, and write again those of which enough is dead.

    A pack that cannot be trusted, or is gone, is left as it is, and its verdict says so; the others go on.

    Raises:
        DrystoneError: A living snapshot could not be read: nothing may be taken for dead, and nothing was written. Or
            the store cannot be reached or is full: what was written is garbage of its attempts.
    """
    living = Living.open(store, job.living)
    verdicts = []
    for number, target in enumerate(job.packs):
        report(number, len(job.packs))
        try:
            pack = open_pack(store, target.object)
        except UNTRUSTED as error:
            # Also one that is gone: it must not keep the others from being written again.
            verdicts.append(PackVerdict(object=target.object, fault=str(error)))
            continue
        # Not within a `try`: a map that cannot be read stops everything (L7).
        mask = living.mask(pack.index)
        try:
            verdicts.append(_one(job, store, pack, mask, target, rng))
        except UNTRUSTED as error:
            verdicts.append(PackVerdict(object=target.object, fault=str(error)))
    return CompactResult(packs=tuple(verdicts))


def _one(
    job: CompactJob, store: Store, pack: OpenPack, mask: npt.NDArray[np.bool_], target: PackTarget, rng: RandomBits
) -> PackVerdict:
    plan = plan_compaction(pack.index, mask)
    blocks = int(np.count_nonzero(~pack.index.dead))
    verdict = PackVerdict(object=pack.object, blocks=blocks, dead_blocks=plan.blocks, dead_bytes=plan.bytes)
    if plan.nothing_lives or not plan.worth_it(job.dead_percent):
        return verdict
    salt = rng.getrandbits(_SALT_BITS).to_bytes(_SALT_BITS // 8, "little")
    noting = Noting(inner=store.objects)
    size = rewrite_pack(replace(store, objects=noting), pack, plan.dead, target.attempt, salt)
    header = pack.index.header
    name = store.pack_name(header.session, header.pack, target.attempt)
    return msgspec.structs.replace(verdict, new_object=name, new_bytes=size, new_version=noting.versions.get(name))

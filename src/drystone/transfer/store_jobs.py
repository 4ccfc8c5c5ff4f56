"""What workers are asked about a store, and what they answer: what is dead, what is whole, what can be mended."""

import msgspec

from drystone.domain.ids import PackId, SessionId, SnapshotId
from drystone.snapstore.space import Member
from drystone.transfer.addresses import Look, StoreAddress


class DeathsJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="deaths"):
    """Count what dies with a snapshot (L4)."""

    store: StoreAddress
    manifest: str
    """The snapshot that goes."""
    near: tuple[str, ...]
    """Manifests of the nearest living snapshots, through ghosts only."""
    candidate_maps: tuple[str, ...] | None = None
    """Only addresses of these maps can die; None looks at all of the snapshot."""


class DeathsResult(msgspec.Struct, frozen=True, kw_only=True, tag="died"):
    """Dead blocks by pack id, and the stored bytes that they hold: an even share of their frames."""

    blocks_by_pack: dict[str, int]
    """Exact."""
    bytes_by_pack: dict[str, int]
    """0 where the pack's index cannot be read."""
    doubtful_packs: tuple[PackId, ...] = ()
    """Packs of which that is true."""
    fault: str = ""
    """A map or manifest that cannot be trusted, so that nobody can say what dies; then nothing is counted."""
    near_missing: bool = False
    """The fault is a neighbour's manifest that is not there: a deletion may just have removed it."""


class CollectJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="collect"):
    """Find which packs have no living block left (L7); deleting them is the service's business."""

    store: StoreAddress
    packs: tuple[str, ...]
    living: tuple[str, ...]
    """Manifests of every living snapshot, of all disks (a clone of a clone may see a block, too)."""


class CollectResult(msgspec.Struct, frozen=True, kw_only=True, tag="collected"):
    """Object names of the packs that are dead, and what is wrong with those that could not be judged: they stay."""

    dead: tuple[str, ...]
    faults: dict[str, str] = {}


class PackTarget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pack's object, and the attempt (32 hex digits) that names the one to be written in its place."""

    object: str
    attempt: str


class CompactJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="compact"):
    """Write packs again without their dead blocks (L8); what refers to them is the service's business."""

    store: StoreAddress
    packs: tuple[PackTarget, ...]
    """Which, and the names of the new objects."""
    living: tuple[str, ...]
    """Manifests of every living snapshot, of all disks."""
    dead_percent: int
    """Only packs of which at least this share of the stored bytes is dead are written again."""


class PackVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """What was found, and done, about one pack."""

    object: str
    """The object that was looked at."""
    blocks: int = 0
    """Blocks that it holds: those not dropped before."""
    dead_blocks: int = 0
    """Those of them that no living snapshot sees."""
    dead_bytes: int = 0
    """Their share of the stored frames."""
    new_object: str | None = None
    """The object written and verified in its place; None if none was."""
    new_bytes: int = 0
    new_version: str | None = None
    """Its version, where the store gave one (S274)."""
    fault: str = ""
    """Why nothing was done, if that is because the pack cannot be trusted or read."""


class CompactResult(msgspec.Struct, frozen=True, kw_only=True, tag="compacted"):
    """One verdict for each pack, in the order asked."""

    packs: tuple[PackVerdict, ...]


class SpaceJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="space"):
    """Tell what snapshots hold alone and together (L13), from the delta maps of their whole trees."""

    store: StoreAddress
    nodes: tuple[Member, ...]
    """Whole trees: every node's parent is among them, or None."""
    packs: tuple[tuple[PackId, SessionId, str], ...] = ()
    """(pack, its session, the object in force) of packs whose object is known: they are not looked for."""


class SnapshotSpace(msgspec.Struct, frozen=True, kw_only=True):
    """Stored bytes that a snapshot shows: `unique` to nobody else, `shared` with others that live."""

    snapshot: SnapshotId
    unique_bytes: int
    shared_bytes: int


class SpaceResult(msgspec.Struct, frozen=True, kw_only=True, tag="space-told"):
    """Each living snapshot, and what deleting all that was chosen makes dead: blocks and stored bytes by pack id."""

    snapshots: tuple[SnapshotSpace, ...]
    dead_blocks_by_pack: dict[str, int]
    dead_bytes_by_pack: dict[str, int]


class ScrubJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="scrub"):
    """Read objects whole and prove every byte that matters."""

    store: StoreAddress
    packs: tuple[str, ...] = ()
    maps: tuple[str, ...] = ()
    manifests: tuple[str, ...] = ()
    living: tuple[str, ...] = ()
    """Manifests of all living snapshots: then a damaged pack is told snapshot by snapshot."""
    bytes_per_s: int = 0
    """Most bytes read per second; 0 is no limit."""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """An object that is not what was written."""

    object: str
    reason: str
    manifest: str | None = None
    """The snapshot that it hides something of, if that was asked for."""
    ranges: tuple[tuple[int, int], ...] | None = None
    """What it hides (a little more, if these would be very many); None is everything."""


class ScrubResult(msgspec.Struct, frozen=True, kw_only=True, tag="scrubbed"):
    """Objects that are whole, and what is wrong with others; what could not be reached is in neither.

    Of a damaged pack in `unsure` nobody can say that no snapshot shows what it hides: one could not be read.
    """

    whole: tuple[str, ...]
    faults: tuple[Fault, ...]
    read_bytes: int
    unsure: tuple[str, ...] = ()


class MendJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="mend"):
    """Write a damaged pack again, its bad blocks taken from disks that still hold them (L12)."""

    store: StoreAddress
    pack: str
    attempt: str
    """Part of the new object's name: 32 hex digits."""
    disks: tuple[Look, ...]
    """Running disks; what they hold is believed only if its hash is the block's."""


class MendResult(msgspec.Struct, frozen=True, kw_only=True, tag="mended"):
    """The new object, read back and proven; None if nothing could be mended, and nothing was written."""

    object: str | None
    bytes: int
    mended_blocks: int
    lost_blocks: int
    version: str | None = None
    """Of the new object, where the store gave one (S274)."""

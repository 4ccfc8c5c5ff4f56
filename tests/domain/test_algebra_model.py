"""The algebra decides a random model: no violation as it is, and each planted mistake is found.

`DRYSTONE_MODEL_SEED=n` replays one history exactly; `DRYSTONE_MODEL_HISTORIES=n` runs as many.
"""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from drystone.domain import lineage, settling, tracking
from drystone.domain.ids import SnapshotId
from drystone.domain.lineage import Node, NodeState, SessionState, Tree
from drystone.domain.settling import DaemonPlan
from drystone.domain.tracking import FrozenBase, Tracking, TrackingState

from .algebra_model import Disk, Rules, Task, ViolationError, World

STEPS = 300
HISTORIES = int(os.environ.get("DRYSTONE_MODEL_HISTORIES", "300"))
HISTORIES_TO_FIND = 3000


def history(seed: int, rules: Rules, *, leaks: bool = True) -> World:
    """Run one history; a failure says how to replay it."""
    world = World(seed, rules, leaks=leaks)
    try:
        for _ in range(STEPS):
            world.step()
        world.check_snapshots()
    except (ViolationError, AssertionError, KeyError) as error:
        error.add_note(f"replay: DRYSTONE_MODEL_SEED={seed}, step {len(world.trace)}, last: {world.trace[-12:]}")
        raise
    return world


def test_the_algebra_holds() -> None:
    one = os.environ.get("DRYSTONE_MODEL_SEED")
    seeds = [int(one)] if one else range(HISTORIES)
    events: Counter[str] = Counter()
    for seed in seeds:
        events.update(history(seed, Rules()).events)
    if one or HISTORIES < 100:
        return
    for event in (
        "base moved during a snapshot",
        "became a ghost",
        "carry-over merged",
        "checkpoint accepted",
        "checkpoint refused",
        "committed after its base was deleted",
        "committed and still LOST",
        "committed late",
        "committed late, the base moved",
        "comparison in vain",
        "delta committed",
        "delta with carry-over committed",
        "had dead blocks",
        "had near nodes",
        "healed in place",
        "hydrated",
        "lie found",
        "merged back",
        "old row came back",
        "pruned",
        "read a deleted snapshot",
        "rescan committed",
        "rolled back",
        "rolled back to a deleted target",
        "started after an unnoticed crash",
        "stopped",
        "sent from the spool",
        "verdict RESUME",
    ):
        assert events[event] >= 3, f"the model hardly ever gets to: {event} ({events})"


def test_a_seed_replays_exactly() -> None:
    first, second = history(11, Rules()), history(11, Rules())
    assert first.trace == second.trace
    assert [disk.data for disk in first.disks.values()] == [disk.data for disk in second.disks.values()]
    assert first.store == second.store
    assert first.events == second.events


# --- planted mistakes ---


def _carry_forgotten(row: Tracking, _deleted: SnapshotId, new_base: SnapshotId | None, _maps: Any) -> Tracking:
    return replace(row, base=new_base)


def _merge_forgotten(*args: Any, **kwargs: Any) -> DaemonPlan:
    plan = settling.judge_daemon(*args, **kwargs)
    return replace(plan, merge=None, remove=(*plan.remove, plan.merge[1])) if plan.merge else plan


def _bare_name(_epoch: int, _base: Any, snapshot: SnapshotId | None = None) -> str:
    return snapshot or "live"


def _opened_anyhow(row: Tracking, checkpoint: tracking.Checkpoint | None, *, bitmap: str) -> Tracking:
    if checkpoint is None:
        return tracking.opened(row, None, bitmap=bitmap)
    stopped = replace(row, state=TrackingState.STOPPED, bitmap=None)
    return tracking.opened(stopped, replace(checkpoint, epoch=row.epoch), bitmap=bitmap)


def _exists(_row: Tracking, _disk: Any, checkpoint: tracking.Checkpoint | None, _identity: Any) -> str | None:
    return "no checkpoint" if checkpoint is None else None


def _file_ignored(row: Tracking, disk: Any, checkpoint: tracking.Checkpoint | None, _identity: Any) -> str | None:
    return tracking.checkpoint_fault(row, disk, checkpoint, checkpoint.identity if checkpoint else None)


def _newest_by_time(world: World, disk: Disk, freeze: FrozenBase) -> SnapshotId | None:
    own = [s.id for s in world.snaps.values() if s.disk == disk.id and s.state is NodeState.NORMAL]
    return own[-1] if own else freeze.base


def _near_without_ghosts(tree: Tree, snapshot: SnapshotId) -> frozenset[SnapshotId]:
    """The nearest living ancestor, and the living nodes whose nearest living ancestor this is."""

    def above(at: SnapshotId) -> SnapshotId | None:
        up = tree.nodes[at].parent
        while up is not None and not lineage.living(tree.nodes[up]):
            up = tree.nodes[up].parent
        return up

    parent = above(snapshot)
    living = {node.id for node in tree.nodes.values() if lineage.living(node)}
    below = {s for s in living if above(s) == snapshot}
    return frozenset(below | ({parent} if parent else set()))


def _carry_dropped(row: Tracking, bitmap: str | None) -> Tracking:
    return replace(tracking.failed(row, bitmap), carry=frozenset())


def _always_heals(row: Tracking, freeze: FrozenBase, snapshot: SnapshotId, *, live: bool = True) -> Tracking:
    row = replace(row, state=TrackingState.LOST, carry=frozenset())
    return tracking.committed(row, replace(freeze, lost=True), snapshot, live=True)


def _late_without_delta(row: Tracking, freeze: FrozenBase, snapshot: SnapshotId, _delta: str | None) -> Tracking:
    return replace(row, base=snapshot if row.base == freeze.base else row.base)


def _late_as_in_time(row: Tracking, _freeze: FrozenBase, snapshot: SnapshotId, _delta: str | None) -> Tracking:
    return replace(row, base=snapshot, carry=frozenset())


def _late_on_any_base(row: Tracking, freeze: FrozenBase, snapshot: SnapshotId, delta: str | None) -> Tracking:
    return tracking.committed_late(row, replace(freeze, base=row.base), snapshot, delta)


def _spooled_keeps_nothing(*args: Any, **kwargs: Any) -> DaemonPlan:
    plan, flight = settling.judge_daemon(*args, **kwargs), args[2]
    if plan.verdict is settling.Verdict.SEND and flight.freeze.old_bitmap in (args[1] or {}):
        return replace(plan, remove=(*plan.remove, flight.freeze.old_bitmap), lost=None)
    return plan


def _old_comparison(row: Tracking, *, base: Any, bitmap: Any, extents: str | None) -> Tracking | None:
    return tracking.rescanned(row, base=row.base, bitmap=row.bitmap or "", extents=extents)


def _path_of_the_living(tree: Tree, base: SnapshotId | None, target: SnapshotId | None) -> frozenset[str] | None:
    maps = lineage.path_delta_maps(tree, base, target)
    ghosts = {node.delta_map for node in tree.nodes.values() if node.state is NodeState.GHOST}
    return None if maps is None else maps - ghosts


def _merged_away(row: Tracking, parts: Any, _extents: str) -> Tracking:
    return replace(row, carry=row.carry - frozenset(parts))


def _no_pins(node: Node) -> bool:
    return node.state is NodeState.DELETING


def _commits_fenced(_session: SessionState, snapshot: NodeState) -> bool:
    return snapshot is NodeState.CREATING


PLANTED: dict[str, tuple[Rules, set[str]]] = {
    "the base moves without its delta map": (Rules(base_deleted=_carry_forgotten), {"A1", "restore"}),  # A5
    "the base does not move": (Rules(base_deleted=lambda row, *_: row), {"base"}),
    "the merge of a failed snapshot is forgotten": (Rules(judge=_merge_forgotten), {"A1", "restore"}),  # A4
    "the new bitmap is cleared at commit": (Rules(clear_at_commit=True), {"A1", "restore"}),  # A3
    "a checkpoint is kept and used twice": (
        # A10, F4
        Rules(consume_checkpoint=False, checkpoint_fault=_exists, opened=_opened_anyhow),
        {"A1", "restore"},
    ),
    "a checkpoint of another file is accepted": (Rules(checkpoint_fault=_file_ignored), {"A1", "restore"}),  # S5
    "the base is set before the rollback's end": (Rules(rollback_base_first=True), {"A1"}),  # A8, S6
    "a rollback's plan leaves ghosts out": (Rules(path_maps=_path_of_the_living), {"A1", "restore"}),  # A8
    "the parent is the newest by time": (Rules(parent=_newest_by_time), {"A1", "restore"}),  # L2
    "death forgets the ghosts": (Rules(near=_near_without_ghosts), {"restore"}),  # F1, L4
    "blocks are shared with any older snapshot": (Rules(dedup_anywhere=True), {"restore"}),  # L3
    "the old bitmap is disabled before the new one is added": (
        Rules(swap=("disable", "add", "reopen")),
        {"A1", "restore"},
    ),
    "the new bitmap is added after the freeze": (Rules(swap=("reopen", "add", "disable")), {"A1", "restore"}),  # A2
    "the old bitmap is disabled before the freeze": (Rules(swap=("add", "disable", "reopen")), {"restore"}),
    "the carry-over is trimmed and read as zeros": (Rules(trim_keeps_carry=False), {"restore", "A1"}),  # F2
    "the carry-over is dropped at a failure": (Rules(failed=_carry_dropped), {"A1", "restore"}),
    "merging the carry-over loses it": (Rules(carry_merged=_merged_away), {"A1", "restore"}),
    "a session does not pin what it reads": (Rules(may_become_ghost=_no_pins), {"restore"}),  # F7, S12
    "a fenced session commits": (Rules(may_commit=_commits_fenced), {"restore"}),  # L6
    "a delta heals tracking that was lost under way": (Rules(committed=_always_heals), {"A1", "restore"}),
    "a late snapshot becomes the base without its delta": (  # A13
        Rules(committed_late=_late_without_delta),
        {"A1", "restore"},
    ),
    "a late snapshot becomes the base of a disk that has another": (  # A13
        Rules(committed_late=_late_on_any_base),
        {"A1", "restore"},
    ),
    "a late snapshot is taken for one in time": (Rules(committed_late=_late_as_in_time), {"A1", "restore"}),  # A13
    "the old bitmap goes with the view": (Rules(judge=_spooled_keeps_nothing), {"A1", "restore"}),  # A13
    "the bitmap of a comparison starts after it": (Rules(scan_before_bitmap=True), {"A1", "restore"}),  # A6, S26
    "a comparison with an older base is taken": (Rules(rescanned=_old_comparison), {"A1", "restore"}),
    "names of bitmaps lack epoch and base": (Rules(bitmap_name=_bare_name), {"A1", "restore"}),  # A11
}


def run(rules: Rules, histories: int) -> None:
    for seed in range(histories):
        history(seed, rules, leaks=False)


@pytest.mark.parametrize("mistake", PLANTED)
def test_a_planted_mistake_is_found(mistake: str) -> None:
    rules, kinds = PLANTED[mistake]
    with pytest.raises(ViolationError) as found:
        run(rules, HISTORIES_TO_FIND)
    assert found.value.kind in kinds


# --- every cut point of short scripts ---

CRASHES = ("control_crash", "daemon_crash", "power_cut")


def _finish(world: World, disk: Disk, task: Task) -> None:
    disk.task = task
    while disk.task is not None:
        world.act("advance", disk)


def _until_committed(world: World, disk: Disk, wanted: int) -> None:
    """Take over, start and snapshot, whatever is needed, until that many snapshots are NORMAL."""
    for _ in range(400):
        if disk.task is None:
            if len(world.normal()) >= wanted and disk.judged and disk.op is None and disk.rollback is None:
                return
            if not disk.judged or disk.op or disk.rollback:
                disk.task = world.take_over(disk)
            elif disk.daemon is None:
                disk.task = world.start_task(disk)
            else:
                disk.task = world.snapshot_task(disk)
        world.act("advance", disk)
        world.act("guest_write", disk)
    pytest.fail("no snapshot after 400 steps")


def _prepared(script: str, seed: int) -> tuple[World, Disk, Task]:
    """A disk with two snapshots and writes since, and the task to be cut."""
    world = World(seed, Rules())
    disk = next(iter(world.disks.values()))
    _until_committed(world, disk, 2)
    world.act("guest_write", disk)
    if script in {"carry", "stop of a carry"}:
        world.act("delete", disk)
        world.act("guest_write", disk)
    if script in {"start", "rollback"}:
        _finish(world, disk, world.stop_task(disk))
    if script in {"rescan", "rescan in place"}:
        world.act("daemon_crash", disk)
        disk.task, disk.judged = None, True
        _finish(world, disk, world.start_task(disk))
        world.act("guest_write", disk)
    tasks: dict[str, Callable[[Disk], Task]] = {
        "delta": world.snapshot_task,
        "carry": world.snapshot_task,
        "rescan": world.snapshot_task,
        "rescan in place": world.rescan_task,
        "stop": world.stop_task,
        "stop of a carry": world.stop_task,
        "start": world.start_task,
        "rollback": lambda disk: world.rollback_task(disk, world.normal()[0]),
    }
    return world, disk, tasks[script](disk)


@pytest.mark.parametrize("crash", CRASHES)
@pytest.mark.parametrize(
    "script", ["delta", "carry", "rescan", "rescan in place", "stop", "stop of a carry", "start", "rollback"]
)
def test_a_crash_at_every_arrow(script: str, crash: str) -> None:
    """Cut the task after each arrow, and the take-over that follows after each of its arrows; then go on."""
    for cut in range(40):
        ended = False
        for second_cut in range(8):
            world, disk, task = _prepared(script, 0)
            disk.task = task
            for _ in range(cut):
                world.act("advance", disk)
                world.act("guest_write", disk)
                ended = ended or disk.task is None
            world.act(crash, disk)
            world.forget(disk)
            world.act("guest_write", disk)
            disk.task = world.take_over(disk)
            for _ in range(second_cut):
                if disk.task is not None:
                    world.act("advance", disk)
                    world.act("guest_write", disk)
            world.act("control_crash", disk)
            _until_committed(world, disk, len(world.normal()) + 1)
            world.check_snapshots()
        if ended:
            break
    else:
        pytest.fail("the task did not end in 40 arrows")

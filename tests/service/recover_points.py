"""Every cut of a recovery and a reconciliation: `python -m tests.service.recover_points`.

A child process runs the real command on real files, and kills itself (SIGKILL) before one change of the data directory
or the store after the other: each file opened for writing, renamed, linked or removed, each flush, each transaction.
Then what is left is looked at, the command is run again, and what must hold in the end is looked at. Each planted bug
must be found.
"""

import contextlib
import importlib
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from drystone.catalog import disks, meta, packs, snapshots
from drystone.catalog.database import Database
from drystone.catalog.sqlite import SqliteDatabase
from drystone.domain.errors import DrystoneError
from drystone.domain.ids import SnapshotId
from drystone.domain.snapshot import SnapshotState
from drystone.domain.tracking import TrackingState
from drystone.server.store_opening import StartError
from drystone.service.rows import troubles
from drystone.service.transactions import Transactions
from drystone.service.upkeep import epoch
from drystone.snapstore.claims import claimed_epoch
from drystone.snapstore.deletion import delete_manifest
from drystone.snapstore.reader import SnapshotReader
from tests.claims import owner_of
from tests.service.crash_points import quick_directory
from tests.service.hunt import hunt
from tests.service.test_recovery import DISK, NOW, World

_module: Callable[[str], Any] = importlib.import_module
# As things to be tampered with, whatever they export.
maintenance, recovery = _module("drystone.offline.maintenance"), _module("drystone.service.upkeep.recovery")
CUTS_MAX = 400
_CHANGES = frozenset({"os.rename", "os.remove", "os.symlink", "os.link", "os.mkdir", "os.rmdir", "os.truncate"})
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CUT, _DONE, _FAILED = "cut", "done", "failed"
_NEVER = 1 << 30


@dataclass(kw_only=True)
class Scene:
    """A directory to begin with, and what is known of it."""

    world: World
    kept: Path
    """A copy of everything as it is before the command."""
    empty: Path
    """A catalog without rows: making one takes longer than all the rest."""
    truth: dict[str, bytes]
    objects: dict[str, bytes] = field(default_factory=dict)
    before: bytes = b""
    """The catalog from before."""
    bucket: Path | None = None
    """Where the store is, if not in the data directory."""
    runs: int = 0

    def reset(self) -> None:
        root = self.world.data.parent
        for entry in root.iterdir():
            if entry != self.kept:
                shutil.rmtree(entry)
        shutil.copytree(self.kept, root, symlinks=True, dirs_exist_ok=True)


# --- commands -------------------------------------------------------------------------------------------------------


class Outside:
    """The world outside of a command; each run is a minute later."""

    def __init__(self, scene: Scene) -> None:
        at = NOW + 60 * scene.runs
        self.clock = lambda: at
        self.rng = scene.world.rng
        self.on_progress = scene.world.on_progress


def recover(scene: Scene) -> None:
    try:
        maintenance.recover(scene.world.data, scene.bucket, None, Outside(scene))
    except StartError as error:
        if "is there already" not in str(error):
            raise


def reconcile(scene: Scene) -> None:
    maintenance.reconcile_catalog(scene.world.data, Outside(scene))


@dataclass(frozen=True, kw_only=True)
class Script:
    """A command, and what it meets."""

    name: str
    prepare: Callable[[World], Path | None]
    """Returns where the store is, if not in the data directory."""
    act: Callable[[Scene], None]
    complete: str
    """In which order it becomes true: `catalog` by its file, `epoch` by its epoch."""


def lost(_world: World) -> None:
    return None


def lost_with_a_bucket(world: World) -> Path:
    bucket = world.data.parent / "bucket"
    world.layout.store.rename(bucket)
    return bucket


def from_before(world: World) -> None:
    """A catalog that lacks two snapshots, and has one that was deleted since."""
    world.recover()
    with contextlib.closing(world.open()) as db:
        db.write_sync(lambda conn: meta.remove(conn, troubles.HELD))  # somebody has confirmed that recovery
    world.take()
    world.take()
    gone = world.name(1)
    row = world.row(gone)
    assert row is not None
    assert row.session_id is not None
    delete_manifest(world.store, gone, row.session_id)
    del world.disks[gone]


SCRIPTS = (
    Script(name="recover", prepare=lost, act=recover, complete="catalog"),
    Script(name="recover from a bucket", prepare=lost_with_a_bucket, act=recover, complete="catalog"),
    Script(name="reconcile", prepare=from_before, act=reconcile, complete="epoch"),
)


@contextlib.contextmanager
def built(script: Script) -> Iterator[Scene]:
    """Make what a script begins with."""
    with quick_directory() as place:
        root = place / "root"
        root.mkdir()
        world = World(root / "data")
        bucket = script.prepare(world)
        kept = root / ".kept"
        shutil.copytree(root, place / "copy", symlinks=True)
        (place / "copy").rename(kept)
        SqliteDatabase.open(place / "empty.db").close()
        scene = Scene(world=world, kept=kept, empty=place / "empty.db", truth=dict(world.disks), bucket=bucket)
        scene.objects = objects(scene)
        if world.layout.catalog.exists():
            scene.before = told(world.layout.catalog)
        with made_quickly(scene):
            yield scene


@contextlib.contextmanager
def made_quickly(scene: Scene) -> Iterator[None]:
    """Have new catalogs begin as copies of an empty one."""
    real = SqliteDatabase.open

    def opened(where: Any) -> Database:
        if not Path(where).exists():
            shutil.copyfile(scene.empty, where)
        return real(where)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(SqliteDatabase, "open", opened)
        yield


def objects(scene: Scene) -> dict[str, bytes]:
    """Every object but claims, and the mark, which a command may change."""
    root = scene.bucket or scene.world.layout.store
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.name != "owner" and path.parent.name != "epochs" and ".temporary" not in path.parts
    }


def told(catalog: Path) -> bytes:
    """What a catalog says of snapshots and disks."""
    with contextlib.closing(SqliteDatabase.open(catalog)) as db:
        return db.read_sync(
            lambda conn: repr((snapshots.everything(conn), disks.everything(conn), packs.everything(conn))).encode()
        )


# --- cutting --------------------------------------------------------------------------------------------------------


def killed_at(scene: Scene, script: Script, cut: int, plant: Callable[[pytest.MonkeyPatch], None] | None) -> str:
    """Run a command in a child that kills itself before its change number `cut`; tell how it ended."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _in_the_child(scene, cut)
            if plant is not None:
                plant(pytest.MonkeyPatch())
            script.act(scene)
            status = 0
        except BaseException:  # noqa: BLE001 - told by the status; nothing may run on in the child
            traceback.print_exc()
        finally:
            os._exit(status)
    _, ended = os.waitpid(child, 0)
    if os.WIFSIGNALED(ended) and os.WTERMSIG(ended) == signal.SIGKILL:
        return _CUT
    return _DONE if ended == 0 else _FAILED


def _in_the_child(scene: Scene, cut: int) -> None:
    left = cut
    root = str(scene.world.data.parent)

    def change() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def audited(event: str, given: tuple[Any, ...]) -> None:
        if event == "open":
            if not isinstance(given[2], int) or not given[2] & _WRITING:
                return
        elif event not in _CHANGES:
            return
        paths = [os.fsdecode(one) for one in given[:2] if isinstance(one, str | bytes | os.PathLike)]
        # A path that is not absolute is one beside a directory that is open: of the store.
        if any(path.startswith(root) or not path.startswith("/") for path in paths):
            change()

    real_fsync, real_write = os.fsync, SqliteDatabase.write_sync

    def fsync(file: Any) -> None:
        change()
        real_fsync(file)

    def write_sync(self: SqliteDatabase, fn: Callable[[Connection], Any]) -> Any:
        change()
        done = real_write(self, fn)
        change()
        return done

    patched = pytest.MonkeyPatch()
    patched.setattr(os, "fsync", fsync)
    patched.setattr(SqliteDatabase, "write_sync", write_sync)
    sys.addaudithook(audited)


def enumerate_cuts(
    script: Script,
    scene: Scene,
    plant: Callable[[pytest.MonkeyPatch], None] | None = None,
    *,
    step: int = 1,
    first: int = 0,
) -> int:
    """Kill a command before each of its changes; return how many there are.

    Raises:
        AssertionError, DrystoneError: Something does not hold.
    """
    for cut in range(first, CUTS_MAX, step):
        scene.reset()
        ended = killed_at(scene, script, cut, plant)
        try:
            assert ended != _FAILED, "the command failed"
            holds_after_a_cut(script, scene, done=ended == _DONE)
            scene.runs += 1
            if ended == _CUT:
                assert killed_at(scene, script, _NEVER, plant) == _DONE, "run again, the command failed"
            holds_in_the_end(script, scene)
        except BaseException as error:
            error.add_note(f"{script.name}, cut {cut}")
            raise
        if ended == _DONE:
            return cut
    raise AssertionError(f"{script.name} never came to its end")


# --- what must hold -------------------------------------------------------------------------------------------------


def holds_after_a_cut(script: Script, scene: Scene, *, done: bool) -> None:
    """A catalog that has its name is whole; one that was there is the old one or the new one, never between."""
    assert objects(scene) == scene.objects, "the store's objects were touched"
    catalog = scene.world.layout.catalog
    if script.complete == "catalog":
        if catalog.exists():
            whole(scene)
        else:
            assert not done
        return
    with contextlib.closing(SqliteDatabase.open(catalog)) as db:
        ours = db.read_sync(epoch.current)
    if ours < claimed_epoch(scene.world.store):
        assert told(catalog) == scene.before, "the catalog is neither the old one nor the new one"
    else:
        whole(scene)


def holds_in_the_end(script: Script, scene: Scene) -> None:
    """Everything is back, and nothing is left over."""
    whole(scene)
    assert objects(scene) == scene.objects
    layout = scene.world.layout
    assert not layout.catalog.with_name(maintenance.UNFINISHED).exists()
    with contextlib.closing(SqliteDatabase.open(layout.catalog)) as db:
        assert db.read_sync(epoch.current) >= claimed_epoch(scene.world.store)
    if script.complete == "epoch":
        copies = list(layout.backups.glob("*before-reconcile*"))
        assert any(told(copy) == scene.before for copy in copies), "no copy of the catalog as it was"
    if scene.bucket is not None:
        assert layout.store.is_symlink()
        assert layout.store.resolve() == scene.bucket.resolve()


def whole(scene: Scene) -> None:
    """The catalog has every snapshot and the disk, owns the store, and deletes nothing before somebody confirms."""
    world = scene.world
    with contextlib.closing(SqliteDatabase.open(world.layout.catalog)) as db:
        normal = db.read_sync(lambda conn: snapshots.in_states(conn, [SnapshotState.NORMAL]))
        disk = db.read_sync(lambda conn: disks.get(conn, DISK))
        facts: Mapping[str, str] = db.read_sync(meta.everything)
        rows = db.read_sync(packs.everything)
    assert {row.id for row in normal} == {SnapshotId(name) for name in scene.truth}
    for row in normal:
        assert row.manifest is not None
        reader = SnapshotReader.open(world.store, row.manifest)
        assert bytes(reader.read(0, reader.size_bytes)) == scene.truth[row.id]
    assert disk is not None
    assert disk.tracking is TrackingState.LOST
    assert disk.base_snapshot_id == max(scene.truth)
    assert facts[epoch.OWNER] == owner_of(world.store), "the catalog does not own its store"
    assert int(facts[epoch.KEY]) >= claimed_epoch(world.store)
    assert facts.get(troubles.HELD), "deletion is not held back"
    assert {row.object for row in rows} == {name for name in scene.objects if "/packs/" in name}


# --- planted bugs ---------------------------------------------------------------------------------------------------

_PARTS: list[Path] = []


def named_first(patched: pytest.MonkeyPatch) -> None:
    """The new catalog gets its name before it owns the store."""
    real, rebuilt = maintenance.hold, maintenance._rebuilt

    def rebuild(part: Path, *given: Any) -> Any:
        _PARTS.append(part)
        return rebuilt(part, *given)

    def claim(*given: Any, **named: Any) -> None:
        (part,) = (path for path in _PARTS if path.exists())
        shutil.copyfile(part, part.with_name("catalog.db"))
        real(*given, **named)

    patched.setattr(maintenance, "_rebuilt", rebuild)
    patched.setattr(maintenance, "hold", claim)


def epoch_first(patched: pytest.MonkeyPatch) -> None:
    """A reconciliation's epoch is committed before its rows."""
    real = Transactions.change_sync

    def change(self: Transactions, record: Any) -> Any:
        if getattr(record, "__qualname__", "").startswith("reconcile_catalog"):
            real(self, lambda change: meta.put(change.conn, epoch.KEY, "99"))
        return real(self, record)

    patched.setattr(Transactions, "change_sync", change)


def held_later(patched: pytest.MonkeyPatch) -> None:
    """That deletion is held back is committed after the rows."""
    real, hold = SqliteDatabase.write_sync, recovery.hold
    waiting: list[str] = []
    patched.setattr(recovery, "hold", lambda _conn, reason: waiting.append(reason))

    def write(self: SqliteDatabase, fn: Any) -> Any:
        done = real(self, fn)
        for reason in waiting:
            real(self, lambda conn, reason=reason: hold(conn, reason))  # type: ignore[misc]
        waiting.clear()
        return done

    patched.setattr(SqliteDatabase, "write_sync", write)


def copied_after(patched: pytest.MonkeyPatch) -> None:
    """The copy of the old catalog is made when it is the new one."""
    real = maintenance.hold
    late: list[Any] = []
    back_up = maintenance.back_up
    patched.setattr(maintenance, "back_up", lambda *given, **named: late.append((given, named)))

    def claim(*given: Any, **more: Any) -> None:
        for arguments, named in late:
            back_up(*arguments, **named)
        real(*given, **more)

    patched.setattr(maintenance, "hold", claim)


def link_after_the_name(patched: pytest.MonkeyPatch) -> None:
    """The catalog has its name before its store can be found."""
    link, replace = Path.symlink_to, Path.replace
    late: list[tuple[Path, Any]] = []

    def later(self: Path, target: Any) -> None:
        late.append((self, target))

    def renamed(self: Path, target: Any) -> Any:
        done = replace(self, target)
        if self.name == maintenance.UNFINISHED:
            for path, place in late:
                link(path, place)
        return done

    patched.setattr(Path, "symlink_to", later)
    patched.setattr(Path, "replace", renamed)


def link_made_twice(patched: pytest.MonkeyPatch) -> None:
    """The link to the bucket is made whatever is there."""
    patched.setattr(Path, "is_symlink", lambda _self: False)


def bucket_cleaned(patched: pytest.MonkeyPatch) -> None:
    """What no snapshot that was found names is removed at once."""
    real = maintenance.hold

    def claim(store: Any, *given: Any, **named: Any) -> None:
        entry = next(iter(store.objects.list(store.name("packs", ""))))
        store.objects.delete(entry.name)
        real(store, *given, **named)

    patched.setattr(maintenance, "hold", claim)


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A bug of the order in which things become durable."""

    name: str
    script: str
    plant: Callable[[pytest.MonkeyPatch], None]


PLANTED = (
    Planted(name="the catalog has its name before it owns the store", script="recover", plant=named_first),
    Planted(name="a recovery deletes", script="recover", plant=bucket_cleaned),
    Planted(name="the link after the name", script="recover from a bucket", plant=link_after_the_name),
    Planted(name="the link is made twice", script="recover from a bucket", plant=link_made_twice),
    Planted(name="the epoch before the rows", script="reconcile", plant=epoch_first),
    Planted(name="deletion is held back later", script="reconcile", plant=held_later),
    Planted(name="the copy after the change", script="reconcile", plant=copied_after),
)


def find(planted: Planted) -> str | None:
    """Return how a planted bug shows, None if it does not."""
    script = next(one for one in SCRIPTS if one.name == planted.script)
    with built(script) as scene:
        try:
            enumerate_cuts(script, scene, planted.plant)
        except (AssertionError, DrystoneError) as error:
            where = " ".join(getattr(error, "__notes__", ()))
            return f"{where}: {str(error).splitlines()[0][:100] if str(error) else type(error).__name__}"
    return None


def _cuts(script: Script) -> int:
    with built(script) as scene:
        return enumerate_cuts(script, scene)


def main(arguments: Sequence[str] | None = None) -> int:
    """Enumerate all scripts, then hunt all planted bugs."""
    return hunt(
        arguments, program="tests.service.recover_points", description=__doc__, scripts=SCRIPTS, cuts=_cuts,
        planted=PLANTED, find=find,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())

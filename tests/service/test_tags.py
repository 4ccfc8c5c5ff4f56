"""Tags of disks and snapshots, and tags by themselves."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from drystone.catalog import snapshot_groups, unpublished
from drystone.domain.disk import DiskState
from drystone.domain.errors import Refusal
from drystone.domain.snapshot import SnapshotState
from drystone.domain.snapshot_group import SnapshotGroup, SnapshotGroupState
from drystone.service.calls import tags as tags_module
from drystone.service.calls.attributes import TAGS_MAX
from drystone.service.calls.tags import ResourceTags, changed_tags
from tests.service.records_world import NOW, OTHER, OWNER, World, caller, refusal, refused, run, with_accounts

pytestmark = pytest.mark.usefixtures("both_catalogs")
RED = (("team", "red"),)


class TagWorld:
    """A disk and a snapshot of each account, hidden ones beside them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.tags = ResourceTags(db=world.db, clock=lambda: NOW)
        world.disk("disk-a", tags=(("env", "test"), ("team", "blue")))
        world.disk("disk-b")
        world.disk("disk-hidden", state=DiskState.TERMINATING, tags=RED)
        world.disk("disk-other", account_id=OTHER, tags=(("secret", "x"),))
        world.snapshot("snap-a", tags=RED)
        world.snapshot("snap-gone", state=SnapshotState.DELETING, tags=(("old", "1"),))
        world.snapshot("snap-other", account_id=OTHER, tags=(("secret", "y"),))

    def change(self, *ids: str, **how: object) -> dict[str, str]:
        return {name: one.kind for name, one in run(self.tags.change(caller(), ids, **how)).items()}  # type: ignore[arg-type]

    def of(self, *ids: str) -> list[tuple[str, str, str]]:
        return list(run(self.tags.of(caller(), ids, offset=0, limit=100)).items)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[TagWorld]:
    with with_accounts(tmp_path / "catalog.db") as world:
        yield TagWorld(world)


@pytest.mark.parametrize(
    ("replaced", "deleted", "left"),
    [
        ((("a", "9"),), (), (("a", "9"), ("b", "2"))),
        ((("c", "3"),), ("a",), (("b", "2"), ("c", "3"))),
        ((), ("nothing",), (("a", "1"), ("b", "2"))),
        ((("c", ""),), ("a", "b"), (("c", ""),)),
    ],
)
def test_what_is_replaced_keeps_its_place(
    replaced: tuple[tuple[str, str], ...], deleted: tuple[str, ...], left: tuple[tuple[str, str], ...]
) -> None:
    assert changed_tags((("a", "1"), ("b", "2")), replaced, deleted) == left


def test_tags_of_a_disk_and_of_a_snapshot_change_and_are_published(made: TagWorld) -> None:
    """S360"""
    before = made.world.db.read_sync(lambda conn: unpublished.waiting(conn, 100))[-1].id
    assert made.change("disk-a", replace=(("team", "red"), ("owner", "ops")), delete=("env",)) == {}
    assert made.world.stored_disk("disk-a").tags == (("team", "red"), ("owner", "ops"))
    assert made.change("snap-a", replace=(("kind", "weekly"),)) == {}
    snapshot = made.world.stored_snapshot("snap-a")
    assert (snapshot.tags, snapshot.modified_at) == ((*RED, ("kind", "weekly")), NOW)
    noted = made.world.db.read_sync(lambda conn: unpublished.waiting(conn, 100, before))
    assert {one.resource_id for one in noted} == {"disk-a", "snap-a"}


def test_what_does_not_change_is_not_written(made: TagWorld) -> None:
    """S360"""
    before = made.world.stored_snapshot("snap-a")
    assert made.change("snap-a", replace=RED, delete=("absent",)) == {}
    assert made.world.stored_snapshot("snap-a") == before


def test_of_each_resource_all_or_nothing(made: TagWorld) -> None:
    """S360"""
    full = tuple((f"k{number}", "v") for number in range(TAGS_MAX))
    made.world.disk("disk-full", tags=full)
    assert refusal(made.tags.change(caller(), ["disk-full"], replace=(("k0", "w"), ("more", "v")))) == (
        Refusal.TOO_MANY_TAGS
    )
    assert made.world.stored_disk("disk-full").tags == full
    assert made.change("disk-full", "disk-b", "snap-a", replace=(("more", "v"),)) == {
        "disk-full": Refusal.TOO_MANY_TAGS
    }
    assert made.world.stored_disk("disk-full").tags == full
    assert made.world.stored_disk("disk-b").tags == (("more", "v"),)
    # One goes and one comes: that is no more than there may be.
    assert made.change("disk-full", replace=(("more", "v"),), delete=("k0",)) == {}


@pytest.mark.parametrize("name", ["disk-other", "disk-none", "disk-hidden", "snap-other", "snap-none", "snap-gone"])
def test_what_is_not_the_callers_is_as_if_it_were_not_there(made: TagWorld, name: str) -> None:
    """S361"""
    kind = Refusal.NO_SUCH_DISK if name.startswith("disk") else Refusal.NO_SUCH_SNAPSHOT
    one = refused(made.tags.change(caller(), [name], replace=RED))
    assert (one.kind, one.message) == (kind, f"There is no {'disk' if 'disk' in name else 'snapshot'} {name}.")
    assert made.of(name) == []
    assert run(made.tags.named(caller(), [name], ())) == {}
    assert made.change(name, "disk-b", replace=RED) == {name: kind}
    for stored in ("disk-other", "snap-other"):
        kept = made.world.stored_disk(stored) if stored.startswith("disk") else made.world.stored_snapshot(stored)
        assert kept.tags[0][0] == "secret"


def test_other_resources_have_no_tags(made: TagWorld) -> None:
    for name in ("ins-00000001", "qcs::cam::uin/1:x/y", "csnap-00000001", ""):
        assert refusal(made.tags.change(caller(), [name], replace=RED)) == Refusal.NO_SUCH_THING


@pytest.mark.parametrize(
    ("ids", "how", "kind"),
    [
        ([], {"replace": RED}, Refusal.MISSING),
        (["disk-a"], {}, Refusal.MISSING),
        (["disk-a"] * 11, {"replace": RED}, Refusal.TOO_MANY),
        (["disk-a"], {"replace": tuple((f"k{n}", "") for n in range(11))}, Refusal.LIMIT),
        (["disk-a"], {"delete": tuple(f"k{n}" for n in range(11))}, Refusal.LIMIT),
        (["disk-a"], {"replace": RED, "delete": ("team",)}, Refusal.NOT_TOGETHER),
        (["disk-a"], {"replace": (("", "v"),)}, Refusal.BAD_VALUE),
        (["disk-a"], {"replace": (*RED, *RED)}, Refusal.BAD_VALUE),
        (["disk-a"], {"replace": (("k\n", "v"),)}, Refusal.BAD_VALUE),
        (["disk-a"], {"replace": (("k" * 128, "v"),)}, Refusal.BAD_VALUE),
        (["disk-a"], {"replace": (("k", "v" * 256),)}, Refusal.BAD_VALUE),
    ],
)
def test_a_bad_change_changes_nothing(made: TagWorld, ids: list[str], how: dict[str, object], kind: Refusal) -> None:
    before = made.world.stored_disk("disk-a")
    assert refusal(made.tags.change(caller(), ids, **how)) == kind  # type: ignore[arg-type]
    assert made.world.stored_disk("disk-a") == before


def test_two_at_once_lose_nothing(made: TagWorld) -> None:
    """S360"""
    threads = [
        threading.Thread(target=made.change, args=("disk-b",), kwargs={"replace": ((f"k{number}", "v"),)})
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {key for key, _ in made.world.stored_disk("disk-b").tags} == {f"k{number}" for number in range(8)}


def test_pages_of_tags_of_resources(made: TagWorld) -> None:
    rows = [("disk-a", "env", "test"), ("disk-a", "team", "blue"), ("snap-a", "team", "red")]
    assert made.of("disk-a", "disk-b", "snap-a") == rows
    page = run(made.tags.of(caller(), ["disk-a", "snap-a"], offset=1, limit=1))
    assert (page.total, page.items) == (3, (rows[1],))
    assert refusal(made.tags.of(caller(), ["x"] * 51, offset=0, limit=1)) == Refusal.TOO_MANY
    assert refusal(made.tags.of(caller(), ["x"], offset=0, limit=1001)) == Refusal.BAD_VALUE


def test_resources_are_found_by_tags_in_pages(made: TagWorld) -> None:
    def ids(*filters: tuple[str, tuple[str, ...]], after: str = "", limit: int = 200) -> list[str]:
        return [one.resource_id for one in run(made.tags.find(caller(), filters, after=after, limit=limit))]

    made.world.snapshot("snap-b", tags=(("team", "blue"),))
    assert ids() == ["disk-a", "snap-a", "snap-b"]
    assert ids(("team", ("blue",))) == ["disk-a", "snap-b"]
    assert ids(("team", ("blue", "red")), ("env", ())) == ["disk-a"]
    pages, after = [], ""
    while page := ids(after=after, limit=1):
        pages += page
        after = page[-1]
    assert pages == ["disk-a", "snap-a", "snap-b"]
    assert run(made.tags.named(caller(), ["disk-a", "disk-b", "snap-a"], (("team", ("red",)),))) == {"snap-a": RED}
    assert refusal(made.tags.find(caller(), (("k", ()),) * 7, after="", limit=1)) == Refusal.BAD_VALUE
    assert refusal(made.tags.find(caller(), (), after="", limit=201)) == Refusal.BAD_VALUE


def test_known_tags_are_those_of_resources_and_those_made_by_name(made: TagWorld) -> None:
    """S362"""
    group = SnapshotGroup(
        id="csnap-a", account_id=OWNER, instance_id="", name="g", state=SnapshotGroupState.NORMAL,  # type: ignore[arg-type]
        tags=(("both", "1"),), operation_id="op-1", created_at=NOW, modified_at=NOW,  # type: ignore[arg-type]
    )  # fmt: skip
    made.world.db.write_sync(lambda conn: snapshot_groups.insert(conn, group))
    run(made.tags.create(caller(), "team", "green"))
    run(made.tags.create(caller(OTHER), "theirs", "1"))
    known = [("both", "1"), ("env", "test"), ("team", "blue"), ("team", "green"), ("team", "red")]
    page = run(made.tags.pairs(caller(), (), limit=100))
    assert (page.total, list(page.items)) == (5, known)
    assert list(run(made.tags.pairs(caller(), ("team",), after=("team", "blue"), limit=100)).items) == known[3:]
    assert list(run(made.tags.pairs(caller(), (), after=known[1], limit=2)).items) == known[2:4]
    assert list(run(made.tags.pairs(caller(), (), offset=1, limit=1)).items) == known[1:2]
    keys = run(made.tags.keys(caller(), offset=1, limit=1))
    assert (keys.total, keys.items) == (3, ("env",))
    assert refusal(made.tags.pairs(caller(), ["k"] * 21, limit=1)) == Refusal.BAD_VALUE


def test_a_tag_in_use_is_not_forgotten(made: TagWorld) -> None:
    """S362"""
    run(made.tags.create(caller(), "team", "red"))
    assert refusal(made.tags.create(caller(), "team", "red")) == Refusal.IN_USE
    run(made.tags.create(caller(OTHER), "team", "red"))
    assert refusal(made.tags.delete(caller(), "team", "red")) == Refusal.IN_USE
    run(made.tags.delete(caller(OTHER), "team", "red"))
    made.change("snap-a", delete=("team",))
    assert ("team", "red") in run(made.tags.pairs(caller(), (), limit=100)).items
    run(made.tags.delete(caller(), "team", "red"))
    assert refusal(made.tags.delete(caller(), "team", "red")) == Refusal.NO_SUCH_THING
    assert ("team", "red") not in run(made.tags.pairs(caller(), (), limit=100)).items
    assert refusal(made.tags.create(caller(), "", "x")) == Refusal.BAD_VALUE


def test_what_is_made_by_name_is_bounded(made: TagWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tags_module, "KEYS_MAX", 2)
    monkeypatch.setattr(tags_module, "VALUES_MAX", 2)
    for key, value in (("a", "1"), ("b", "1"), ("b", "2")):
        run(made.tags.create(caller(), key, value))
    assert refusal(made.tags.create(caller(), "b", "3")) == Refusal.TOO_MANY
    assert refusal(made.tags.create(caller(), "c", "1")) == Refusal.LIMIT
    run(made.tags.create(caller(), "a", "2"))


def test_instances_are_shown_with_their_disks(made: TagWorld) -> None:
    world = made.world
    world.instance("ins-a", name="web", created_at=1.0)
    world.instance("ins-b", name="db", created_at=2.0)
    world.instance("ins-o", name="web", account_id=OTHER)
    world.disk("disk-on", state=DiskState.ATTACHED, instance_id="ins-a")

    def ids(*filters: tuple[str, tuple[str, ...]], offset: int = 0, limit: int = 100) -> tuple[int, list[str]]:
        page = run(world.instances.with_disks(caller(), (), filters, offset, limit))
        return page.total, [view.instance.id for view in page.items]

    (first, second) = run(world.instances.with_disks(caller(), (), (), 0, 100)).items
    assert ([disk.id for disk in first.disks], second.disks) == (["disk-on"], ())
    assert ids(("instance-name", ("web", "x"))) == (1, ["ins-a"])
    assert ids(("zone", ("ap-moon-1",))) == (0, [])
    assert ids(("instance-state", ("RUNNING",)), ("project-id", ("0",)), offset=1, limit=1) == (2, ["ins-b"])
    assert ids(("instance-id", ("ins-o",))) == (0, [])
    assert refusal(world.instances.with_disks(caller(), (), (("nonsense", ("x",)),), 0, 20)) == Refusal.BAD_FILTER
    assert run(world.instances.zones(caller())) == (replace(first.instance).zone,)

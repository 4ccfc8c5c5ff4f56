import asyncio
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from drystone.catalog import accounts as account_rows
from drystone.catalog import meta, trail
from drystone.catalog.schema import access_key
from drystone.domain.disk import DiskState
from drystone.domain.errors import Refusal, RefusalError
from drystone.domain.ids import DiskId, InstanceId
from drystone.domain.operation import OperationKind, OperationState
from drystone.service.calls.attributes import checked_tags, disk_name, plain_name, snapshot_name
from drystone.service.requests import NewDisks, OperationQuery
from drystone.service.rows.tokens import KEPT_S, check_token, remember, replayed, request_hash
from tests.service.records_world import NOW, OTHER, OWNER, ZONE, World, caller, refusal, run, with_accounts

pytestmark = pytest.mark.usefixtures("both_catalogs")

ADMIN = caller(admin=True, secret_id="AKIDadmin")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with with_accounts(tmp_path / "catalog.db") as made:
        yield made


def test_the_first_account_is_made_once(tmp_path: Path) -> None:
    world = World.open(tmp_path / "catalog.db")
    key = run(world.accounts.first("root"))
    assert key is not None
    identity = run(world.accounts.authenticate(key.secret_id))
    assert identity is not None
    assert (identity.admin, identity.account_id, identity.secret_key) == (True, key.account_id, key.secret_key)
    assert run(world.accounts.first("root")) is None
    assert world.db.read_sync(lambda conn: account_rows.find(conn, offset=0, limit=9))[1] == 1
    world.db.close()


def test_accounts_and_keys(world: World) -> None:
    made = run(world.accounts.create(ADMIN, "team"))
    second = run(world.accounts.create_key(ADMIN, made.account_id))
    assert made.secret_id != second.secret_id
    keys = run(world.accounts.describe_keys(ADMIN, made.account_id))
    assert {key.secret_id for key in keys} == {made.secret_id, second.secret_id}
    assert all(key.enabled for key in keys)
    page = run(world.accounts.describe(ADMIN, 0, 2))
    assert page.total == 3
    assert [account.name for account in run(world.accounts.describe(ADMIN, 2, 2)).items] == ["team"]
    identity = run(world.accounts.authenticate(second.secret_id))
    assert identity is not None
    assert (identity.account_id, identity.admin) == (made.account_id, False)
    run(world.accounts.delete_key(ADMIN, second.secret_id))
    assert run(world.accounts.authenticate(second.secret_id)) is None
    assert run(world.accounts.authenticate(made.secret_id)) is not None
    assert refusal(world.accounts.delete_key(ADMIN, second.secret_id)) == Refusal.NO_SUCH_THING


def test_secrets_are_in_no_text(world: World) -> None:
    made = run(world.accounts.create(ADMIN, "team"))
    identity = run(world.accounts.authenticate(made.secret_id))
    keys = run(world.accounts.describe_keys(ADMIN, made.account_id))
    row = world.db.read_sync(lambda conn: account_rows.get_key(conn, made.secret_id))
    assert row is not None
    assert row.secret_key == made.secret_key
    assert made.secret_key not in f"{made!r} {identity!r} {keys!r} {row!r} {made} {row}"
    assert "secret_key" not in {field.name for field in dataclasses.fields(keys[0])}


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("create", ("name",)),
        ("describe", (0, 20)),
        ("create_key", (OWNER,)),
        ("delete_key", ("AKIDx",)),
        ("describe_keys", (OWNER,)),
    ],
)
def test_accounts_are_for_administrators(world: World, method: str, arguments: tuple[Any, ...]) -> None:
    before = world.db.read_sync(lambda conn: account_rows.find(conn, offset=0, limit=100))
    assert refusal(getattr(world.accounts, method)(caller(), *arguments)) == Refusal.NOT_ALLOWED
    assert world.db.read_sync(lambda conn: account_rows.find(conn, offset=0, limit=100)) == before


def test_accounts_refuse(world: World) -> None:
    run(world.accounts.create(ADMIN, "team"))
    assert refusal(world.accounts.create(ADMIN, "team")) == Refusal.BAD_VALUE
    assert refusal(world.accounts.create(ADMIN, "")) == Refusal.BAD_VALUE
    assert refusal(world.accounts.create(ADMIN, "x" * 61)) == Refusal.BAD_VALUE
    assert refusal(world.accounts.create_key(ADMIN, "nobody")) == Refusal.NO_SUCH_THING
    assert refusal(world.accounts.describe_keys(ADMIN, "nobody")) == Refusal.NO_SUCH_THING
    assert refusal(world.accounts.describe(ADMIN, 0, 101)) == Refusal.BAD_VALUE
    assert refusal(world.accounts.delete_key(ADMIN, "AKIDadmin")) == Refusal.IN_USE
    for _ in range(10):
        run(world.accounts.create_key(ADMIN, OTHER))
    assert refusal(world.accounts.create_key(ADMIN, OTHER)) == Refusal.LIMIT


def test_unknown_keys_cost_no_read_each_where_reads_are_spared(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    key = run(world.accounts.create_key(ADMIN, OWNER))
    reads, read = [0], world.db.read

    async def counted(fn: Any) -> Any:
        reads[0] += 1
        return await read(fn)

    monkeypatch.setattr(world.db, "read", counted)
    for at in range(50):
        assert run(world.accounts.authenticate(f"AKIDnone{at}", sparing=True)) is None
    assert run(world.accounts.authenticate(key.secret_id, sparing=True)) is not None
    assert reads[0] == 2
    second = run(world.accounts.create_key(ADMIN, OWNER))
    assert run(world.accounts.authenticate(second.secret_id, sparing=True)) is not None


def test_a_disabled_key_is_unknown_after_five_seconds(world: World) -> None:
    key = run(world.accounts.create_key(ADMIN, OWNER))
    assert run(world.accounts.authenticate(key.secret_id)) is not None
    world.db.write_sync(
        lambda conn: conn.execute(
            update(access_key).where(access_key.c.secret_id == key.secret_id).values(enabled=False)
        )
    )
    world.now = NOW + 4.9
    assert run(world.accounts.authenticate(key.secret_id)) is not None
    world.now = NOW + 5.1
    assert run(world.accounts.authenticate(key.secret_id)) is None
    assert run(world.accounts.authenticate("AKIDnone")) is None


def test_a_key_deleted_while_it_is_looked_up_does_not_come_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    key = run(world.accounts.create_key(ADMIN, OWNER))
    read = world.db.read

    async def slow_read(fn: Any) -> Any:
        answer = await read(fn)
        await world.accounts.delete_key(ADMIN, key.secret_id)
        return answer

    async def race() -> None:
        monkeypatch.setattr(world.db, "read", slow_read)
        assert await world.accounts.authenticate(key.secret_id) is not None
        monkeypatch.setattr(world.db, "read", read)
        assert await world.accounts.authenticate(key.secret_id) is None

    asyncio.run(race())


def test_instances(world: World) -> None:
    first = run(world.instances.create(caller(), "NBD", None))
    world.now += 1
    second = run(world.instances.create(caller(admin=True), "HOST", "here"))
    run(world.instances.create(caller(OTHER), "NBD", "theirs"))
    world.disk("disk-a", instance_id=first, state=DiskState.ATTACHED)
    page = run(world.instances.describe(caller(), (), 0, 20))
    assert [(v.instance.name, v.instance.kind, v.attached, v.attached_max) for v in page.items] == [
        ("未命名", "NBD", 1, 20),
        ("here", "HOST", 0, 20),
    ]
    assert {view.instance.zone for view in page.items} == {ZONE}
    assert page.total == 2
    one = run(world.instances.describe(caller(), (second, "ins-none"), 0, 20))
    assert ([view.instance.id for view in one.items], one.total) == ([second], 1)
    assert refusal(world.instances.delete(caller(), first)) == Refusal.IN_USE
    assert refusal(world.instances.delete(caller(OTHER), second)) == Refusal.NO_SUCH_INSTANCE
    run(world.instances.delete(caller(), second))
    assert refusal(world.instances.delete(caller(), second)) == Refusal.NO_SUCH_INSTANCE
    assert run(world.instances.describe(caller(), (), 0, 20)).total == 1


def test_instances_refuse(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(world.instances.create(caller(), "nbd", None)) == Refusal.BAD_VALUE
    assert refusal(world.instances.create(caller(OTHER), "HOST", None)) == Refusal.NOT_ALLOWED
    assert refusal(world.instances.create(caller(), "NBD", "x" * 61)) == Refusal.BAD_VALUE
    assert refusal(world.instances.describe(caller(), (), 0, 0)) == Refusal.BAD_VALUE
    monkeypatch.setattr("drystone.service.calls.instances.INSTANCES_MAX", 1)
    run(world.instances.create(caller(), "NBD", None))
    assert refusal(world.instances.create(caller(), "NBD", None)) == Refusal.LIMIT
    run(world.instances.create(caller(OTHER), "NBD", None))


def test_operations(world: World) -> None:
    world.operation("op-a", created_at=1.0, disk_id=DiskId("disk-a"))
    world.operation("op-b", created_at=2.0, kind=OperationKind.ATTACH, instance_id=InstanceId("ins-1"))
    world.operation("op-c", created_at=3.0, state=OperationState.DONE, disk_id=DiskId("disk-a"))
    world.operation("op-o", created_at=4.0, account_id=OTHER, disk_id=DiskId("disk-a"))

    def found(**query: Any) -> str:
        page = run(world.operations.describe(caller(), OperationQuery(**query)))
        return "".join(operation.id[-1] for operation in page.items) + str(page.total)

    assert found() == "cba3"
    assert found(offset=1, limit=1) == "b3"
    assert found(operation_ids=("op-a", "op-o")) == "a1"
    assert found(filters=(("resource-id", ("disk-a", "ins-1")),)) == "cba3"
    assert found(filters=(("resource-id", ("disk-a",)), ("state", ("RUNNING",)))) == "a1"
    assert found(filters=(("state", ("DONE", "FAILED")),)) == "c1"
    assert found(filters=(("kind", ("attach",)),)) == "b1"
    for query, code in (
        ({"filters": (("phase", ("x",)),)}, Refusal.BAD_FILTER),
        ({"filters": (("tag:x", ("y",)),)}, Refusal.BAD_FILTER),
        ({"filters": (("state", ("GONE",)),)}, Refusal.BAD_VALUE),
        ({"filters": (("kind", ("dance",)),)}, Refusal.BAD_VALUE),
        ({"filters": (("state", ("DONE",)),), "operation_ids": ("op-a",)}, Refusal.BAD_VALUE),
        ({"limit": 101}, Refusal.BAD_VALUE),
    ):
        asked = OperationQuery(**query)
        assert refusal(world.operations.describe(caller(), asked)) == code


def test_host_is_for_administrators(world: World) -> None:
    assert refusal(world.host.describe(caller())) == Refusal.NOT_ALLOWED
    world.db.write_sync(lambda conn: meta.put(conn, "store_id", "store-1"))
    world.disk("disk-a")
    world.disk("disk-o", account_id=OTHER)
    world.snapshot("snap-a")
    view = run(world.host.describe(ADMIN))
    assert (view.store_id, view.disk_count, view.snapshot_count, view.facts.free_bytes) == ("store-1", 2, 1, 5)


def test_audit_trail_keeps_who_did_what(world: World) -> None:
    run(world.audit.record(caller(), "disk-a disk-b", "OK"))
    world.now += 1
    run(world.audit.record(caller(OTHER), "", Refusal.NO_SUCH_DISK))
    entries, total = world.db.read_sync(lambda conn: trail.find(conn, trail.TrailSelection(account_id=None, limit=9)))
    assert total == 2
    assert [(e.account_id, e.resource, e.code, e.at) for e in entries] == [
        (OTHER, "", Refusal.NO_SUCH_DISK, NOW + 1),
        (OWNER, "disk-a disk-b", "OK", NOW),
    ]
    assert (entries[0].secret_id, entries[0].request_id, entries[0].source) == ("AKIDcaller", "r-1", "127.0.0.1")


NEW = NewDisks(zone=ZONE, charge_type="POSTPAID_BY_HOUR", disk_type="CLOUD_SSD", size_gib=20, client_token="t")


def test_a_token_replays_the_first_answer(world: World) -> None:
    hashed = request_hash(NEW)
    same = request_hash(dataclasses.replace(NEW, client_token="another"))
    other = request_hash(dataclasses.replace(NEW, size_gib=30))
    assert hashed == same != other
    db = world.db
    assert db.write_sync(lambda conn: replayed(conn, caller(), token="t", hashed=hashed)) is None
    answer = {"DiskIdSet": ["disk-a"]}
    db.write_sync(lambda conn: remember(conn, caller(), token="t", hashed=hashed, response=answer, now=NOW))
    assert db.write_sync(lambda conn: replayed(conn, caller(), token="t", hashed=hashed)) == answer
    assert db.write_sync(lambda conn: replayed(conn, caller(OTHER), token="t", hashed=hashed)) is None
    with pytest.raises(RefusalError) as caught:
        db.write_sync(lambda conn: replayed(conn, caller(), token="t", hashed=other))
    assert caught.value.kind == Refusal.BAD_TOKEN

    def later(seconds: float, token: str) -> None:
        db.write_sync(
            lambda conn: remember(conn, caller(), token=token, hashed=hashed, response=answer, now=NOW + seconds)
        )

    later(KEPT_S - 1, "u")
    assert db.write_sync(lambda conn: replayed(conn, caller(), token="t", hashed=hashed)) == answer
    later(KEPT_S + 1, "v")
    assert db.write_sync(lambda conn: replayed(conn, caller(), token="t", hashed=hashed)) is None
    assert db.write_sync(lambda conn: replayed(conn, caller(), token="u", hashed=hashed)) == answer


@pytest.mark.parametrize("token", ["", "x" * 65, "ü", "a\nb"])
def test_tokens_that_cannot_be(token: str) -> None:
    check_token("cluster/pvc-" + "0" * 52)
    with pytest.raises(RefusalError) as caught:
        check_token(token)
    assert caught.value.kind == Refusal.BAD_TOKEN


def test_names() -> None:
    assert disk_name(None) == disk_name("") == snapshot_name(None) == plain_name("", "X") == "未命名"
    assert disk_name("盘" * 20) == "盘" * 20
    assert snapshot_name("盘" * 60) == "盘" * 60
    for check, wrong in (
        (disk_name, "盘" * 21),
        (disk_name, "x" * 61),
        (snapshot_name, "盘" * 61),
        (snapshot_name, "tab\t"),
        (disk_name, "\ud800"),
    ):
        with pytest.raises(RefusalError) as caught:
            check(wrong)
        assert caught.value.kind == Refusal.BAD_VALUE
        caught.value.message.encode()


def test_tags() -> None:
    tags = tuple((f"k{n}", "v") for n in range(50))
    assert checked_tags(list(tags)) == tags
    assert checked_tags([("k", "")]) == (("k", ""),)
    for wrong, code in (
        ([*tags, ("one more", "v")], Refusal.TOO_MANY_TAGS),
        ([("k", "a"), ("k", "b")], Refusal.BAD_VALUE),
        ([("", "v")], Refusal.BAD_VALUE),
        ([("k" * 128, "v")], Refusal.BAD_VALUE),
        ([("k", "v" * 256)], Refusal.BAD_VALUE),
        ([("k\n", "v")], Refusal.BAD_VALUE),
        ([("k", "v\0")], Refusal.BAD_VALUE),
    ):
        with pytest.raises(RefusalError) as caught:
            checked_tags(wrong)
        assert caught.value.kind == code

"""S183: long reads of the catalog, of all accounts together, leave a reader for every other call."""

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from drystone.catalog import trail
from drystone.catalog.database import READERS
from drystone.domain.errors import Refusal, RefusalError
from drystone.domain.ids import AccountId
from drystone.engine.layout import Layout
from drystone.service.calls import differences, store_space
from drystone.service.calls.differences import SnapshotDifferences
from drystone.service.calls.trail_records import AuditRecords
from drystone.service.requests import AuditQuery
from tests.service import parts
from tests.service.parts import ServerParts, server_parts
from tests.service.records_world import NOW, OTHER, OWNER, World, caller, run

Ask = Callable[[ServerParts, Any], Awaitable[object]]


def installed(world: World, data: Path) -> ServerParts:
    return server_parts(world.db, Layout(data), clock=lambda: NOW)


ASKED: dict[str, Ask] = {
    "difference": lambda of, who: SnapshotDifferences(
        transactions=of.transactions, kept=of.kept, background=of.background
    ).describe(who, None, "snap-a"),
    "space": lambda of, who: parts.store_space(of).snapshots(who, ("snap-a",)),
    "trail": lambda of, who: AuditRecords(transactions=of.transactions).describe(who, AuditQuery()),
}
ACCOUNTS = (OWNER, OTHER, AccountId("100000000003"))


@pytest.mark.parametrize("kinds", [("difference",), ("space",), ("trail",), ("space", "trail", "difference")])
def test_a_flood_of_long_reads_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kinds: tuple[str, ...]
) -> None:
    world = World.open(tmp_path / "catalog.db")
    gate, reading, begun = threading.Event(), Counter[str](), list[str]()

    def slow(_conn: object, who: Any, *_rest: object) -> Any:
        begun.append(who.account_id)
        reading["now"] += 1
        reading["most"] = max(reading["most"], reading["now"])
        assert gate.wait(20)
        reading["now"] -= 1
        raise RefusalError(Refusal.NO_SUCH_SNAPSHOT, "It has gone.")

    monkeypatch.setattr(differences, "_manifest", slow)
    monkeypatch.setattr(store_space, "_trees", slow)
    monkeypatch.setattr(trail, "find", slow)

    async def flood() -> None:
        installation = installed(world, tmp_path)

        async def ask(kind: str, account: AccountId) -> None:
            with pytest.raises(RefusalError):
                await ASKED[kind](installation, caller(account))

        async with asyncio.TaskGroup() as tasks:
            try:
                for account in ACCOUNTS:
                    for _ in range(5):
                        for kind in kinds:
                            tasks.create_task(ask(kind, account))
                for _ in range(3):
                    await asyncio.sleep(0)
                async with asyncio.timeout(10):
                    while not begun:
                        await asyncio.sleep(0.001)
                    # A plain call finds a reader, as a look at a key must.
                    assert await world.db.read(lambda _conn: "plain") == "plain"
            finally:
                gate.set()
        assert reading["most"] == READERS - 1
        assert Counter(begun) == {account: 5 * len(kinds) for account in ACCOUNTS}
        # Who came first had its turn before the others came.
        assert set(begun[: len(ACCOUNTS) + 1]) == set(ACCOUNTS)

    try:
        assert READERS >= 2
        run(flood())
    finally:
        gate.set()
        world.db.close()

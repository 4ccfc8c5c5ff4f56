"""Places as tasks see them: fair, and none is lost when tasks are cancelled at any moment."""

import asyncio
import random

import pytest

from drystone.domain.errors import Refusal, RefusalError
from drystone.transfer.places import Places


def test_another_account_need_not_wait_for_a_flood() -> None:
    async def body() -> None:
        places, order, gate = Places(2, reserve=1), list[str](), asyncio.Event()

        async def work(account: str) -> None:
            async with places.hold(account):
                order.append(account)
                await gate.wait()

        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(work("flood"))
            await asyncio.sleep(0)
            group.create_task(work("neighbour"))
            for _ in range(3):
                await asyncio.sleep(0)
            assert order == ["flood", "flood", "neighbour"]
            gate.set()
        assert len(order) == 21

    asyncio.run(body())


def test_too_many_that_wait_are_refused_and_only_of_that_account() -> None:
    async def body() -> None:
        places, gate = Places(1, reserve=0), asyncio.Event()

        async def work(account: str) -> None:
            async with places.hold(account, waiting_max=2):
                await gate.wait()

        async with asyncio.TaskGroup() as group:
            for account in ("a", "a", "a", "b", "b"):
                group.create_task(work(account))
            await asyncio.sleep(0)
            with pytest.raises(RefusalError, match="2 calls of this account wait") as refused:
                await work("a")
            assert refused.value.kind == Refusal.TOO_MUCH_AT_ONCE
            gate.set()

    asyncio.run(body())


@pytest.mark.parametrize("seed", range(20))
def test_no_place_is_lost_whenever_tasks_are_cancelled(seed: int) -> None:
    async def body() -> None:
        rng, places, inside = random.Random(seed), Places(2, reserve=1), 0

        async def work(account: str) -> None:
            nonlocal inside
            async with places.hold(account):
                inside += 1
                assert inside <= 3
                try:
                    await asyncio.sleep(0)
                finally:
                    inside -= 1

        tasks = []
        for _ in range(200):
            tasks.append(asyncio.ensure_future(work(rng.choice("abc"))))
            if rng.random() < 0.5:
                rng.choice(tasks).cancel()
            if rng.random() < 0.5:
                await asyncio.sleep(0)
        for task in tasks:
            if rng.random() < 0.3:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert inside == 0
        # All places are there: three accounts get one each at once.
        async with places.hold("x"), places.hold("y"), asyncio.timeout(5), places.hold("z"):
            pass

    asyncio.run(body())

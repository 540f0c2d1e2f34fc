"""Turns are shared between tenants, whatever each has queued."""

from __future__ import annotations

import asyncio

import pytest

from agents.fair_turns import FairTurns, TimedTurns


def test_a_tenant_waits_for_one_turn_whatever_another_has_queued() -> None:
    order: list[str] = []

    async def work(turns: FairTurns, tenant: str) -> None:
        async with turns.turn(tenant):
            await asyncio.sleep(0)
            order.append(tenant)

    async def main() -> None:
        turns = FairTurns(2)
        many = [asyncio.create_task(work(turns, "mallory")) for _ in range(1000)]
        await asyncio.sleep(0)
        await asyncio.gather(*(work(turns, "globex") for _ in range(10)), *many)

    asyncio.run(main())

    # two were under way when it asked, and two may end in the same moment; then every second is its
    places = [index for index, tenant in enumerate(order) if tenant == "globex"]
    assert places[0] <= 4, places
    assert places[-1] <= 4 + 2 * len(places), places
    assert order.count("mallory") == 1000


def test_remaining_turns_rotate_among_equals() -> None:
    order: list[str] = []

    async def work(turns: FairTurns, tenant: str) -> None:
        async with turns.turn(tenant):
            order.append(tenant)
            await asyncio.sleep(0)

    async def main() -> None:
        turns = FairTurns(1)
        tenants = ["a"] * 3 + ["b"] * 3 + ["c"] * 3
        await asyncio.gather(*(work(turns, tenant) for tenant in tenants))

    asyncio.run(main())

    # the first had a turn before the others asked; from then on, as long as all of them wait
    assert all(set(order[at : at + 3]) == {"a", "b", "c"} for at in range(1, 5)), order


@pytest.mark.parametrize("given", [False, True])
def test_a_turn_that_nobody_waits_for_any_more_is_not_lost(*, given: bool) -> None:
    async def main() -> None:
        turns = FairTurns(1)
        holding = asyncio.Event()

        async def hold() -> None:
            async with turns.turn("a"):
                await holding.wait()

        async def take() -> None:
            async with turns.turn("b"):
                pass

        held, waiting = asyncio.create_task(hold()), asyncio.create_task(take())
        await asyncio.sleep(0)
        if given:
            holding.set()
            await held
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        holding.set()
        await held
        async with asyncio.timeout(10):
            await take()

    asyncio.run(main())


def test_a_tenant_that_holds_its_share_leaves_a_turn_to_others() -> None:
    """However slow its work is: what others need is there before any of it ends."""

    async def main() -> list[str]:
        turns, ends = FairTurns(3, share=2), asyncio.Event()
        began: list[str] = []

        async def work(tenant: str, until: asyncio.Event | None = None) -> None:
            async with turns.turn(tenant):
                began.append(tenant)
                if until:
                    await until.wait()

        slow = [asyncio.create_task(work("mallory", ends)) for _ in range(5)]
        await asyncio.sleep(0)
        async with asyncio.timeout(10):
            for _ in range(3):
                await work("globex")
        assert began == ["mallory"] * 2 + ["globex"] * 3
        ends.set()
        await asyncio.gather(*slow)
        return began

    assert asyncio.run(main()).count("mallory") == 5


def test_a_turn_is_given_to_none_of_those_that_are_cancelled_at_that_moment() -> None:
    async def main() -> None:
        turns, ends = FairTurns(1), asyncio.Event()

        async def work(until: asyncio.Event | None = None) -> None:
            async with turns.turn("a"):
                if until:
                    await until.wait()

        held = asyncio.create_task(work(ends))
        await asyncio.sleep(0)
        waiting = [asyncio.create_task(work()) for _ in range(3)]
        await asyncio.sleep(0)
        ends.set()
        await asyncio.sleep(0)  # the turn ends with the next step of the loop
        for task in waiting[:2]:
            task.cancel()
        await asyncio.gather(held, *waiting, return_exceptions=True)
        async with asyncio.timeout(10):
            await work()
        assert [task.cancelled() for task in waiting] == [True, True, False]

    asyncio.run(main())


def test_time_counts_while_a_turn_is_held_and_not_while_waiting() -> None:
    now = [0.0]

    async def hold(work: TimedTurns, ends: asyncio.Event) -> None:
        async with work.turn():
            await ends.wait()

    async def until(moment: float, *ended: asyncio.Event) -> None:
        now[0] = moment
        for event in ended:
            event.set()
        for _ in range(5):
            await asyncio.sleep(0)

    async def main() -> tuple[float, float]:
        turns = FairTurns(2)
        first, second = (TimedTurns(turns, name, lambda: now[0]) for name in ("globex", "acme"))
        ends = [asyncio.Event() for _ in range(3)]
        tasks = [
            asyncio.create_task(hold(work, end))
            for work, end in zip((first, first, second), ends, strict=True)
        ]
        await until(0)
        await until(100, ends[0])  # the other tenant waited until now
        await until(103, ends[1], ends[2])
        await asyncio.gather(*tasks)
        return first.seconds, second.seconds

    assert asyncio.run(main()) == (103, 3)

"""The loop of these worlds: asyncio's tasks on it, and the deaths of their owners."""

import asyncio
from contextvars import copy_context

import pytest

from simulation.loop import OWNER, Loop, Owner


def run(loop: Loop) -> None:
    """Until nothing is left."""
    while loop.ready or loop.sleeping:
        if not loop.ready:
            loop.wake()
        loop.turn()


def test_tasks_run_in_the_order_in_which_they_became_ready():
    seen = []

    async def say(name):
        seen.append(name)
        await asyncio.sleep(0)
        seen.append(name)

    with Loop() as loop:
        for name in "abc":
            loop.create_task(say(name))
        run(loop)
    assert seen == [*"abcabc"]


def test_time_is_what_sleepers_wait_for():
    async def late():
        await asyncio.sleep(3_600)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.sleep(10)
        return asyncio.get_running_loop().time()

    with Loop() as loop:
        task = loop.create_task(late())
        run(loop)
        assert task.result() == 3_605


def test_what_belongs_to_the_dead_runs_no_more():
    seen = []
    owner = Owner()

    async def live():
        try:
            for number in range(10):
                seen.append(number)
                await asyncio.sleep(0)
        finally:
            seen.append("closed")
            loop.create_task(live())

    with Loop() as loop:
        context = copy_context()
        context.run(OWNER.set, owner)
        task = loop.create_task(live(), context=context)
        loop.turn()
        loop.turn()
        owner.dead = True
        run(loop)
        assert seen == [0, 1]
        assert owner.tasks == [task]
    assert seen == [0, 1, "closed"]


def test_an_error_that_nobody_takes_is_kept():
    async def fail():
        raise ValueError("told to nobody")

    with Loop() as loop:
        loop.create_task(fail())
        run(loop)
        loop._tasks.clear()
        assert "told to nobody" in loop.complaints[0]

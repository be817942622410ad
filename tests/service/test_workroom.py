"""Work on strangers' machines is bounded: in time, in memory, in number, and in what it can see."""

import asyncio
import json
import os
import signal
import time
from pathlib import Path

import pytest

from pystator.errors import ConfigurationError, UndefinedStateError
from pystator.service.workroom.pool import BudgetError, BusyError, Workroom

ORDER = (Path(__file__).parents[2] / "examples" / "order.yaml").read_bytes()
NOTHING = {"state": None, "trigger": None, "context": {}, "payload": {}, "now": None}

SLOW = {
    "states": [{"name": "a", "type": "initial"}, {"name": "b"}],
    "transitions": [
        {
            "trigger": "t",
            "source": "a",
            "dest": "b",
            "actions": [{"compute": {f"x{n}": "xs + xs"}} for n in range(5_000)],
        }
    ],
}
"""One event that would copy five thousand long lists."""


@pytest.fixture
def room():
    room = Workroom(places=1, waiting=1)
    yield room
    room.close()


def ask(room, task, content=ORDER, *, seconds=20, **given):
    return asyncio.run(room.ask(task, content, given, seconds=seconds))


def attempt(room, config, **given):
    seconds = given.pop("seconds", 20)
    return ask(
        room, "attempt", json.dumps(config).encode(), seconds=seconds, **{**NOTHING, **given}
    )


def pids(room):
    return {worker._process.pid for worker in room._workers}


def test_a_worker_is_begun_when_it_is_needed_and_used_again(room):
    assert pids(room) == set()
    assert ask(room, "check")["valid"]
    first = pids(room)
    assert ask(room, "check")["valid"]
    assert pids(room) == first


def test_an_error_comes_back_as_itself(room):
    with pytest.raises(UndefinedStateError, match="did you mean 'draft'") as caught:
        ask(room, "draw", b'{"states": [{"name": "draft", "type": "initial"}], "transitions": []}',
            form="svg", highlight=["draf"])  # fmt: skip
    assert caught.value.context["state"] == "draf"
    with pytest.raises(ConfigurationError) as caught:
        ask(room, "prepare", b"states: 5\ntransitions: []\n")
    assert caught.value.context["issues"][0]["line"] == 1


def test_who_takes_too_long_is_given_up(room):
    """And the next one is answered."""
    began = time.monotonic()
    with pytest.raises(BudgetError, match=r"longer than 0\.3 s"):
        attempt(room, SLOW, state="a", trigger="t", context={"xs": [1] * 30_000}, seconds=0.3)
    assert time.monotonic() - began < 5
    assert ask(room, "check")["valid"]


def test_who_takes_too_much_memory_is_given_up():
    room = Workroom(places=1, megabytes=200)
    try:
        with pytest.raises(BudgetError, match="memory"):
            attempt(room, SLOW, state="a", trigger="t", context={"xs": "x" * 30_000}, seconds=60)
        assert ask(room, "check")["valid"]
    finally:
        room.close()


def test_a_worker_that_hears_no_alarm_is_ended_from_outside(room, monkeypatch):
    """A process that is stopped, as one that hangs in a library, answers nothing for ever."""
    monkeypatch.setattr("pystator.service.workroom.pool._GRACE", 0.2)
    ask(room, "check", seconds=30)
    (pid,) = pids(room)
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(BudgetError):
        ask(room, "check", seconds=0.1)
    assert pid not in pids(room)
    assert ask(room, "check", seconds=30)["valid"]


def test_a_worker_that_was_killed_meanwhile_is_replaced(room):
    ask(room, "check")
    (pid,) = pids(room)
    os.kill(pid, signal.SIGKILL)
    assert ask(room, "check")["valid"]
    assert pid not in pids(room)


def test_more_than_may_wait_are_sent_away_at_once(room):
    async def crowd():
        asked = [room.ask("check", ORDER, {}, seconds=20) for _ in range(5)]
        return await asyncio.gather(*asked, return_exceptions=True)

    answers = asyncio.run(crowd())
    assert [type(answer) for answer in answers] == [dict, dict, BusyError, BusyError, BusyError]
    assert ask(room, "check")["valid"]


def test_who_hangs_up_frees_its_place(room):
    async def impatient():
        for _ in range(6):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(room.ask("check", ORDER, {}, seconds=20), 0)

    asyncio.run(impatient())
    deadline = time.monotonic() + 20
    while True:
        try:
            assert ask(room, "check")["valid"]
        except BusyError:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        else:
            return


def test_the_loop_stays_quick_while_a_worker_works(room):
    """`/health` must answer while a stranger's machine is searched for mistakes."""

    async def meanwhile():
        work = asyncio.ensure_future(
            room.ask(
                "attempt",
                json.dumps(SLOW).encode(),
                {**NOTHING, "state": "a", "trigger": "t", "context": {"xs": [1] * 30_000}},
                seconds=1,
            )
        )
        await asyncio.sleep(0.05)  # the request is packed and sent
        longest = 0.0
        while not work.done():
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - before)
        with pytest.raises(BudgetError):
            await work
        return longest

    assert asyncio.run(meanwhile()) < 0.3


def test_a_worker_knows_no_secret_of_the_service(room, monkeypatch):
    monkeypatch.setenv("PYSTATOR_DATABASE_URL", "postgresql://user:secret@db/x")
    ask(room, "check")
    (pid,) = pids(room)
    assert b"secret" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_closing_ends_every_worker(room):
    ask(room, "check")
    (pid,) = pids(room)
    room.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(BusyError):
        ask(room, "check")


def test_a_worker_goes_when_its_service_is_gone(room):
    ask(room, "check")
    (worker,) = room._workers
    worker._process.stdin.close()  # as the system does for a service that was killed
    assert worker._process.wait(timeout=20) == 0

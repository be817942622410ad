"""Callers that share commits over a store that is slow, fails, loses answers and has other writers, by seeds.

Whatever happens, callers are cancelled too: what has to hold is said in `check`.
"""

import asyncio
import random
from collections import defaultdict
from itertools import count

import pytest

from pystator import FSMError, InMemoryStateStore, Orchestrator, StateMachine, StoreUnavailableError

SEEDS = 60

MACHINE = {
    "meta": {"machine_name": "log", "version": "1.0"},
    "states": [{"name": "even", "type": "initial"}, {"name": "odd"}],
    "transitions": [
        {"trigger": "add", "source": "even", "dest": "odd", "actions": [{"increment": "n"}]},
        {"trigger": "add", "source": "odd", "dest": "even", "actions": [{"increment": "n"}]},
        {
            "trigger": "ask",
            "source": "*",
            "internal": True,
            "guards": ["asked"],
            "actions": [{"increment": "n"}],
        },
        {"trigger": "never", "source": "even", "dest": "odd", "guards": [{"expr": "n < 0"}]},
    ],
}


class Rough(InMemoryStateStore):
    """A store that works on two batches at once and meets what luck brings."""

    combines = True
    in_flight = 2

    def __init__(self, luck, trouble):
        super().__init__()
        self.luck, self.trouble = luck, trouble
        self.late = []
        self.meddle = None

    async def turns(self):
        for _ in range(self.luck.randint(0, 6)):
            await asyncio.sleep(0)

    def unlucky(self, odds):
        return self.luck.random() < odds * self.trouble

    async def aload(self, lookups):
        await self.turns()
        if self.unlucky(0.05):
            raise StoreUnavailableError("no answer")
        loaded = self.load(lookups)
        await self.turns()
        return loaded

    async def acommit(self, commits):
        await self.turns()
        if self.unlucky(0.03):
            raise StoreUnavailableError("busy", context={"written": False})
        if self.unlucky(0.05):
            raise ConnectionError("it never arrived")
        if self.unlucky(0.03):
            self.late.append(commits)
            raise ConnectionError("it arrives later")
        if self.unlucky(0.1):
            self.meddle(self.luck.choice(commits).entity_id)
        part = commits[: self.luck.randint(0, len(commits))] if self.unlucky(0.05) else commits
        outcomes = self.commit(part)
        if self.late and self.unlucky(0.5):
            self.commit(self.late.pop())
        await self.turns()
        if len(part) < len(commits) or self.unlucky(0.05):
            raise ConnectionError("the answer is lost")
        return outcomes


class World:
    def __init__(self, seed):
        self.luck = random.Random(seed)
        self.store = Rough(self.luck, self.luck.choice([0.0, 0.5, 1.0, 2.0]))
        self.orders = self.orchestrator(
            most_waiting=self.luck.choice([3, 20, 10_000]),
        )
        self.others = self.orchestrator()
        others, tags = self.orchestrator(), count()
        self.store.meddle = lambda entity_id: others.process_event(
            entity_id, "add", {"tag": f"other-{next(tags)}"}
        )
        self.entities = [f"e-{n}" for n in range(self.luck.randint(1, 12))]
        self.acknowledged, self.rejected, self.sent = [], set(), defaultdict(list)

    def orchestrator(self, **options):
        async def asked(_):
            await self.store.turns()
            return self.luck.random() < 0.8

        machine = StateMachine.from_dict(MACHINE)
        orders = Orchestrator(machine, self.store, guards={"asked": asked}, **options)
        orders._settings.patience = 1e9
        orders._settings.jitter = lambda: 0.0
        return orders

    async def caller(self, number):
        """Sends its events one after the other, those with an id again until they are answered."""
        orders = self.others if self.luck.random() < 0.1 else self.orders
        for turn in range(self.luck.randint(1, 12)):
            await self.store.turns()
            tag = f"{number}-{turn}"
            with_id = self.luck.random() < 0.7
            entity_id = self.luck.choice(self.entities)
            trigger = self.luck.choice(["add"] * 6 + ["ask", "never"])
            self.sent[number, entity_id].append(tag)
            for _ in range(1_000):
                if await self.once(orders, entity_id, trigger, tag, with_id) or not with_id:
                    break

    async def once(self, orders, entity_id, trigger, tag, with_id):
        event_id = tag if with_id else None
        call = asyncio.create_task(
            orders.async_process_event(entity_id, trigger, {"tag": tag}, event_id=event_id)
        )
        if self.luck.random() < 0.15:
            for _ in range(self.luck.randint(0, 25)):
                await asyncio.sleep(0)
            call.cancel()
        try:
            result = await call
        except (asyncio.CancelledError, FSMError, ConnectionError):
            return False
        if result.success:
            self.acknowledged.append((entity_id, tag, result.version))
        else:
            self.rejected.add(tag)
        return True

    async def live(self):
        callers = [self.caller(number) for number in range(self.luck.randint(1, 30))]
        async with asyncio.timeout(60):
            await asyncio.gather(*callers)
            combiner = self.orders._combine()
            while combiner._tasks:  # noqa: ASYNC110 - those that nobody waits for any more
                await asyncio.sleep(0)
        assert (combiner._held, combiner._lines.waiting, len(combiner._gate)) == (0, 0, 0)
        assert (combiner._lines._flying, combiner._lines._sent) == (0, 0)
        assert not combiner._lines._busy
        assert not combiner._alone
        for commits in self.store.late:
            self.store.commit(commits)

    def check(self, audit, rows):
        applied = {}
        for entity_id in self.entities:
            if self.store.load_one(entity_id, "log") is None:
                continue
            audit(self.store, entity_id, "log")
            for row in rows(self.store, entity_id, "event"):
                tag = row.payload["tag"]
                assert tag not in applied, "applied twice"
                applied[tag] = (entity_id, row.version)
        for entity_id, tag, version in self.acknowledged:
            assert applied[tag] == (entity_id, version), "acknowledged, and not what was written"
        assert not self.rejected & applied.keys(), "rejected and applied"
        for tags in self.sent.values():
            versions = [applied[tag][1] for tag in tags if tag in applied]
            assert versions == sorted(versions), "out of order"


@pytest.mark.parametrize("seed", range(SEEDS))
def test_order_and_exactly_once_under_trouble(seed, audit, rows):
    world = World(seed)
    asyncio.run(world.live())
    world.check(audit, rows)


@pytest.mark.soak
def test_order_and_exactly_once_under_much_trouble(audit, rows):
    for seed in range(SEEDS, 2_000):
        world = World(seed)
        asyncio.run(world.live())
        world.check(audit, rows)

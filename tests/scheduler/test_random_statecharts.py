"""Machines that nobody thought of: stored entities and a scheduler do what a session does."""

import asyncio
from random import Random

import pytest

from pystator import (
    ConfigurationError,
    EntitySession,
    FSMError,
    InMemoryStateStore,
    Orchestrator,
    StateMachine,
)
from pystator.scheduler import AsyncioScheduler
from pystator.testing import FakeClock
from w3c_reference.choices import seeded
from w3c_reference.contents import GUARDS
from w3c_reference.machines import machine as build_machine

SEEDS = 40


def machine_of(seed: int) -> StateMachine:
    """A machine with timers and triggers that can begin."""
    while True:
        try:
            machine = StateMachine.from_dict(build_machine(seeded(seed)))
            for name, guard in GUARDS.items():
                machine.guard(name)(guard)
            if machine.timed and machine.trigger_names and machine.create():
                return machine
        except (ConfigurationError, FSMError):
            pass
        seed += SEEDS


@pytest.mark.parametrize("seed", range(SEEDS))
def test_it_fires_what_a_session_fires(seed: int) -> None:
    asyncio.run(live(machine_of(seed), Random(seed)))


async def live(machine: StateMachine, random: Random) -> None:
    clock = FakeClock()
    scheduler = AsyncioScheduler()
    stored = Orchestrator(machine, InMemoryStateStore(), clock=clock, scheduler=scheduler)
    session = EntitySession(machine, clock=clock)
    await stored.async_create_entity("e")
    for _ in range(10):
        if random.random() < 0.5:
            await clock.aadvance(random.choice([0.2, 1]))
            session.fire_due()
        else:
            trigger = random.choice(machine.trigger_names)
            mine = session.send(trigger)
            theirs = await stored.async_process_event("e", trigger)
            assert (mine.reason, mine.target_state) == (theirs.reason, theirs.target_state)
        entity = await stored.async_get_entity("e")
        context = session.context
        assert entity.history == (context.pop("_history", None) or None)
        assert (entity.state, entity.context) == (session.current_state, context)
        assert {name: moment for name, (moment, _) in entity.timers.items()} == session.timers
    await stored.close()

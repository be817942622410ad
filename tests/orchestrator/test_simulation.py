"""Many callers over one store, interleaved by a seed, with every kind of trouble at every request.

Decisions are generators that yield what they want of the world, so this world answers: in any order, with a crash, a
lost answer (before the commit, after it, or with the commit arriving later), or a read that is out of date. What has
to hold afterwards:

- versions are contiguous, and history replays to state and context;
- an event id is applied at most once, and exactly once if its caller got an answer;
- a caller without ids never has more applied than it sent, and all that was acknowledged;
- events that one caller sent to one entity are applied in the order it sent them;
- the pure machine, stepped through the rows of an entity, comes to its state, its context and what it remembers.

Two machines live in these worlds: one that counts, so that a lost event shows, and a chart with regions, history
states, timers on every level and data that leads on.

A failing seed is the whole story: run it alone.
"""

import json
import random
from collections import Counter, defaultdict

import pytest

from pystator import FSMError, InMemoryStateStore, StateMachine
from pystator.orchestrator import actions, ops, program, single
from pystator.orchestrator.cases import Case
from pystator.orchestrator.requests import (
    AppendLater,
    FindDue,
    Load,
    ReadBack,
    RunActions,
    Sleep,
    Write,
)
from pystator.orchestrator.settings import Settings
from pystator.records import Commit, Loaded, Lookup
from pystator.testing import FakeClock
from pystator.testing.statecharts import CHART

SEEDS = 300

MACHINE = {
    "meta": {"machine_name": "counter", "version": "1.0"},
    "states": [
        {"name": "even", "type": "initial"},
        {"name": "odd", "timeout": {"seconds": 30, "destination": "even"}},
    ],
    "transitions": [
        {
            "trigger": "add",
            "source": "even",
            "dest": "odd",
            "actions": [{"increment": "n"}],
        },
        {
            "trigger": "add",
            "source": "odd",
            "dest": "even",
            "actions": [{"increment": "n"}, "tell"],
        },
        {"trigger": "never", "source": "even", "dest": "odd", "guards": [{"expr": "n < 0"}]},
    ],
}


TRIGGERS = [
    *["next"] * 5,
    *["pause", "resume", "resume_deep", "review_again"] * 2,
    *["ask", "clear", "agree", "note"],
]


def counted(_random):
    """The only event of the machine that counts."""
    return "add", {}


def charted(luck):
    """An event of the chart, or data without one."""
    if luck.random() < 0.15:
        return None, {"clear": luck.random() < 0.7}
    return luck.choice(TRIGGERS), {}


class Lost(Exception):  # noqa: N818 - it is no error of ours
    """The answer did not come."""


class World:
    """A store, a clock, and the luck of one seed."""

    def __init__(self, seed: int, trouble: float) -> None:
        self.random = random.Random(seed)
        self.trouble = trouble
        self.clock = FakeClock()
        self.store = InMemoryStateStore(clock=self.clock)
        self.late: list[list[Commit]] = []
        self.past: dict[tuple[str, str], list[Loaded]] = defaultdict(list)
        self.monotonic = 0.0
        self.machine_name = ""

    def unlucky(self, odds: float) -> bool:
        return self.random.random() < odds * self.trouble

    def answer(self, request):
        """The reply to a request, or a `Lost`."""
        self.clock.advance(self.random.random() * 5)
        self.monotonic += 0.01
        if self.late and self.random.random() < 0.3:
            self.store.commit(self.late.pop())  # it comes through at last
        match request:
            case Load():
                return self.load(request.lookups), self.clock()
            case Lookup():
                return self.load([request])[0], self.clock()
            case Write():
                return self.commit(list(request.commits))
            case Commit():
                return self.commit([request])[0]
            case ReadBack():
                if self.unlucky(0.05):
                    raise Lost
                return self.store.history(
                    request.entity_id,
                    machine_name=request.machine_name,
                    after=request.after,
                    newest_first=True,
                )
            case FindDue():
                now = self.clock()
                return self.store.due(now, request.limit, machine_name=self.machine_name), now
            case RunActions():
                return []
            case AppendLater():
                return self.store.append_later(request.commits)
            case Sleep():
                self.monotonic += request.seconds
                return self.monotonic
        raise AssertionError(request)

    def load(self, lookups):
        if self.unlucky(0.05):
            raise Lost
        fresh = self.store.load(lookups)
        found = []
        for lookup, loaded in zip(lookups, fresh, strict=True):
            past = self.past[lookup.entity_id, lookup.machine_name]
            if past and not lookup.event_ids and self.unlucky(0.2):
                found.append(self.random.choice(past))  # from a replica that lags behind
            else:
                found.append(loaded)
        for lookup, loaded in zip(lookups, self.store.load(lookups), strict=True):
            self.past[lookup.entity_id, lookup.machine_name].append(Loaded(loaded.entity, {}))
        return found

    def commit(self, commits):
        if self.unlucky(0.05):
            raise Lost  # it never arrived
        if self.unlucky(0.05):
            self.late.append(commits)
            raise Lost
        outcomes = self.store.commit(commits)
        if self.unlucky(0.1):
            raise Lost
        return outcomes


class Caller:
    """Sends its events one after the other; with ids it tries again until it is answered."""

    def __init__(
        self, world: World, settings: Settings, name: str, entities: list[str], event
    ) -> None:
        self.world = world
        self.settings = settings
        self.name = name
        self.with_ids = world.random.random() < 0.6
        self.left = [
            (world.random.choice(entities), f"{name}-{n}", *event(world.random)) for n in range(6)
        ]
        self.sent: Counter[str] = Counter()
        self.acknowledged: list[str] = []
        self.refused: set[str] = set()
        self.unknown: set[str] = set()
        self.current: tuple[list[tuple], list[Case] | None, object] | None = None
        self.reply: tuple[str, object] = ("send", None)

    @property
    def done(self) -> bool:
        return self.current is None and not self.left

    def step(self) -> None:
        """Answer one request of the program under way, or begin the next one."""
        if self.current is None:
            self.begin()
        batch, cases, running = self.current
        if self.world.unlucky(0.03):
            self.end(batch, crashed=True)
            return
        how, value = self.reply
        try:
            request = getattr(running, how)(value)
        except StopIteration as stop:
            results = [case.result for case in cases] if cases else [stop.value]
            self.end(batch, results=results)
            return
        except (FSMError, Lost):
            self.end(batch, crashed=True)
            return
        try:
            self.reply = ("send", self.world.answer(request))
        except Lost as lost:
            self.reply = ("throw", lost)

    def begin(self) -> None:
        kind = self.world.random.random()
        size = 1 if kind < 0.6 else self.world.random.randint(2, 3)
        batch, self.left = self.left[:size], self.left[size:]
        self.sent.update(tag for _, tag, _, _ in batch)
        entity_id, tag, trigger, data = batch[0]
        if size == 1 and trigger is not None and not self.with_ids and kind < 0.5:
            payload = {"tag": tag, **data}
            running = single.process_one(self.settings, entity_id, trigger, payload)
            self.current = (batch, None, running)
        else:
            cases = [self.case(*event) for event in batch]
            self.current = (batch, cases, self.program(cases))
        self.reply = ("send", None)

    def program(self, cases):
        if self.world.random.random() < 0.3:  # the way of calls that share a batch
            rest = yield from program.decide_once(self.settings, cases)
            yield from program.decide(self.settings, rest)
            yield from actions.finish(self.settings, cases)
        else:
            yield from program.process(self.settings, cases)

    def case(self, entity_id: str, tag: str, trigger: str | None, data: dict) -> Case:
        case = Case(entity_id, trigger or "", {"tag": tag, **data}, tag if self.with_ids else None)
        case.is_data = trigger is None
        if self.with_ids:
            case.identify(trigger)
        return case

    def end(self, batch, results=(), *, crashed: bool = False) -> None:
        """Keep what was answered; send again what was not, where an id makes that safe."""
        self.current = None
        answers = list(results) if not crashed else [None] * len(batch)
        again = []
        for event, result in zip(batch, answers, strict=True):
            if result is not None and result.success:
                self.acknowledged.append(event[1])
            elif result is not None:
                self.refused.add(event[1])
            elif self.with_ids:
                again.append(event)
            else:
                self.unknown.add(event[1])
        self.left = again + self.left


class Sweeper:
    """Fires what is due, now and then."""

    done = True

    def __init__(self, world: World, settings: Settings) -> None:
        self.world = world
        self.settings = settings
        self.running = None
        self.reply: tuple[str, object] = ("send", None)

    def step(self) -> None:
        if self.running is None or self.world.unlucky(0.05):
            self.running = ops.fire_due(self.settings, None, 10)
            self.reply = ("send", None)
        how, value = self.reply
        try:
            request = getattr(self.running, how)(value)
            self.reply = ("send", self.world.answer(request))
        except Lost as lost:
            self.reply = ("throw", lost)
            if how == "throw":
                self.running = None
        except (StopIteration, FSMError):
            self.running = None


def simulate(
    machine: StateMachine, seed: int, trouble: float, event=counted
) -> tuple[World, list[Caller]]:
    world = World(seed, trouble)
    world.machine_name = machine.name
    settings = Settings(machine, world.store, jitter=world.random.random)
    settings.patience = 1e9
    entities = [f"e-{n}" for n in range(world.random.randint(1, 3))]
    callers = [
        Caller(world, settings, f"c{n}", entities, event) for n in range(world.random.randint(2, 5))
    ]
    everybody = [*callers, Sweeper(world, settings)]
    for _ in range(20_000):
        if all(caller.done for caller in callers):
            break
        one = world.random.choice(everybody)
        if not (isinstance(one, Caller) and one.done):
            one.step()
    assert all(caller.done for caller in callers), "nobody waits for ever"
    for commits in world.late:
        world.store.commit(commits)
    return world, callers


def check(world: World, callers: list[Caller], machine: StateMachine, rows, audit, refold) -> None:
    applied: list[str] = []
    order: dict[tuple[str, str], list[int]] = defaultdict(list)
    for entity in world.store.entities(limit=100).items:
        audit(world.store, entity.entity_id, machine.name)
        refold(machine, world.store, entity.entity_id)
        log = [row.payload["tag"] for row in rows(world.store, entity.entity_id, "event")]
        assert entity.context.get("n", len(log)) == len(log)
        applied += log
        for tag in log:
            name, number = tag.split("-")
            order[entity.entity_id, name].append(int(number))
    counts = Counter(applied)
    assert max(counts.values(), default=0) <= 1, "nothing is applied twice"
    acknowledged = {tag for caller in callers for tag in caller.acknowledged}
    refused = {tag for caller in callers for tag in caller.refused}
    assert not refused & set(applied), "nothing that was refused is applied"
    assert acknowledged <= set(applied), "nothing that was acknowledged is missing"
    unknown = {tag for caller in callers for tag in caller.unknown}
    assert set(applied) <= acknowledged | unknown
    for caller in callers:
        if caller.with_ids:
            assert len(caller.acknowledged) + len(caller.refused) == 6
    for (_, name), numbers in order.items():
        caller = next(each for each in callers if each.name == name)
        certain = [n for n in numbers if f"{name}-{n}" not in caller.unknown]
        assert certain == sorted(certain), "a caller's events keep their order"


@pytest.fixture(scope="module")
def counter() -> StateMachine:
    return StateMachine.from_dict(MACHINE)


@pytest.fixture(scope="module")
def chart() -> StateMachine:
    """The chart, begun in its regions, with deadlines that come while its callers are at work."""
    text = json.dumps(CHART).replace("3600", "40").replace("60", "15")
    text = text.replace('"type": "initial"', '"type": "stable"')
    return StateMachine.from_dict({**json.loads(text), "initial": "review"})


@pytest.mark.parametrize("first", range(0, SEEDS, 50))
@pytest.mark.parametrize("event", [counted, charted])
def test_trouble_at_any_moment_breaks_no_promise(counter, chart, rows, audit, refold, event, first):
    machine = counter if event is counted else chart
    for seed in range(first, first + 50):
        trouble = (seed % 5) / 2
        world, callers = simulate(machine, seed, trouble, event)
        try:
            if event is counted:
                assert not any(caller.refused for caller in callers)
            check(world, callers, machine, rows, audit, refold)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, trouble {trouble}: {error}") from error


def test_the_trouble_is_real(counter):
    """A simulation in which nothing ever went wrong would prove nothing."""
    seen = Counter()
    for seed in range(40):
        world, callers = simulate(counter, seed, 2.0)
        seen["unknown"] += sum(len(caller.unknown) for caller in callers)
        kinds = [row.kind for row in world.store.feed(None, 10_000).items]
        seen["timer"] += kinds.count("timer")
        seen["several in one commit"] += len(kinds) - len(
            {row.commit_id for row in world.store.feed(None, 10_000).items}
        )
    assert min(seen.values()) > 10, seen


def test_the_chart_is_explored(chart):
    """Regions, memories of several kinds, timers of leaves and of compounds, data that leads on."""
    seen = Counter()
    for seed in range(120):
        world, _ = simulate(chart, seed, 1.0, charted)
        for entity in world.store.entities(limit=10).items:
            seen.update(list(entity.history or ()))
            seen["regions"] += "+" in entity.state
        for row in world.store.feed(None, 10_000).items:
            seen[row.kind] += 1
            if row.kind == "event" and row.trigger is None:
                seen["led on" if row.source_state != row.target_state else "stayed"] += 1
            if row.kind == "timer":
                seen[str(row.trigger).split(":")[0]] += 1
    expected = {"work", "review", "regions", "rejected", "timer", "stayed", "led on", "reading"}
    assert min(seen[name] for name in expected) > 3, seen

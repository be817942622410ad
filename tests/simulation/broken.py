"""Programs and stores that are wrong on purpose, each in one way: a simulation that lets one of them pass proves nothing."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pystator.orchestrator import program, writing
from pystator.orchestrator.batching import Combiner
from pystator.orchestrator.draft import Draft
from pystator.orchestrator.requests import Write
from pystator.records import Outcome, OutcomeKind
from pystator.stores.memory import store as memory
from simulation.network import Belated
from simulation.process import Client
from simulation.server import Server

__all__ = ["BROKEN", "broken"]

BROKEN: dict[str, Callable[[], Any]] = {}

_APPLIED = Outcome(OutcomeKind.APPLIED)
_STALE = Outcome(OutcomeKind.STALE)


def broken(name: str) -> Any:
    """A context in which the world is broken in that way."""
    return BROKEN[name]()


def _way(function: Callable[[], Iterator[None]]) -> Callable[[], Iterator[None]]:
    BROKEN[function.__name__] = contextmanager(function)
    return function


@contextmanager
def _instead(owner: Any, name: str, new: Any) -> Iterator[None]:
    """An attribute is another one; a function of a module is, too, wherever it was imported by name."""
    old = getattr(owner, name)
    places = [(owner, name)]
    if isinstance(owner, type(sys)):
        for module in list(sys.modules.values()):
            if module.__name__.startswith("pystator."):
                places += [(module, each) for each, value in vars(module).items() if value is old]
    for place, each in places:
        setattr(place, each, new)
    try:
        yield
    finally:
        for place, each in places:
            setattr(place, each, old)


def _after_an_error(outcome: Outcome) -> Callable[..., Any]:
    def write(settings, commits):
        try:
            return (yield Write(commits))
        except Exception:
            return [outcome] * len(commits)

    return write


@_way
def a_store_that_does_not_compare_versions() -> Iterator[None]:
    """The last write wins."""
    original = Server.commit

    def commit(self, commits):
        outcomes = []
        for each in commits:
            slot = self.store._slots.get((each.entity_id, each.machine_name))
            if slot is None or each.new_version == each.expected_version:
                outcomes += original(self, [each])
                continue
            version, slot.version = slot.version, each.expected_version
            outcomes += original(self, [each])
            if outcomes[-1].kind is not OutcomeKind.APPLIED:
                slot.version = version
        return outcomes

    with _instead(Server, "commit", commit):
        yield


@_way
def a_program_that_writes_again_when_it_does_not_know() -> Iterator[None]:
    """What may have been written is decided and written once more, as something new."""
    with _instead(writing, "write", _after_an_error(_STALE)):
        yield


@_way
def a_program_that_guesses_that_it_was_written() -> Iterator[None]:
    """No answer is a good answer."""
    with _instead(writing, "write", _after_an_error(_APPLIED)):
        yield


@_way
def a_program_that_answers_before_the_commit() -> Iterator[None]:
    """It will be written, some time."""

    async def acommit(self, commits):
        process = self._process
        process.world.waiting.append(Belated(process.label(), commits))
        return [_APPLIED] * len(commits)

    with _instead(Client, "acommit", acommit):
        yield


@_way
def a_program_that_applies_a_known_event_id_again() -> Iterator[None]:
    """Event ids are kept, and nobody looks at them."""
    original = program.draft_cases

    def draft_cases(draft, group, known, **options):
        return original(draft, group, {}, **options)

    with (
        _instead(program, "draft_cases", draft_cases),
        _instead(memory, "_meets", lambda *_: False),
    ):
        yield


@_way
def a_program_that_drops_the_later_events_of_a_batch() -> Iterator[None]:
    """The first event of an entity is written, and all are answered."""
    original = program.draft_cases

    def draft_cases(draft, group, known, **options):
        yield from original(draft, group[:1], known, **options)
        if draft.answers:
            draft.answers += [(case, draft.answers[-1][1], []) for case in group[1:] if case.open]

    with _instead(program, "draft_cases", draft_cases):
        yield


@_way
def a_combiner_that_breaks_the_order_of_an_entity() -> Iterator[None]:
    """Every second call steps aside for a moment."""
    original = Combiner.submit
    calls = 0

    async def submit(self, case):
        nonlocal calls
        calls += 1
        if calls % 2:
            for _ in range(3):
                await asyncio.sleep(0)
        return await original(self, case)

    with _instead(Combiner, "submit", submit):
        yield


@_way
def a_store_that_forgets_timers() -> Iterator[None]:
    """What a timer was armed with is not what is stored."""
    original = Server.commit

    def commit(self, commits):
        for each in commits:
            if each.timers and each.expected_version:
                each.timers = {}
        return original(self, commits)

    with _instead(Server, "commit", commit):
        yield


@_way
def a_store_that_writes_half_a_commit() -> Iterator[None]:
    """The state is there and the last row of several is not."""
    original = Server.commit

    def commit(self, commits):
        for each in commits:
            if len(each.entries) > 1:
                each.entries = each.entries[:-1]
        return original(self, commits)

    with _instead(Server, "commit", commit):
        yield


@_way
def a_client_that_does_not_tell_of_a_lost_answer() -> Iterator[None]:
    """Whoever waits for it waits for ever."""
    original = Client.acommit

    async def acommit(self, commits):
        try:
            return await original(self, commits)
        except Exception:
            return await self._process.world.loop.create_future()

    with _instead(Client, "acommit", acommit):
        yield


@_way
def an_orchestrator_that_runs_actions_before_the_commit() -> Iterator[None]:
    """Actions run as soon as they are planned, and then once more."""
    original = Draft._answer

    def answer(self, case, result):
        ran = asyncio.get_running_loop().world.ran
        for _, specs, decided, _ in self.todos:
            ran.update(decided.context["tag"] for _ in specs)
        original(self, case, result)

    with _instead(Draft, "_answer", answer):
        yield


@_way
def an_orchestrator_that_looks_at_expected_versions_too_early() -> Iterator[None]:
    """Where somebody else is first, the event is decided again, at whatever version that made."""
    original = Draft.take

    def take(self, case):
        if self.version == case.expected:
            case.expected = None
        return original(self, case)

    with _instead(Draft, "take", take):
        yield


@_way
def an_orchestrator_that_compares_with_what_was_loaded() -> Iterator[None]:
    """The later events of a batch are to meet what those before them have made."""
    original = Draft.take

    def take(self, case):
        version, self.version = self.version, self._expected
        if case.expected is not None and case.expected != self.version:
            return original(self, case)
        expected, case.expected, self.version = case.expected, None, version
        try:
            return original(self, case)
        finally:
            case.expected = expected

    with _instead(Draft, "take", take):
        yield


@_way
def an_orchestrator_that_forgets_what_is_archived() -> Iterator[None]:
    """Events move it as ever."""
    original = Draft.__init__

    def init(self, *given, **options):
        original(self, *given, **options)
        self.archived_at = None

    with _instead(Draft, "__init__", init):
        yield


@_way
def a_store_that_forgets_what_is_archived() -> Iterator[None]:
    """It writes the row, and nothing else."""
    original = Server.commit

    def commit(self, commits):
        for each in commits:
            each.archived_at = None
        return original(self, commits)

    with _instead(Server, "commit", commit):
        yield

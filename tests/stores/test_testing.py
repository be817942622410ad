"""What the package ships for authors of stores works as its page says."""

import asyncio
import textwrap
from datetime import UTC, datetime, timedelta

import pytest

from pystator import InMemoryStateStore, Orchestrator, StateMachine
from pystator.testing import Crash, CrashingStore, FakeClock, change, pure_guards
from pystator.testing.building import lookup
from pystator.testing.crash import crash_points
from pystator.testing.drivers import Driver

pytest_plugins = ["pytester"]


def test_a_fake_clock_moves_when_told():
    clock = FakeClock(datetime(2024, 5, 1, tzinfo=UTC))
    clock.advance(1.5)
    clock.advance(timedelta(days=-1))
    assert clock.now == datetime(2024, 4, 30, 0, 0, 1, 500_000, tzinfo=UTC)
    assert clock() == clock.microseconds == 1_714_435_201_500_000


@pytest.mark.parametrize("face", ["sync", "async"])
@pytest.mark.parametrize("after", [False, True])
def test_a_process_dies_before_or_after_its_commit(face, after):
    inner = InMemoryStateStore()
    with Driver(CrashingStore(inner, at=2, after=after), face) as drive:
        drive.load([lookup()])
        with pytest.raises(Crash):
            drive.commit([change()])
    assert (inner.get_state("e") == "open") is after


def test_crash_points_are_the_calls_of_a_scenario():
    def run(store):
        store.load([lookup()])
        store.commit([change()])
        store.load([lookup()])

    assert crash_points(run, InMemoryStateStore) == [1, 2, 3]


def adds_a_line(context):
    context["lines"].append("guard")
    return True


async def adds_a_line_later(context):
    return adds_a_line(context)


def adds_a_key(context):
    context["seen"] = True
    return True


@pytest.mark.parametrize(
    ("guard", "key"), [(adds_a_line, "lines"), (adds_a_line_later, "lines"), (adds_a_key, "seen")]
)
def test_a_guard_that_writes_is_caught(guard, key):
    """Unwatched, the line would be stored with the next effect, and stand in no row of history."""
    machine = StateMachine.from_dict(
        {
            "meta": {"machine_name": "m"},
            "states": [{"name": "a", "type": "initial"}, {"name": "b"}],
            "transitions": [{"trigger": "go", "source": "a", "dest": "b", "guards": ["g"]}],
        }
    )
    guards = pure_guards({"g": guard, "other": lambda _: True})
    entities = Orchestrator(machine, InMemoryStateStore(), guards=guards)
    result = asyncio.run(entities.async_process_event("e", "go", {"lines": []}))
    assert (result.success, result.error.context["keys"]) == (False, [key])
    assert "'g'" in result.error.message
    assert guards.names == ["g", "other"]


def test_a_guard_that_only_reads_is_asked_as_ever():
    watched = pure_guards({"g": lambda context: context["n"] > 1})
    assert [watched.find("g").function({"n": n, "lines": [[]]}) for n in (1, 2)] == [False, True]


CONTRACT = """
    from pystator.testing import StoreContract, SyncFace, BasicContract
    from pystator import InMemoryStateStore

    class Forgetful(InMemoryStateStore):
        def get_context(self, entity_id, **options):
            return {}

    class TestForgetful(SyncFace, BasicContract):
        def make_store(self, path):
            return Forgetful()

    class TestUnfinished(SyncFace, BasicContract):
        pass
"""


def test_a_store_that_breaks_the_contract_fails_it(pytester):
    """A contract that lets a wrong store pass would be worse than none."""
    pytester.makepyfile(textwrap.dedent(CONTRACT))
    result = pytester.runpytest("-q", "-p", "no:cacheprovider", "-p", "no:valkey")
    outcomes = result.parseoutcomes()
    assert outcomes["failed"] >= 10
    assert outcomes["passed"] >= 2
    result.stdout.fnmatch_lines(["*TestUnfinished has no make_store(path)*"])

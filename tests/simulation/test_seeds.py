"""Worlds chosen by seeds, with every kind of trouble at every moment: no promise is broken in any of them."""

from collections import Counter

import pytest

from simulation.luck import Drawn, Script
from simulation.machines import MACHINES
from simulation.plan import plan_of
from simulation.ranges import run_some
from simulation.runs import told
from simulation.world import World

SEEDS = 500
"""Some 225 with each of the two machines that matter most."""

CHUNK = 125


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_trouble_at_any_moment_breaks_no_promise(first):
    worlds, _, _, failed = run_some(range(first, first + CHUNK))
    assert worlds == CHUNK
    assert not failed, told(failed[0])


@pytest.mark.soak
@pytest.mark.parametrize("first", range(1_000_000, 1_050_000, 1_000))
def test_no_promise_is_broken_in_many_more_worlds(first):
    _, _, _, failed = run_some(range(first, first + 1_000))
    assert not failed, told(failed[0])


@pytest.fixture(scope="module")
def seen() -> Counter[str]:
    """What happens in some hundred worlds, counted."""
    counts: Counter[str] = Counter()
    for seed in range(500):
        plan, script = plan_of(seed), Script()
        world = World(plan, Drawn(plan, script))
        world.run()
        counts[plan.machine] += 1
        counts.update(f"{plan.machine} {plan.modes[caller.process]}" for caller in plan.callers)
        counts.update(trouble.kind for trouble in script.troubles.values())
        counts.update(f"op {op.kind}" for caller in plan.callers for op in caller.ops)
        counts["dead"] += world.crashes
        _count_rows(counts, world)
        for note in world.journal.notes.values():
            counts["acknowledged"] += bool(note.answers)
            counts["repeated"] += note.tries > 1
            counts["refused"] += note.refused
            counts["never known"] += note.maybe and not note.answers
            counts[f"told {type(note.error).__name__}"] += 1
    return counts


def _count_rows(counts: Counter[str], world: World) -> None:
    rows = world.server.store.feed(None, 10_000).items
    counts["several in one commit"] += len(rows) - len({row.commit_id for row in rows})
    for row in rows:
        counts[f"row {row.kind}"] += 1
        counts[str(row.error_code)] += 1
        if row.kind == "event" and row.trigger is None:
            counts["led on" if row.source_state != row.target_state else "stayed"] += 1
        if not row.success and row.kind != "rejected":
            counts["lapsed" if row.target_state is None else "fell back"] += 1
        if row.success and row.kind == "rejected":
            counts["ignored"] += 1
        if row.kind == "timer":
            counts[f"timer of {str(row.trigger).split(':')[0]}"] += 1
    for entity in world.server.store.entities(limit=100).items:
        counts.update(f"remembered {name}" for name in entity.history or ())
        counts["regions"] += "+" in entity.state


@pytest.mark.parametrize("machine", MACHINES)
def test_every_way_meets_every_machine(seen, machine):
    assert seen[machine] > 30
    assert min(seen[f"{machine} {mode}"] for mode in ("combined", "plain", "blocking")) > 15


def test_the_trouble_is_real(seen):
    """A simulation in which nothing ever went wrong would prove nothing."""
    kinds = ["slow", "never", "lost", "late", "torn", "busy", "stale", "crash", "cancel"]
    assert min(seen[kind] for kind in kinds) > 30, seen
    answers = ["acknowledged", "repeated", "never known", "dead", "several in one commit"]
    assert min(seen[answer] for answer in answers) > 50, seen
    errors = ["EntityExistsError", "EntityNotFoundError", "IdempotencyConflictError"]
    errors += ["InvalidValueError", "StaleVersionError", "StoreUnavailableError"]
    assert min(seen[what] for what in ("refused", "row archived", "entity_archived")) > 10, seen
    assert min(seen[f"told {error}"] for error in errors) > 0, seen


def test_every_call_is_made(seen):
    kinds = ["event", "batch", "pipeline", "stream", "once", "create", "force", "sweep"]
    assert min(seen[f"op {kind}"] for kind in ("archive", "unarchive")) > 10, seen
    assert min(seen[f"op {kind}"] for kind in kinds) > 30, seen
    rows = ["event", "rejected", "created", "timer", "action", "forced"]
    assert min(seen[f"row {row}"] for row in rows) > 20, seen


def test_what_fails_leads_somewhere_else_or_nowhere(seen):
    assert min(seen[what] for what in ("lapsed", "fell back", "ignored", "timer of even")) > 2, seen


def test_the_chart_is_explored(seen):
    """Regions, memories of several kinds, timers of leaves and of compounds, data that leads on."""
    expected = ["remembered work", "remembered review", "regions", "led on", "stayed"]
    expected += ["timer of odd", "timer of reading", "timer of work"]
    assert min(seen[name] for name in expected) > 1, seen

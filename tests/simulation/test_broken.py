"""What is wrong on purpose is caught, within a few hundred worlds; its world shrinks and can be run again."""

import pytest

from simulation.broken import BROKEN, broken
from simulation.plan import plan_of
from simulation.runs import run, run_seed
from simulation.shrink import shrink

MOST = 300
"""Worlds in which each of them has to show."""


def caught(name: str) -> int | None:
    """The first seed whose world shows it."""
    with broken(name):
        for seed in range(MOST):
            try:
                run_seed(seed)
            except AssertionError:
                return seed
    return None


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_caught(name):
    assert caught(name) is not None


@pytest.mark.parametrize(
    "name",
    [
        "a_store_that_does_not_compare_versions",
        "a_program_that_guesses_that_it_was_written",
        "a_program_that_drops_the_later_events_of_a_batch",
    ],
)
def test_what_is_broken_is_shown_in_a_small_world(name):
    """And what is left fails each time."""
    seed = caught(name)
    assert seed is not None
    with broken(name):
        failure = shrink(run, plan_of(seed))
        assert failure is not None
        callers, events, troubles = failure.size
        assert callers <= 2
        assert events <= 4
        assert troubles <= 2
        told = failure.trace(run)
        assert f"!!! {failure.error}" in told
        assert told == failure.trace(run)


def test_a_world_that_keeps_its_promises_does_not_shrink():
    assert shrink(run, plan_of(1)) is None

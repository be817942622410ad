"""Who looks for an answer before sleeping, and how soon one gives up doing so."""

from itertools import pairwise
from threading import Lock

import pytest

from pystator.stores import glance
from pystator.stores.glance import Glance


@pytest.fixture
def turn():
    return Lock()


@pytest.fixture
def asked(monkeypatch):
    """How often it was looked; there is no time for a second look."""
    monkeypatch.setattr(glance, "MOMENT", -1.0)
    return []


def never(asked):
    return lambda seconds: bool(asked.append(seconds))


def test_an_answer_that_is_there_is_seen(turn, asked):
    assert Glance(turn).at(lambda seconds: seconds == 0)
    assert not turn.locked()


def test_looks_that_are_in_vain_become_rare(turn, asked):
    look = Glance(turn)
    tried = []
    for number in range(2_000):
        before = len(asked)
        assert not look.at(never(asked))
        if len(asked) > before:
            tried.append(number)
    gaps = [later - earlier for earlier, later in pairwise(tried)]
    assert gaps == [2, 4, 8, 16, 32, 64, 128, *[256] * len(gaps[7:])]
    assert set(asked) == {0}, "a look never waits"


def test_after_a_few_answers_that_came_soon_it_is_looked_every_time_again(turn, asked):
    look = Glance(turn)
    for _ in range(300):
        look.at(never(asked))
    for _ in range(2_000):
        look.at(lambda _: True)
    assert all(look.at(lambda _: True) for _ in range(10))


def test_one_thread_looks_at_a_time(turn, asked):
    with turn:
        assert not Glance(turn).at(never(asked))
    assert asked == []


def test_who_is_interrupted_leaves_the_turn_to_others(turn, asked):
    def interrupted(seconds):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Glance(turn).at(interrupted)
    assert not turn.locked()

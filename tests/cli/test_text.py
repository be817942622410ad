"""Timers in words."""

import pytest

from pystator.cli.text import timer_words


@pytest.mark.parametrize(
    ("timer", "words"),
    [
        ("sent:after:1209600000:lost", "sent → lost after 14d"),
        ("sent:after:1500:H*(open)", "sent → H*(open) after 1500ms"),
        ("dunning:after:259200000:dunning", "dunning after 3d"),
        ("region:goods:after:1000:picking:2", "goods → picking after 1s"),
        ("live:at:ended", "live → ended"),
        ("reminder", "reminder"),
        ("mine:after:all", "mine:after:all"),
    ],
)
def test_a_timer_says_where_from_where_to_and_how_long(timer: str, words: str) -> None:
    assert timer_words(timer) == words

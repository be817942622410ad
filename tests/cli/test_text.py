"""Timers and moves in words."""

import pytest

from pystator.cli.text import move, timer_words


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


LONG = "payment_pending+fulfilment_pending+returns_pending"


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("draft", "placed", "draft → placed"),
        (None, "placed", "placed"),
        ("placed", "placed", "placed"),
        ("unpaid+packed", "paid+packed", "unpaid+packed → paid+packed"),
        (LONG, LONG.replace("s_pending", "s_closed"), "returns_pending → returns_closed (2 stay)"),
        ("draft", f"{LONG}+accounts_pending", f"draft → {LONG}+accounts…"),
        (LONG, LONG, LONG),
        (f"{LONG}+accounts_pending", LONG, f"{LONG}+accounts… → {LONG}"),
    ],
)
def test_a_move_fits_into_a_line(source: str | None, target: str, words: str) -> None:
    assert move(source, target) == words

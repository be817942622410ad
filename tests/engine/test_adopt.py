"""Timers that another version of a machine armed."""

import pytest

from pystator.engine.adopt import carried

ENTERED = 1_000_000_000


@pytest.mark.parametrize(
    ("old", "new", "waits"),
    [
        ("open:after:5000:late", "open:after:2000:late", 2_000_000),
        ("open:after:0.500:late", "open:after:2000.250:late", 2_000_250),
        ("region:payment:after:5000:unpaid", "region:payment:after:60000:unpaid", 60_000_000),
        ("open:after:5000:H*(fulfil)", "open:after:7000:H*(fulfil)", 7_000_000),
        ("open:after:5000:a+b", "open:after:7000:a+b", 7_000_000),
        ("open:after:5000:late:2", "open:after:7000:late", 7_000_000),
    ],
)
def test_a_timer_that_changed_its_length_runs_from_where_it_began(old, new, waits) -> None:
    milliseconds = float(old.split(":after:")[1].split(":")[0])
    stored = {old: (ENTERED + round(milliseconds * 1_000), 3)}
    now = ENTERED + 77
    assert carried(stored, {new: now + waits}, now) == {new: (ENTERED + waits, 3)}


def test_a_timer_that_is_gone_or_goes_elsewhere_is_nobodys() -> None:
    stored = {"open:after:5000:late": (5, 1), "reminder": (9, 1), "kept:after:1:x": (7, 1)}
    armed = {"open:after:5000:lost": 50, "kept:after:1:x": 51}
    assert carried(stored, armed, 45) == stored

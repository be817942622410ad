"""A large machine is analysed while a person waits, and without recursion or explosion."""

from collections import Counter

from pystator.definition.analyse import analyse
from pystator.definition.load import load_config


def codes(config):
    return Counter(issue.code for issue in analyse(load_config(config)))


def test_a_long_flat_machine():
    """5,000 states in a row, with guards and a way back; the last has no way out."""
    count = 5_000
    states = [{"name": f"s{n}"} for n in range(count)]
    states[0]["type"] = "initial"
    ways = [
        {
            "trigger": "go", "source": f"s{n}", "dest": f"s{n + 1}",
            "guards": [{"expr": f"qty > {n % 7} and tier in ['a', 'b']"}],
        }
        for n in range(count - 1)
    ]  # fmt: skip
    ways += [{"trigger": "go", "source": f"s{n}", "dest": f"s{n // 2}"} for n in range(count - 1)]
    found = codes({"states": states, "transitions": ways})
    assert found == {"trap": 1}


def test_choices_that_feed_each_other():
    """5,000 of them, and not one is endless; then the last one closes the circle."""
    count = 5_000
    states = [{"name": "open", "type": "initial"}, {"name": "done", "type": "terminal"}]
    states += [{"name": f"c{n}", "type": "choice"} for n in range(count)]
    ways = [{"trigger": "go", "source": "open", "dest": "c0"}]
    ways += [{"trigger": "end", "source": "open", "dest": "done"}]
    ways += [{"source": f"c{n}", "dest": f"c{n + 1}"} for n in range(count - 1)]
    assert (
        codes(
            {"states": states, "transitions": [*ways, {"source": f"c{count - 1}", "dest": "open"}]}
        )
        == {}
    )
    assert codes(
        {"states": states, "transitions": [*ways, {"source": f"c{count - 1}", "dest": "c1"}]}
    ) == {"endless": 1}


def test_many_regions_make_no_more_configurations():
    """200 regions of 25 states are 25 ** 200 configurations, and 5,000 states."""
    regions = [
        {"name": f"r{r}", "states": [{"name": f"r{r}_s{n}"} for n in range(25)]} for r in range(200)
    ]
    ways = [
        {"trigger": f"go{r}", "source": f"r{r}_s{n}", "dest": f"r{r}_s{(n + 1) % 25}"}
        for r in range(200)
        for n in range(25)
    ]
    states = [
        {"name": "work", "type": "parallel", "regions": regions},
        {"name": "over", "type": "terminal"},
    ]
    ways.append({"trigger": "stop", "source": "work", "dest": "over"})
    assert codes({"initial": "work", "states": states, "transitions": ways}) == {}


def test_deep_nesting():
    """As deep as a machine may be."""
    states = [{"name": "s0", "type": "initial"}]
    states += [{"name": f"s{n}", "parent": f"s{n - 1}"} for n in range(1, 99)]
    ways = [{"trigger": "go", "source": f"s{n}", "dest": f"s{(n + 1) % 99}"} for n in range(99)]
    assert codes({"states": states, "transitions": ways}) == {"shadowed": 98}

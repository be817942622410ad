"""The examples: what people copy has to be right."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pystator.definition.load import check_file

EXAMPLES = Path(__file__).parents[2] / "examples"
MACHINES = sorted(EXAMPLES.glob("*.yaml"))


def generate(*options: str) -> str:
    """What the generator of orders prints."""
    script = [sys.executable, str(EXAMPLES / "generate_orders.py"), *options]
    return subprocess.run(script, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("path", MACHINES, ids=lambda path: path.stem)
def test_an_example_has_no_mistake_and_nothing_odd(path: Path) -> None:
    definition, issues = check_file(path)
    assert definition is not None
    assert [str(issue) for issue in issues] == []


def test_machines_have_names_of_their_own() -> None:
    """Two machines of one name would share their entities."""
    names = [definition.name for path in MACHINES if (definition := check_file(path)[0])]
    assert len(MACHINES) == len(set(names))


def test_the_same_seed_gives_the_same_events() -> None:
    sizes = ("--orders", "200", "--events", "1200")
    assert generate(*sizes) == generate(*sizes)
    assert generate(*sizes) != generate(*sizes, "--seed", "8")


def test_the_events_are_as_many_as_asked_for_and_not_clean() -> None:
    """The demo shows what happens to duplicates, late events, illegal ones and damaged lines: they are there."""
    lines = generate("--orders", "1000", "--events", "6000").splitlines()
    assert len(lines) == 6000
    events = []
    damaged = 0
    for line in lines:
        try:
            events.append(json.loads(line))
        except ValueError:
            damaged += 1
    assert damaged == 3
    ids = [event["event_id"] for event in events]
    assert len(ids) > len(set(ids))
    assert any(event["trigger"] == "delvier" for event in events)
    times: dict[str, str] = {}
    late = 0
    for event in events:
        late += event["at"] < times.get(event["entity_id"], "")
        times[event["entity_id"]] = max(event["at"], times.get(event["entity_id"], ""))
    assert late > 20


def test_too_few_events_for_so_many_orders_are_refused() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        generate("--orders", "100", "--events", "10")

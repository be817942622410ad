"""Short ways to write machines, so that a test shows what it is about."""

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from pystator import StateMachine


def build(states: str, *transitions: str | dict[str, Any], **more: Any) -> StateMachine:
    """A machine from a few words.

    ``"draft open closed!"`` names the states: the first is initial, ``!`` is terminal, ``?`` a choice.
    A transition is ``"submit: draft -> open"`` or the dictionary of a machine file. ``state=`` keywords
    other than top-level keys of a file add keys to the state of that name.
    """
    top = {"meta", "state_variables", "context_invariants", "events", "error_policy"}
    entries = []
    for position, word in enumerate(states.split()):
        name = word.rstrip("!?")
        kind = {"!": "terminal", "?": "choice"}.get(word[-1], "stable")
        entries.append(
            {"name": name, "type": "initial" if position == 0 else kind, **more.pop(name, {})}
        )
    config = {key: more.pop(key) for key in list(more) if key in top}
    assert not more, f"no state is called {sorted(more)}"
    config["states"] = entries
    config["transitions"] = [_transition(each) for each in transitions]
    return StateMachine.from_dict({"meta": {"machine_name": "m", "version": "1"}, **config})


def _transition(each: str | dict[str, Any]) -> dict[str, Any]:
    if isinstance(each, dict):
        each = dict(each)
        way = each.pop("way", None)
        return {**(_transition(way) if way else {}), **each}
    trigger, _, way = each.partition(":")
    source, _, dest = way.partition("->")
    entry: dict[str, Any] = {"source": source.split()[0], "dest": dest.split()[0]}
    if len(source.split()) > 1:
        entry["source"] = source.split()
    return {"auto": True, **entry} if trigger == "auto" else {"trigger": trigger, **entry}


@pytest.fixture(name="build", scope="session")
def build_fixture() -> Any:
    return build


Chart = Callable[..., StateMachine]


def chart(text: str, **meta: Any) -> StateMachine:
    """A machine from the YAML of its states and transitions; keywords are added to ``meta``."""
    config = yaml.safe_load(text)
    config["meta"] = {"machine_name": "m", "version": "1", **meta}
    return StateMachine.from_dict(config)


@pytest.fixture(name="chart", scope="session")
def chart_fixture() -> Chart:
    return chart

"""``graph``: diagrams that Mermaid takes as they are."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pystator.definition.drawing.chart import draw
from pystator.definition.drawing.mermaid import mermaid as render
from pystator.definition.load import load_config, load_file


def mermaid(definition: Any, **options: Any) -> str:
    """The text of a machine's chart."""
    return render(draw(definition, **options))


def machine(*transitions: dict[str, Any], states: tuple[dict[str, Any], ...] = ()) -> Any:
    """A machine of three states."""
    return load_config(
        {
            "meta": {"machine_name": "m"},
            "states": [
                {"name": "a", "type": "initial"},
                {"name": "b"},
                {"name": "z", "type": "terminal"},
                *states,
            ],
            "transitions": list(transitions),
        }
    )


def test_states_and_transitions_are_drawn() -> None:
    drawn = mermaid(machine({"trigger": "go", "source": "a", "dest": "b"}))
    assert '---\ntitle: "m 1.0.0"\n---\nstateDiagram-v2\n' in drawn
    assert "    [*] --> a\n" in drawn
    assert "    a --> b : go\n" in drawn
    assert "    z --> [*]\n" in drawn


def test_guards_effects_timers_and_requirements_are_told() -> None:
    drawn = mermaid(
        machine(
            {
                "trigger": "go",
                "source": "a",
                "dest": "b",
                "guards": [{"expr": "n == 1"}, {"not": "busy"}],
                "actions": [{"increment": {"n": 2}}, "charge"],
                "ref": "R-1",
            },
            {"after": "90s", "source": "b", "dest": "z"},
            {"trigger": "stop", "after": "2h", "source": "b", "dest": "z"},
        )
    )
    assert "a --> b : go [n == 1 and not (busy)] / n += 2, charge (R-1)" in drawn
    assert "b --> z : after 90s" in drawn
    assert "b --> z : stop or after 2h" in drawn


def test_what_happens_inside_a_state_stands_in_its_box() -> None:
    """Twenty arrows from a state to itself would hide the way it can leave."""
    inner = machine(
        {"trigger": "tick", "source": "b", "internal": True, "actions": [{"increment": "n"}]},
        {"trigger": "go", "source": "a", "dest": "b"},
        states=({"name": "c", "on_enter": [{"timestamp": "since"}], "on_exit": ["wave"]},),
    )
    drawn = mermaid(inner)
    assert 'state "b" as b\n    b : tick / n += 1' in drawn
    assert "c : entry / since = now\n    c : exit / wave" in drawn
    assert "b --> b" not in drawn
    assert "tick" not in mermaid(inner, brief=True)


def test_mermaids_own_characters_are_escaped() -> None:
    drawn = mermaid(
        machine({"trigger": "go:now", "source": "a", "dest": "b", "guards": [{"expr": "x > 1"}]})
    )
    label = re.search(r"a --> b : (.*)", drawn)
    assert label is not None
    assert label[1] == "go#58;now [x #62; 1]"


def test_words_of_mermaid_are_no_states() -> None:
    """``end`` is a fine state and would end the diagram."""
    drawn = mermaid(
        machine({"trigger": "go", "source": "a", "dest": "end"}, states=({"name": "end"},))
    )
    assert 'state "end" as end_' in drawn
    assert "a --> end_ : go" in drawn


def test_choices_are_choices() -> None:
    drawn = mermaid(
        machine(
            {"trigger": "go", "source": "a", "dest": "which"},
            {
                "source": "which",
                "dest": "b",
                "guards": [{"check": {"field": "n", "op": "gte", "value": 3}}],
            },
            {"source": "which", "dest": "z"},
            states=({"name": "which", "type": "choice"},),
        )
    )
    assert "state which <<choice>>" in drawn
    assert "which --> b : [n #62;= 3]" in drawn
    assert "which --> z\n" in drawn


def test_a_long_label_is_cut() -> None:
    guard = " and ".join(f"field_{n} == {n}" for n in range(40))
    drawn = mermaid(
        machine({"trigger": "go", "source": "a", "dest": "b", "guards": [{"expr": guard}]})
    )
    assert all(len(line) < 120 for line in drawn.splitlines())
    assert "…" in drawn


@pytest.mark.parametrize("name", ["order", "loan_application", "subscription", "traffic_light"])
def test_every_line_is_one_mermaid_knows(name: str, examples: Path) -> None:
    """No library draws it here, so each line has to be of a form that is known to be drawn."""
    known = re.compile(
        r'state "\w+" as \w+|state \w+ <<choice>>|(\w+|\[\*\]) --> (\w+|\[\*\])( : [^:;#]+(#\d+;[^:;#]*)*)?'
        r"|\w+ : [^:;#]+(#\d+;[^:;#]*)*|classDef \w+ [\w:#,-]+|class [\w,]+ \w+"
    )
    lines = mermaid(load_file(examples / f"{name}.yaml"), current=["paid"]).splitlines()
    assert lines[:4] == ["---", lines[1], "---", "stateDiagram-v2"]
    assert [line for line in lines[4:] if not known.fullmatch(line.strip())] == []


def test_the_command_prints_the_diagram(cli: Callable[..., Any], examples: Path) -> None:
    answer = cli("graph", examples / "turnstile.yaml", "--format", "mermaid")
    assert answer.code == 0
    assert "locked --> unlocked : coin / coins += 1" in answer.out
    told = cli("graph", examples / "turnstile.yaml", "--json").json
    assert (told["format"], told["machine"]) == ("mermaid", "turnstile")


def test_another_language_is_refused(cli: Callable[..., Any], examples: Path) -> None:
    answer = cli("graph", examples / "turnstile.yaml", "--format", "png")
    assert answer.code == 2
    assert "--format is one of mermaid, dot, svg, json" in " ".join(answer.err.split())

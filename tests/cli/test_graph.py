"""``graph``: diagrams that Mermaid takes as they are."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pystator.definition.drawing.chart import draw
from pystator.definition.drawing.mermaid import mermaid as render
from pystator.definition.load import load_config, load_file
from pystator.engine.machine import StateMachine
from pystator.engine.session import EntitySession


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
    label = r"[^:;#]+(#\d+;[^:;#]*)*"
    known = re.compile(
        rf'state "(\w|#\d+;)+" as \w+( \{{)?|state \w+ <<(choice|fork)>>|\w+|--|\}}|%% .*'
        rf"|(\w+|\[\*\]) --> (\w+|\[\*\])( : {label})?|\w+ : {label}"
        rf"|note right of \w+|end note|classDef \w+ [\w:#, -]+|class [\w,]+ \w+"
    )
    lines = mermaid(load_file(examples / f"{name}.yaml"), current=["paid"]).splitlines()
    assert lines[:4] == ["---", lines[1], "---", "stateDiagram-v2"]
    notes = re.compile(r"note right of .*?end note", re.DOTALL)
    drawn = notes.sub("", "\n".join(lines[4:])).split("\n")
    assert [line for line in drawn if line.strip() and not known.fullmatch(line.strip())] == []


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


NESTED = """
meta: {machine_name: order}
states:
  - {name: draft, type: initial}
  - name: processing
    type: parallel
    regions:
      - {name: payment, states: [awaiting, paid]}
      - {name: fulfilment, states: [picking, packed]}
  - {name: awaiting}
  - {name: paid}
  - {name: picking}
  - {name: packed}
transitions:
  - {trigger: place, source: draft, dest: processing}
  - {trigger: pay, source: awaiting, dest: paid}
  - {trigger: reset, source: paid, dest: processing}
"""


@pytest.fixture
def nested(tmp_path: Path) -> Path:
    """A file with a parallel machine, and an arrow from within it to itself."""
    file = tmp_path / "nested.yaml"
    file.write_text(NESTED)
    return file


@pytest.mark.parametrize(
    ("form", "start", "mark"),
    [
        ("mermaid", "---\n", "class paid,picking current"),
        ("dot", "digraph ", '"picking" [label=<picking>, fillcolor="#fff8c5"'),
        ("svg", "<svg ", '<g class="shape state current" data-state="picking">'),
    ],
)
def test_every_language_marks_a_configuration(
    cli: Callable[..., Any], nested: Path, form: str, start: str, mark: str
) -> None:
    answer = cli("graph", nested, "--format", form, "--highlight", "picking+paid")
    assert answer.code == 0
    assert answer.out.startswith(start)
    assert mark in answer.out
    told = cli("graph", nested, "--format", form, "--highlight", "picking+paid", "--json").json
    assert told == {"format": form, "machine": "order", "diagram": answer.out}


def test_a_part_of_a_configuration_is_completed(cli: Callable[..., Any], nested: Path) -> None:
    told = cli("graph", nested, "--format", "json", "--highlight", "paid").json
    assert [state["name"] for state in told["states"] if state["current"]] == ["paid", "picking"]
    assert cli("graph", nested, "--format", "json", "--json").json["diagram"]["machine"] == "order"


def test_an_unknown_state_is_told(cli: Callable[..., Any], nested: Path) -> None:
    answer = cli("graph", nested, "--highlight", "payd")
    assert answer.code == 1
    assert "did you mean 'paid'?" in answer.err


def test_options_that_do_not_go_together_are_refused(cli: Callable[..., Any], nested: Path) -> None:
    both = cli("graph", nested, "--highlight", "paid", "--entity", "order-1")
    brief = cli("graph", nested, "--format", "json", "--brief")
    assert (both.code, brief.code) == (2, 2)
    assert "give one" in both.err
    assert "JSON always has everything" in " ".join(brief.err.split())


def test_an_entity_is_marked_in_every_language(cli: Callable[..., Any], nested: Path) -> None:
    for trigger in ("place", "pay"):
        assert cli("send", "order-1", trigger, "--machine", nested).code == 0
    mermaid_ = cli("graph", nested, "--entity", "order-1").out
    assert "class paid,picking current" in mermaid_
    assert "class draft,awaiting visited" in mermaid_
    svg = cli("graph", nested, "--entity", "order-1", "--format", "svg").out
    assert '<g class="shape state visited" data-state="draft">' in svg
    assert '<g class="shape parallel active" data-state="processing">' in svg
    states = cli("graph", nested, "--entity", "order-1", "--format", "json").json["states"]
    assert {state["name"] for state in states if state["visited"]} >= {"draft", "awaiting"}
    assert {state["name"] for state in states if state["current"]} == {"paid", "picking"}


def test_what_mermaid_cannot_draw_is_told_beside_it(cli: Callable[..., Any], nested: Path) -> None:
    answer = cli("graph", nested)
    assert answer.err.startswith("note: Mermaid draws no arrow between 'processing' and")
    assert "paid --> processing_itself : reset" in answer.out
    assert cli("graph", nested, "--format", "svg").err == ""


def test_a_machine_too_large_for_a_picture_is_drawn_and_told(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    count = 1_000
    file = tmp_path / "large.json"
    states = [{"name": f"state_{n}"} for n in range(count)]
    ways = [
        {"trigger": "next", "source": f"state_{n}", "dest": f"state_{(n * 7 + 1) % count}"}
        for n in range(count)
        for _ in range(2)
    ]
    file.write_text(json.dumps({"initial": "state_0", "states": states, "transitions": ways}))
    svg = cli("graph", file, "--format", "svg")
    assert (svg.code, svg.out.count("data-transition=")) == (0, 2 * count)
    assert "note: 1000 states are more than a picture shows well" in svg.err
    assert "characters of Mermaid" in cli("graph", file).err


def test_a_notebook_shows_the_same_picture(cli: Callable[..., Any], nested: Path) -> None:
    shown = StateMachine.from_yaml(nested)._repr_svg_()
    assert shown == cli("graph", nested, "--format", "svg").out


def test_a_notebook_shows_where_a_session_is(cli: Callable[..., Any], nested: Path) -> None:
    session = EntitySession(StateMachine.from_yaml(nested))
    session.place()
    marked = ("--highlight", "awaiting+picking")
    assert session._repr_svg_() == cli("graph", nested, "--format", "svg", *marked).out


DOCS = Path(__file__).parents[2] / "docs"


def test_the_pictures_of_the_page_are_what_the_command_prints(
    cli: Callable[..., Any], tmp_path: Path, examples: Path
) -> None:
    """After a change draw them again.

    graph.svg is of the machine on docs/graph.md, order.svg of examples/order.yaml with
    ``--highlight partly_paid+picking``, loan.svg of examples/loan_application.yaml with ``--brief``.
    """
    machine = re.search(r"```yaml\n(.*?)```", (DOCS / "graph.md").read_text(), re.DOTALL)
    assert machine is not None
    file = tmp_path / "order.yaml"
    file.write_text(machine[1])
    drawn = cli("graph", file, "--format", "svg").out
    assert drawn == (DOCS / "graph.svg").read_text()
    marked = ("--highlight", "partly_paid+picking")
    order = cli("graph", examples / "order.yaml", "--format", "svg", *marked).out
    assert order == (DOCS / "order.svg").read_text()
    loan = cli("graph", examples / "loan_application.yaml", "--format", "svg", "--brief").out
    assert loan == (DOCS / "loan.svg").read_text()

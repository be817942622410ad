"""Nested and parallel machines in Mermaid, in DOT and as facts."""

import json
import re
from typing import Any

import pytest

from pystator.definition.drawing.chart import draw
from pystator.definition.drawing.dot import dot
from pystator.definition.drawing.facts import facts
from pystator.definition.drawing.mermaid import compromises, mermaid
from pystator.definition.load import load_config

ORDER: dict[str, Any] = {
    "meta": {"machine_name": "order", "version": "2"},
    "states": [
        {"name": "draft", "type": "initial"},
        {
            "name": "processing",
            "type": "parallel",
            "on_enter": [{"timestamp": "since"}],
            "on_done": "closed",
            "regions": [
                {"name": "payment", "states": ["awaiting", "paid"]},
                {"name": "fulfilment", "states": ["picking", "packed"]},
            ],
        },
        {"name": "awaiting"},
        {"name": "paid", "type": "terminal"},
        {"name": "picking"},
        {"name": "packed", "type": "terminal"},
        {"name": "shipping", "initial_child": "customs"},
        {"name": "label", "parent": "shipping"},
        {"name": "customs", "parent": "shipping", "when": [{"expr": "abroad"}]},
        {"name": "closed", "type": "terminal"},
    ],
    "transitions": [
        {"trigger": "place", "source": "draft", "dest": "processing"},
        {"trigger": "jump", "source": "draft", "dest": ["paid", "packed"]},
        {"trigger": "ship", "source": "processing", "dest": "shipping"},
        {"trigger": "back", "source": "shipping", "dest": "H*(processing)"},
        {"trigger": "refund", "source": "shipping", "dest": "H(payment)"},
        {"trigger": "stamp", "source": "label", "dest": "customs"},
        {"trigger": "restart", "source": "customs", "dest": "shipping"},
        {"auto": True, "source": "shipping", "dest": "closed", "guards": [{"in_state": "label"}]},
    ],
}


def chart(config: dict[str, Any] = ORDER, **options: Any) -> Any:
    return draw(load_config(config), **options)


# Mermaid ----------------------------------------------------------------------------------------


def test_mermaid_nests_states_and_divides_regions() -> None:
    assert mermaid(chart(current=["awaiting"])).splitlines() == [
        "---",
        'title: "order 2"',
        "---",
        "stateDiagram-v2",
        f"    %% {compromises(chart())[0]}",
        '    state "processing" as processing {',
        '        state "H#42;" as processing_deep',
        "        --",
        '        state "payment" as payment_region {',
        "            awaiting",
        "            paid",
        '            state "H" as payment_region_shallow',
        "            [*] --> awaiting",
        "            paid --> [*]",
        "        }",
        "        --",
        '        state "fulfilment" as fulfilment_region {',
        "            picking",
        "            packed",
        "            [*] --> picking",
        "            packed --> [*]",
        "        }",
        "    }",
        "    note right of processing",
        "        entry / since = now",
        "    end note",
        '    state "shipping" as shipping {',
        "        label",
        '        state "customs" as customs',
        "        customs : when [abroad]",
        '        state "shipping" as shipping_itself',
        "        [*] --> customs",
        "    }",
        "    state 1_fork <<fork>>",
        "    [*] --> draft",
        "    draft --> processing : place",
        "    draft --> 1_fork : jump",
        "    1_fork --> paid",
        "    1_fork --> packed",
        "    processing --> shipping : ship",
        "    processing --> closed : done",
        "    shipping --> processing_deep : back",
        "    shipping --> payment_region_shallow : refund",
        "    shipping --> closed : auto [in label]",
        "    label --> customs : stamp",
        "    customs --> shipping_itself : restart",
        "    closed --> [*]",
        "    classDef pseudo fill:none,stroke-dasharray:3 3",
        "    class processing_deep,payment_region_shallow,shipping_itself pseudo",
        "    classDef active stroke:#b7950b,stroke-width:2px",
        "    class processing,payment_region active",
        "    classDef current fill:#f9e79f,stroke:#b7950b,stroke-width:3px",
        "    class awaiting current",
    ]


def test_mermaid_tells_what_it_cannot_draw() -> None:
    assert len(compromises(chart())) == 1
    assert "'shipping'" in compromises(chart())[0]
    flat = {
        "states": [{"name": "a", "type": "initial"}, {"name": "b"}],
        "transitions": [{"trigger": "go", "source": "a", "dest": "b"}],
    }
    assert compromises(chart(flat)) == []


@pytest.mark.parametrize("name", ["constructor", "__proto__", "root", "a_start", "statediagram"])
def test_names_that_break_mermaid_get_others(name: str) -> None:
    """Each of these ends Mermaid's drawing with an error, or is left out of it."""
    config = {
        "states": [{"name": "a", "type": "initial"}, {"name": name}],
        "transitions": [{"trigger": "go", "source": "a", "dest": name}],
    }
    shown = re.search(r'state "(.*)" as (\w+)', mermaid(chart(config)))
    assert shown is not None
    assert shown[1].replace("#95;", "_") == name
    assert shown[2] != name
    assert f"a --> {shown[2]} : go" in mermaid(chart(config))


def test_mermaid_draws_one_arrow_from_a_state_to_itself() -> None:
    """It would draw only the last of several."""
    config = {
        "states": [{"name": "a", "type": "initial"}],
        "transitions": [
            {"trigger": "one", "source": "a", "dest": "a"},
            {"trigger": "two", "source": "a", "dest": "a", "guards": [{"expr": "2 ** n > 4"}]},
        ],
    }
    assert "a --> a : one<br/>two [2 #42;#42; n #62; 4]\n" in mermaid(chart(config))


# DOT --------------------------------------------------------------------------------------------

TOKEN = re.compile(
    r'\s*(?:("(?:[^"\\]|\\.)*")|(<(?:[^<>]|<[^<>]*>)*>)|(->)|([\w.]+)|([{}\[\];,=]))'
)


def tokens(text: str) -> list[str]:
    """The tokens of DOT; a text of any other form fails."""
    found: list[str] = []
    at = 0
    while at < len(text.rstrip()):
        token = TOKEN.match(text, at)
        assert token is not None, text[at : at + 80]
        found.append(token[0].strip())
        at = token.end()
    return found


def test_dot_has_a_cluster_for_each_state_that_holds_others() -> None:
    drawn = dot(chart())
    assert re.findall(r'subgraph "cluster_([\w:]+)"', drawn) == [
        *("processing", "region:payment", "region:fulfilment", "shipping")
    ]
    found = tokens(drawn)
    assert found[:2] == ["digraph", '"order 2"']
    assert found.count("{") == found.count("}") == 5
    assert found.count("[") == found.count("]")
    assert found.count("->") == len(chart().arrows)


def test_dot_cuts_arrows_off_at_the_border() -> None:
    lines = [line.strip() for line in dot(chart()).splitlines() if "->" in line]
    place = next(line for line in lines if "place\u00a0" in line)
    assert place.startswith('"draft" -> "')
    assert 'lhead="cluster_processing"' in place
    ship = next(line for line in lines if "ship\u00a0" in line)
    assert 'ltail="cluster_processing", lhead="cluster_shipping"' in ship


def test_dot_has_a_box_for_a_state_that_an_inner_arrow_leads_to() -> None:
    drawn = dot(chart())
    assert '"shipping" [label=<shipping>, style="rounded,dashed"];' in drawn
    assert '"customs" -> "shipping" [label=<\u00a0restart\u00a0>];' in drawn
    assert '"processing" [' not in drawn


def test_dot_escapes_what_is_its_own() -> None:
    nasty = '"a\\\\b" </b><script> & {x | y} 😀'
    config = {
        "states": [{"name": "a", "type": "initial", "description": nasty}, {"name": "b"}],
        "transitions": [
            {"trigger": "go", "source": "a", "dest": "b", "guards": [{"expr": f"x == '{nasty}'"}]}
        ],
    }
    drawn = dot(chart(config))
    assert "&lt;/b&gt;&lt;script&gt; &amp; {x | y} 😀" in drawn
    assert 'tooltip="\\"a\\\\\\\\b\\" </b>' in drawn
    assert tokens(drawn).count("->") == 2


def test_dot_marks_states() -> None:
    drawn = dot(chart(current=["awaiting"], visited=["draft"]))
    assert re.search(r'"awaiting" \[.*fillcolor="#fff8c5"', drawn)
    assert re.search(r'"draft" \[.*fillcolor="#ddf4ff"', drawn)
    assert "fillcolor" not in re.search(r'\n *"picking" \[.*', drawn)[0]


# Facts ------------------------------------------------------------------------------------------


def test_facts_tell_structure() -> None:
    told = facts(load_config(ORDER), current=["awaiting"], visited=["draft"])
    assert json.loads(json.dumps(told)) == told
    shape = {state["name"]: (state["kind"], state["parent"]) for state in told["states"]}
    assert shape == {
        "draft": ("atomic", None),
        "processing": ("parallel", None),
        "region:payment": ("region", "processing"),
        "awaiting": ("atomic", "region:payment"),
        "paid": ("terminal", "region:payment"),
        "region:fulfilment": ("region", "processing"),
        "picking": ("atomic", "region:fulfilment"),
        "packed": ("terminal", "region:fulfilment"),
        "shipping": ("compound", None),
        "label": ("atomic", "shipping"),
        "customs": ("atomic", "shipping"),
        "closed": ("terminal", None),
    }
    assert [state["name"] for state in told["states"] if state["current"]] == ["awaiting"]
    assert [state["name"] for state in told["states"] if state["visited"]] == ["draft"]
    shipping = next(state for state in told["states"] if state["name"] == "shipping")
    assert shipping["initial"] == [{"state": "customs", "history": None}]


def test_facts_tell_every_transition() -> None:
    told = facts(load_config(ORDER))
    ways = {way["index"]: way for way in told["transitions"]}
    assert len(ways) == 9
    assert [target["state"] for target in ways[1]["targets"]] == ["paid", "packed"]
    assert ways[3]["targets"] == [{"state": "processing", "history": "deep"}]
    assert ways[4]["targets"] == [{"state": "region:payment", "history": "shallow"}]
    assert ways[7]["auto"]
    assert ways[7]["guards"] == ["in label"]
    assert ways[8]["origin"] == "on_done"


def test_guards_are_not_read_as_others() -> None:
    """``a and b or c`` would be another guard than the machine's."""
    one = [{"expr": "x or y"}, {"anyOf": ["p", {"allOf": ["q", "r"]}]}]
    two = [{"anyOf": [{"allOf": ["p"]}, {"expr": "x > 1"}]}]
    drawn = mermaid(
        chart(
            {
                "states": [{"name": "a", "type": "initial"}, {"name": "b"}],
                "transitions": [
                    {"trigger": "go", "source": "a", "dest": "b", "guards": one},
                    {"trigger": "no", "source": "a", "dest": "b", "guards": two},
                ],
            }
        )
    )
    assert "go [(x or y) and (p or (q and r))]" in drawn
    assert "no [p or x #62; 1]" in drawn


def test_a_region_has_its_own_name_in_a_guard() -> None:
    guarded = {"trigger": "refund", "source": "awaiting", "dest": "paid"}
    config = {
        **ORDER,
        "transitions": [*ORDER["transitions"], {**guarded, "guards": [{"in_state": "fulfilment"}]}],
    }
    assert "refund [in fulfilment]" in mermaid(chart(config))

"""States in each other: who is whose parent, in which order, and what is entered by default."""

import textwrap

import pytest

from pystator.definition import model as m
from pystator.definition.load import check_config, check_text, load_config, load_text
from pystator.definition.states import MAX_NESTING


def load(states, transitions="", top=""):
    text = "states:\n" + textwrap.indent(textwrap.dedent(states).strip(), "  ")
    text += "\ntransitions:" + (" []" if not transitions else "")
    text += "\n" + textwrap.indent(textwrap.dedent(transitions).strip(), "  ") + "\n"
    return load_text(textwrap.dedent(top) + text)


def shape(node):
    """A node and what is inside it, as nested lists of labels."""
    inside = [shape(child) for child in node.children]
    return {node.label: inside} if inside else node.label


def tree(definition):
    return [shape(node) for node in definition.root.children]


ORDER = """
- {name: draft, type: initial}
- name: fulfil
  type: parallel
  description: Goods and money go their own ways
  regions:
    - name: goods
      description: The parcel
      states: [packing, {name: sent, type: terminal}]
    - name: money
      initial: asked
      states:
        - {name: late}
        - name: asked
          on_enter: [remind]
        - {name: paid, type: terminal}
- {name: folding, parent: packing}
- {name: packing}
- {name: taping, parent: packing, type: initial}
- {name: closed, type: terminal}
"""


def test_a_parent_makes_a_compound_state():
    """By whom it is named, wherever that stands."""
    definition = load(ORDER)
    packing = definition.nodes["packing"]
    assert (packing.kind, packing.type) == (m.Kind.COMPOUND, m.StateType.STABLE)
    assert definition.nodes["folding"].parent == "packing"
    assert packing.parent == m.region_key("goods")


def test_regions_list_states_by_name_or_as_they_are():
    """In the order of the list, which is the order in which regions and their states are told."""
    assert tree(load(ORDER)) == [
        "draft",
        {
            "fulfil": [
                {"goods": [{"packing": ["folding", "taping"]}, "sent"]},
                {"money": ["late", "asked", "paid"]},
            ]
        },
        "closed",
    ]


def test_nodes_are_in_document_order():
    """Depth first: a configuration's text and priorities follow it."""
    names = list(load(ORDER).nodes)
    assert names == [
        "draft", "fulfil", "region:goods", "packing", "folding", "taping", "sent",
        "region:money", "late", "asked", "paid", "closed",
    ]  # fmt: skip


def test_a_region_is_a_node_of_its_own_namespace():
    """A region may have the name of a state; what people see has no prefix."""
    region = load(ORDER).nodes[m.region_key("goods")]
    assert (region.kind, region.parent, region.label) == (m.Kind.REGION, "fulfil", "goods")
    assert region.description == "The parcel"
    states = "- {name: goods, type: initial}\n- {name: both, type: parallel, regions: [{name: goods, states: [{name: a}]}]}"
    assert tree(load(states)) == ["goods", {"both": [{"goods": ["a"]}]}]


def test_a_state_may_name_its_region_as_parent():
    """The region's list says what comes first; who only names it comes after."""
    definition = load("""
    - {name: both, type: parallel, regions: [{name: left, states: [b]}, {name: right}]}
    - {name: a, parent: left}
    - {name: b}
    - {name: c, parent: right}
    - {name: start, type: initial}
    """)
    assert tree(definition) == [{"both": [{"left": ["b", "a"]}, {"right": ["c"]}]}, "start"]


def test_a_state_is_meant_before_a_region_of_its_name():
    """The same for `parent`, `in_state` and `H()`."""
    definition = load(
        """
        - {name: start, type: initial}
        - {name: both, type: parallel, regions: [{name: left, states: [{name: a}]}, {name: right, states: [{name: b}]}]}
        - {name: left}
        - {name: c, parent: left}
        """,
        """
        - {trigger: t, source: start, dest: H(left), guards: [{in_state: left}]}
        - {trigger: t, source: start, dest: H(right), guards: [{in_state: right}]}
        """,
    )
    assert definition.nodes["c"].parent == "left"
    state, region = definition.transitions
    assert (m.Target("left", "shallow"),) == state.targets
    assert (m.InState("left"),) == state.guards
    assert (m.Target("region:right", "shallow"),) == region.targets
    assert (m.InState("region:right"),) == region.guards


def test_what_a_region_lists_may_say_so_too():
    """`parent` of a listed state may be the region, its parallel state, or a state in the region."""
    definition = load("""
    - name: both
      type: parallel
      regions:
        - {name: left, states: [a, b, {name: c, parent: left}, d]}
        - {name: right, states: [{name: e}, {name: f, parent: e}]}
    - {name: start, type: initial}
    - {name: a, parent: both}
    - {name: b, parent: a}
    - {name: d, parent: left}
    """)
    assert tree(definition)[0] == {
        "both": [{"left": [{"a": ["b"]}, "c", "d"]}, {"right": [{"e": ["f"]}]}]
    }


@pytest.mark.parametrize(
    ("more", "initial"),
    [
        ("", "a"),
        ("type: initial", "b"),
        ("initial_child: b", "b"),
        ("initial_child: deep", "deep"),
    ],
)
def test_the_default_of_a_compound_state(more, initial):
    """`initial_child`, at any depth; else the child with `type: initial`; else the first."""
    mark = more if more.startswith("type") else "type: stable"
    child = more if more.startswith("initial_child") else "group: null"
    definition = load(f"""
    - {{name: outer, type: initial, {child}}}
    - {{name: a, parent: outer}}
    - {{name: b, parent: outer, {mark}}}
    - {{name: deep, parent: b}}
    """)
    assert (m.Target(initial),) == definition.nodes["outer"].initial
    assert (m.Target("deep"),) == definition.nodes["b"].initial
    assert definition.nodes["a"].initial == ()


def test_the_default_of_a_region():
    """Its `initial`; else the state with `type: initial`; else the first of its list."""
    definition = load(ORDER)
    assert (m.Target("packing"),) == definition.nodes["region:goods"].initial
    assert (m.Target("asked"),) == definition.nodes["region:money"].initial
    assert definition.nodes["fulfil"].initial == ()
    marked = ORDER.replace("{name: sent, type: terminal}", "{name: sent, type: initial}")
    assert (m.Target("sent"),) == load(marked).nodes["region:goods"].initial


def test_a_mark_inside_is_none_at_the_top():
    """Each level has an initial state of its own."""
    definition = load("""
    - {name: a, parent: outer, type: initial}
    - {name: outer, type: initial}
    """)
    assert (m.Target("outer"),) == definition.initial == definition.root.initial


def test_a_machine_may_start_deep():
    """In a nested state, in a parallel one, or in states of several regions."""
    plain = ORDER.replace(", type: initial", "", 1)
    for given in ("fulfil", "folding", "[taping, late]", "[paid]"):
        names = given.strip("[]").split(", ")
        targets = tuple(m.Target(name) for name in names)
        assert targets == load(plain, top=f"initial: {given}\n").initial
    within = ORDER.replace("draft, type: initial", "draft").replace(
        "name: packing}", "name: packing}"
    )
    marked = (
        "- {name: outer, type: initial}\n- {name: a, parent: outer}\n- {name: b, parent: outer}"
    )
    assert (m.Target("b"),) == load(marked, top="initial: b\n").initial
    assert (m.Target("fulfil"),) == load(within, top="initial: fulfil\n").initial


def test_regions_and_states_nest_in_each_other():
    """In both directions."""
    definition = load("""
    - {name: start, type: initial}
    - name: outer
      type: parallel
      regions:
        - name: left
          states:
            - name: inner
              type: parallel
              parent: box
              regions:
                - {name: one, states: [{name: a}, {name: b, parent: a}]}
                - {name: two, states: [c]}
            - {name: box}
        - {name: right, states: [{name: d}]}
    - {name: e, parent: c}
    - {name: c}
    """)
    assert tree(definition)[1] == {
        "outer": [
            {"left": [{"box": [{"inner": [{"one": [{"a": ["b"]}]}, {"two": [{"c": ["e"]}]}]}]}]},
            {"right": ["d"]},
        ]
    }


def test_inline_states_have_places_in_the_text():
    """What is said about them later points at them."""
    text = "states:\n  - {name: start, type: initial}\n  - name: both\n    type: parallel\n    regions:\n"
    text += "      - name: left\n        states:\n          - {name: a}\ntransitions: []\n"
    nodes = load_text(text).nodes
    assert m.Position(8, 13) == nodes["a"].position
    assert m.Position(6, 9) == nodes["region:left"].position


def chain(levels):
    states = [{"name": "s0", "type": "initial"}]
    states += [{"name": f"s{n}", "parent": f"s{n - 1}"} for n in range(1, levels)]
    return {"states": states[::-1], "transitions": []}


def test_states_nest_to_a_limit():
    """Deep enough for anybody; a generated machine of thousands of levels is refused, not crashed on."""
    assert len(load_config(chain(MAX_NESTING)).nodes) == MAX_NESTING
    for levels in (MAX_NESTING + 1, 5_000):
        definition, issues = check_config(chain(levels))
        assert definition is None
        assert [issue.code for issue in issues] == ["too_deep"]


def test_inline_regions_nest_as_deep_as_a_text_may():
    """The reader's limit comes first."""
    inner = "{name: leaf}"
    for n in range(15):
        inner = f"{{name: p{n}, type: parallel, regions: [{{name: r{n}, states: [{inner}]}}]}}"
    text = f"initial: p14\nstates: [{inner}]\ntransitions: []\n"
    assert len(load_text(text).nodes) == 31
    deeper = text.replace(
        "{name: leaf}", "{name: p, type: parallel, regions: [{name: r, states: [{name: leaf}]}]}"
    )
    assert [issue.code for issue in check_text(deeper)[1]] == ["too_deep"]


def test_a_star_is_every_state_at_the_top():
    """States inside inherit it from the state around them, and it is taken once."""
    made = load(ORDER, '- {trigger: stop, source: "*", dest: closed}').transitions
    assert [one.source for one in made] == ["draft", "fulfil"]


def test_timers_of_compound_states():
    """Their ids tell where from, and all that they lead to."""
    made = load(
        ORDER + "- {name: held, timeout: {seconds: 1, destination: H*(fulfil)}}\n",
        """
        - {after: 5s, source: packing, dest: sent}
        - {after: 5s, source: fulfil, dest: paid, region: money}
        - {after: 1h, source: draft, dest: [taping, late]}
        - {after: 1h, source: packing, dest: folding, internal: true}
        - {at: due, source: draft, dest: H(goods)}
        """,
    ).transitions
    assert [one.timer.id for one in made] == [
        "packing:after:5000:sent", "region:money:after:5000:paid", "draft:after:3600000:taping+late",
        "packing:after:3600000:folding", "draft:at:H(goods)", "held:after:1000:H*(fulfil)",
    ]  # fmt: skip


def test_a_nested_choice_goes_on_at_once():
    """In a region, too."""
    definition = load(
        """
        - {name: start, type: initial}
        - name: both
          type: parallel
          regions: [{name: left, states: [{name: which, type: choice}, {name: a}, {name: b}]}]
        """,
        "- {source: which, dest: a, guards: [ok]}\n- {source: which, dest: b}",
    )
    assert [one.eventless for one in definition.transitions] == [True, True]
    assert m.Kind.CHOICE is definition.nodes["which"].kind


@pytest.mark.parametrize("nested", [False, True])
def test_only_a_loop_that_is_certain_is_refused(nested):
    """One that another eventless transition may end is the author's business."""
    states = "- {name: out}\n- {name: a, type: initial}\n"
    if nested:
        states = "- {name: top, type: initial}\n- {name: out}\n- {name: a, parent: top}\n"
    certain = "- {auto: true, source: a, dest: a, actions: [{increment: n}]}\n"
    ended = "- {auto: true, source: a, dest: out, guards: [{expr: n > 3}]}\n"
    load(states, ended + certain)
    with pytest.raises(Exception, match="never end"):
        load(states, certain + ended)


def test_a_loop_in_a_region_may_be_ended_by_another():
    """While nothing in any region can come between, it never ends."""
    states = """
    - {name: out}
    - {name: both, type: parallel, regions: [{name: left, states: [{name: a}]}, {name: right, states: [{name: b}]}]}
    """
    loop = "- {auto: true, source: a, dest: b}\n"
    with pytest.raises(Exception, match="back into itself"):
        load(states, loop, top="initial: both\n")
    load(
        states, loop + "- {auto: true, source: b, dest: out, guards: [ok]}\n", top="initial: both\n"
    )

"""The compiled machine: numbers of the tree, and tables that stay small."""

import pytest

from pystator import UndefinedStateError
from pystator.definition.model import Kind, Node, StateType, Target
from pystator.engine.table import LIMIT
from pystator.engine.tree import Tree


class Nested:
    """A hand-made tree: the numbers know nesting and regions.

    ::

        idle
        work (compound)      new, busy (compound: x, y)
        both (parallel)      left: l1, l2    right: r1, r2
        done (terminal)
    """

    def __init__(self) -> None:
        def node(name, kind=Kind.ATOMIC, *children, initial=None):
            made = Node(name, kind, StateType.STABLE, None, list(children))
            if initial:
                made.initial = (Target(initial),)
            return made

        self.root = node(
            "", Kind.COMPOUND,
            node("idle"),
            node("work", Kind.COMPOUND, node("new"), node("busy", Kind.COMPOUND, node("x"), node("y"), initial="x"), initial="new"),
            node("both", Kind.PARALLEL,
                 node("left", Kind.REGION, node("l1"), node("l2"), initial="l1"),
                 node("right", Kind.REGION, node("r1"), node("r2"), initial="r1")),
            node("done", Kind.TERMINAL),
        )  # fmt: skip


@pytest.fixture(name="tree")
def tree_fixture() -> Tree:
    return Tree(Nested())


def names(tree, numbers) -> list[str]:
    return [tree.nodes[number].name for number in numbers]


def test_numbers_are_document_order(tree) -> None:
    assert names(tree, range(1, len(tree.nodes))) == [
        "idle", "work", "new", "busy", "x", "y", "both", "left", "l1", "l2", "right", "r1", "r2", "done",
    ]  # fmt: skip
    work, y, both = (tree.index[name] for name in ("work", "y", "both"))
    assert tree.is_below(y, work)
    assert not tree.is_below(both, work)
    assert names(tree, tree.upward(y)) == ["y", "busy", "work"]


@pytest.mark.parametrize(
    ("source", "target", "internal", "left", "entered"),
    [
        ("x", "y", False, ["x"], ["y"]),
        ("x", "new", False, ["x", "busy"], ["new"]),
        ("x", "idle", False, ["x", "busy", "work"], ["idle"]),
        ("work", "new", False, ["x", "busy", "work"], ["work", "new"]),
        ("work", "new", True, ["x", "busy"], ["new"]),
        ("x", "both", False, ["x", "busy", "work"], ["both", "left", "l1", "right", "r1"]),
        ("x", "r2", False, ["x", "busy", "work"], ["both", "left", "l1", "right", "r2"]),
        ("x", "work", False, ["x", "busy", "work"], ["work", "new"]),
        ("both", "l2", True, ["x", "busy", "work"], ["both", "left", "l2", "right", "r1"]),
    ],
)
def test_what_a_transition_leaves_and_enters(tree, source, target, internal, left, entered) -> None:
    goal = [tree.index[target]]
    domain = tree.domain(tree.index[source], goal, internal=internal)
    assert names(tree, tree.exits((tree.index["x"],), [domain])) == left
    assert names(tree, tree.entries(domain, goal)) == entered


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("y", "y"),
        ("work", "new"),
        ("both", "l1+r1"),
        ("r2", "l1+r2"),
        ("r2+l2", "l2+r2"),
    ],
)
def test_a_configuration_is_read_in_any_order_and_completed(tree, written, text) -> None:
    assert tree.text(tree.read(written)) == text


@pytest.mark.parametrize("text", ["", "nowhere", "x+nowhere", "+", None, 5])
def test_what_is_no_configuration_is_refused(tree, text) -> None:
    with pytest.raises(UndefinedStateError):
        tree.read(text)


def test_a_deep_tree_needs_no_recursion() -> None:
    top = Node("n0", Kind.COMPOUND, StateType.STABLE, None)
    here = top
    for depth in range(1, 3_000):
        child = Node(f"n{depth}", Kind.COMPOUND, StateType.STABLE, None)
        here.children.append(child)
        here.initial = (Target(child.name),)
        here = child
    here.kind = Kind.ATOMIC
    holder = Nested()
    holder.root = Node("", Kind.COMPOUND, StateType.STABLE, None, [top])
    tree = Tree(holder)
    assert len(tree.entries(0, [1])) == 3_000


def test_a_table_keeps_two_generations(build) -> None:
    """A machine of very many states does not keep a row for each that was ever visited."""
    count = 2 * LIMIT + 500
    machine = build(
        " ".join(f"s{n}" for n in range(count)),
        *[f"go: s{n} -> s{n + 1}" for n in range(count - 1)],
    )
    state = "s0"
    for _ in range(count - 1):
        state = machine.process(state, "go").target_state
    table = machine._topology.table
    assert state == f"s{count - 1}"
    assert len(table) + len(table._old) <= 2 * LIMIT
    assert machine.process("s0", "go").target_state == "s1"


def test_a_row_that_is_asked_for_again_is_kept(build) -> None:
    machine = build(" ".join(f"s{n}" for n in range(LIMIT + 2)), "go: * -> s1")
    table = machine._topology.table
    first = table["s0"]
    for n in range(1, LIMIT + 1):
        table[f"s{n}"]
    assert table["s0"] is first


def test_nothing_is_compiled_before_it_is_needed(build) -> None:
    """Loading a large machine must not pay for states that nobody visits."""
    machine = build("a b c", "go: a -> b", "on: b -> c")
    assert "tree" not in vars(machine._topology)
    machine.process("a", "go")
    assert set(machine._topology.table) == {"a"}

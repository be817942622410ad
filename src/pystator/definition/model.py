"""The model under every notation: one node tree.

YAML is lowered to this tree (`pystator.definition.lower`) and the engine compiles this tree;
neither knows the other. Nothing here is looked up by name at step time: names are for people, and
the compiler turns them into numbers.

::

    Definition
     `- root: Node (compound)          nodes in document order
         |- Node atomic | choice | terminal
         |- Node compound             children, initial
         `- Node parallel             children are regions (compound, in a namespace of their own)

A transition belongs to its source node. Its targets are nodes by name or history targets; its
content is a tuple of actions, and `on_enter`/`on_exit` are tuples of such tuples ("blocks": an
error ends only its block in SCXML).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal

from pystator.definition.expressions import Expression
from pystator.records import record

__all__ = [
    "Action",
    "After",
    "AllOf",
    "AnyOf",
    "Append",
    "At",
    "Branch",
    "Call",
    "Check",
    "Clear",
    "Compute",
    "CopyKey",
    "Definition",
    "ExprGuard",
    "Guard",
    "Http",
    "InState",
    "Increment",
    "Kind",
    "Named",
    "Node",
    "Not",
    "Position",
    "Raise",
    "Send",
    "Set",
    "Snapshot",
    "StateType",
    "Target",
    "Timestamp",
    "TransitionNode",
    "ValidateKeys",
    "label",
    "region_key",
    "upward",
]

_REGION: Final = "region:"


def region_key(name: str) -> str:
    """The name of a region's node: regions have a namespace of their own beside the states'."""
    return _REGION + name


def label(name: str) -> str:
    """A node's name as the author wrote it."""
    return name.removeprefix(_REGION)


class StateType(StrEnum):
    """The ``type`` of a state in YAML."""

    INITIAL = "initial"
    STABLE = "stable"
    TERMINAL = "terminal"
    ERROR = "error"
    PARALLEL = "parallel"
    CHOICE = "choice"


class Kind(StrEnum):
    """What a node is to the algorithm."""

    ATOMIC = "atomic"
    CHOICE = "choice"
    TERMINAL = "terminal"
    COMPOUND = "compound"
    PARALLEL = "parallel"
    REGION = "region"


@record
class Position:
    """Where something stands: line and column from 1; 0 when there is no text."""

    line: int = 0
    column: int = 0


# Guards -----------------------------------------------------------------------------------------


@record
class Named:
    """A registered guard."""

    name: str


@record
class ExprGuard:
    """``{expr: ...}``: holds when the value is true."""

    expression: Expression


CheckOp = Literal["eq", "neq", "gt", "gte", "lt", "lte", "in", "not_in", "is_set", "is_null"]


@record
class Check:
    """``{check: {field, op, value}}``. ``value`` is the list for ``in`` and ``not_in``."""

    field: tuple[str, ...]
    op: CheckOp
    value: Any = None


@record
class AllOf:
    """Holds when all do."""

    guards: "tuple[Guard, ...]"


@record
class AnyOf:
    """Holds when one does."""

    guards: "tuple[Guard, ...]"


@record
class Not:
    """Holds when the other does not."""

    guard: "Guard"


@record
class InState:
    """Holds when the named state is active (ancestors are)."""

    state: str


Guard = Named | ExprGuard | Check | AllOf | AnyOf | Not | InState

# Actions ----------------------------------------------------------------------------------------


@record
class Call:
    """A registered action, run after the commit. Expressions in ``params`` are evaluated before."""

    name: str
    params: Mapping[str, Any]
    when: Guard | None = None
    timeout: float | None = None
    retry: int = 0
    retry_backoff: float = 0.0


@record
class Http:
    """An HTTP request, run after the commit; fields may be templates evaluated in the step."""

    url: str
    method: str
    headers: Mapping[str, str]
    body: Any = None
    when: Guard | None = None
    timeout: float | None = None
    retry: int = 0
    retry_backoff: float = 0.0


@record
class Set:
    """Effect: write a value at a dotted path."""

    path: tuple[str, ...]
    value: Any
    when: Guard | None = None


@record
class Timestamp:
    """Effect: write the step's ``now`` (aware datetime, UTC) at a path."""

    path: tuple[str, ...]
    when: Guard | None = None


@record
class Increment:
    """Effect: add ``by`` (negative for ``decrement``); a missing field counts as 0."""

    path: tuple[str, ...]
    by: "int | float | Expression" = 1
    sign: Literal[1, -1] = 1
    when: Guard | None = None


@record
class Append:
    """Effect: append to the list at a path; a missing field is an empty list."""

    path: tuple[str, ...]
    value: Any
    when: Guard | None = None


@record
class Clear:
    """Effect: remove the field at a path; nothing when it is missing."""

    path: tuple[str, ...]
    when: Guard | None = None


@record
class Compute:
    """Effect: write the value of an expression at a path."""

    path: tuple[str, ...]
    expression: Expression
    when: Guard | None = None


@record
class CopyKey:
    """Effect: copy the value at ``source`` to ``target``; a missing source clears the target."""

    source: tuple[str, ...]
    target: tuple[str, ...]
    when: Guard | None = None


@record
class ValidateKeys:
    """Check: every field is there and not null, else the event fails and changes nothing."""

    keys: tuple[tuple[str, ...], ...]
    when: Guard | None = None


@record
class Snapshot:
    """Effect: write a copy of the context, without its reserved (``_``) keys, to a path."""

    path: tuple[str, ...]
    when: Guard | None = None


@record
class Branch:
    """Run one list or the other, by a guard evaluated at this place of the content."""

    condition: Guard
    then: "tuple[Action, ...]"
    otherwise: "tuple[Action, ...]" = ()


@record
class Raise:
    """Queue an internal event, behind eventless transitions."""

    trigger: str
    when: Guard | None = None


@record
class Send:
    """An event to this or another entity, through the durable queue."""

    trigger: str
    entity: "str | Expression | None"
    machine: str | None
    after: int
    context: Mapping[str, Any]
    when: Guard | None = None


Action = (
    Call
    | Http
    | Set
    | Timestamp
    | Increment
    | Append
    | Clear
    | Compute
    | CopyKey
    | ValidateKeys
    | Snapshot
    | Branch
    | Raise
    | Send
)

# Structure --------------------------------------------------------------------------------------


@record
class Target:
    """A transition's target: a node, or the recorded history of a compound or parallel node."""

    name: str
    history: Literal["", "shallow", "deep"] = ""

    @property
    def text(self) -> str:
        """As the author wrote it: ``open``, ``H(open)`` or ``H*(open)``."""
        name = label(self.name)
        if not self.history:
            return name
        return f"H{'*' if self.history == 'deep' else ''}({name})"


@record
class After:
    """A timer: so many microseconds after the source was entered."""

    microseconds: int
    id: str


@record
class At:
    """A timer with a deadline from data: a datetime, or epoch microseconds; null arms nothing."""

    expression: Expression
    id: str


@record
class TransitionNode:
    """One transition of one source.

    Attributes:
        index: Position in the document, over all transitions of the machine; order decides between
            candidates.
        targets: Empty only for an internal transition.
        events: Normalised event names (descriptors for SCXML); empty for a purely timed or
            eventless transition.
        timer: Enables the transition too, when it fires.
        eventless: Taken without an event (``auto``, or out of a choice).
        content: Actions between exits and entries.
        region: What ``region`` named in the file: source and targets lie in it.
        origin: What wrote it: ``transitions``, a state's ``timeout`` or ``on_done``. An ``on_done``
            has the done event of its source, which nobody declares and nobody can send.
    """

    index: int
    source: str
    targets: tuple[Target, ...]
    events: tuple[str, ...]
    timer: After | At | None
    guards: tuple[Guard, ...]
    content: tuple[Action, ...]
    internal: bool
    eventless: bool
    region: str | None
    origin: Literal["transitions", "timeout", "on_done"]
    description: str | None
    refs: tuple[str, ...]
    metadata: Mapping[str, Any]
    position: Position


@dataclass(slots=True)
class Node:
    """One state or region. Built by a lowering pass, not changed afterwards.

    Attributes:
        name: Unique in the machine, and what targets, sources and ``in_state`` refer to; that of a
            region is made by `region_key`.
        type: What YAML called it; a region has ``STABLE``.
        initial: Targets entered with a compound node or region; a choice or atomic node has none.
        transitions: Of this node, in document order.
        when: Guards of routing by data: they hold, too, when data alone leads here. Empty: data
            alone never does.
    """

    name: str
    kind: Kind
    type: StateType
    parent: str | None
    children: "list[Node]" = field(default_factory=list)
    initial: tuple[Target, ...] = ()
    on_enter: tuple[tuple[Action, ...], ...] = ()
    on_exit: tuple[tuple[Action, ...], ...] = ()
    transitions: list[TransitionNode] = field(default_factory=list)
    when: tuple[Guard, ...] = ()
    description: str | None = None
    group: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    position: Position = field(default_factory=Position)

    @property
    def label(self) -> str:
        """The name as the author wrote it."""
        return label(self.name)


@record
class StateVariable:
    """A documented context field; checked when ``meta.validate_context`` is on."""

    key: str
    type: Literal["string", "number", "boolean", "object"] | None
    description: str | None
    default: Any
    has_default: bool
    required: bool


@record
class Invariant:
    """A condition on the context that holds before guards and after the macrostep."""

    name: str
    guard: Guard
    message: str | None


@dataclass(slots=True)
class Definition:
    """A whole machine, checked and ready to compile.

    Attributes:
        root: A compound node named ``""`` whose children are the root-level states, in document
            order.
        initial: Targets entered at start.
        errors: ``fail``: an error in guard, effect or expression fails the event (YAML); ``event``:
            it is raised as ``error.execution`` (SCXML).
        triggers: Every declared trigger, normalised, in document order.
        normalizer: Applied to declared and incoming triggers.
        lenient_events: An unknown trigger or no matching transition is a successful no-op.
        lenient_guards: An unregistered guard passes.
        auto_route: Every event that comes to rest is followed by routing by data (``when``).
        fingerprint: Hash of what the machine means; the same for two texts that mean the same.
        config: The plain data it was made from (for ``machines`` rows and diagrams).
        file: Where the text came from; None for data.
    """

    name: str
    version: str
    description: str | None
    root: Node
    nodes: dict[str, Node]
    initial: tuple[Target, ...]
    transitions: tuple[TransitionNode, ...]
    triggers: tuple[str, ...]
    normalizer: Literal["lower", "upper"] | None
    lenient_events: bool
    lenient_guards: bool
    validate_context: bool
    variables: tuple[StateVariable, ...]
    invariants: tuple[Invariant, ...]
    errors: Literal["fail", "event"]
    fallback: Literal["off", "hint", "persist"]
    fallback_state: str | None
    meta: Mapping[str, Any]
    fingerprint: str
    config: Mapping[str, Any]
    file: str | None
    auto_route: bool = False


def upward(nodes: Mapping[str, Node], name: str) -> list[str]:
    """A node and those around it by name, innermost first; without the root."""
    found: list[str] = []
    while name in nodes:
        found.append(name)
        name = nodes[name].parent or ""
    return found

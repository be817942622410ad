"""The format of a machine file: one table, read by the checker and by the JSON Schema.

Shape only: which keys there are, what kind of value each takes, and a sentence on each for editors.
What names refer to, and what the parts mean together, is `pystator.definition.lower`'s. The shape
is the final one; lowering refuses what this release does not run.
"""

from collections.abc import Mapping
from typing import Final

from pystator.records import record

__all__ = [
    "ACTION",
    "DOCUMENT",
    "GUARD",
    "REGION",
    "STATE",
    "Anything",
    "Choice",
    "Flag",
    "Forms",
    "Integer",
    "Key",
    "Kinds",
    "ListOf",
    "MapOf",
    "Number",
    "Object",
    "Ref",
    "Shape",
    "Text",
]


@record
class Text:
    """A string, perhaps of a pattern; ``pattern_says`` is the pattern for people."""

    pattern: str | None = None
    pattern_says: str = ""


@record
class Choice:
    """One of some words."""

    words: tuple[str, ...]


@record
class Flag:
    """true or false."""


@record
class Integer:
    """A whole number from ``least``."""

    least: int | None = None
    most: int | None = None


@record
class Number:
    """A number, perhaps above ``above`` or from ``least``."""

    above: int | None = None
    least: int | None = None
    most: int | None = None


@record
class Anything:
    """Any plain value."""


@record
class ListOf:
    """A list."""

    item: "Shape"
    least: int = 0


@record
class MapOf:
    """A mapping with keys of the user's own; ``bare``: a key may stand without a value."""

    value: "Shape"
    least: int = 0
    bare: bool = False


@record
class Key:
    """One key of an `Object`."""

    shape: "Shape"
    says: str
    required: bool = False


@record
class Object:
    """A mapping with known keys. ``free`` lets others in."""

    says: str
    keys: "Mapping[str, Key]"
    free: bool = False


@record
class Kinds:
    """Shapes told apart by the kind of value: ``text``, ``number``, ``list`` or ``map``.

    What is none of them is judged as ``otherwise``.
    """

    by: "Mapping[str, Shape]"
    otherwise: str = "text"


@record
class Forms:
    """A name, or a mapping whose one key out of ``by`` says which form it is."""

    noun: str
    by: Mapping[str, Object]


@record
class Ref:
    """`GUARD`, `ACTION` or `STATE`, which contain themselves."""

    name: str


Leaf = Text | Choice | Flag | Integer | Number | Anything
Shape = Leaf | ListOf | MapOf | Object | Kinds | Forms | Ref

TEXT: Final = Text()
NAME: Final = Text(r"^[a-z0-9_]+$", "lower-case letters, digits and '_'")
ANY: Final = Anything()
FLAG: Final = Flag()
FREE: Final = MapOf(ANY)
NAMES: Final = Kinds({"text": TEXT, "list": ListOf(TEXT, least=1)})
DURATION: Final = Kinds({"number": Integer(), "text": TEXT})
GUARD_REF: Final = Ref("guard")
ACTION_REF: Final = Ref("action")
STATE_REF: Final = Ref("state")
ACTIONS: Final = ListOf(ACTION_REF)

EXPR: Final = Object(
    "The value of an expression.",
    {"expr": Key(TEXT, "An expression over the context, e.g. qty >= order_qty.", required=True)},
)
EXPR_OR_TEXT: Final = Kinds({"text": TEXT, "map": EXPR})
AMOUNTS: Final = Kinds(
    {"text": TEXT, "map": MapOf(Kinds({"number": Number(), "map": EXPR}, "number"), least=1)}
)

OPERATORS: Final = (
    "eq", "neq", "gt", "gte", "lt", "lte", "in", "not_in", "is_set", "is_null",
)  # fmt: skip

CHECK: Final = Object(
    "Compares one field of the context.",
    {
        "field": Key(TEXT, "A context field; dots reach into nested objects.", required=True),
        "op": Key(Choice(OPERATORS), "How to compare.", required=True),
        "value": Key(ANY, "What to compare with."),
        "values": Key(ListOf(ANY), "What to look in, for in and not_in."),
    },
)


def _guard(key: str, shape: Shape, says: str) -> Object:
    return Object(says, {key: Key(shape, says, required=True)})


GUARD: Final = Forms(
    "guard",
    {
        "expr": EXPR,
        "check": _guard("check", CHECK, "Compares one field of the context."),
        "allOf": _guard("allOf", ListOf(GUARD_REF), "Holds when all of these do."),
        "anyOf": _guard("anyOf", ListOf(GUARD_REF), "Holds when one of these does."),
        "not": _guard("not", GUARD_REF, "Holds when this does not."),
        "in_state": _guard("in_state", TEXT, "Holds while this state is active."),
    },
)


def _action(key: str, shape: Shape, says: str, extra: Mapping[str, Key] | None = None) -> Object:
    """An object form of an action: its own key, and what every object form takes."""
    return Object(
        says,
        {
            key: Key(shape, says, required=True),
            **(extra or {}),
            "when": Key(GUARD_REF, "Only when this guard holds, at this place of the content."),
            "timeout": Key(Number(above=0), "Seconds the action may take."),
            "retry": Key(Integer(0, 100), "How often to try again."),
            "retry_backoff": Key(Number(least=0), "Seconds before the first retry; doubles."),
        },
    )


PARAMS: Final = Key(
    FREE, "Passed to the action; {expr: ...} anywhere inside is evaluated in the step."
)

ACTION: Final = Forms(
    "action",
    {
        "name": _action("name", NAME, "A registered action.", {"params": PARAMS}),
        "set": _action("set", MapOf(ANY, least=1), "Write values at paths of the context."),
        "timestamp": _action("timestamp", TEXT, "Write the time of the step to a field."),
        "increment": _action("increment", AMOUNTS, "Add 1 to a field, or {field: by}."),
        "decrement": _action("decrement", AMOUNTS, "Take 1 from a field, or {field: by}."),
        "append": _action(
            "append",
            Object(
                "Append a value to the list in a field.",
                {
                    "field": Key(TEXT, "The field.", required=True),
                    "value": Key(ANY, "The value.", required=True),
                },
            ),
            "Append a value to the list in a field.",
        ),
        "clear": _action("clear", TEXT, "Remove a field."),
        "compute": _action(
            "compute", MapOf(TEXT, least=1), "Write the values of expressions: {field: expression}."
        ),
        "branch": _action(
            "branch",
            Object(
                "Run one list of actions or the other.",
                {
                    "when": Key(GUARD_REF, "Decides.", required=True),
                    "then": Key(ACTIONS, "Run when the guard holds.", required=True),
                    "else": Key(ACTIONS, "Run when it does not."),
                },
            ),
            "Run one list of actions or the other.",
        ),
        "http": _action(
            "http",
            Object(
                "An HTTP request.",
                {
                    "url": Key(TEXT, "Where to.", required=True),
                    "method": Key(TEXT, "POST if absent."),
                    "headers": Key(MapOf(TEXT), "Header fields."),
                    "body": Key(ANY, "Sent as JSON."),
                },
            ),
            "Make an HTTP request after the commit.",
        ),
        "custom": _action(
            "custom",
            Object(
                "A registered action.",
                {"name": Key(NAME, "The action's name.", required=True), "params": PARAMS},
            ),
            "A registered action.",
        ),
        "raise": _action("raise", TEXT, "Raise an internal event, handled in the same step."),
        "send": _action(
            "send",
            Object(
                "An event to this or another entity, through the queue.",
                {
                    "trigger": Key(TEXT, "The event.", required=True),
                    "entity": Key(ANY, "The entity; this one if absent."),
                    "machine": Key(TEXT, "The entity's machine; this one if absent."),
                    "after": Key(DURATION, "How long to wait."),
                    "context": Key(FREE, "The event's payload."),
                },
            ),
            "Send an event to an entity, through the queue.",
        ),
    },
)

DONE: Final = Object(
    "A way on when a state is done.",
    {
        "dest": Key(NAMES, "The state to go to, H(state), or states; absent only with internal."),
        "guards": Key(ListOf(GUARD_REF), "All must hold."),
        "actions": Key(ACTIONS, "Actions between leaving and entering."),
        "internal": Key(FLAG, "Stay in the state: no exit, no entry."),
        "description": Key(TEXT, "For people."),
        "ref": Key(TEXT, "A requirement this implements."),
        "refs": Key(ListOf(TEXT), "Requirements this implements."),
        "metadata": Key(FREE, "Your own data."),
    },
)

REGION: Final = Object(
    "One region of a parallel state.",
    {
        "name": Key(NAME, "Unique in the machine.", required=True),
        "initial": Key(TEXT, "The state entered with the region; the first if absent."),
        "states": Key(
            ListOf(Kinds({"text": TEXT, "map": STATE_REF})),
            "The region's states: names, or states as they are.",
        ),
        "description": Key(TEXT, "For people."),
    },
)

STATE: Final = Object(
    "One state.",
    {
        "name": Key(NAME, "Unique in the machine.", required=True),
        "type": Key(
            Choice(("initial", "stable", "terminal", "error", "parallel", "choice")),
            "stable if absent; exactly one state is initial, and at most one inside of each state.",
        ),
        "description": Key(TEXT, "For people."),
        "group": Key(TEXT, "A group declared under groups."),
        "parent": Key(TEXT, "The state, or region, this one is nested in."),
        "initial_child": Key(
            TEXT, "The state inside that is entered with this one; the first if absent."
        ),
        "regions": Key(
            ListOf(REGION),
            "The regions of a parallel state.",
        ),
        "on_enter": Key(ACTIONS, "Actions on entering the state."),
        "on_exit": Key(ACTIONS, "Actions on leaving the state."),
        "on_done": Key(
            Kinds(
                {
                    "text": TEXT,
                    "list": ListOf(Kinds({"text": TEXT, "map": DONE}), least=1),
                    "map": DONE,
                }
            ),
            "Where to go when a terminal state inside is reached, in every region of a parallel.",
        ),
        "timeout": Key(
            Object(
                "Leaves the state by itself.",
                {
                    "seconds": Key(
                        Number(above=0, most=3_153_600_000), "Seconds in the state.", required=True
                    ),
                    "destination": Key(TEXT, "The state to go to.", required=True),
                },
            ),
            "Leave the state after so many seconds.",
        ),
        "when": Key(
            Kinds({"text": GUARD_REF, "list": ListOf(GUARD_REF), "map": GUARD_REF}),
            "When these guards hold, data alone leads here, along a transition.",
        ),
        "invoke": Key(ANY, "Work started with the state."),
        "metadata": Key(FREE, "Your own data."),
    },
)

TRANSITION: Final = Object(
    "One way from a state to another.",
    {
        "trigger": Key(TEXT, "The event that takes it."),
        "after": Key(DURATION, 'Time in the source: milliseconds, or "5s", "10m", "1h", "2d".'),
        "at": Key(EXPR_OR_TEXT, "A deadline from data: a context field or an expression."),
        "id": Key(
            Text(r"^[A-Za-z0-9_.:-]{1,128}$", "1-128 letters, digits and '_.:-'"),
            "Name of the timer of after or at.",
        ),
        "source": Key(NAMES, 'A state, a list of states, or "*" for all.', required=True),
        "dest": Key(
            NAMES, "The state to go to, H(state), H*(state), or states; absent only with internal."
        ),
        "guards": Key(ListOf(GUARD_REF), "All must hold."),
        "actions": Key(ACTIONS, "Actions between leaving and entering."),
        "region": Key(TEXT, "Asserts that source and dest lie in this region."),
        "internal": Key(FLAG, "Stay in the state: no exit, no entry."),
        "auto": Key(FLAG, "Taken without an event, as soon as the guards hold."),
        "description": Key(TEXT, "For people."),
        "ref": Key(TEXT, "A requirement this implements."),
        "refs": Key(ListOf(TEXT), "Requirements this implements."),
        "metadata": Key(FREE, "Your own data."),
    },
)

AGE: Final = Text(r"^0*[1-9][0-9]{0,14}(ms|s|m|h|d)$", "a whole number with d, h, m or s, e.g. 90d")

RETENTION: Final = Object(
    "How long the history of this machine's entities is kept.",
    {
        "history": Key(AGE, 'Rows of this age are pruned, e.g. "90d".', required=True),
        "dedup_window": Key(AGE, 'How long event ids are known at least; "30d" if absent.'),
    },
)

META: Final = Object(
    "About the machine. Other keys are your own.",
    {
        "machine_name": Key(
            Text(r"^[A-Za-z0-9_.-]{1,128}$", "1-128 letters, digits and '_.-'"),
            "Entities are kept under this name.",
        ),
        "version": Key(
            Kinds({"text": TEXT, "number": Number()}), "Version of the machine, in quotes."
        ),
        "description": Key(TEXT, "For people."),
        "strict_mode": Key(
            FLAG, "true: an event without a transition fails. false: it is a successful no-op."
        ),
        "reject_invalid_events": Key(FLAG, "Overrides strict_mode for events."),
        "strict_guard_registry": Key(FLAG, "Overrides strict_mode for unregistered guards."),
        "event_normalizer": Key(Choice(("lower", "upper")), "Applied to every trigger."),
        "validate_context": Key(FLAG, "Check state_variables and context_invariants."),
        "orchestrator_default_fallback": Key(
            Choice(("off", "hint", "persist")), "What becomes of a failed event."
        ),
        "retention": Key(RETENTION, "What pystator db prune deletes."),
    },
    free=True,
)

VARIABLE: Final = Object(
    "One field of the context.",
    {
        "key": Key(TEXT, "The field's name.", required=True),
        "type": Key(Choice(("string", "number", "boolean", "object")), "Kind of value."),
        "description": Key(TEXT, "For people."),
        "default": Key(ANY, "Value of a new entity."),
        "required": Key(FLAG, "Must be there."),
    },
)

INVARIANT: Final = Object(
    "A guard that the context always fulfils.",
    {
        "name": Key(TEXT, "For messages."),
        "message": Key(TEXT, "Said when it does not hold."),
        **{form: Key(shape.keys[form].shape, shape.says) for form, shape in GUARD.by.items()},
    },
)

DOCUMENT: Final = Object(
    "A PyStator machine.",
    {
        "meta": Key(META, "Name, version and modes."),
        "initial": Key(
            NAMES,
            "The state of a new entity, or states in regions; else the one with type: initial.",
        ),
        "states": Key(ListOf(STATE, least=1), "The states.", required=True),
        "transitions": Key(ListOf(TRANSITION), "The ways between them.", required=True),
        "groups": Key(
            MapOf(
                Object("A group of states.", {"description": Key(TEXT, "For people.")}), bare=True
            ),
            "Groups of states, for diagrams.",
        ),
        "error_policy": Key(
            Object(
                "What becomes of errors.",
                {"default_fallback": Key(TEXT, "The state to fall back to.")},
            ),
            "What becomes of errors.",
        ),
        "state_variables": Key(
            ListOf(Kinds({"text": TEXT, "map": VARIABLE})), "The fields of the context."
        ),
        "context_invariants": Key(
            ListOf(Kinds({"text": TEXT, "map": INVARIANT})), "What always holds."
        ),
        "events": Key(
            ListOf(
                Object(
                    "Documents a trigger.",
                    {
                        "name": Key(TEXT, "The trigger.", required=True),
                        "description": Key(TEXT, "For people."),
                        "payload": Key(ANY, "What the event carries."),
                    },
                )
            ),
            "Documentation of the triggers.",
        ),
    },
)

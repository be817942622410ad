"""From the plain data of a machine file to the model.

The data has the right shape (`pystator.definition.document`), or what has not was taken out and is
listed in ``damaged``. Here names find what they mean, and the rules of the engine are checked. A
check never stops the others.

What this release does not run - nesting, parallel states, routing, requests - is refused here, and
only here: a part that is built later is lowered instead.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from pystator.definition.content import Content
from pystator.definition.data import is_list, is_map
from pystator.definition.fingerprint import fingerprint
from pystator.definition.format import GUARD, META
from pystator.definition.issues import Path, Report, closest, show, slug
from pystator.definition.model import (
    Action,
    Definition,
    Invariant,
    Kind,
    Node,
    Position,
    StateType,
    StateVariable,
    Target,
    TransitionNode,
)
from pystator.definition.names import Names
from pystator.definition.rules import check_states
from pystator.definition.transitions import Transitions

__all__ = ["DEFAULT_NAME", "DEFAULT_VERSION", "lower"]

DEFAULT_NAME: Final = "default"
DEFAULT_VERSION: Final = "1.0.0"

_KINDS: Final = {
    StateType.CHOICE: Kind.CHOICE,
    StateType.TERMINAL: Kind.TERMINAL,
    StateType.PARALLEL: Kind.PARALLEL,
}
_LATER: Final = {
    "parent": "nested states ('parent')",
    "initial_child": "nested states ('initial_child')",
    "regions": "parallel states ('regions')",
    "on_done": "'on_done'",
    "when": "routing by data ('when')",
    "invoke": "'invoke'",
}
_NO_PLACE: Final = Position()
_VALUE_TYPES: Final[Mapping[str, Any]] = {
    "string": (str,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
}

Places = Mapping[int, tuple[int, int]]
"""``id`` of an entry of ``states`` or ``transitions`` -> (line, column), from 0."""


def lower(
    data: Mapping[str, Any],
    report: Report,
    *,
    source: Mapping[str, Any] | None = None,
    damaged: frozenset[Path] = frozenset(),
    places: Places | None = None,
    file: str | None = None,
) -> Definition | None:
    """Lower a machine.

    Args:
        data: The machine, of the right shape.
        report: Takes the mistakes.
        source: The machine as it was given, if parts were taken out of ``data``.
        damaged: Paths of what is not whole in ``data``.
        places: Where states and transitions stand.
        file: Where the machine comes from.

    Returns:
        The definition, or None when there is a mistake.
    """
    machine = _Machine(data, source or data, report, damaged, places or {})
    definition = machine.definition(file)
    return None if report.failed else definition


class _Machine:
    """One lowering."""

    def __init__(
        self,
        data: Mapping[str, Any],
        source: Mapping[str, Any],
        report: Report,
        damaged: frozenset[Path],
        places: Places,
    ) -> None:
        self.data = data
        self.report = report
        self.damaged = damaged
        self.places = places
        self.meta: Mapping[str, Any] = data.get("meta") or {}
        groups: Mapping[str, Any] = data.get("groups") or {}
        self.names = Names(
            None if ("states",) in damaged else _state_names(source.get("states")),
            None if ("groups",) in damaged else groups,
            _normalizer(self.meta),
        )
        self.content = Content(self.names, report)

    def definition(self, file: str | None) -> Definition:
        """Lower everything, in the order in which names must be known."""
        meta = self.meta
        self._check_meta()
        nodes = self._states()
        transitions = self._transitions(nodes)
        self._events()
        self.names.check_raised(self.report)
        initial = self._initial(nodes)
        strict = meta.get("strict_mode") is not False
        variables = self._variables()
        invariants = self._invariants()
        fallback: Any = meta.get("orchestrator_default_fallback") or "off"
        fallback_state = self._fallback(fallback)
        check_states(nodes, self._entries("states"), self.report)
        root = Node("", Kind.COMPOUND, StateType.STABLE, None, list(nodes.values()), initial)
        made = Definition(
            name=meta.get("machine_name") or DEFAULT_NAME,
            version=DEFAULT_VERSION if meta.get("version") is None else str(meta["version"]),
            description=meta.get("description"),
            root=root,
            nodes=nodes,
            initial=initial,
            transitions=tuple(transitions),
            triggers=tuple(self.names.triggers),
            normalizer=self.names.normalizer,
            lenient_events=not _half(meta, "reject_invalid_events", strict),
            lenient_guards=not _half(meta, "strict_guard_registry", strict),
            validate_context=bool(meta.get("validate_context")),
            variables=variables,
            invariants=invariants,
            errors="fail",
            fallback=fallback,
            fallback_state=fallback_state,
            meta=meta,
            fingerprint="",
            config=self.data,
            file=file,
        )
        if not self.report.failed:
            made.fingerprint = fingerprint(made)
        return made

    # Entries ----------------------------------------------------------------------------------

    def _entries(self, section: str) -> Iterator[tuple[int, Any]]:
        """The entries of a list that can be used, with their positions."""
        entries: list[Any] = self.data.get(section) or []
        for index, entry in enumerate(entries):
            if entry is not None:
                yield index, entry

    def _place(self, entry: Mapping[str, Any]) -> Position:
        place = self.places.get(id(entry))
        return Position(place[0] + 1, place[1] + 1) if place else _NO_PLACE

    def _check_meta(self) -> None:
        for key in self.meta:
            if key not in META.keys:
                near = closest(key, META.keys)
                if near and near not in self.meta:
                    self.report.add(
                        "unknown_key",
                        ("meta", key),
                        f"{show(key)!r} means nothing to PyStator",
                        severity="warning",
                        text=show(key),
                        suggestion=near,
                        key=True,
                    )
        classification: Any = self.meta.get("classification")
        if is_map(classification) and classification.get("auto_route"):
            self.names.not_supported(
                "routing by data", ("meta", "classification", "auto_route"), self.report
            )

    # States -----------------------------------------------------------------------------------

    def _states(self) -> dict[str, Node]:
        nodes: dict[str, Node] = {}
        for index, entry in self._entries("states"):
            path: Path = ("states", index)
            name: str = entry["name"]
            if name in nodes:
                self.report.add(
                    "duplicate_state",
                    (*path, "name"),
                    f"there is a state {name!r} already",
                    text=name,
                )
                continue
            nodes[name] = self._state(entry, path)
        return nodes

    def _state(self, entry: Mapping[str, Any], path: Path) -> Node:
        self.names.refuse_later(entry, _LATER, path, self.report)
        kind = StateType(entry.get("type") or "stable")
        if kind is StateType.PARALLEL and entry.get("regions") is None:
            self.names.not_supported("parallel states", (*path, "type"), self.report)
        group = entry.get("group")
        if group is not None:
            self.names.group(group, (*path, "group"), self.report)
        return Node(
            entry["name"],
            _KINDS.get(kind, Kind.ATOMIC),
            kind,
            "",
            on_enter=self._block(entry, "on_enter", path),
            on_exit=self._block(entry, "on_exit", path),
            description=entry.get("description"),
            group=group,
            metadata=entry.get("metadata") or {},
            position=self._place(entry),
        )

    def _block(
        self, entry: Mapping[str, Any], key: str, path: Path
    ) -> tuple[tuple[Action, ...], ...]:
        actions = self.content.actions(entry.get(key), (*path, key))
        return (actions,) if actions else ()

    def _initial(self, nodes: Mapping[str, Node]) -> tuple[Target, ...]:
        marked = [node for node in nodes.values() if node.type is StateType.INITIAL]
        given: Any = self.data.get("initial")
        if given is not None:
            return self._given_initial(given, marked)
        if len(marked) == 1:
            return (Target(marked[0].name),)
        if marked:
            self._several_initial(marked)
        elif not any(path[0] in {"states", "initial"} for path in self.damaged if path):
            first = next(iter(nodes), None)
            hint = f": write 'type: initial' in {first!r}, or in another" if first else ""
            self.report.add("initial", ("states",), f"no state is the initial one{hint}", key=True)
        return ()

    def _given_initial(self, given: Any, marked: list[Node]) -> tuple[Target, ...]:
        path: Path = ("initial",)
        if is_list(given):
            if len(given) > 1:
                self.names.not_supported("a list of initial states", path, self.report)
                return ()
            given, path = given[0], ("initial", 0)
        if self.names.state(given, path, self.report, what="initial state") and any(
            node.name != given for node in marked
        ):
            other = next(node.name for node in marked if node.name != given)
            self.report.add(
                "initial",
                path,
                f"{given!r} is initial here, and {other!r} has 'type: initial': keep one",
                text=given,
            )
        return (Target(given),)

    def _several_initial(self, marked: list[Node]) -> None:
        first, *others = (node.name for node in marked)
        for index, entry in self._entries("states"):
            if entry["name"] in others and entry.get("type") == "initial":
                self.report.add(
                    "initial",
                    ("states", index, "type"),
                    f"a machine has one initial state, and {first!r} is it already",
                    text="initial",
                )

    # Transitions ------------------------------------------------------------------------------

    def _transitions(self, nodes: Mapping[str, Node]) -> list[TransitionNode]:
        lowering = Transitions(nodes, self.names, self.content, self.report, self.damaged)
        for index, entry in self._entries("transitions"):
            if not lowering.add(entry, ("transitions", index), self._place(entry)):
                break
        for index, entry in self._entries("states"):
            if entry.get("timeout") is not None and entry["name"] in nodes:
                lowering.add_timeout(entry, ("states", index, "timeout"), self._place(entry))
        for transition in lowering.made:
            nodes[transition.source].transitions.append(transition)
        return lowering.made

    # The rest ---------------------------------------------------------------------------------

    def _events(self) -> None:
        seen: set[str] = set()
        used = set(self.names.triggers)
        for index, entry in self._entries("events"):
            path: Path = ("events", index, "name")
            name = self.names.declare(entry["name"], path, self.report)
            if name in seen:
                self.report.add("duplicate_event", path, f"the event {show(name)!r} is here twice")
            elif name not in used:
                self.report.warn(
                    "unused_event", path, f"no transition has the trigger {show(name)!r}"
                )
            seen.add(name)
        if ("events",) in self.damaged or ("transitions",) in self.damaged:
            self.names.allow_all_raised()

    def _variables(self) -> tuple[StateVariable, ...]:
        variables: dict[str, StateVariable] = {}
        for index, item in self._entries("state_variables"):
            path: Path = ("state_variables", index)
            entry: Mapping[str, Any] = {"key": item} if isinstance(item, str) else item
            at = path if isinstance(item, str) else (*path, "key")
            key: str = entry["key"]
            self.content.terms.target(key, at)
            if key in variables:
                self.report.add(
                    "duplicate_variable",
                    at,
                    f"the variable {show(key)!r} is here twice",
                    text=show(key),
                )
            self._check_default(entry, path)
            variables[key] = StateVariable(
                key,
                entry.get("type"),
                entry.get("description"),
                entry.get("default"),
                "default" in entry,
                bool(entry.get("required")),
            )
        return tuple(variables.values())

    def _check_default(self, entry: Mapping[str, Any], path: Path) -> None:
        kind: Any = entry.get("type")
        default: Any = entry.get("default")
        if kind is None or default is None:
            return
        right = isinstance(default, _VALUE_TYPES[kind]) and (
            kind == "boolean" or not isinstance(default, bool)
        )
        if not right:
            self.report.add(
                "default",
                (*path, "default"),
                f"the default {show(default)!r} is no {kind}",
                text=show(default),
            )

    def _invariants(self) -> tuple[Invariant, ...]:
        found: list[Invariant] = []
        for index, item in self._entries("context_invariants"):
            path: Path = ("context_invariants", index)
            entry: Mapping[str, Any] = item if is_map(item) else {}
            forms = [form for form in GUARD.by if entry.get(form) is not None]
            if not isinstance(item, str) and len(forms) != 1:
                listed = ", ".join(GUARD.by)
                self.report.add("entry", path, f"an invariant has exactly one of: {listed}")
                continue
            guard: Any = {forms[0]: entry[forms[0]]} if forms else item
            name = str(entry.get("name") or (item if not forms else f"invariant_{index + 1}"))
            lowered = self.content.guards.one(guard, path)
            found.append(Invariant(name, lowered, entry.get("message")))
        return tuple(found)

    def _fallback(self, mode: str) -> str | None:
        policy: Mapping[str, Any] = self.data.get("error_policy") or {}
        state = policy.get("default_fallback")
        if state is not None:
            path: Path = ("error_policy", "default_fallback")
            self.names.state(state, path, self.report, what="fallback state")
        elif mode != "off" and ("error_policy",) not in self.damaged:
            self.report.add(
                "fallback",
                ("meta", "orchestrator_default_fallback"),
                f"{mode!r} needs a state: write error_policy: {{default_fallback: ...}}",
                text=mode,
            )
        return state


def _state_names(states: Any) -> Iterator[str]:
    if is_list(states):
        for entry in states:
            name = entry.get("name") if is_map(entry) else None
            if isinstance(name, str):
                yield name
                if not name.islower():
                    # What refers to the name as it should be is right once the name is mended.
                    yield slug(name)


def _normalizer(meta: Mapping[str, Any]) -> Literal["lower", "upper"] | None:
    match meta.get("event_normalizer"):
        case "lower":
            return "lower"
        case "upper":
            return "upper"
        case _:
            return None


def _half(meta: Mapping[str, Any], key: str, strict: bool) -> bool:
    value = meta.get(key)
    return strict if value is None else bool(value)

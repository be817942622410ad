"""From the plain data of a machine file to the model.

The data has the right shape (`pystator.definition.document`), or what has not was taken out and is
listed in ``damaged``. Here names find what they mean, and the rules of the engine are checked. A
check never stops the others.

What this release does not run is refused here, and only here: a part that is built later is lowered
instead.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from pystator.definition.content import Content
from pystator.definition.data import is_list, is_map
from pystator.definition.fingerprint import fingerprint
from pystator.definition.format import GUARD, META, REGION, STATE, Object
from pystator.definition.issues import Path, Report, closest, show, slug
from pystator.definition.model import (
    Definition,
    Invariant,
    Kind,
    Node,
    StateType,
    StateVariable,
    Target,
    TransitionNode,
)
from pystator.definition.names import Names
from pystator.definition.retention import Retention
from pystator.definition.rules import check_states
from pystator.definition.states import Places, StateEntry, States
from pystator.definition.targets import Targets
from pystator.definition.transitions import Transitions

__all__ = ["DEFAULT_NAME", "DEFAULT_VERSION", "lower"]

DEFAULT_NAME: Final = "default"
DEFAULT_VERSION: Final = "1.0.0"

_VALUE_TYPES: Final[Mapping[str, Any]] = {
    "string": (str,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
}


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
        self.meta: Mapping[str, Any] = data.get("meta") or {}
        groups: Mapping[str, Any] = data.get("groups") or {}
        states, regions = _declared(source.get("states"), whole=not damaged)
        self.names = Names(
            None if ("states",) in damaged else states,
            regions,
            None if ("groups",) in damaged else groups,
            _normalizer(self.meta),
        )
        self.content = Content(self.names, report)
        self.states = States(self.names, self.content, report, damaged, places)

    def definition(self, file: str | None) -> Definition:
        """Lower everything, in the order in which names must be known."""
        meta = self.meta
        self._check_meta()
        states = self.states
        states.lower(self.data.get("states") or [])
        nodes = states.nodes
        targets = Targets(nodes, self.names, self.report, whole=not states.lost)
        transitions = self._transitions(states, targets)
        self._events()
        self.names.check_raised(self.report)
        initial = self._initial(states, targets)
        strict = meta.get("strict_mode") is not False
        variables = self._variables()
        invariants = self._invariants()
        fallback: Any = meta.get("orchestrator_default_fallback") or "off"
        fallback_state = self._fallback(fallback)
        check_states(nodes, states.entries, self.report)
        self._check_routing(states, transitions)
        roots = [node for node in nodes.values() if not node.parent]
        root = Node("", Kind.COMPOUND, StateType.STABLE, None, roots, initial)
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
            auto_route=_auto_route(meta) is True,
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
        self._check_classification()
        for key, message in Retention.mistakes(self.meta):
            path: Path = ("meta", "retention", key)
            self.report.add("duration", path, message, text=show(self.meta["retention"][key]))
        auto_route = _auto_route(self.meta)
        if auto_route is not None and not isinstance(auto_route, bool):
            self.report.add(
                "wrong_type",
                ("meta", "classification", "auto_route"),
                f"'auto_route' must be true or false, not {show(auto_route)!r}",
                text=show(auto_route),
            )

    def _check_classification(self) -> None:
        """It is free, but a misspelt ``auto_route`` would silently route nothing."""
        given = self.meta.get("classification")
        for key in given if is_map(given) and "auto_route" not in given else ():
            if closest(str(key).replace("-", "_"), ["auto_route"]):
                self.report.add(
                    "unknown_key",
                    ("meta", "classification", key),
                    f"{show(key)!r} means nothing to PyStator",
                    severity="warning",
                    text=show(key),
                    suggestion="auto_route",
                    key=True,
                )

    # States -----------------------------------------------------------------------------------

    def _initial(self, states: States, lowering: Targets) -> tuple[Target, ...]:
        roots = [found for found in states.entries if not found.node.parent]
        marked = [
            found
            for found in roots
            if found.node.type is StateType.INITIAL and found.node.name not in states.lost
        ]
        given: Any = self.data.get("initial")
        if given is not None:
            return self._given_initial(given, marked, lowering)
        for other in marked[1:] if not states.lost else ():
            first = marked[0].node.name
            self.report.add(
                "initial",
                (*other.path, "type"),
                f"a machine has one initial state, and {first!r} is it already",
                text="initial",
            )
        if marked:
            return (Target(marked[0].node.name),)
        if not states.lost and not any(
            path[0] in {"states", "initial"} for path in self.damaged if path
        ):
            self._no_initial(roots)
        return ()

    def _no_initial(self, roots: list[StateEntry]) -> None:
        hint = ""
        if roots:
            first = roots[0].node
            hint = f": write 'type: initial' in {first.name!r}, or in another"
            if first.type not in {StateType.STABLE, StateType.ERROR}:
                hint = f": write initial: {first.name} at the top, or 'type: initial' in another"
        self.report.add("initial", ("states",), f"no state is the initial one{hint}", key=True)

    def _given_initial(
        self, given: Any, marked: list[StateEntry], lowering: Targets
    ) -> tuple[Target, ...]:
        path: Path = ("initial",)
        for name in given if is_list(given) else (given,):
            if "(" in name:
                message = "nothing was active before the start: name the states themselves"
                self.report.add("initial", path, message, text=show(name))
                return ()
        targets = lowering.all(given, path, what="initial state")
        for target in targets:
            for other in (each.node.name for each in marked):
                if not lowering.is_in(target.name, other):
                    self.report.add(
                        "initial",
                        path,
                        f"{target.name!r} is initial here, and {other!r} has 'type: initial':"
                        " keep one",
                        text=target.name,
                    )
                    return targets
        return targets

    # Transitions ------------------------------------------------------------------------------

    def _transitions(self, states: States, targets: Targets) -> list[TransitionNode]:
        lowering = Transitions(
            states.nodes, self.names, self.content, targets, self.report, self.damaged
        )
        for index, entry in self._entries("transitions"):
            if not lowering.add(entry, ("transitions", index), states.place(entry)):
                break
        for found in states.entries:
            if found.entry.get("timeout") is not None:
                lowering.add_timeout(found)
        for found in states.entries:
            if found.entry.get("on_done") is not None:
                lowering.add_done(found)
        for transition in lowering.made:
            states.nodes[transition.source].transitions.append(transition)
        return lowering.made

    def _check_routing(self, states: States, transitions: list[TransitionNode]) -> None:
        """``when`` needs a transition that leads to the state; to route needs a ``when``."""
        routed = [found for found in states.entries if found.node.when]
        path: Path = ("meta", "classification", "auto_route")
        if not routed and _auto_route(self.meta) is True and not self.damaged:
            message = "no state has 'when', so data alone leads nowhere"
            self.report.warn("never", path, message)
        if not routed or ("transitions",) in self.damaged:
            return
        reached = {
            target.name
            for transition in transitions
            if transition.events and not transition.eventless
            for target in transition.targets
        }
        for found in routed:
            name = found.node.name
            if name not in reached:
                self.report.warn(
                    "never",
                    (*found.path, "when"),
                    f"no transition with a trigger leads to {name!r}: data alone cannot either",
                )

    # The rest ---------------------------------------------------------------------------------

    def _events(self) -> None:
        seen: set[str] = set()
        used = self.names.triggers.keys() | self.names.done_events
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


def _auto_route(meta: Mapping[str, Any]) -> Any:
    classification: Any = meta.get("classification")
    return classification.get("auto_route") if is_map(classification) else None


def _declared(states: Any, *, whole: bool) -> tuple[list[str] | None, dict[str, str]]:
    """The names of all states, also of those that have a mistake, and of all regions.

    Args:
        states: The section as it was given.
        whole: It has the right shape.

    Returns:
        The states' names, None if some cannot be known; and each region's parallel state.
    """
    names: list[str] = []
    regions: dict[str, str] = {}
    known = is_list(states)
    pending: list[Any] = [states]
    while pending:
        section = pending.pop()
        for entry in section if is_list(section) else ():
            if not is_map(entry):
                continue
            names.extend(_spellings(entry))
            inside = entry.get("regions")
            if inside is None:
                known = known and (whole or not _misspelt(entry, STATE))
                continue
            for region in inside if is_list(inside) else ():
                listed: Any = region.get("states") if is_map(region) else None
                if is_map(region):
                    parallel = str(entry.get("name"))
                    regions.update(dict.fromkeys(_spellings(region), parallel))
                    known = known and not (listed is None and _misspelt(region, REGION))
                known = known and (listed is None or is_list(listed))
                pending.append(listed)
            known = known and is_list(inside)
    return names if known else None, regions


def _spellings(entry: Mapping[str, Any]) -> Iterator[str]:
    """What refers to the name as it should be is right once the name is mended."""
    name = entry.get("name")
    if isinstance(name, str):
        yield name
        if not name.islower():
            yield slug(name)


def _misspelt(entry: Mapping[str, Any], shape: Object) -> bool:
    """A list under a key that does not exist may hold states."""
    return any(key not in shape.keys and is_list(entry[key]) for key in entry)


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

"""A machine file as the recommendation sees it: states, transitions, document order.

Read from the plain data of a file and from nothing else: the package's own reader is among what is
proved here. The data is a machine that loads; nothing is checked.

A region is a compound state whose name is looked up only where no state has it: regions have a
namespace of their own.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Document", "State", "Target", "Timer", "Transition", "as_list", "read"]

UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


@dataclass(eq=False)
class State:
    """One state, or a region, or the `scxml` element itself (which has no parent)."""

    name: str
    kind: str  # root, atomic, choice, final, compound, region or parallel
    parent: "State | None" = None
    children: "list[State]" = field(default_factory=list)
    initial: "list[State]" = field(default_factory=list)
    on_entry: list[Any] = field(default_factory=list)
    on_exit: list[Any] = field(default_factory=list)
    transitions: "list[Transition]" = field(default_factory=list)
    when: list[Any] = field(default_factory=list)
    order: int = 0

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name}>"


@dataclass(frozen=True)
class Target:
    """A state, or one of the two history states that every parent is thought to have."""

    state: State
    history: str = ""  # shallow or deep


@dataclass(frozen=True)
class Timer:
    """What takes a transition when time comes: so long after the entry, or when data says."""

    id: str
    microseconds: int = 0
    at: str | None = None


@dataclass(eq=False)
class Transition:
    """One transition of one source."""

    source: State
    targets: list[Target]
    event: str | None = None
    guards: list[Any] = field(default_factory=list)
    content: list[Any] = field(default_factory=list)
    internal: bool = False
    eventless: bool = False
    timer: Timer | None = None
    is_done: bool = False  # it waits for the done event of its source
    index: int = 0  # in the file


@dataclass
class Document:
    """A whole machine."""

    root: State
    states: list[State]  # without the root, in document order
    initial: list[State]
    triggers: set[str]
    timers: dict[str, Transition]
    meta: Mapping[str, Any]
    variables: list[Any]
    invariants: list[Any]
    recorded: set[str]  # keys of the states whose history somebody asks for
    names: dict[str, State]  # a state before the region of the same name

    def state(self, name: str) -> State:
        """The state of this name; if there is none, the region."""
        return self.names[name]

    def key(self, state: State) -> str:
        """Under which name its history is kept."""
        shadowed = state.kind == "region" and self.is_state(state.name)
        return f"region:{state.name}" if shadowed else state.name

    def is_state(self, name: str) -> bool:
        """There is a state of this name, regions not counted."""
        return name in self.names and self.names[name].kind != "region"

    def normal(self, trigger: str) -> str:
        """The trigger as the machine spells it."""
        how = self.meta.get("event_normalizer")
        return getattr(trigger, how)() if how else trigger

    def strict(self, half: str) -> bool:
        """Whether the machine is strict about events or about its guard registry."""
        return self.meta.get(half, self.meta.get("strict_mode", True))

    @property
    def routes(self) -> bool:
        """Data alone may lead on after every event."""
        return bool(self.meta.get("classification", {}).get("auto_route"))


def as_list(value: Any) -> list[Any]:
    """A list as it is, nothing as an empty one, anything else as a list of one."""
    return [] if value is None else value if isinstance(value, list) else [value]


def read(machine: Mapping[str, Any]) -> Document:
    """Read a machine."""
    return _Reader(machine).document()


class _Reader:
    def __init__(self, machine: Mapping[str, Any]) -> None:
        self.machine = machine
        self.entries = list(_flattened(machine["states"]))
        self.root = State("", "root")
        self.states: dict[str, State] = {}
        self.regions: dict[str, State] = {}
        self.index = 0
        self.timer_ids: set[str] = set()
        self.count = 0

    def document(self) -> Document:
        machine = self.machine
        self.make_states()
        self.number(self.root)
        ordered = sorted([*self.states.values(), *self.regions.values()], key=lambda s: s.order)
        document = Document(
            self.root, ordered, [], set(), {}, machine.get("meta", {}),
            [{"key": each} if isinstance(each, str) else each for each in machine.get("state_variables", [])],
            machine.get("context_invariants", []), set(), {**self.regions, **self.states},
        )  # fmt: skip
        self.set_initial(document)
        for entry in machine["transitions"]:
            self.add_transition(entry, document)
        for entry in self.entries:
            if "timeout" in entry:
                self.add_timeout(entry, document)
        for entry in self.entries:
            if "on_done" in entry:
                self.add_done(entry, document)
        document.triggers |= {document.normal(each["name"]) for each in machine.get("events", [])}
        return document

    # States -----------------------------------------------------------------------------------

    def make_states(self) -> None:
        parents = {entry["parent"] for entry in self.entries if "parent" in entry}
        kinds = {"choice": "choice", "terminal": "final", "parallel": "parallel"}
        for entry in self.entries:
            compound = "compound" if entry["name"] in parents else "atomic"
            self.states[entry["name"]] = State(
                entry["name"],
                kinds.get(entry.get("type", "stable"), compound),
                on_entry=entry.get("on_enter", []),
                on_exit=entry.get("on_exit", []),
                when=as_list(entry.get("when")),
            )
        listed: dict[str, State] = {}
        for entry in self.entries:
            for region in entry.get("regions", []):
                made = State(region["name"], "region", self.states[entry["name"]])
                made.parent.children.append(made)
                self.regions[region["name"]] = made
                for each in region.get("states", []):
                    name = each if isinstance(each, str) else each["name"]
                    listed[name] = made
                    self.adopt(made, name)
        for entry in self.entries:
            name, parent = entry["name"], entry.get("parent")
            if name not in listed:
                self.adopt(self.named(parent) if parent else self.root, name)

    def adopt(self, parent: State, name: str) -> None:
        self.states[name].parent = parent
        parent.children.append(self.states[name])

    def named(self, name: str) -> State:
        return self.states[name] if name in self.states else self.regions[name]

    def number(self, state: State) -> None:
        state.order = self.index
        self.index += 1
        for child in state.children:
            self.number(child)

    def set_initial(self, document: Document) -> None:
        marked = {e["name"] for e in self.entries if e.get("type") == "initial"}
        given = {
            region["name"]: region.get("initial")
            for entry in self.entries
            for region in entry.get("regions", [])
        }
        children = {entry["name"]: entry.get("initial_child") for entry in self.entries}
        for state in [self.root, *document.states]:
            if state.kind in {"root", "compound", "region"}:
                wanted = (given if state.kind == "region" else children).get(state.name)
                default = [child for child in state.children if child.name in marked]
                fallback = (default or state.children)[0]
                state.initial = [self.states[wanted] if wanted else fallback]
        names = as_list(self.machine.get("initial"))
        document.initial = [self.states[name] for name in names] or self.root.initial

    # Transitions ------------------------------------------------------------------------------

    def add_transition(self, entry: Mapping[str, Any], document: Document) -> None:
        trigger = entry.get("trigger")
        event = None if trigger is None else document.normal(trigger)
        if event is not None:
            document.triggers.add(event)
        for source in self.sources(entry):
            targets = [self.target(each, document) for each in as_list(entry.get("dest"))]
            internal = entry.get("internal", False)
            if internal and [target.state for target in targets] == [source]:
                targets = []
            self.add(
                Transition(
                    source, targets, event, entry.get("guards", []), entry.get("actions", []),
                    internal, entry.get("auto", False) or source.kind == "choice",
                    self.timer(entry, source),
                ),
                document,
            )  # fmt: skip

    def add(self, transition: Transition, document: Document) -> None:
        transition.index = self.count
        self.count += 1
        transition.source.transitions.append(transition)
        if transition.timer:
            document.timers[transition.timer.id] = transition

    def sources(self, entry: Mapping[str, Any]) -> list[State]:
        if entry["source"] == "*":
            return [s for s in self.root.children if s.kind not in {"final", "choice"}]
        region = self.regions.get(entry.get("region", ""))
        found = [self.states[name] for name in as_list(entry["source"])]
        return [region if region and region.parent is each else each for each in found]

    def target(self, text: str, document: Document) -> Target:
        history = re.fullmatch(r"H(\*?)\((.*)\)", text)
        if history is None:
            return Target(self.states[text])
        state = self.named(history[2])
        document.recorded.add(document.key(state))
        return Target(state, "deep" if history[1] else "shallow")

    def timer(self, entry: Mapping[str, Any], source: State) -> Timer | None:
        name = f"region:{source.name}" if source.kind == "region" else source.name
        where = "+".join(as_list(entry.get("dest"))) or name
        if "after" in entry:
            wait = _milliseconds(entry["after"])
            given = entry.get("id") or self.timer_id(f"{name}:after:{wait}:{where}")
            return Timer(given, wait * 1_000)
        if "at" in entry:
            given = entry.get("id") or self.timer_id(f"{name}:at:{where}")
            at = entry["at"]
            return Timer(given, at=at if isinstance(at, str) else at["expr"])
        return None

    def timer_id(self, wanted: str) -> str:
        found, count = wanted, 1
        while found in self.timer_ids:
            count += 1
            found = f"{wanted}:{count}"
        self.timer_ids.add(found)
        return found

    def add_timeout(self, entry: Mapping[str, Any], document: Document) -> None:
        timeout = entry["timeout"]
        after = {"after": timeout["seconds"] * 1_000, "dest": timeout["destination"]}
        source = self.states[entry["name"]]
        target = self.target(timeout["destination"], document)
        self.add(Transition(source, [target], timer=self.timer(after, source)), document)

    def add_done(self, entry: Mapping[str, Any], document: Document) -> None:
        source = self.states[entry["name"]]
        event = document.normal(f"done.state.{source.name}")
        given = entry["on_done"]
        plain = isinstance(given, str) or (isinstance(given, list) and isinstance(given[0], str))
        for each in [{"dest": given}] if plain else as_list(given):
            targets = [self.target(dest, document) for dest in as_list(each.get("dest"))]
            internal = each.get("internal", False)
            if internal and [target.state for target in targets] == [source]:
                targets = []
            guards, content = each.get("guards", []), each.get("actions", [])
            self.add(
                Transition(source, targets, event, guards, content, internal, is_done=True),
                document,
            )


def _flattened(entries: list[Any]) -> Iterator[Mapping[str, Any]]:
    """Every state where it stands in the file, those that are written inside of regions too."""
    for entry in entries:
        yield entry
        for region in entry.get("regions", []):
            inline = [each for each in region.get("states", []) if not isinstance(each, str)]
            yield from _flattened(inline)


def _milliseconds(wait: Any) -> int:
    if isinstance(wait, str):
        amount, unit = re.fullmatch(r"(\d+)(ms|s|m|h|d)", wait).groups()
        return int(amount) * UNITS[unit]
    return int(wait)

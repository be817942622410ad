"""States and regions: from their entries to the tree of nodes.

::

    states:
      - {name: fulfil, type: parallel, regions: [{name: goods, states: [packing, {name: sent}]}]}
      - {name: packing, parent: goods}          packing and sent are children of the region goods
      - {name: folding, parent: packing}        which makes packing a compound state

A state says where it belongs by ``parent``, or a region lists it, by name or as it is. All entries
are read first and placed then: a parent may stand below its children. Nothing here recurses along
the nesting.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pystator.definition.content import Content
from pystator.definition.data import is_list, is_map
from pystator.definition.issues import Path, Report, show
from pystator.definition.model import (
    Action,
    Guard,
    Kind,
    Node,
    Position,
    StateType,
    Target,
    region_key,
    upward,
)
from pystator.definition.names import Names
from pystator.records import record

__all__ = ["MAX_NESTING", "Places", "StateEntry", "States"]

MAX_NESTING: Final = 100
"""Levels of states and regions in each other."""

_KINDS: Final = {
    StateType.CHOICE: Kind.CHOICE,
    StateType.TERMINAL: Kind.TERMINAL,
    StateType.PARALLEL: Kind.PARALLEL,
}
_NESTING: Final = frozenset({"parent", "regions", "initial_child"})
_NO_PLACE: Final = Position()

Places = Mapping[int, tuple[int, int]]
"""``id`` of an entry of ``states``, ``regions`` or ``transitions`` -> (line, column), from 0."""


@record
class StateEntry:
    """A state as it stands in the file."""

    node: Node
    entry: Mapping[str, Any]
    path: Path


@record
class _Listing:
    """Where a region lists a state."""

    region: str
    path: Path


class States:
    """Lowers the states of one machine.

    Attributes:
        nodes: All states and regions by name; in document order when lowering is done.
        entries: The states in the order of the file, without duplicates.
        lost: States whose place in the tree is not known, by a mistake that is reported.
    """

    def __init__(
        self,
        names: Names,
        content: Content,
        report: Report,
        damaged: frozenset[Path],
        places: Places,
    ) -> None:
        self.names = names
        self.content = content
        self.report = report
        self.damaged = damaged
        self.places = places
        self.nodes: dict[str, Node] = {}
        self.entries: list[StateEntry] = []
        self.lost: set[str] = set()
        self._by_name: dict[str, StateEntry] = {}
        self._listed: dict[str, _Listing] = {}
        self._initial: dict[str, tuple[str, Path]] = {}

    def lower(self, section: list[Any]) -> None:
        """Lower the entries of ``states``."""
        nested = False
        for path, entry in _walk(section, ("states",)):
            name: str = entry["name"]
            if name in self.nodes:
                message = (
                    f"there is a state {name!r} already: names are unique in the whole machine,"
                    " in all regions"
                )
                self.report.add("duplicate_state", (*path, "name"), message, text=name)
                continue
            nested = nested or not _NESTING.isdisjoint(entry) or entry.get("type") == "parallel"
            node = self.nodes[name] = self._state(entry, path)
            self.entries.append(StateEntry(node, entry, path))
        if nested:
            self._nest()

    def place(self, entry: Mapping[str, Any]) -> Position:
        """Where an entry stands in the text."""
        place = self.places.get(id(entry))
        return Position(place[0] + 1, place[1] + 1) if place else _NO_PLACE

    # One state --------------------------------------------------------------------------------

    def _state(self, entry: Mapping[str, Any], path: Path) -> Node:
        if entry.get("invoke") is not None:
            instead = "start the work by an action in 'on_enter'"
            self.names.not_supported("'invoke'", (*path, "invoke"), self.report, instead=instead)
        kind = StateType(entry.get("type") or "stable")
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
            when=() if entry.get("when") is None else self._when(entry["when"], (*path, "when")),
            description=entry.get("description"),
            group=group,
            metadata=entry.get("metadata") or {},
            position=self.place(entry),
        )

    def _block(
        self, entry: Mapping[str, Any], key: str, path: Path
    ) -> tuple[tuple[Action, ...], ...]:
        actions = self.content.actions(entry.get(key), (*path, key))
        return (actions,) if actions else ()

    def _when(self, when: Any, path: Path) -> tuple[Guard, ...]:
        if is_list(when):
            return self.content.guards.all(when, path)
        return (self.content.guards.one(when, path),)

    # The tree ---------------------------------------------------------------------------------

    def _nest(self) -> None:
        """Put every state in its place."""
        self._by_name = {found.node.name: found for found in self.entries}
        for found in self.entries:
            self._regions(found)
        for found in self.entries:
            found.node.parent = self._parent(found)
        self._break_cycles()
        for found in self.entries:
            self._check_listing(found)
        order = {name: number for number, name in enumerate(self._listed)}
        for found in self.entries:
            self._hang(found.node)
        for node in self.nodes.values():
            if node.kind is Kind.REGION:
                node.children.sort(key=lambda child: order.get(child.name, len(order)))
        self._order()
        for found in self.entries:
            self._check_holder(found)
        for node in self.nodes.values():
            self._default(node)

    def _regions(self, found: StateEntry) -> None:
        node, regions = found.node, found.entry.get("regions")
        if node.kind is Kind.PARALLEL and found.path[:2] in self.damaged:
            self.lost.add(node.name)
        if regions is None:
            return
        path: Path = (*found.path, "regions")
        if node.kind is not Kind.PARALLEL:
            self.lost.add(node.name)
            message = f"only a parallel state has regions: write type: parallel in {node.name!r}"
            if found.path[:2] not in self.damaged:
                self.report.add("regions", path, message, key=True)
        for index, region in enumerate(regions):
            if region is not None:
                self._region(node, region, (*path, index))

    def _region(self, parallel: Node, entry: Mapping[str, Any], path: Path) -> None:
        name: str = entry["name"]
        key = region_key(name)
        if key in self.nodes:
            message = f"there is a region {name!r} already"
            self.report.add("duplicate_region", (*path, "name"), message, text=name)
            return
        self.nodes[key] = Node(
            key,
            Kind.REGION,
            StateType.STABLE,
            parallel.name,
            description=entry.get("description"),
            position=self.place(entry),
        )
        if entry.get("initial") is not None:
            self._initial[key] = entry["initial"], (*path, "initial")
        parallel.children.append(self.nodes[key])
        for index, item in enumerate(entry.get("states") or ()):
            at: Path = (*path, "states", index)
            if is_map(item):
                if self._by_name[item["name"]].path == at:
                    self._list(item["name"], key, (*at, "name"))
            elif item is not None:
                hint = f": define it under 'states', or here as {{name: {show(item)}}}"
                if self.names.state(item, at, self.report, hint=hint):
                    self._list(item, key, at)

    def _list(self, name: str, key: str, path: Path) -> None:
        before = self._listed.get(name)
        if before is None:
            self._listed[name] = _Listing(key, path)
        elif before.path != path:
            label = self.nodes[before.region].label
            message = f"{name!r} is in the region {label!r} already: a state is in one region"
            if before.region == key:
                message = f"{name!r} is listed twice in the region {label!r}"
            self.report.add("listed_twice", path, message, text=name)

    # Parents ----------------------------------------------------------------------------------

    def _parent(self, found: StateEntry) -> str:
        given = found.entry.get("parent")
        if given is None:
            listing = self._listed.get(found.node.name)
            return listing.region if listing else ""
        parent = self._named_parent(found.node.name, given, (*found.path, "parent"))
        if parent is None:
            self.lost.add(found.node.name)
        return parent or ""

    def _named_parent(self, name: str, given: str, path: Path) -> str | None:
        """The node that ``parent`` means; None when it cannot have states."""
        known = self.names.place(given, path, self.report, what="parent")
        parent = self.nodes.get(known or "")
        if parent is None:
            return None
        listing = self._listed.get(name)
        if listing is not None and self.nodes[listing.region].parent == parent.name:
            return listing.region
        if parent.name == name:
            message = f"{name!r} is its own parent: name the state around it, or remove 'parent'"
        elif parent.kind in {Kind.TERMINAL, Kind.CHOICE}:
            message = f"{given!r} is a {parent.kind} state: no state can be inside it"
        elif parent.kind is Kind.PARALLEL:
            labels = ", ".join([child.label for child in parent.children])
            message = f"{given!r} is parallel: name one of its regions" + (labels and f": {labels}")
        else:
            return parent.name
        self.report.add("parent", path, message, text=given)
        return None

    def _break_cycles(self) -> None:
        """Report parents that go round in a circle, and nesting that is too deep."""
        depth: dict[str, int] = {"": 0}
        deep = False
        for found in self.entries:
            trail: dict[str, None] = {}
            name = found.node.name
            while name not in depth:
                if name in trail:
                    self._report_cycle([*trail][[*trail].index(name) :])
                    trail.clear()
                    break
                trail[name] = None
                name = self.nodes[name].parent or ""
            level = depth.get(name, 0)
            for each in reversed(trail):
                level += 1
                depth[each] = level
            if level > MAX_NESTING and not deep:
                deep = True
                self._report_deep(found)

    def _report_cycle(self, names: list[str]) -> None:
        first = next(found for found in self.entries if found.node.name in names)
        start = names.index(first.node.name)
        circle = [*names[start:], *names[:start], first.node.name]
        shown = " in ".join(repr(self.nodes[name].label) for name in circle)
        where: Path = (*first.path, "parent")
        if first.entry.get("parent") is None:
            where = self._listed[first.node.name].path
        self.report.add("parent_cycle", where, f"these states are in each other: {show(shown)}")
        for name in names:
            if self.nodes[name].kind is not Kind.REGION:
                self.lost.add(name)
                self.nodes[name].parent = ""

    def _report_deep(self, found: StateEntry) -> None:
        self.report.add(
            "too_deep",
            (*found.path, "parent") if found.entry.get("parent") is not None else found.path,
            f"{found.node.name!r} is nested deeper than {MAX_NESTING} levels",
        )
        self.lost.add(found.node.name)

    def _check_listing(self, found: StateEntry) -> None:
        """A state with ``parent`` that a region lists too must lie in that region."""
        name = found.node.name
        listing = self._listed.get(name)
        if listing is None or found.entry.get("parent") is None or name in self.lost:
            return
        above = found.node.parent
        while above and above != listing.region:
            above = self.nodes[above].parent
        if not above:
            label = self.nodes[listing.region].label
            given = found.entry["parent"]
            self.report.add(
                "parent",
                (*found.path, "parent"),
                f"{name!r} has the parent {given!r}, and the region {label!r} lists it: keep one",
                text=given,
            )

    def _hang(self, node: Node) -> None:
        """Add a state to the children of its parent, which becomes a compound one by it."""
        if not node.parent:
            return
        parent = self.nodes[node.parent]
        parent.children.append(node)
        if parent.kind is Kind.ATOMIC:
            parent.kind = Kind.COMPOUND

    def _order(self) -> None:
        """Bring the nodes into document order: depth first."""
        pending = [found.node for found in reversed(self.entries) if not found.node.parent]
        ordered: dict[str, Node] = {}
        while pending:
            node = pending.pop()
            ordered[node.name] = node
            pending.extend(reversed(node.children))
        self.nodes = ordered

    # Defaults ---------------------------------------------------------------------------------

    def _check_holder(self, found: StateEntry) -> None:
        """What a state has inside, and what it says about it."""
        node, entry, path = found.node, found.entry, found.path
        given = entry.get("initial_child")
        if given is not None and node.kind is Kind.COMPOUND:
            self._initial[node.name] = given, (*path, "initial_child")
        elif given is not None:
            message = (
                f"no state is inside {node.name!r}: write parent: {node.name} in {show(given)!r}"
            )
            if node.kind is not Kind.ATOMIC:
                message = f"a {node.kind} state has no 'initial_child': remove it"
            self.report.add("initial_child", (*path, "initial_child"), message, key=True)
        if node.kind is not Kind.PARALLEL or path[:2] in self.damaged:
            return
        if not entry.get("regions"):
            self.report.add(
                "no_regions",
                (*path, "type"),
                f"{node.name!r} is parallel and needs regions:"
                " write regions: [{name: ..., states: [...]}, ...]",
                text="parallel",
            )
        for index, region in enumerate(entry.get("regions") or ()):
            if region is not None and not region.get("states") and not self.lost:
                self._check_region(region["name"], (*path, "regions", index))

    def _check_region(self, name: str, path: Path) -> None:
        """A region that lists no state has some that name it."""
        if not self.nodes[region_key(name)].children:
            message = f"no state is in the region {name!r}: list some in its 'states'"
            self.report.add("no_states", path, message)

    def _default(self, node: Node) -> None:
        """What is entered with a compound state or region."""
        if not node.children or node.kind is Kind.PARALLEL:
            return
        marked = [child for child in node.children if child.type is StateType.INITIAL]
        for other in marked[1:]:
            self.report.add(
                "initial",
                (*self._by_name[other.name].path, "type"),
                f"{node.label!r} has one initial state, and {marked[0].name!r} is it already",
                text="initial",
            )
        default = (marked or node.children)[0].name
        if node.name in self._initial:
            default = self._given_default(node, marked, *self._initial[node.name]) or default
        node.initial = (Target(default),)

    def _given_default(self, node: Node, marked: list[Node], given: str, path: Path) -> str | None:
        if not self.names.state(given, path, self.report) or given not in self.nodes:
            return None
        above = upward(self.nodes, given)
        if node.name not in above[1:]:
            if given not in self.lost:
                self.report.add(
                    "initial_child",
                    path,
                    f"{given!r} is not inside {node.label!r}:"
                    f" name a state of it, or write parent: {node.label} in {given!r}",
                    text=given,
                    suggestion=self.report.closest(given, _below(node)),
                )
            return None
        if marked and marked[0].name not in above:
            self.report.add(
                "initial",
                path,
                f"{given!r} is initial here, and {marked[0].name!r} has 'type: initial': keep one",
                text=given,
            )
        return given


def _walk(section: list[Any], path: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """The states of a list and, after each, those written inside its regions."""
    for index, entry in enumerate(section):
        if entry is None or isinstance(entry, str):
            continue
        here: Path = (*path, index)
        yield here, entry
        for number, region in enumerate(entry.get("regions") or ()):
            if region is not None and region.get("states"):
                yield from _walk(region["states"], (*here, "regions", number, "states"))


def _below(node: Node) -> list[str]:
    """The names of all states inside a state or region."""
    pending, found = [*node.children], list[str]()
    while pending:
        child = pending.pop()
        pending.extend(child.children)
        if child.kind is not Kind.REGION:
            found.append(child.name)
    return found

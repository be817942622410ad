"""Transitions: from their entries to the model, one for each source.

A state's ``timeout`` and ``on_done`` are transitions too: on a timer, and on the event that its end
queues.
"""

from collections.abc import Iterable, Iterator, Mapping
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
    Target,
    TransitionNode,
    region_key,
)
from pystator.definition.names import Names
from pystator.definition.rules import unfinished
from pystator.definition.states import StateEntry
from pystator.definition.targets import Targets
from pystator.definition.timers import Timers
from pystator.records import record

__all__ = ["MAX_TRANSITIONS", "Transitions"]

MAX_TRANSITIONS: Final = 500_000
"""Of a machine, a list of sources and ``"*"`` counted one by one."""

_DONE: Final = "done.state."
_HOLDERS: Final = frozenset({Kind.COMPOUND, Kind.REGION})


@record
class _Shared:
    """What the transitions of one entry have in common."""

    targets: tuple[Target, ...]
    region: Node | None
    events: tuple[str, ...]
    guards: tuple[Guard, ...]
    content: tuple[Action, ...]
    internal: bool
    auto: bool
    refs: tuple[str, ...]


class Transitions:
    """Lowers the transitions of one machine, in order.

    Attributes:
        made: What was lowered so far.
    """

    def __init__(
        self,
        nodes: Mapping[str, Node],
        names: Names,
        content: Content,
        targets: Targets,
        report: Report,
        damaged: frozenset[Path],
    ) -> None:
        self.nodes = nodes
        self.names = names
        self.content = content
        self.targets = targets
        self.timers = Timers(content.terms, report)
        self.report = report
        self.damaged = damaged
        self.made: list[TransitionNode] = []

    # One entry --------------------------------------------------------------------------------

    def add(self, entry: Mapping[str, Any], path: Path, place: Position) -> bool:
        """Lower one entry of ``transitions``; False when the machine has too many."""
        trigger = entry.get("trigger")
        shared = _Shared(
            targets=self._dest(entry, path),
            region=None if entry.get("region") is None else self._region(entry, path),
            events=()
            if trigger is None
            else (self.names.declare(trigger, (*path, "trigger"), self.report),),
            guards=self.content.guards.all(entry.get("guards"), (*path, "guards")),
            content=self.content.actions(entry.get("actions"), (*path, "actions")),
            internal=bool(entry.get("internal")),
            auto=bool(entry.get("auto")),
            refs=_refs(entry),
        )
        self._check_enabling(entry, shared, path)
        if shared.events and shared.events[0].lower().startswith(_DONE):
            self._check_done(shared.events[0], (*path, "trigger"))
        for source, at in self._sources(entry["source"], (*path, "source")):
            if len(self.made) >= MAX_TRANSITIONS:
                self.report.add(
                    "too_large", at, f"a machine has at most {MAX_TRANSITIONS:,} transitions"
                )
                return False
            self._one(source, at, entry, shared, path, place)
        return True

    def _one(
        self,
        source: Node,
        at: Path,
        entry: Mapping[str, Any],
        shared: _Shared,
        path: Path,
        place: Position,
    ) -> None:
        if shared.region is not None:
            source = self._in_region(source, at, shared, (*path, "dest"))
        targets = shared.targets
        if shared.internal:
            targets = self._stay(source, targets, (*path, "dest"))
        elif source.parent and shared.region is None:
            self.targets.warn_crossing(source.name, targets, (*path, "dest"))
        self._check_source(source, entry, shared, path)
        self.made.append(
            TransitionNode(
                index=len(self.made),
                source=source.name,
                targets=targets,
                events=shared.events,
                timer=None
                if entry.get("after") is None and entry.get("at") is None
                else self.timers.of(entry, source.name, targets, path),
                guards=shared.guards,
                content=shared.content,
                internal=shared.internal,
                eventless=shared.auto or source.kind is Kind.CHOICE,
                region=entry.get("region"),
                origin="transitions",
                description=entry.get("description"),
                refs=shared.refs,
                metadata=entry.get("metadata") or {},
                position=place,
            )
        )

    # What a state says ------------------------------------------------------------------------

    def add_timeout(self, found: StateEntry) -> None:
        """Lower the ``timeout`` of a state."""
        source, timeout = found.node, found.entry["timeout"]
        path: Path = (*found.path, "timeout")
        target = self.targets.one(timeout["destination"], (*path, "destination"))
        if target is None:
            return
        kind = source.kind
        if kind in {Kind.TERMINAL, Kind.CHOICE}:
            self.report.add(
                f"{kind}_timeout", path, f"a {kind} state cannot have a timeout", key=True
            )
        if source.parent:
            self.targets.warn_crossing(source.name, (target,), (*path, "destination"))
        self.made.append(
            TransitionNode(
                index=len(self.made),
                source=source.name,
                targets=(target,),
                events=(),
                timer=self.timers.timeout(timeout["seconds"], source.name, target),
                guards=(),
                content=(),
                internal=False,
                eventless=False,
                region=None,
                origin="timeout",
                description=None,
                refs=(),
                metadata={},
                position=source.position,
            )
        )

    def add_done(self, found: StateEntry) -> None:
        """Lower the ``on_done`` of a state: a destination, a mapping, or a list of mappings."""
        given, path = found.entry["on_done"], (*found.path, "on_done")
        if found.node.kind not in {Kind.COMPOUND, Kind.PARALLEL}:
            self._refuse_done(found.node, path)
            return
        if is_map(given):
            self._done(found.node, given, path)
        elif is_list(given) and any(is_map(each) for each in given):
            for index, each in enumerate(given):
                if is_map(each):
                    self._done(found.node, each, (*path, index))
                else:
                    self.report.add(
                        "on_done",
                        (*path, index),
                        "a list of 'on_done' has destinations, or mappings that are tried in"
                        f" order: write {{dest: {show(each)}}}",
                        text=show(each),
                    )
        else:
            self._make_done(found.node, {}, self.targets.all(given, path), path, path)

    def _refuse_done(self, node: Node, path: Path) -> None:
        said = f"a {node.kind} state has no 'on_done'"
        if node.kind is Kind.ATOMIC:
            said = f"no state is inside {node.name!r}, so it is never done"
        if node.kind is not Kind.ATOMIC or self.targets.whole:
            self.report.add("on_done", path, f"{said}: remove 'on_done'", key=True)

    def _done(self, source: Node, entry: Mapping[str, Any], path: Path) -> None:
        at: Path = (*path, "dest")
        targets = self._dest(entry, path)
        if entry.get("internal"):
            targets = self._stay(source, targets, at)
        self._make_done(source, entry, targets, path, at)

    def _make_done(
        self,
        source: Node,
        entry: Mapping[str, Any],
        targets: tuple[Target, ...],
        path: Path,
        at: Path,
    ) -> None:
        if not entry.get("internal"):
            self.targets.warn_crossing(source.name, targets, at)
        self.made.append(
            TransitionNode(
                index=len(self.made),
                source=source.name,
                targets=targets,
                events=(self.names.done(source.label),),
                timer=None,
                guards=self.content.guards.all(entry.get("guards"), (*path, "guards")),
                content=self.content.actions(entry.get("actions"), (*path, "actions")),
                internal=bool(entry.get("internal")),
                eventless=False,
                region=None,
                origin="on_done",
                description=entry.get("description"),
                refs=_refs(entry),
                metadata=entry.get("metadata") or {},
                position=source.position,
            )
        )

    def _check_done(self, event: str, path: Path) -> None:
        """A transition on the event of a state that is never done waits for a caller to send it."""
        label = event[len(_DONE) :].lower()
        node = self.nodes.get(label) or self.nodes.get(region_key(label))
        suggestion = None
        if node is None:
            ends = [each.label for each in self.nodes.values() if each.children]
            suggestion = self.report.closest(label, ends)
            said = f"there is no state {label!r} that could be done"
        elif not node.children:
            said = f"no state is inside {label!r}, so it is never done"
        else:
            said = unfinished(node) or ""
        if said and self.targets.whole:
            self.report.add(
                "done_event",
                path,
                f"{said}: only a caller can send {show(event)!r}",
                severity="warning",
                text=show(event),
                suggestion=None if suggestion is None else _DONE + suggestion,
            )

    # Sources ----------------------------------------------------------------------------------

    def _sources(self, source: str | list[str], path: Path) -> Iterable[tuple[Node, Path]]:
        if source == "*":
            return [
                (node, path)
                for node in self.nodes.values()
                if not node.parent and node.kind not in {Kind.TERMINAL, Kind.CHOICE}
            ]
        if isinstance(source, str):
            return [(self.nodes[source], path)] if self._known(source, path) else []
        return self._listed(source, path)

    def _listed(self, source: list[str], path: Path) -> Iterator[tuple[Node, Path]]:
        seen: set[str] = set()
        for index, name in enumerate(source):
            at = (*path, index)
            if name == "*":
                self.report.add("source", at, "'*' stands for all states: write source: \"*\"")
            elif name in seen:
                self.report.add("source", at, f"the source {show(name)!r} is here twice", text=name)
            elif self._known(name, at):
                yield self.nodes[name], at
            seen.add(name)

    def _known(self, source: str, path: Path) -> bool:
        return (
            self.names.state(source, path, self.report, what="source state")
            and source in self.nodes
        )

    def _check_source(
        self, source: Node, entry: Mapping[str, Any], shared: _Shared, path: Path
    ) -> None:
        at: Path = (*path, "source")
        if source.kind is Kind.TERMINAL:
            message = f"{source.name!r} is terminal: no transition can leave it"
            if source.parent:
                around = self.nodes[source.parent].label
                message = f"{source.name!r} is terminal and ends {around!r}: write 'on_done' there"
            self.report.add("terminal_transition", at, message, text=source.name)
        elif source.kind is Kind.CHOICE:
            self._check_choice(source, entry, path)
        elif not (shared.events or shared.auto or path in self.damaged) and all(
            entry.get(key) is None for key in ("after", "at")
        ):
            self.report.add(
                "never_taken",
                path,
                "nothing takes this transition: add 'trigger', 'after', 'at' or 'auto: true'",
            )

    def _check_choice(self, source: Node, entry: Mapping[str, Any], path: Path) -> None:
        for key in ("trigger", "after", "at"):
            if entry.get(key) is not None:
                self.report.add(
                    "choice",
                    (*path, key),
                    f"{source.name!r} is a choice and goes on at once: remove {key!r}",
                    key=True,
                )
        if entry.get("internal"):
            self.report.add(
                "choice",
                (*path, "internal"),
                f"{source.name!r} is a choice and must be left",
                key=True,
            )

    # Destinations -----------------------------------------------------------------------------

    def _dest(self, entry: Mapping[str, Any], path: Path) -> tuple[Target, ...]:
        dest: Any = entry.get("dest")
        if dest.__class__ is str and dest in self.nodes:
            return (Target(dest),)
        if dest is not None:
            return self.targets.all(dest, (*path, "dest"))
        if not entry.get("internal") and path not in self.damaged:
            what = "'on_done'" if path[0] == "states" else "a transition"
            self.report.add(
                "no_dest", path, f"{what} needs 'dest'; 'internal: true' stays without one"
            )
        return ()

    def _stay(self, source: Node, targets: tuple[Target, ...], path: Path) -> tuple[Target, ...]:
        """The targets of an internal transition: inside its source, or none."""
        if not targets or (len(targets) == 1 and targets[0] == Target(source.name)):
            return ()
        for target in targets:
            inside = target.history != "" or target.name != source.name
            if inside and self.targets.is_in(target.name, source.name):
                if source.kind in _HOLDERS:
                    continue
                message = (
                    f"{source.label!r} is parallel, and an internal transition into it would leave"
                    " its regions: remove 'internal'"
                )
            elif source.kind in _HOLDERS:
                message = (
                    f"an internal transition stays in {source.label!r}: name a state inside it, or"
                    " leave 'dest' out"
                )
            else:
                message = f"an internal transition stays in {source.label!r}: leave 'dest' out"
            self.report.add("internal", path, message, text=target.name)
            return ()
        return targets

    # Regions ----------------------------------------------------------------------------------

    def _region(self, entry: Mapping[str, Any], path: Path) -> Node | None:
        at: Path = (*path, "region")
        region = self.nodes.get(self.names.region(entry["region"], at, self.report) or "")
        if region is None or entry["source"] != "*":
            return region
        self.report.add(
            "region",
            (*path, "source"),
            f"'*' is every state at the top: name the states in {region.label!r}, or"
            f" {region.parent!r} for all of them",
            text="*",
        )
        return None

    def _in_region(self, source: Node, at: Path, shared: _Shared, dest: Path) -> Node:
        """The source that ``region`` asserts: a state in the region, or the region itself."""
        region = shared.region
        if region is None or not self.targets.whole:
            return source
        for target in shared.targets:
            if not self.targets.is_in(target.name, region.name):
                message = f"{target.name!r} is not in the region {region.label!r}"
                self.report.add(
                    "region", dest, f"{message}: remove 'region', or go to a state in it"
                )
        if source.name == region.parent:
            return region
        if not self.targets.is_in(source.name, region.name):
            message = f"{source.name!r} is not in the region {region.label!r}: remove 'region'"
            self.report.add("region", at, message, text=source.name)
        return source

    # What enables it --------------------------------------------------------------------------

    def _check_enabling(self, entry: Mapping[str, Any], shared: _Shared, path: Path) -> None:
        """``auto`` stands alone, and a time is said once."""
        if shared.auto:
            for key in ("trigger", "after", "at"):
                if entry.get(key) is not None:
                    self.report.add(
                        "auto",
                        (*path, key),
                        f"'auto' waits for nothing: remove {key!r}, or 'auto'",
                        key=True,
                    )
        if entry.get("after") is not None and entry.get("at") is not None:
            self.report.add(
                "timer", (*path, "at"), "a transition has 'after' or 'at', not both", key=True
            )
        if entry.get("id") is not None:
            self._check_id(entry, path)

    def _check_id(self, entry: Mapping[str, Any], path: Path) -> None:
        at: Path = (*path, "id")
        if entry.get("after") is None and entry.get("at") is None:
            self.report.add("timer", at, "'id' names a timer: it needs 'after' or 'at'", key=True)
        elif entry["source"] == "*" or not isinstance(entry["source"], str):
            self.report.add(
                "timer",
                at,
                "a timer with an 'id' has one source: write a transition for each",
                key=True,
            )


def _refs(entry: Mapping[str, Any]) -> tuple[str, ...]:
    single = entry.get("ref")
    several: list[str] = entry.get("refs") or []
    return (single, *several) if single is not None else tuple(several)

"""Transitions: from their entries to the model, one for each source."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pystator.definition.content import Content
from pystator.definition.data import is_list
from pystator.definition.durations import DurationError, microseconds
from pystator.definition.issues import Path, Report, show
from pystator.definition.model import (
    Action,
    After,
    At,
    Guard,
    Kind,
    Node,
    Position,
    Target,
    TransitionNode,
)
from pystator.definition.names import Names
from pystator.records import record

__all__ = ["MAX_TRANSITIONS", "Transitions"]

MAX_TRANSITIONS: Final = 500_000
"""Of a machine, a list of sources and ``"*"`` counted one by one."""

_LATER: Final = {"region": "parallel states ('region')"}


@record
class _Shared:
    """What the transitions of one entry have in common."""

    targets: tuple[Target, ...]
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
        report: Report,
        damaged: frozenset[Path],
    ) -> None:
        self.nodes = nodes
        self.names = names
        self.content = content
        self.report = report
        self.damaged = damaged
        self.made: list[TransitionNode] = []
        self._timers: dict[str, Path] = {}

    # One entry --------------------------------------------------------------------------------

    def add(self, entry: Mapping[str, Any], path: Path, place: Position) -> bool:
        """Lower one entry of ``transitions``; False when the machine has too many."""
        self.names.refuse_later(entry, _LATER, path, self.report)
        trigger = entry.get("trigger")
        shared = _Shared(
            targets=self._targets(entry, path),
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
        for source, at in self._sources(entry["source"], (*path, "source")):
            if len(self.made) >= MAX_TRANSITIONS:
                self.report.add(
                    "too_large", at, f"a machine has at most {MAX_TRANSITIONS:,} transitions"
                )
                return False
            self._one(source, entry, shared, path, place)
        return True

    def _one(
        self, source: Node, entry: Mapping[str, Any], shared: _Shared, path: Path, place: Position
    ) -> None:
        choice = source.kind is Kind.CHOICE
        self._check_source(source, entry, shared, path)
        dest = shared.targets[0].name if shared.targets else source.name
        targets = shared.targets
        if shared.internal:
            if dest != source.name:
                self.report.add(
                    "internal",
                    (*path, "dest"),
                    f"an internal transition stays in {source.name!r}: leave 'dest' out",
                    text=dest,
                )
            targets = ()
        self.made.append(
            TransitionNode(
                index=len(self.made),
                source=source.name,
                targets=targets,
                events=shared.events,
                timer=self._timer(entry, source.name, dest, path),
                guards=shared.guards,
                content=shared.content,
                internal=shared.internal,
                eventless=shared.auto or choice,
                region=None,
                origin="transitions",
                description=entry.get("description"),
                refs=shared.refs,
                metadata=entry.get("metadata") or {},
                position=place,
            )
        )

    def add_timeout(self, entry: Mapping[str, Any], path: Path, place: Position) -> None:
        """Lower the ``timeout`` of a state."""
        source: str = entry["name"]
        timeout = entry["timeout"]
        dest: str = timeout["destination"]
        if not self.names.state(dest, (*path, "destination"), self.report):
            return
        kind = self.nodes[source].kind
        if kind in {Kind.TERMINAL, Kind.CHOICE}:
            self.report.add(
                f"{kind}_timeout", path, f"a {kind} state cannot have a timeout", key=True
            )
        wait = max(1, round(timeout["seconds"] * 1_000_000))
        self.made.append(
            TransitionNode(
                index=len(self.made),
                source=source,
                targets=(Target(dest),),
                events=(),
                timer=After(wait, self._timer_id(f"{source}:after:{_milliseconds(wait)}:{dest}")),
                guards=(),
                content=(),
                internal=False,
                eventless=False,
                region=None,
                origin="timeout",
                description=None,
                refs=(),
                metadata={},
                position=place,
            )
        )

    # Its parts --------------------------------------------------------------------------------

    def _sources(self, source: str | list[str], path: Path) -> Iterator[tuple[Node, Path]]:
        if source == "*":
            for node in self.nodes.values():
                if node.kind not in {Kind.TERMINAL, Kind.CHOICE}:
                    yield node, path
            return
        if isinstance(source, str):
            if self._known(source, path):
                yield self.nodes[source], path
            return
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

    def _targets(self, entry: Mapping[str, Any], path: Path) -> tuple[Target, ...]:
        dest: Any = entry.get("dest")
        at: Path = (*path, "dest")
        if dest is None:
            if not entry.get("internal") and path not in self.damaged:
                self.report.add(
                    "no_dest", path, "a transition needs 'dest'; 'internal: true' stays without one"
                )
            return ()
        if is_list(dest):
            if len(dest) > 1:
                self.names.not_supported("a list of destinations", at, self.report)
                return ()
            dest, at = dest[0], (*at, 0)
        self.names.state(dest, at, self.report, what="destination")
        return (Target(dest),)

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

    def _check_source(
        self, source: Node, entry: Mapping[str, Any], shared: _Shared, path: Path
    ) -> None:
        at: Path = (*path, "source")
        if source.kind is Kind.TERMINAL:
            self.report.add(
                "terminal_transition",
                at,
                f"{source.name!r} is terminal: no transition can leave it",
                text=source.name,
            )
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

    # Timers -----------------------------------------------------------------------------------

    def _timer(
        self, entry: Mapping[str, Any], source: str, dest: str, path: Path
    ) -> After | At | None:
        after, at = entry.get("after"), entry.get("at")
        if after is not None:
            try:
                wait = microseconds(after)
            except DurationError as error:
                self.report.add("duration", (*path, "after"), str(error), text=show(after))
                return None
            given = f"{source}:after:{_milliseconds(wait)}:{dest}"
            return After(wait, self._given_id(entry, given, path))
        if at is not None:
            where: Path = (*path, "at") if isinstance(at, str) else (*path, "at", "expr")
            expression = self.content.terms.expression(
                at if isinstance(at, str) else at["expr"], where
            )
            if expression is not None:
                return At(expression, self._given_id(entry, f"{source}:at:{dest}", path))
        return None

    def _given_id(self, entry: Mapping[str, Any], default: str, path: Path) -> str:
        given: str | None = entry.get("id")
        if given is None:
            return self._timer_id(default)
        if given in self._timers:
            self.report.add(
                "duplicate_timer", (*path, "id"), f"there is a timer {given!r} already", text=given
            )
        self._timers[given] = path
        return given

    def _timer_id(self, wanted: str) -> str:
        found, count = wanted, 1
        while found in self._timers:
            count += 1
            found = f"{wanted}:{count}"
        self._timers[found] = ()
        return found


def _milliseconds(wait: int) -> str:
    """Microseconds -> milliseconds as text, without a fraction when there is none."""
    return f"{wait // 1_000}" if wait % 1_000 == 0 else f"{wait / 1_000:.3f}"


def _refs(entry: Mapping[str, Any]) -> tuple[str, ...]:
    single = entry.get("ref")
    several: list[str] = entry.get("refs") or []
    return (single, *several) if single is not None else tuple(several)

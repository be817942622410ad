"""What a transition leads to: a state, states in several regions, or what was active before."""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from pystator.definition.data import is_list
from pystator.definition.issues import Path, Report, show
from pystator.definition.model import Kind, Node, Target, upward
from pystator.definition.names import Names

__all__ = ["Targets"]

_HISTORY: Final = re.compile(r"H(\*?)\(([a-z0-9_]+)\)")
_MEANT_HISTORY: Final = re.compile(
    r"\s*h(?:ist(?:ory)?)?\s*(?P<deep>\*{0,2})\s*[(\[{]\s*(?P<name>\w*)\s*[)\]}]?\s*(?P<late>\*?)\s*"
    r"|(?P<of>\w+)[./](?:h|hist|history)(?P<all>\*?)",
    re.IGNORECASE,
)


class Targets:
    """Lowers the destinations of one machine, and knows how its nodes lie to each other.

    Args:
        nodes: All states and regions.
        names: What the machine declares.
        report: Takes the mistakes.
        whole: Every state is in its place in ``nodes``.
    """

    def __init__(
        self, nodes: Mapping[str, Node], names: Names, report: Report, *, whole: bool = True
    ) -> None:
        self.nodes = nodes
        self.whole = whole
        self.names = names
        self.report = report

    # Lowering ---------------------------------------------------------------------------------

    def all(self, dest: Any, path: Path, *, what: str = "destination") -> tuple[Target, ...]:
        """A destination or a list of them; what is wrong is reported and left out."""
        if not is_list(dest):
            target = self.one(dest, path, what=what)
            return () if target is None else (target,)
        found: list[tuple[Target, Path]] = []
        for index, name in enumerate(dest):
            target = self.one(name, (*path, index), what=what)
            if target is not None:
                found.append((target, (*path, index)))
        if len(found) > 1 and self.whole:
            self._check_together([each for each in found if each[0].name in self.nodes])
        return tuple(target for target, _ in found)

    def one(self, dest: str, path: Path, *, what: str = "destination") -> Target | None:
        """One destination."""
        if self.names.states and dest in self.names.states:
            return Target(dest)
        history = _HISTORY.fullmatch(dest)
        if history:
            return self._history(history[2], "deep" if history[1] else "shallow", dest, path)
        meant = _MEANT_HISTORY.fullmatch(dest)
        if meant:
            name = meant["name"] or meant["of"]
            deep = "*" if meant["deep"] or meant["late"] or meant["all"] else ""
            self.report.add(
                "history",
                path,
                f"history is written H(state), or H*(state) for all levels, not {show(dest)!r}",
                text=show(dest),
                suggestion=f"H{deep}({name.lower()})" if name else None,
            )
            return None
        return Target(dest) if self.names.state(dest, path, self.report, what=what) else None

    def _history(self, name: str, depth: Any, written: str, path: Path) -> Target | None:
        key = self.names.place(name, path, self.report, what="state")
        if key is None:
            return None
        node = self.nodes.get(key)
        if node is not None and not node.children and self.whole:
            instead = f"write {name} alone"
            if name in self.names.regions:
                instead = "the region of this name has one, and needs another name"
            message = f"no state is inside {name!r}, so it has no history: {instead}"
            self.report.add("history", path, message, text=written)
        elif node is not None and node.kind is Kind.PARALLEL and depth == "shallow":
            self.report.warn(
                "history",
                path,
                f"{written} enters every region anew: H*({name}) goes back to the states in them",
                text=written,
            )
        return Target(key, depth)

    # How nodes lie to each other ----------------------------------------------------------------

    def is_in(self, name: str, place: str) -> bool:
        """A node is another one or lies in it."""
        return place in upward(self.nodes, name)

    def _check_together(self, found: list[tuple[Target, Path]]) -> None:
        """Targets of one transition must be able to be active together."""
        ways: dict[str, str] = {}
        goals: dict[str, None] = {}
        for target, path in found:
            place = self._conflict(target.name, ways, goals)
            if place is not None:
                step = place if place in goals or place == target.name else ways[place]
                other = next(goal for goal in goals if self.is_in(goal, step))
                self._refuse(target.name, other, place, path)
                return
            goals[target.name] = None

    def _conflict(self, name: str, ways: dict[str, str], goals: Collection[str]) -> str | None:
        """Where a target and one before it want different states to be active.

        Args:
            name: The target.
            ways: A node above targets before -> the one of its children that leads there.
            goals: The targets before.
        """
        if name in ways or name in goals:
            return name
        below = name
        for place in (*upward(self.nodes, name)[1:], ""):
            if place in goals:
                return place
            parallel = place != "" and self.nodes[place].kind is Kind.PARALLEL
            if ways.setdefault(place, below) != below and not parallel:
                return place
            below = place
        return None

    def _refuse(self, name: str, other: str, place: str, path: Path) -> None:
        one, two = self._label(other), self._label(name)
        if name == other:
            message = f"{two!r} is here twice: remove one"
        elif place == other:
            message = f"{two!r} is inside {one!r}: remove {one!r}"
        elif place == name:
            message = f"{one!r} is inside {two!r}: remove {two!r}"
        else:
            message = (
                f"{one!r} and {two!r} are never active at the same time:"
                " a list names states in different regions of a parallel state"
            )
            if place:
                message = (
                    f"{one!r} and {two!r} are both in {self._label(place)!r}, where one state is"
                    " active at a time: a list names states in different regions"
                )
        self.report.add("targets", path, message, text=two)

    def _label(self, name: str) -> str:
        return self.nodes[name].label if name in self.nodes else name

    def warn_crossing(self, source: str, targets: tuple[Target, ...], path: Path) -> None:
        """Say so where a transition goes to another region than that of its source."""
        above = dict.fromkeys(upward(self.nodes, source))
        for target in targets:
            chain = upward(self.nodes, target.name)
            meeting = next((place for place in chain if place in above), None)
            if meeting in {None, source, target.name}:
                continue
            if self.nodes[str(meeting)].kind is Kind.PARALLEL:
                self.report.warn(
                    "crosses_regions",
                    path,
                    f"{self._label(target.name)!r} is in another region than"
                    f" {self._label(source)!r}: {meeting!r} is left and entered again",
                )
                return

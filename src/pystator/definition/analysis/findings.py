"""What the analysis found, kept unless the author asked for silence.

``metadata: {check: {ignore: [CODE]}}`` of a state or transition silences what is found of it, and
``meta: {check: {ignore: [CODE]}}`` the whole machine. A code that does not exist is reported: a
typing mistake would silence nothing, unnoticed.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pystator.definition.analysis.search import Example
from pystator.definition.data import is_list, is_map
from pystator.definition.issues import Issue, Severity, closest, show
from pystator.definition.model import Definition, Kind, Node, Position, TransitionNode
from pystator.definition.words import trigger_words

__all__ = [
    "CODES",
    "LOAD_CODES",
    "Findings",
    "example_words",
    "named",
    "unknown_code",
    "way_words",
    "where",
]

CODES: Final[Mapping[str, tuple[Severity, str]]] = {
    "unreachable": ("warning", "a state that nothing leads to"),
    "never_holds": ("warning", "guards that can never hold together"),
    "shadowed": ("warning", "a transition before which another is always taken"),
    "passing": ("warning", "an event awaited where nothing ever waits"),
    "never_fires": ("warning", "a timer that an earlier one always cancels"),
    "never_done": ("warning", "'on_done' of what cannot come to its end"),
    "not_left": ("warning", "a way back into a state that was not left"),
    "unheard": ("warning", "an event raised or sent that nothing takes"),
    "trap": ("warning", "a state that is never left and is not terminal"),
    "no_end": ("warning", "states from which no end can be reached"),
    "endless": ("error", "automatic transitions that go round for ever"),
    "choice_open": ("warning", "a choice of which no branch may hold"),
    "gap": ("info", "values for which no guard of a trigger holds"),
    "overlap": ("info", "values for which two guards of a trigger hold"),
    "unknown_code": ("warning", "a code to ignore that does not exist"),
}
"""What the analysis finds: how serious it usually is, and what it is."""

LOAD_CODES: Final = frozenset(
    {
        "crosses_regions", "done_event", "history", "literal", "never", "unknown_key",
        "unused_event", "version",
    }
)  # fmt: skip
"""Warnings of loading."""

MAX_LISTED: Final = 5


class Findings:
    """Collects issues of one machine.

    Attributes:
        issues: What was found.
        everywhere: The codes that the machine asks to ignore.
    """

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self.issues: list[Issue] = []
        self.everywhere = self._ignored(definition.meta, Position())
        self._at: dict[int, frozenset[str]] = {}
        for node in definition.nodes.values():
            if node.metadata:
                self._at[id(node.metadata)] = self._ignored(node.metadata, node.position)
        for way in definition.transitions:
            if way.metadata and id(way.metadata) not in self._at:
                self._at[id(way.metadata)] = self._ignored(way.metadata, way.position)

    def of_state(
        self, code: str, node: Node, message: str, *,
        severity: Severity | None = None, example: Example | None = None,
    ) -> None:  # fmt: skip
        """A finding about a state; about a region, it stands at its parallel state."""
        owner = node
        while owner.kind is Kind.REGION and owner.parent:
            owner = self.definition.nodes[owner.parent]
        if code not in self._silent(owner.metadata):
            self._add(code, node.position, message, severity, example)

    def of_way(
        self, code: str, way: TransitionNode, message: str, *,
        severity: Severity | None = None, example: Example | None = None,
    ) -> None:  # fmt: skip
        """A finding about a transition; its source may ask for silence, too."""
        source = self.definition.nodes[way.source]
        if code not in self._silent(way.metadata) | self._silent(source.metadata):
            self._add(code, way.position, message, severity, example)

    def _add(
        self,
        code: str,
        place: Position,
        message: str,
        severity: Severity | None,
        example: Example | None,
    ) -> None:
        if code in self.everywhere:
            return
        self.issues.append(
            Issue(
                code,
                severity or CODES[code][0],
                message,
                line=place.line,
                column=place.column,
                file=self.definition.file,
                witness=None
                if example is None
                else {"context": example.context, "payload": example.payload},
            )
        )

    # Silence ----------------------------------------------------------------------------------

    def _silent(self, metadata: Mapping[str, Any]) -> frozenset[str]:
        return self._at.get(id(metadata), frozenset()) if metadata else frozenset()

    def _ignored(self, metadata: Mapping[str, Any], place: Position) -> frozenset[str]:
        """The codes that metadata ask to ignore; what else stands there is the author's own."""
        settings: Any = metadata.get("check")
        wanted: Any = settings.get("ignore") if is_map(settings) else None
        codes: list[Any] = wanted if is_list(wanted) else [] if wanted is None else [wanted]
        for code in codes:
            issue = unknown_code(str(code))
            if issue is not None:
                self.issues.append(
                    Issue(
                        issue.code,
                        issue.severity,
                        issue.message,
                        line=place.line,
                        column=place.column,
                        text=issue.text,
                        suggestion=issue.suggestion,
                        file=self.definition.file,
                    )
                )
        return frozenset(map(str, codes))


def unknown_code(code: str) -> Issue | None:
    """What is to be said about a code that does not exist."""
    if code in CODES or code in LOAD_CODES:
        return None
    near = closest(code, [*CODES, *LOAD_CODES])
    message = f"nothing is found under the code {show(code)!r}, so ignoring it does nothing"
    return Issue("unknown_code", "warning", message, text=show(code), suggestion=near)


# Words ------------------------------------------------------------------------------------------


def example_words(example: Example) -> str:
    """``with qty = 100 and status missing``."""
    shown = [
        f"{'.'.join(field.path)} missing"
        if value is None
        else f"{'.'.join(field.path)} = {value!r}"
        if isinstance(value, str)
        else f"{'.'.join(field.path)} = {show(value)}"
        for field, value in example.values.items()
    ]
    return f"with {' and '.join(shown)}" if shown else "whatever the context"


def way_words(way: TransitionNode, definition: Definition) -> str:
    """What a message calls a transition: ``'pay' from 'placed'``."""
    source = definition.nodes[way.source]
    if way.origin == "on_done":
        return f"'on_done' of {source.label!r}"
    if source.kind is Kind.CHOICE:
        return f"a branch of {source.label!r}"
    words = "auto" if way.eventless else trigger_words(way)
    return f"{words!r} from {source.label!r}"


def where(way: TransitionNode) -> str:
    """How a message points at another transition."""
    if way.position.line:
        return f"the one in line {way.position.line}"
    goals = named(target.name for target in way.targets)
    return f"the one to {goals}" if goals else "the one that stays"


def named(names: Iterable[str]) -> str:
    """``'a', 'b' and 3 more``."""
    listed = [repr(name) for name in names]
    if len(listed) > MAX_LISTED:
        return f"{', '.join(listed[:MAX_LISTED])} and {len(listed) - MAX_LISTED} more"
    return " and ".join([", ".join(listed[:-1]), listed[-1]] if listed[1:] else listed)

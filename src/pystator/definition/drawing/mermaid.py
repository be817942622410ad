"""A chart as a Mermaid state diagram: text that GitHub, GitLab and most editors draw.

::

    stateDiagram-v2
        [*] --> placed
        placed --> paid : pay [amount > 0] / paid += amount
        paid --> [*]

What happens inside a state (entry, exit and internal transitions) stands in its box, as UML has it;
with a state that holds others it is a note beside it, as Mermaid lets nothing else stand there.

Mermaid draws no arrow between a state and something inside it: it misplaces one and ends with an
error at another. Such an arrow goes to or comes from a small dashed box within, named like the
state; `compromises` tells of it, and so does a comment in the text.
"""

import re
from collections.abc import Iterator
from functools import cached_property

from pystator.definition.drawing.chart import ROOT, Arrow, Chart, Form, Shape, Words
from pystator.definition.drawing.lines import one_line

__all__ = ["MOST", "compromises", "mermaid"]

MOST = 50_000
"""Characters that Mermaid draws, unless the page around it allows more (``maxTextSize``)."""

SPECIAL = re.compile(r"[#;:<>\"\\{}`$%&*\x00-\x1f\x7f]|_(?=_*(?:\W|$))")
"""What Mermaid, its Markdown or the page around it would read as its own in a label."""

PLAIN = re.compile(r"[a-z0-9]\w*", re.ASCII)

RESERVED = re.compile(
    "accdescr|acctitle|as|choice|class|classdef|click|constructor|default|direction|empty|end|fork"
    "|hide|href|join|note|prototype|root|scale|state|statediagram|style|title"
    # ids of Mermaid's own, for [*]
    "|.*_start|.*_end"
)
"""Words of Mermaid's own, or of its language, that cannot name a state."""

WIDEST = 80
"""Characters of a label; a longer one is cut, as a diagram is read at a glance."""

INDENT = "    "

STYLES = {
    "pseudo": "fill:none,stroke-dasharray:3 3",
    "error": "stroke:#c0392b,stroke-width:2px",
    "visited": "fill:#d6eaf8,stroke:#2e86c1",
    "active": "stroke:#b7950b,stroke-width:2px",
    "current": "fill:#f9e79f,stroke:#b7950b,stroke-width:3px",
}

INVISIBLE = {Form.ROOT, Form.INITIAL}
"""What Mermaid has no id for: ``[*]`` means another dot wherever it stands."""


def mermaid(chart: Chart) -> str:
    """The diagram."""
    return "\n".join(_Diagram(chart).lines()) + "\n"


def compromises(chart: Chart) -> list[str]:
    """What Mermaid cannot draw as it is, a sentence each."""
    return _Diagram(chart).compromises()


class _Diagram:
    """One drawing.

    Attributes:
        ids: Key of a shape -> its name in the text.
        stand_ins: Key of a state -> the name of the dashed box in it that its inner arrows end at.
    """

    def __init__(self, chart: Chart) -> None:
        self.chart = chart
        self.shapes = chart.shapes
        self.taken: set[str] = set()
        self.ids = {key: self._id(key) for key in self._ordered()}
        self.stand_ins: dict[str, str] = {}
        self.ends = [self._ends(arrow) for arrow in chart.arrows]

    def _ordered(self) -> Iterator[str]:
        """States first: they keep their names, and the rest finds others."""
        drawn = [key for key, shape in self.shapes.items() if shape.form not in INVISIBLE]
        yield from sorted(drawn, key=lambda key: ":" in key)

    def _id(self, key: str) -> str:
        words = key.split(":")
        if words[0] == "region":
            words[:2] = [words[1], "region"]
        return self._unused("_".join(words))

    def _unused(self, name: str) -> str:
        """The name, or the next one that is free and no word of Mermaid's."""
        if not PLAIN.fullmatch(name):
            name = f"s{name}"
        while name in self.taken or RESERVED.fullmatch(name):
            name += "_"
        self.taken.add(name)
        return name

    def _ends(self, arrow: Arrow) -> tuple[str, str]:
        """The names at both ends; an end that holds the other gets its stand-in."""
        source, target = arrow.source, arrow.target
        if source != target and source in self.chart.above(target):
            return self._stand_in(source), self.ids[target]
        if source != target and target in self.chart.above(source)[1:]:
            return self._name(source), self._stand_in(target)
        return self._name(source), self.ids[target]

    def _name(self, key: str) -> str:
        return "[*]" if self.shapes[key].form is Form.INITIAL else self.ids[key]

    def _stand_in(self, key: str) -> str:
        if key not in self.stand_ins:
            self.stand_ins[key] = self._unused(f"{self.ids[key]}_itself")
        return self.stand_ins[key]

    def compromises(self) -> list[str]:
        """A sentence for each state that has a stand-in."""
        return [
            f"Mermaid draws no arrow between {self.shapes[key].label!r} and what is in it: "
            "a dashed box of that name inside stands for it"
            for key in self.stand_ins
        ]

    # Text -----------------------------------------------------------------------------------

    def lines(self) -> Iterator[str]:
        """The whole text."""
        if self.chart.title:
            yield from ("---", f"title: {_title(self.chart.title)}", "---")
        yield "stateDiagram-v2"
        yield from (f"{INDENT}%% {text}" for text in self.compromises())
        yield from self._blocks()
        yield from (f"{INDENT}{line}" for line in self._transitions())
        yield from (f"{INDENT}{line}" for line in (*self._finals(ROOT), *self._marks()))

    def _transitions(self) -> Iterator[str]:
        """Arrows, but one for all from a state to itself: Mermaid draws only the last of them."""
        loops: dict[str, list[str]] = {}
        for arrow in self.chart.arrows:
            if arrow.source == arrow.target:
                loops.setdefault(arrow.source, []).append(_label(arrow.words))
        for arrow, (source, target) in zip(self.chart.arrows, self.ends, strict=True):
            if self.shapes[arrow.source].form is Form.INITIAL:
                continue
            labels = [_label(arrow.words)]
            if arrow.source == arrow.target:
                labels = loops.pop(arrow.source, [])
            if labels:
                text = "<br/>".join(labels)
                yield f"{source} --> {target} : {text}" if text else f"{source} --> {target}"

    def _blocks(self) -> Iterator[str]:
        """Every shape in its place, depth first; a text on the stack closes what was opened."""
        pending: list[tuple[str, int, bool]] = [(ROOT, 0, True)]
        while pending:
            text, depth, is_key = pending.pop()
            if not is_key:
                yield INDENT * depth + text
                continue
            shape = self.shapes[text]
            if text != ROOT:
                yield from (INDENT * depth + line for line in self._opening(shape))
            if shape.holds:
                pending.extend(reversed(list(self._held(shape, depth))))

    def _held(self, shape: Shape, depth: int) -> Iterator[tuple[str, int, bool]]:
        """What stands in a block, and what closes it."""
        divided = False
        for key in shape.children:
            is_region = self.shapes[key].form is Form.REGION
            if is_region and divided:
                yield "--", depth + 1, False
            divided = divided or self.shapes[key].form is not Form.INITIAL
            if self.shapes[key].form is not Form.INITIAL:
                yield key, depth + 1, True
        if shape.key in self.stand_ins:
            if shape.form is Form.PARALLEL:
                yield "--", depth + 1, False
            yield (
                f'state "{_escaped(shape.label)}" as {self.stand_ins[shape.key]}',
                depth + 1,
                False,
            )
        for name in self._starts.get(shape.key, ()):
            yield f"[*] --> {name}", depth + 1, False
        if shape.key != ROOT:
            yield from ((line, depth + 1, False) for line in self._finals(shape.key))
            yield "}", depth, False
            yield from ((line, depth, False) for line in self._note(shape))

    def _finals(self, holder: str) -> Iterator[str]:
        for key in self.shapes[holder].children:
            if self.shapes[key].form is Form.TERMINAL:
                yield f"{self.ids[key]} --> [*]"

    def _opening(self, shape: Shape) -> Iterator[str]:
        name = self.ids[shape.key]
        if shape.form in {Form.CHOICE, Form.FORK}:
            yield f"state {name} <<{shape.form}>>"
        elif shape.holds:
            yield f'state "{_escaped(shape.label)}" as {name} {{'
        else:
            if shape.label != name or shape.inside:
                yield f'state "{_escaped(shape.label)}" as {name}'
            elif shape.parent != ROOT or not self._is_named(shape.key):
                yield name
            for line in shape.inside:
                yield f"{name} : {_escaped(line)}"

    def _is_named(self, key: str) -> bool:
        """An arrow or a final one names it, which makes it known."""
        return key in self._named or self.shapes[key].form is Form.TERMINAL

    @cached_property
    def _starts(self) -> dict[str, list[str]]:
        """Key of a container -> the names that its initial arrows go to."""
        starts: dict[str, list[str]] = {}
        for arrow, ends in zip(self.chart.arrows, self.ends, strict=True):
            if self.shapes[arrow.source].form is Form.INITIAL:
                starts.setdefault(self.shapes[arrow.source].parent, []).append(ends[1])
        return starts

    @cached_property
    def _named(self) -> set[str]:
        return {key for arrow in self.chart.arrows for key in (arrow.source, arrow.target)}

    def _note(self, shape: Shape) -> Iterator[str]:
        if shape.inside:
            yield f"note right of {self.ids[shape.key]}"
            yield from (f"{INDENT}{_escaped(line)}" for line in shape.inside)
            yield "end note"

    def _marks(self) -> Iterator[str]:
        styles: dict[str, list[str]] = {name: [] for name in STYLES}
        for key, shape in self.shapes.items():
            if shape.form in {Form.SHALLOW, Form.DEEP}:
                styles["pseudo"].append(self.ids[key])
            if shape.form is Form.CHOICE or shape.form in INVISIBLE:
                continue
            if shape.error:
                styles["error"].append(self.ids[key])
            if shape.mark:
                styles[shape.mark].append(self.ids[key])
        styles["pseudo"] += self.stand_ins.values()
        for style, names in styles.items():
            if names:
                yield f"classDef {style} {STYLES[style]}"
                yield f"class {','.join(names)} {style}"


def _title(title: str) -> str:
    """Inside of YAML's quotes, where only the quote itself has to be minded."""
    return '"' + one_line(title).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _label(words: Words) -> str:
    return _escaped(" ".join(words.parts()))


def _escaped(text: str) -> str:
    """Text that Mermaid takes as it is, on one line and not too long."""
    words = " ".join(one_line(text).split())
    if len(words) > WIDEST:
        words = words[: WIDEST - 1] + "…"
    return SPECIAL.sub(lambda found: f"#{ord(found.group())};", words)

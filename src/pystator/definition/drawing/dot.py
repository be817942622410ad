"""A chart in DOT, the language of Graphviz: ``pystator graph FILE --format dot | dot -Tpng``.

A state that holds others is a cluster. DOT has no arrows from and to clusters, only arrows that are
cut off at a cluster's border (``ltail``, ``lhead``) on their way from and to something in it. Where
that cannot be - both ends lie in the cluster - a small dashed box of the cluster's name stands for
it, as in Mermaid. With clusters goes ``newrank``: the older way of Graphviz gives up on some of
them ("trouble in init_rank").
"""

from collections.abc import Iterator
from html import escape

from pystator.definition.drawing.chart import ROOT, Arrow, Chart, Form, Mark, Shape, Words
from pystator.definition.drawing.lines import wrapped

__all__ = ["dot"]

WIDE, MOST = 40, 4
"""Characters of a line, and lines of a part of a label."""

HEAD = """\
    compound=true; newrank=true; rankdir=TB; nodesep=0.4; ranksep=0.5; labelloc=t; bgcolor=white;
    fontname="Helvetica"; fontsize=13;
    node [shape=box, style="rounded,filled", fillcolor="#f6f8fa", color="#57606a",
          fontname="Helvetica", fontsize=12, margin="0.15,0.08"];
    edge [color="#57606a", fontname="Helvetica", fontsize=10, arrowsize=0.7];"""

FORMS = {
    Form.TERMINAL: "peripheries=2",
    Form.CHOICE: "shape=diamond, style=filled, width=0.3, height=0.3",
    Form.INITIAL: 'shape=circle, style=filled, fillcolor="#24292f", width=0.16, label=""',
    Form.SHALLOW: "shape=circle, width=0.3, fixedsize=true, margin=0",
    Form.DEEP: "shape=circle, width=0.3, fixedsize=true, margin=0",
    Form.FORK: 'style=filled, fillcolor="#24292f", width=0.7, height=0.06, label=""',
}

CLUSTERS = {
    Form.REGION: 'style="rounded,dashed", color="#8c959f", fontsize=11',
}

MARKS = {
    Mark.VISITED: 'fillcolor="#ddf4ff", color="#0969da"',
    Mark.ACTIVE: 'color="#bf8700", penwidth=2',
    Mark.CURRENT: 'fillcolor="#fff8c5", color="#bf8700", penwidth=2.5',
}


def dot(chart: Chart) -> str:
    """The graph."""
    return "\n".join(_Graph(chart).lines()) + "\n"


class _Graph:
    """One graph.

    Attributes:
        ends: For each arrow its tail, its head and its attributes.
        stand_ins: Keys of the clusters that a box stands for.
    """

    def __init__(self, chart: Chart) -> None:
        self.chart = chart
        self.shapes = chart.shapes
        self.stand_ins: dict[str, None] = {}
        self.arrows = [self._arrow(arrow) for arrow in chart.arrows]

    def lines(self) -> Iterator[str]:
        """The whole text."""
        yield f"digraph {_quoted(self.chart.title)} {{"
        yield HEAD
        if self.chart.title:
            yield f"    label=<<B>{_html(self.chart.title)}</B>>;"
        yield from self._blocks()
        yield from (f"    {arrow};" for arrow in self.arrows)
        yield "}"

    def _blocks(self) -> Iterator[str]:
        """Every shape in its place; a text on the stack closes a cluster."""
        pending: list[tuple[str, int, bool]] = [
            (key, 1, True) for key in reversed(self.shapes[ROOT].children)
        ]
        while pending:
            key, depth, is_key = pending.pop()
            indent = "    " * depth
            if not is_key:
                yield indent + key
                continue
            shape = self.shapes[key]
            if not shape.holds:
                yield f"{indent}{_quoted(key)} [{', '.join(_node(shape))}];"
                continue
            yield f"{indent}subgraph {_quoted('cluster_' + key)} {{"
            yield f"{indent}    graph [{', '.join(_cluster(shape))}];"
            if key in self.stand_ins:
                label = _html(shape.label)
                yield f'{indent}    {_quoted(key)} [label=<{label}>, style="rounded,dashed"];'
            pending.append(("}", depth, False))
            pending.extend((child, depth + 1, True) for child in reversed(shape.children))

    # Arrows ---------------------------------------------------------------------------------

    def _arrow(self, arrow: Arrow) -> str:
        chart, shapes = self.chart, self.shapes
        source, target = arrow.source, arrow.target
        attributes = [f"label=<{label}>"] if (label := _label(arrow.words)) else []
        around = shapes[source].holds and source in chart.above(target)
        within = shapes[target].holds and target in chart.above(source)
        if around or within:
            tail = self._stand_in(source) if around else self._leaf(source)
            head = self._stand_in(target) if within else self._leaf(target)
        else:
            tail, head = self._leaf(source), self._leaf(target)
        if tail != source:
            attributes.append(f"ltail={_quoted('cluster_' + source)}")
        if head != target:
            attributes.append(f"lhead={_quoted('cluster_' + target)}")
        rest = f" [{', '.join(attributes)}]" if attributes else ""
        return f"{_quoted(tail)} -> {_quoted(head)}{rest}"

    def _stand_in(self, key: str) -> str:
        self.stand_ins[key] = None
        return key

    def _leaf(self, key: str) -> str:
        """The shape itself, or a node in the cluster that it is."""
        while self.shapes[key].holds:
            key = self.shapes[key].children[0]
        return key


def _node(shape: Shape) -> Iterator[str]:
    if shape.form is Form.CHOICE:
        yield f'label="", xlabel=<{_html(shape.label)}>'
    elif shape.form not in {Form.INITIAL, Form.FORK}:
        yield f"label=<{_box(shape)}>"
    yield from _rest(shape, FORMS.get(shape.form))


def _cluster(shape: Shape) -> Iterator[str]:
    yield f"label=<{_box(shape)}>"
    yield from _rest(shape, CLUSTERS.get(shape.form, 'style="rounded", color="#8c959f"'))


def _rest(shape: Shape, form: str | None) -> Iterator[str]:
    if form:
        yield form
    if shape.error:
        yield 'color="#cf222e", penwidth=1.5'
    if shape.mark:
        yield MARKS[shape.mark]
    if shape.description:
        yield f"tooltip={_quoted(shape.description)}"


def _box(shape: Shape) -> str:
    """The name, and what happens inside below it."""
    lines = [line for text in shape.inside for line in wrapped(text, WIDE, MOST)]
    small = "".join(f'<BR/><FONT POINT-SIZE="10">{_html(line)}</FONT>' for line in lines)
    name = _html(shape.label)
    return f"<B>{name}</B>{small}" if small or shape.holds else name


def _label(words: Words) -> str:
    lines = [line for part in words.parts() for line in wrapped(part, WIDE, MOST)]
    return "<BR/>".join(f"\u00a0{_html(line)}\u00a0" for line in lines)


def _html(text: str) -> str:
    return escape("".join(letter if letter.isprintable() else " " for letter in text))


def _quoted(text: str) -> str:
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'

"""Pictures: whatever the machine, nothing lies over anything else, and all of it is there."""

import re
from collections.abc import Iterator
from itertools import combinations, pairwise
from random import Random
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystator.definition.drawing.chart import Chart, Form, draw
from pystator.definition.drawing.nested import Frame, Picture, Way, layout
from pystator.definition.drawing.sizes import title_of
from pystator.definition.drawing.svg import drawing, svg
from pystator.definition.load import load_config
from pystator.definition.model import Definition

SVG = "{http://www.w3.org/2000/svg}"

Rectangle = tuple[float, float, float, float]


class Grower:
    """Grows a machine: nested and parallel states, and arrows between any two of them."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.states: list[dict[str, Any]] = []
        self.holders: list[str] = []

    def grow(self, holder: dict[str, Any], depth: int) -> list[str]:
        """Some states; their names."""
        names: list[str] = []
        for _ in range(self.random.randint(1, 3)):
            state: dict[str, Any] = {"name": f"s{len(self.states)}", **holder}
            self.states.append(state)
            names.append(state["name"])
            shape = self.random.choice(["plain", "plain", "noisy", "compound", "parallel"])
            if shape == "noisy":
                state["on_enter"] = [{"timestamp": "entered_at"}, "call_somebody"]
            if shape in {"compound", "parallel"} and depth < 3:
                self.holders.append(state["name"])
                self.fill(state, shape, depth)
        return names

    def fill(self, state: dict[str, Any], shape: str, depth: int) -> None:
        """States within a state."""
        if shape == "compound":
            self.grow({"parent": state["name"]}, depth + 1)
            return
        state |= {"type": "parallel", "regions": []}
        for number in range(self.random.randint(1, 3)):
            region = f"{state['name']}_r{number}"
            state["regions"].append(
                {"name": region, "states": self.grow({"parent": region}, depth + 1)}
            )

    def transition(self, number: int) -> dict[str, Any]:
        """From anywhere to anywhere."""
        choice = self.random.choice
        names = [state["name"] for state in self.states]
        dest = choice(names)
        if self.holders and choice([True, False, False, False]):
            dest = choice(["H", "H*"]) + f"({choice(self.holders)})"
        way: dict[str, Any] = {"trigger": f"t{number}", "source": choice(names), "dest": dest}
        if choice([True, False]):
            way["guards"] = [{"expr": "amount > 10 and customer.tier == 'gold'"}]
        return way


def grown(random: Random) -> Definition:
    """A machine that nobody would write."""
    grower = Grower(random)
    first = grower.grow({}, 0)[0]
    ways = [grower.transition(number) for number in range(random.randint(0, 16))]
    return load_config({"initial": first, "states": grower.states, "transitions": ways})


def rectangle(frame: Frame) -> Rectangle:
    return frame.x, frame.y, frame.x + frame.width, frame.y + frame.height


def overlap(one: Rectangle, other: Rectangle) -> bool:
    near = 0.5
    return (
        one[0] < other[2] - near
        and other[0] < one[2] - near
        and one[1] < other[3] - near
        and other[1] < one[3] - near
    )


def label_of(way: Way) -> Rectangle:
    assert way.label is not None
    assert way.label_at is not None
    x, y = way.label_at
    return x - way.label.width / 2, y, x + way.label.width / 2, y + way.label.height


def texts(chart: Chart, picture: Picture) -> dict[str, Rectangle]:
    """Everything that is read: labels, and names of containers."""
    found = {
        f"label {number}": label_of(way) for number, way in enumerate(picture.ways) if way.label
    }
    for key, shape in chart.shapes.items():
        if shape.holds and shape.label:
            (x, y), (_, width, height) = picture.frames[key].title, title_of(shape)
            found[f"name of {key}"] = (x, y, x + width, y + height)
    return found


def passed(way: Way) -> Iterator[tuple[float, float]]:
    """Places that an arrow passes."""
    for (x, y), (to_x, to_y) in pairwise(way.points):
        middle = (y + to_y) / 2
        for step in range(11):
            t = step / 10
            if abs(to_y - y) < 0.05 or abs(to_x - x) < 0.05:
                yield x + (to_x - x) * t, y + (to_y - y) * t
            else:
                a, b, c, d = (1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3
                yield (a + b) * x + (c + d) * to_x, a * y + (b + c) * middle + d * to_y


@settings(max_examples=60)
@given(st.randoms(use_true_random=False))
def test_nothing_lies_over_anything_else(random: Random) -> None:
    """Boxes, labels and names keep clear of each other, and arrows keep clear of them."""
    chart = draw(grown(random))
    picture = layout(chart)
    boxes = {
        f"box {key}": rectangle(picture.frames[key])
        for key, shape in chart.shapes.items()
        if not shape.holds
    }
    things = {**boxes, **texts(chart, picture)}
    assert [pair for pair in combinations(things, 2) if overlap(*map(things.get, pair))] == []
    for number, way in enumerate(picture.ways):
        arrow = chart.arrows[number]
        own = {f"box {arrow.source}", f"box {arrow.target}", f"label {number}"}
        if way.bend != "loop":
            over = [
                (arrow, name)
                for x, y in passed(way)
                for name, (left, top, right, bottom) in things.items()
                if name not in own and left + 1 < x < right - 1 and top + 1 < y < bottom - 1
            ]
            assert over == []


@settings(max_examples=60)
@given(st.randoms(use_true_random=False))
def test_all_is_in_its_place(random: Random) -> None:
    """States lie within what holds them; arrows begin and end at the borders of their states."""
    chart = draw(grown(random))
    picture = layout(chart)
    for key, shape in chart.shapes.items():
        inner, outer = rectangle(picture.frames[key]), rectangle(picture.frames[shape.parent])
        assert outer[0] - 0.1 <= inner[0] <= inner[2] <= outer[2] + 0.1, key
        assert outer[1] - 0.1 <= inner[1] <= inner[3] <= outer[3] + 0.1, key
    for arrow, way in zip(chart.arrows, picture.ways, strict=True):
        assert (way.label is None) == (not arrow.words.parts())
        for key, (x, y) in ((arrow.source, way.points[0]), (arrow.target, way.points[-1])):
            left, top, right, bottom = rectangle(picture.frames[key])
            at_side = way.bend == "loop" and x == right and top <= y <= bottom
            assert left <= x <= right
            assert at_side or min(abs(y - top), abs(y - bottom)) < 0.1


@settings(max_examples=25)
@given(st.randoms(use_true_random=False))
def test_every_state_and_every_transition_is_in_the_svg(random: Random) -> None:
    definition = grown(random)
    text = svg(draw(definition))
    root = ET.fromstring(text)
    groups = list(root.iter(f"{SVG}g"))
    states = [group.get("data-state") for group in groups if group.get("data-state")]
    regions = [group.get("data-region") for group in groups if group.get("data-region")]
    drawn = {group.get("data-transition") for group in groups} - {None}
    assert set(definition.nodes) == {*states, *(f"region:{name}" for name in regions)}
    assert len(states) + len(regions) == len(definition.nodes)
    assert drawn == {str(way.index) for way in definition.transitions}
    assert text == svg(draw(definition))


# One picture, looked at closely -----------------------------------------------------------------

ORDER: dict[str, Any] = {
    "meta": {"machine_name": "order", "version": "2", "description": "An order"},
    "states": [
        {"name": "draft", "type": "initial", "description": "A basket"},
        {
            "name": "processing",
            "type": "parallel",
            "on_done": "closed",
            "regions": [
                {"name": "payment", "states": ["awaiting", "paid"]},
                {"name": "fulfilment", "states": ["picking", "packed"]},
            ],
        },
        {"name": "awaiting"},
        {"name": "paid", "type": "terminal"},
        {"name": "picking"},
        {"name": "packed", "type": "terminal"},
        {"name": "on_hold", "type": "error"},
        {"name": "which", "type": "choice"},
        {"name": "closed", "type": "terminal"},
    ],
    "transitions": [
        {"trigger": "place", "source": "draft", "dest": "processing"},
        {"trigger": "pay", "source": "awaiting", "dest": "paid", "guards": [{"expr": "n > 1"}]},
        {"trigger": "pack", "source": "picking", "dest": "packed"},
        {"trigger": "hold", "source": "processing", "dest": "on_hold"},
        {"trigger": "resume", "source": "on_hold", "dest": "H*(processing)"},
        {"trigger": "jump", "source": "draft", "dest": ["paid", "packed"]},
        {"trigger": "decide", "source": "on_hold", "dest": "which"},
        {"source": "which", "dest": "closed"},
        {"trigger": "again", "source": "on_hold", "dest": "on_hold"},
        {"trigger": "again", "source": "on_hold", "dest": "on_hold", "actions": ["shout"]},
        {"trigger": "swap", "source": "awaiting", "dest": "packed"},
    ],
}


def parsed(**marks: Any) -> ET.Element:
    return ET.fromstring(svg(draw(load_config(ORDER), **marks)))


def groups(root: ET.Element, word: str) -> list[ET.Element]:
    return [each for each in root.iter(f"{SVG}g") if word in each.get("class", "").split()]


def test_each_kind_of_state_has_its_sign() -> None:
    root = parsed()
    counts = {form: len(groups(root, form)) for form in Form}
    assert counts == {
        **dict.fromkeys(Form, 0),
        Form.STATE: 4,
        Form.TERMINAL: 3,
        Form.CHOICE: 1,
        Form.PARALLEL: 1,
        Form.REGION: 2,
        Form.INITIAL: 3,
        Form.DEEP: 1,
        Form.FORK: 1,
    }
    assert len(groups(root, "terminal")) == len(
        [ring for ring in root.iter(f"{SVG}circle") if ring.get("class") == "ring"]
    )
    # One line right of the place of H*, one between the two regions.
    assert len([path for path in root.iter(f"{SVG}path") if path.get("class") == "divider"]) == 2


def test_labels_are_told_in_their_parts() -> None:
    texts = [(text.get("class", "").split()[0], text.text) for text in parsed().iter(f"{SVG}text")]
    assert ("trigger", "pay") in texts
    assert ("guard", "[n > 1]") in texts
    assert ("action", "/ shout") in texts
    assert ("trigger", "done") in texts
    assert ("title", "order 2") in texts


def test_what_is_active_is_marked_and_told() -> None:
    root = parsed(current=["awaiting", "picking"], visited=["draft", "awaiting"])
    named = {
        word: [group.get("data-state") or group.get("data-region") for group in groups(root, word)]
        for word in ("current", "active", "visited")
    }
    assert named == {
        "current": ["awaiting", "picking"],
        "active": ["processing", "payment", "fulfilment"],
        "visited": ["draft"],
    }
    story = root.findtext(f"{SVG}desc")
    assert story == (
        "An order. State machine with 9 states and 12 arrows. It starts in draft. "
        "Active: awaiting, picking."
    )


def test_it_needs_nothing_from_elsewhere_and_runs_nothing() -> None:
    text = svg(draw(load_config(ORDER)))
    assert re.findall(r"https?://[^\"]+", text) == ["http://www.w3.org/2000/svg"]
    root = ET.fromstring(text)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {
        *("svg", "title", "desc", "style", "g", "rect", "path", "circle", "text")
    }
    assert not [name for each in root.iter() for name in each.attrib if name.startswith("on")]


def test_it_can_be_read_aloud_and_in_the_dark() -> None:
    root = parsed()
    assert root.get("role") == "img"
    title, desc = root.get("aria-labelledby", "").split()
    assert [root.find(f"{SVG}title").get("id"), root.find(f"{SVG}desc").get("id")] == [title, desc]
    assert "@media (prefers-color-scheme:dark)" in root.findtext(f"{SVG}style", "")
    draft = next(group for group in groups(root, "state") if group.get("data-state") == "draft")
    assert draft.findtext(f"{SVG}title") == "A basket"


def test_no_rule_reaches_beyond_the_picture() -> None:
    """Two pictures in one notebook share its page."""
    style = parsed().findtext(f"{SVG}style", "")
    plain = style.replace("@media (prefers-color-scheme:dark){", "")
    selectors = [
        selector
        for rule in re.findall(r"([^{}]+)\{[^{}]*\}", plain)
        for selector in rule.split(",")
    ]
    assert len(selectors) > 40
    assert [
        selector for selector in selectors if not selector.strip().startswith(".pystator ")
    ] == []


@pytest.mark.parametrize(
    "nasty",
    ['"</text><script>alert(1)</script>"', '"& &lt; ]]>"', '"😀 日本 \\u0007 \\n"', "'it\\'s'"],
)
def test_text_stays_text(nasty: str) -> None:
    config = {
        "meta": {"version": f"1 {nasty}"},
        "states": [
            {"name": "a", "type": "initial", "description": f"</title><script/>{nasty}"},
            {"name": "b"},
        ],
        "transitions": [
            {"trigger": "go", "source": "a", "dest": "b", "guards": [{"expr": f"x == {nasty}"}]},
            {
                "trigger": "in",
                "source": "b",
                "internal": True,
                "guards": [{"expr": f"x == {nasty}"}],
            },
        ],
    }
    root = ET.fromstring(svg(draw(load_config(config))))
    assert list(root.iter(f"{SVG}script")) == []
    words = "".join("".join(root.itertext()).split())
    assert words.count(re.sub(r"\s", "", f"x == {nasty}")) == 2


def test_a_machine_of_thousands_is_drawn_within_bounds() -> None:
    """The longest arrows go behind the boxes: the number of bends does not explode."""
    count = 2_000
    random = Random(7)
    config = {
        "states": [{"name": f"s{n}"} for n in range(count)],
        "initial": "s0",
        "transitions": [
            {"trigger": f"t{m}", "source": f"s{n}", "dest": f"s{random.randrange(count)}"}
            for n in range(count)
            for m in range(2)
        ],
    }
    text, straight = drawing(draw(load_config(config)))
    assert straight > 0
    assert text.count('class="arrow"') == 2 * count + 1
    assert len(text) < 10_000_000


def test_the_deepest_machine_there_is_is_drawn() -> None:
    depth = 100
    states: list[dict[str, Any]] = [{"name": "s0", "type": "initial"}]
    states += [{"name": f"s{n}", "parent": f"s{n - 1}"} for n in range(1, depth)]
    config = {
        "states": states,
        "transitions": [{"trigger": "t", "source": f"s{depth - 1}", "dest": "s0"}],
    }
    assert svg(draw(load_config(config))).count('class="shape compound"') == depth - 1

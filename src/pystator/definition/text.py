"""Text -> plain data, in one pass over libyaml's events.

Laws:

- One document, nothing but mappings with text keys, lists and core-schema scalars. No key twice.
- Bounded time and memory whatever the text: size, depth, number of values and what aliases expand
  to are limited *while* reading.
- Positions are not kept: the pass that everybody pays for keeps only where states and transitions
  start. Who has a mistake to place reads the events a second time
  (`pystator.definition.positions`).
"""

import re
from collections.abc import Callable
from typing import Any, Final, NoReturn

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from pystator.definition.data import is_list
from pystator.definition.issues import Issue, closest, show
from pystator.definition.scalars import CONSTANTS, Scalar, ScalarError, resolve
from pystator.definition.syntax import syntax_issue, unreadable_character
from pystator.records import record

__all__ = [
    "MAX_ALIASED",
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_VALUES",
    "Reading",
    "decode",
    "prepare",
    "read",
]

MAX_BYTES: Final = 10_000_000
MAX_DEPTH: Final = 64
MAX_VALUES: Final = 1_000_000
MAX_ALIASED: Final = 100_000
"""Values that all aliases together may stand for."""

TAG = "tag:yaml.org,2002:"
_PAIR: Final = r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})"
_NOT_YAML: Final = re.compile(r"[\x7f-\x9f\u2028\u2029\ufffe\uffff]")
"""Of JSON's strings, what libyaml refuses, or takes for the end of a line as YAML 1.1 does."""
_MERGE: Final = str(b"<<", "ascii")
"""The plain key ``<<``: another object than a quoted one, which is just a key."""


@record
class Reading:
    """What a text holds.

    Attributes:
        data: Plain data; None when there are issues.
        places: ``id`` of the mapping of a state, transition or region -> (line, column), from 0.
            (These, and some others, are at odd depths: ``states: [{regions: [{states: [...]}]}]``.)
    """

    data: Any
    issues: list[Issue]
    places: dict[int, tuple[int, int]]


class _Stop(Exception):  # noqa: N818 - ends a reading, is no error of its own
    """Reading cannot go on."""


def decode(content: bytes) -> tuple[str, Issue | None]:
    """UTF-8 bytes, with or without a byte order mark -> text, or the issue that it is none."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content[:2]:
        return "", Issue("encoding", "error", "the file is UTF-16: save it as UTF-8", (), 1, 1)
    try:
        return content.decode("utf-8-sig"), None
    except UnicodeDecodeError as error:
        before = content[: error.start]
        return "", Issue(
            "encoding",
            "error",
            f"the byte 0x{content[error.start]:02x} is not UTF-8: save the file as UTF-8",
            (),
            before.count(b"\n") + 1,
            error.start - (before.rfind(b"\n") + 1) + 1,
        )


def prepare(text: str) -> str:
    """The text as libyaml can read it: without byte order mark and what only JSON may hold."""
    text = text.removeprefix("\ufeff")
    if not text.lstrip().startswith("{"):
        return text
    if _NOT_YAML.search(text) and _is_json(text):
        text = _NOT_YAML.sub(_escape, text)
    return re.sub(_PAIR, _join, text)


def _is_json(text: str) -> bool:
    """Then such a character stands in double quotes, where an escape can take its place."""
    import json  # almost no text asks

    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _escape(found: "re.Match[str]") -> str:
    return f"\\u{ord(found[0]):04x}"


def _join(pair: "re.Match[str]") -> str:
    r"""``\ud83c\udf89`` -> ``\U0001f389``, which JSON has not and YAML has."""
    high, low = int(pair[2], 16), int(pair[3], 16)
    return f"{pair[1]}\\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):08x}"


def read(text: str) -> Reading:
    """Read one YAML or JSON document."""
    text = prepare(text)
    if len(text) > MAX_BYTES:
        return _failed(
            Issue(
                "too_large",
                "error",
                f"the text has {len(text):,} characters; a machine has at most {MAX_BYTES:,}",
            )
        )
    reader = _Reader(text)
    try:
        reader.run()
    except _Stop:
        pass
    except yaml.MarkedYAMLError as error:
        reader.issues.append(syntax_issue(error, text))
    except (yaml.YAMLError, UnicodeEncodeError) as error:
        issue = unreadable_character(text)
        reader.issues.append(issue or Issue("syntax", "error", show(str(error))))
    if reader.issues:
        return Reading(None, reader.issues, {})
    return Reading(reader.root, [], reader.places)


def _failed(issue: Issue) -> Reading:
    return Reading(None, [issue], {})


@record
class _Anchor:
    value: Any
    size: int
    height: int


class _Frame:
    """An open container: what to go back to when it ends."""

    __slots__ = ("anchor", "before", "deepest", "key", "outer")

    def __init__(self, outer: Any, key: Any, anchor: str | None, before: int, deepest: int) -> None:
        self.outer = outer
        self.key = key
        self.anchor = anchor
        self.before = before
        self.deepest = deepest


_NextEvent = Callable[[], Any]
_NO_KEY: Final = object()
_NOTHING: Final[Any] = object()


class _Reader:
    """State of one reading. ``run`` is the loop; everything rare is a method."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.root: Any = None
        self.issues: list[Issue] = []
        self.places: dict[int, tuple[int, int]] = {}
        self.anchors: dict[str, _Anchor | None] = {}
        self.aliased = 0
        self.documents = 0

    def run(self) -> None:  # noqa: C901, PLR0912, PLR0915 - the hot loop: a call per event costs a third of it
        """Consume all events."""
        get_event: _NextEvent = yaml.CSafeLoader(self.text).get_event
        known: dict[str, Scalar] = {**CONSTANTS, "<<": _MERGE}
        stack: list[_Frame] = []
        container: Any = _NOTHING
        key: Any = _NO_KEY
        is_map = False
        count = 0
        deepest = 0
        while True:
            event = get_event()
            kind = event.__class__
            if kind is ScalarEvent:
                value: Any = event.value
                if event.implicit[0] and event.tag is None:
                    value = known[value] if value in known else self.plain(event, known)
                elif event.tag is not None or "\0" in value:
                    value = self.unusual(event)
                count += 1
                if event.anchor is not None:
                    self.anchors[event.anchor] = _Anchor(value, 1, 0)
            elif kind is MappingStartEvent or kind is SequenceStartEvent:
                depth = len(stack) + 1
                if depth > MAX_DEPTH:
                    self.too_deep(event)
                if event.tag is not None:
                    self.check_tag(event, "map" if kind is MappingStartEvent else "seq")
                if is_map and key is _NO_KEY:
                    self.stop("key_type", "a key must be text, not a list or a mapping", event)
                value = {} if kind is MappingStartEvent else []
                if depth & 1 and kind is MappingStartEvent:
                    mark = event.start_mark
                    self.places[id(value)] = (mark.line, mark.column)
                anchor = event.anchor
                stack.append(_Frame(container, key, anchor, count, deepest))
                if anchor is not None:
                    self.anchors[anchor] = None
                    deepest = depth
                elif depth > deepest:
                    deepest = depth
                container = value
                is_map = kind is MappingStartEvent
                key = _NO_KEY
                count += 1
                if count > MAX_VALUES:
                    self.too_many(event)
                continue
            elif kind is MappingEndEvent or kind is SequenceEndEvent:
                value = container
                if is_map and "<<" in value:
                    self.merge(event, value)
                frame = stack.pop()
                if frame.anchor is not None:
                    self.anchors[frame.anchor] = _Anchor(
                        value, count - frame.before, deepest - len(stack) - 1
                    )
                    deepest = max(deepest, frame.deepest)
                container = frame.outer
                key = frame.key
                is_map = type(container) is dict
            elif kind is AliasEvent:
                meant = self.alias(event, len(stack))
                value = meant.value
                count += meant.size
                deepest = max(deepest, len(stack) + meant.height)
            elif kind is StreamEndEvent:
                self.finish(count)
                return
            else:
                if kind is DocumentStartEvent:
                    self.document(event)
                continue

            if is_map:
                if key is _NO_KEY:
                    if type(value) is not str or value in container:
                        value = self.bad_key(event, value)
                    key = value
                else:
                    container[key] = value
                    key = _NO_KEY
            elif container is not _NOTHING:
                container.append(value)
                if count > MAX_VALUES:
                    self.too_many(event)
            else:
                self.root = value

    # What is rare -----------------------------------------------------------------------------

    def add(
        self, code: str, message: str, event: Any, *, text: str | None = None,
        suggestion: str | None = None,
    ) -> None:  # fmt: skip
        mark = event.start_mark
        self.issues.append(
            Issue(code, "error", message, (), mark.line + 1, mark.column + 1, text, suggestion)
        )

    def stop(self, code: str, message: str, event: Any) -> NoReturn:
        self.add(code, message, event)
        raise _Stop

    def plain(self, event: Any, known: dict[str, Scalar]) -> Scalar:
        text: str = event.value
        try:
            value = resolve(text)
        except ScalarError as error:
            self.add("bad_number", str(error), event, text=show(text))
            return 0
        known[text] = value
        return value

    def unusual(self, event: Any) -> Scalar:
        """A tagged scalar, or one with a NUL in it."""
        value: str = event.value
        if "\0" in value:
            self.add("bad_character", "text cannot hold the character U+0000", event)
            return ""
        tag: str | None = event.tag
        if tag in {None, "!", TAG + "str"}:
            return value
        if tag in {TAG + "int", TAG + "float", TAG + "bool", TAG + "null"}:
            resolved = self.plain(event, {})
            if tag == TAG + "float" and type(resolved) is int:
                return float(resolved)
            if TAG + _tag_of(resolved) == tag:
                return resolved
            self.add(
                "tag",
                f"{show(value)!r} is no {tag.removeprefix(TAG)}: remove the tag",
                event,
                text=show(value),
            )
            return value
        self.check_tag(event, "")
        return value

    def check_tag(self, event: Any, expected: str) -> None:
        tag = event.tag
        if tag not in {"!", TAG + expected}:
            shown = tag.replace(TAG, "!!")
            self.add(
                "tag", f"a machine cannot use the tag {show(shown)!r}: remove it", event, text=shown
            )

    def bad_key(self, event: Any, value: Any) -> str:
        """Report a key that is no text, or here a second time; return what to go on with."""
        if isinstance(value, str):
            self.add("duplicate_key", f"the key {show(value)!r} is here twice", event, text=value)
            return value
        if isinstance(value, dict | list):
            self.stop("key_type", "a key must be text, not a list or a mapping", event)
        written = str(event.value) if isinstance(event, ScalarEvent) else show(value)
        self.add(
            "key_type",
            f'a key must be text: write "{show(written)}" in quotes',
            event,
            text=show(written),
        )
        return written

    def alias(self, event: Any, depth: int) -> _Anchor:
        name = event.anchor
        if name not in self.anchors:
            self.add(
                "alias",
                f"the alias '*{show(name)}' has no anchor '&{show(name)}' before it",
                event,
                text="*" + show(name),
                suggestion=closest(name, self.anchors),
            )
            return _Anchor(None, 1, 0)
        anchor = self.anchors[name]
        if anchor is None:
            self.stop("alias", f"the alias '*{show(name)}' stands inside its own anchor", event)
        self.aliased += anchor.size
        if self.aliased > MAX_ALIASED:
            self.stop(
                "alias_bomb", f"the aliases stand for more than {MAX_ALIASED:,} values", event
            )
        if depth + anchor.height > MAX_DEPTH:
            self.too_deep(event)
        return anchor

    def merge(self, event: Any, value: dict[str, Any]) -> None:
        if not any(key is _MERGE for key in value):
            return
        sources = value["<<"]
        if not all(isinstance(item, dict) for item in _sources(sources)):
            self.add("merge", "'<<' takes a mapping, or a list of mappings", event, text="<<")
            return
        _merge(value)

    def too_deep(self, event: Any) -> NoReturn:
        self.stop("too_deep", f"nested deeper than {MAX_DEPTH} levels", event)

    def too_many(self, event: Any) -> NoReturn:
        self.stop("too_large", f"more than {MAX_VALUES:,} values", event)

    def document(self, event: Any) -> None:
        self.documents += 1
        if self.documents > 1:
            self.stop("documents", "a second document starts here: a file holds one machine", event)

    def finish(self, count: int) -> None:
        if count == 0:
            self.issues.append(
                Issue("empty", "error", "the text is empty: a machine has at least 'states'")
            )


def _tag_of(value: Scalar) -> str:
    if value is None:
        return "null"
    return {bool: "bool", int: "int", float: "float", str: "str"}[type(value)]


def _sources(value: Any) -> list[Any]:
    return value if is_list(value) else [value]


def _merge(mapping: dict[str, Any]) -> None:
    """Apply ``<<`` in place: the mapping's own keys win, then the earlier source."""
    own = dict(mapping)
    sources = _sources(own.pop("<<"))
    mapping.clear()
    for source in reversed(sources):
        mapping.update(source)
    mapping.update(own)

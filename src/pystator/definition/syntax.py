"""libyaml's complaints, said so that a person can act on them."""

import re

import yaml

from pystator.definition.issues import Issue

__all__ = ["syntax_issue", "unreadable_character"]

_UNPRINTABLE = "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"

_TAB = "a tab cannot indent YAML: use spaces"
_QUOTED = re.compile(r"""(?:^|[\s:,\[{-])(?:"(?:[^"\\]|\\.)*"|'(?:[^']|'')*')\s*$""")
"""The beginning of a line whose last value is in quotes."""
_NOT_BLANK = re.compile("^ *[\u00a0\u2000-\u200a\u202f\u3000]", re.MULTILINE)
"""A line indented by characters that look like blanks and are none: from web pages, mostly."""

_SENTENCES = {
    "mapping values are not allowed in this context": (
        "a ':' is not expected here: check the indentation, and put text that holds ': ' in quotes"
    ),
    "block sequence entries are not allowed in this context": (
        "a list entry '- ' cannot start here: put it on a line of its own"
    ),
    "did not find expected key": ("expected a key here: check the indentation of this line{block}"),
    "did not find expected '-' indicator": (
        "expected a list entry '- ' here: check the indentation of this line{block}"
    ),
    "did not find expected ',' or ']'": (
        "expected ',' or ']' here: the list '['{opened} is not closed"
    ),
    "did not find expected ',' or '}'": (
        "expected ',' or '}}' here: the mapping '{{'{opened} is not closed"
    ),
    "found a tab character that violates indentation": _TAB,
    "found a tab character where an indentation space is expected": _TAB,
    "found unexpected end of stream": "the text ends inside a quotation{opened}: close the quote",
    "found unknown escape character": (
        "unknown escape in double quotes: write '\\\\' for a backslash, or use single quotes"
    ),
    "found invalid Unicode character escape code": (
        "this escape is no character: write the character itself"
    ),
    "could not find expected ':'": "expected ':' after this key{opened}",
    "did not find expected alphabetic or numeric character": (
        "a name must follow '&' (anchor) or '*' (alias): put the text in quotes if it is text"
    ),
    "did not find expected node content": (
        "expected a value here: is a '[' or '{{' before it not closed?"
    ),
    "did not find expected comment or line break": (
        "after '|' or '>' the text starts on the next line, indented"
    ),
    "found undefined tag handle": "unknown tag: a machine needs no tags, remove it",
    "found incompatible YAML document": "this YAML version is not known: remove the %YAML line",
    "did not find expected <document start>": (
        "unexpected text after the end of the document: a file holds one machine"
    ),
    "exceeded maximum nesting depth": "nested deeper than a machine may be",
    "found duplicate anchor": "this anchor is defined twice",
}
_AFTER_A_VALUE = frozenset(
    {
        "did not find expected key",
        "did not find expected '-' indicator",
        "did not find expected ',' or ']'",
        "did not find expected ',' or '}'",
        "did not find expected <document start>",
    }
)
"""What libyaml says when something stands behind a value that is complete."""


def syntax_issue(error: yaml.MarkedYAMLError, text: str) -> Issue:
    """The parser's error as an issue; only the first of a text is known, parsing ends there."""
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return Issue("syntax", "error", str(error.problem or error))
    opened = block = ""
    if error.context_mark is not None and error.context_mark.line != mark.line:
        opened = f" opened on line {error.context_mark.line + 1}"
        block = f", and the block that starts on line {error.context_mark.line + 1}"
    problem = error.problem or "this is not YAML"
    strange = _strange_blank(text, mark.line)
    if strange is not None:
        return strange
    found = text[mark.index : mark.index + 1]
    if problem == "found character that cannot start any token":
        sentence = _wrong_start(found)
    elif problem in _AFTER_A_VALUE and _follows_a_quotation(text, mark.index):
        sentence = "the quotation ended before this: put the whole in quotes of the other kind"
    else:
        sentence = _SENTENCES.get(problem, "{problem}").format(
            opened=opened, block=block, problem=problem
        )
    start = text.rfind("\n", 0, mark.index) + 1
    offending = text[start : text.find("\n", mark.index) % (len(text) + 1)].strip()
    return Issue("syntax", "error", sentence, (), mark.line + 1, mark.column + 1, offending or None)


def _wrong_start(character: str) -> str:
    if character == "\t":
        return _TAB
    return f"a value cannot start with {character!r}: put it in quotes"


def _follows_a_quotation(text: str, index: int) -> bool:
    """A value in quotes ends right before this place, on the same line."""
    start = text.rfind("\n", 0, index) + 1
    return text[index : index + 1] not in {"", "\n"} and bool(_QUOTED.search(text[start:index]))


def _strange_blank(text: str, line: int) -> Issue | None:
    """What looks like indentation and is none, on the line of the error or right before it."""
    lines = text.split("\n")
    for number in (line - 1, line):
        found = _NOT_BLANK.match(lines[number]) if 0 <= number < len(lines) else None
        if found is not None:
            character = found.group()[-1]
            message = (
                f"the character U+{ord(character):04X} looks like a space and is none: "
                "indent with plain spaces"
            )
            return Issue("syntax", "error", message, (), number + 1, found.end(), character)
    return None


def unreadable_character(text: str) -> Issue | None:
    """The first character that YAML does not allow in a text, if there is one."""
    match = re.search(_UNPRINTABLE, text)
    if match is None:
        return None
    start = match.start()
    return Issue(
        "bad_character",
        "error",
        f"the character U+{ord(match.group()):04X} is not allowed in a machine file: remove it",
        (),
        text.count("\n", 0, start) + 1,
        start - (text.rfind("\n", 0, start) + 1) + 1,
        text[max(0, start - 20) : start].rpartition("\n")[2] or None,
    )

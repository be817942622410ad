"""What is wrong with a machine, where, and what was probably meant.

Checks know *paths* into the plain data (``("transitions", 3, "dest")``); people want file, line and
column. A check therefore reports to a `Report`, and the report asks for positions once, when there
is something to tell.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, Literal

from pystator.errors import ConfigurationError
from pystator.records import record

__all__ = [
    "Finding",
    "Issue",
    "Locate",
    "Path",
    "Report",
    "Severity",
    "closest",
    "configuration_error",
    "show",
    "show_path",
    "slug",
]

Path = tuple[str | int, ...]
"""Keys and list positions from the top of the document."""

Severity = Literal["error", "warning", "info"]

_LABELS: Final = {"error": "", "warning": "warning: ", "info": "note: "}

MAX_SHOWN = 60
"""Characters of an offending text that a message repeats."""

MAX_ISSUES = 500
"""A file with more mistakes is not of the format at all: the rest is not listed."""


@record
class Issue:
    """One mistake.

    Attributes:
        code: Stable name of the kind of mistake, for programs.
        severity: ``warning`` is legal and probably not meant, ``info`` worth a look.
        message: One sentence for a person, without place and suggestion.
        path: Where in the data.
        line, column: Where in the text, from 1; 0 when there is no text.
        text: The offending text, as written.
        suggestion: What was probably meant; None when nothing is near.
        file: Where the text came from.
        witness: ``{"context": ..., "payload": ...}`` for which it is so, where there is one.
    """

    code: str
    severity: Severity
    message: str
    path: Path = ()
    line: int = 0
    column: int = 0
    text: str | None = None
    suggestion: str | None = None
    file: str | None = None
    witness: Mapping[str, Any] | None = None

    def __str__(self) -> str:
        """``file:line:column: message (did you mean 'x'?)``."""
        place = ":".join(str(part) for part in (self.file, self.line or None) if part)
        if self.line:
            place = f"{place}:{self.column}" if self.file else f"line {self.line}:{self.column}"
        elif self.path:
            place = f"{place}: {show_path(self.path)}" if place else show_path(self.path)
        label = _LABELS[self.severity]
        hint = f" (did you mean {self.suggestion!r}?)" if self.suggestion else ""
        return f"{place}: {label}{self.message}{hint}" if place else f"{label}{self.message}{hint}"

    def of_file(self, file: str | None) -> "Issue":
        """The same issue, of a file."""
        return Issue(
            self.code, self.severity, self.message, self.path, self.line, self.column,
            self.text, self.suggestion, file, self.witness,
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """The issue as plain data."""
        return {
            "code": self.code,
            "severity": self.severity,
            "message": self.message,
            "path": list(self.path),
            "line": self.line,
            "column": self.column,
            "text": self.text,
            "suggestion": self.suggestion,
            "file": self.file,
            "witness": self.witness,
        }


@record
class Finding:
    """A mistake before it has a position.

    Attributes:
        key: The mistake is the last key of the path itself, not its value.
        offset: Characters into the value, for a mistake inside an expression.
    """

    code: str
    severity: Severity
    message: str
    path: Path
    text: str | None
    suggestion: str | None
    key: bool
    offset: int | None


Locate = Callable[[Sequence[Finding]], Sequence[tuple[int, int]]]
"""Findings -> line and column of each."""


class Report:
    """Collects mistakes; the same one at the same place is kept once, and `MAX_ISSUES` in all."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.failed = False
        """Whether there is any error."""
        self._seen: set[tuple[str, Path, str]] = set()
        self._milder: list[int] = []
        """Which findings are no errors: they make room for one."""
        self._comparisons = 50_000

    def add(
        self,
        code: str,
        path: Path,
        message: str,
        *,
        severity: Severity = "error",
        text: str | None = None,
        suggestion: str | None = None,
        key: bool = False,
        offset: int | None = None,
    ) -> None:
        """Report a mistake at a path."""
        if severity == "error":
            self.failed = True
        identity = (code, path, message)
        if identity in self._seen:
            return
        finding = Finding(code, severity, message, path, text, suggestion, key, offset)
        if len(self.findings) < MAX_ISSUES:
            if severity != "error":
                self._milder.append(len(self.findings))
            self.findings.append(finding)
        elif severity == "error" and self._milder:
            self.findings[self._milder.pop()] = finding
        else:
            return
        self._seen.add(identity)

    def warn(self, code: str, path: Path, message: str, *, text: str | None = None) -> None:
        """Report something legal that was probably not meant."""
        self.add(code, path, message, severity="warning", text=text)

    def closest(self, word: str, choices: Collection[str]) -> str | None:
        """The choice that was probably meant, or None.

        Comparing is slow: a file with thousands of mistakes and thousands of names gets suggestions
            for the first.
        """
        self._comparisons -= len(choices)
        return closest(word, choices) if self._comparisons > 0 else None

    def issues(self, locate: Locate | None, file: str | None) -> list[Issue]:
        """Everything reported, in the order of the text."""
        if not self.findings:
            return []
        nowhere = [(0, 0)] * len(self.findings)
        places = locate(self.findings) if locate else nowhere
        found = [
            Issue(
                item.code, item.severity, item.message, item.path, line, column,
                item.text, item.suggestion, file,
            )
            for item, (line, column) in zip(self.findings, places, strict=True)
        ]  # fmt: skip
        found.sort(key=lambda issue: (issue.line, issue.column))
        return found


_ELSEWHERE: Final = {
    "final": "terminal", "end": "terminal", "start": "initial", "normal": "stable",
    "on_entry": "on_enter", "entry": "on_enter", "exit": "on_exit",
    "event": "trigger", "on": "trigger", "from": "source", "to": "dest", "target": "dest",
    "condition": "guards", "conditions": "guards", "cond": "guards", "if": "guards",
    "and": "allOf", "all": "allOf", "or": "anyOf", "any": "anyOf",
    "=": "eq", "==": "eq", "!=": "neq", "<>": "neq", "ne": "neq",
    ">": "gt", ">=": "gte", "ge": "gte", "<": "lt", "<=": "lte", "le": "lte",
    "orthogonal": "parallel", "concurrent": "parallel", "decision": "choice", "junction": "choice",
    "atomic": "stable", "simple": "stable", "done": "on_done", "ondone": "on_done",
    "delay": "after", "eventless": "auto", "always": "auto",
    "dest": "destination", "operator": "op",
}  # fmt: skip
"""What other formats call it."""


def closest(word: str, choices: Iterable[str]) -> str | None:
    """The choice that was probably meant by a word, or None."""
    known = {choice.lower(): choice for choice in choices}
    low = word.lower()
    if low in known:
        return known[low]
    other = low
    while other := _ELSEWHERE.get(other, ""):
        if other.lower() in known:
            return known[other.lower()]
    starts = [choice for choice in known if len(choice) > 2 and low.startswith(choice)]
    if starts:
        return known[max(starts, key=len)]
    from difflib import get_close_matches  # a right machine needs it never

    near = get_close_matches(low, list(known), n=1, cutoff=0.65)
    return known[near[0]] if near else None


def slug(word: object) -> str:
    """The nearest valid name."""
    letters = [char if char.isalnum() and char.isascii() else "_" for char in str(word).strip()]
    return "".join(letters).lower().strip("_")


_CONSTANTS: Final = {None: "null", True: "true", False: "false"}


def show(value: object) -> str:
    """A value as a message quotes it: on one line, and short."""
    text = value if isinstance(value, str) else repr(value)
    if value is None or isinstance(value, bool):
        text = _CONSTANTS[value]
    text = " ".join(text.split())
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


def show_path(path: Path) -> str:
    """``("transitions", 3, "dest")`` -> ``transitions[3].dest``."""
    parts: list[str] = []
    for step in path:
        if isinstance(step, int):
            parts.append(f"[{step}]")
        else:
            parts.append(f".{step}" if parts else step)
    return "".join(parts)


def configuration_error(issues: Sequence[Issue]) -> ConfigurationError:
    """All errors among the issues as one exception, a line each."""
    errors = [issue for issue in issues if issue.severity == "error"]
    return ConfigurationError(
        "\n".join(str(issue) for issue in errors),
        context={"issues": [issue.to_dict() for issue in issues]},
    )

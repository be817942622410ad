"""Where a command's words go: results to standard output, everything else to standard error."""

import json as jsonlib
import os
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal, TextIO, cast

import typer

from pystator.errors import FSMError

__all__ = [
    "INTERRUPTED",
    "Style",
    "answering",
    "colorful",
    "note",
    "paint",
    "problem",
    "say",
    "say_json",
]

INTERRUPTED = 130
"""The exit code after Ctrl-C: 128 and the signal's number, as shells have it."""

Tone = Literal["good", "bad", "warn", "dim", "strong", "key", "plain"]

CODES: dict[Tone, str] = {
    "good": "32",
    "bad": "31",
    "warn": "33",
    "dim": "2",
    "strong": "1",
    "key": "36",
    "plain": "",
}


def colorful(stream: TextIO) -> bool:
    """The stream is a terminal whose owner did not ask for plain text."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()


@dataclass(frozen=True, slots=True)
class Style:
    """Paints words when the stream is a terminal."""

    on: bool

    def __call__(self, text: str, tone: Tone) -> str:
        """The text in this tone, or as it is."""
        code = CODES[tone]
        return f"\x1b[{code}m{text}\x1b[0m" if self.on and code and text else text


def paint(stream: TextIO | None = None) -> Style:
    """The style of a stream; standard output when none is given."""
    return Style(colorful(sys.stdout if stream is None else stream))


def say(text: str = "") -> None:
    """A line of the result."""
    print(text, file=sys.stdout)  # noqa: T201 - this is the one place that prints results


def say_json(value: Any) -> None:
    """The result as one JSON document, or as one line of many."""
    say(jsonlib.dumps(value, ensure_ascii=False, default=plain))


def note(text: str, tone: Tone = "plain") -> None:
    """A line for the person at the terminal, out of the way of the result."""
    print(paint(sys.stderr)(text, tone), file=sys.stderr, flush=True)  # noqa: T201 - same


def problem(text: str) -> None:
    """An error's first line starts with ``error:``."""
    style = paint(sys.stderr)
    print(f"{style('error:', 'bad')} {text}", file=sys.stderr, flush=True)  # noqa: T201 - same


def plain(value: Any) -> Any:
    """What JSON has no word for: dates in ISO 8601, bytes in hexadecimal, the rest as text."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, Any]", value))
    if isinstance(value, set | frozenset):
        return list(cast("set[Any]", value))
    return str(value)


@contextmanager
def answering(*, json: bool) -> Generator[None]:
    """Turn mistakes into answers: a sentence on standard error, and exit code 1.

    With ``json`` an object ``{"error": ...}`` on standard output, too.
    """
    try:
        yield
        sys.stdout.flush()
    except FSMError as error:
        fail(error.message, error.to_dict(), json=json)
    except BrokenPipeError:
        leave_quietly()
    except KeyboardInterrupt:
        note("interrupted")
        raise typer.Exit(INTERRUPTED) from None
    except OSError as error:
        text = explain(error)
        fail(text, {"error": type(error).__name__, "code": "os_error", "message": text}, json=json)


def fail(text: str, facts: Mapping[str, Any], *, json: bool) -> None:
    """Say it and stop with code 1."""
    if json:
        say_json({"error": facts})
    problem(text)
    raise typer.Exit(1) from None


def explain(error: OSError) -> str:
    """What the operating system refused, in words: ``orders.yaml: no such file or directory``."""
    what = (error.strerror or str(error) or type(error).__name__).lower()
    return what if error.filename is None else f"{error.filename}: {what}"


def leave_quietly() -> None:
    """Nobody reads any more (``| head``): stop writing, which is no failure."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    raise typer.Exit(0) from None

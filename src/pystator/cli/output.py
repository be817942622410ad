"""Where a command's words go: results to standard output, everything else to standard error."""

import json as jsonlib
import os
import sys
import traceback
import warnings
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Literal, TextIO

import typer

from pystator.errors import FSMError
from pystator.service.jsons import as_plain

__all__ = [
    "INTERRUPTED",
    "Style",
    "answering",
    "colorful",
    "note",
    "paint",
    "prepare_streams",
    "problem",
    "say",
    "say_json",
    "unexpected",
    "without_prints",
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


def colorful(stream: TextIO | None) -> bool:
    """The stream is a terminal whose owner did not ask for plain text."""
    if stream is None or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
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
    """The result as one JSON document, or as one line of many.

    Escaped where the stream cannot carry all of its characters: it stays JSON.
    """
    text = jsonlib.dumps(value, ensure_ascii=False, default=as_plain)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeError:
        text = jsonlib.dumps(value, default=as_plain)
    say(text)


def note(text: str, tone: Tone = "plain") -> None:
    """A line for the person at the terminal, out of the way of the result."""
    print(paint(sys.stderr)(text, tone), file=sys.stderr, flush=True)  # noqa: T201 - same


def problem(text: str) -> None:
    """An error's first line starts with ``error:``."""
    style = paint(sys.stderr)
    print(f"{style('error:', 'bad')} {text}", file=sys.stderr, flush=True)  # noqa: T201 - same


def prepare_streams() -> None:
    """Let both outputs take any text, whatever the locale; what is closed is empty, or nowhere."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            nowhere = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 - until the end
            setattr(sys, name, nowhere)
        elif name != "stdin" and isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def without_prints(*, json: bool) -> AbstractContextManager[Any]:
    """Within it, what a user's own code prints does not get between the JSON."""
    return redirect_stdout(sys.stderr) if json else nullcontext()


@contextmanager
def answering(*, json: bool) -> Generator[None]:
    """Turn mistakes into answers: a sentence on standard error, and exit code 1.

    With ``json`` an object ``{"error": ...}`` on standard output, too.
    """
    try:
        with warnings.catch_warnings():
            warnings.showwarning = warn
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


def warn(message: Warning | str, *_: Any, **__: Any) -> None:
    """A warning as a sentence, without the line of code that it came from."""
    note(f"warning: {message}", "warn")


def fail(text: str, facts: Mapping[str, Any], *, json: bool) -> None:
    """Say it and stop with code 1."""
    tell_failure(text, facts, json=json)
    raise typer.Exit(1) from None


def tell_failure(text: str, facts: Mapping[str, Any], *, json: bool) -> None:
    """Say what went wrong; the disk may be full for that, too."""
    if json:
        try:
            say_json({"error": facts})
            sys.stdout.flush()
        except OSError:
            discard_output()
    problem(text)


def unexpected(error: Exception, *, json: bool) -> int:
    """Say that PyStator itself is wrong, and how to learn where; the exit code.

    ``PYSTATOR_TRACEBACK=1`` shows the traceback.
    """
    if os.environ.get("PYSTATOR_TRACEBACK"):
        traceback.print_exception(error)
    what = f"{type(error).__name__}: {error}"
    text = f"{what} (a mistake in PyStator; PYSTATOR_TRACEBACK=1 shows where, to report it)"
    facts = {"error": type(error).__name__, "code": "internal_error", "message": str(error)}
    tell_failure(text, facts, json=json)
    return 1


def explain(error: OSError) -> str:
    """What the operating system refused, in words: ``orders.yaml: no such file or directory``."""
    what = (error.strerror or str(error) or type(error).__name__).lower()
    return what if error.filename is None else f"{error.filename}: {what}"


def leave_quietly() -> None:
    """Nobody reads any more (``| head``): stop writing, which is no failure."""
    discard_output()
    raise typer.Exit(0) from None


def discard_output() -> None:
    """Send what is left for standard output nowhere: at the end it is flushed once more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())

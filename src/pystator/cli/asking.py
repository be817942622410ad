"""Asking before something is deleted."""

import sys

from pystator.cli.output import note
from pystator.errors import ConfigurationError

__all__ = ["agreed", "confirm"]


def confirm(warning: str, question: str, database: str) -> None:
    """Go on only with a yes.

    Raises:
        ConfigurationError: It was none.
    """
    note(warning, "warn")
    if not agreed(question):
        raise ConfigurationError(
            "nothing was deleted: answer y, or use --force", context={"database": database}
        )


def agreed(question: str) -> bool:
    """Ask on standard error, because standard output is for the result; no answer is a no."""
    while True:
        print(f"{question} [y/N]: ", end="", file=sys.stderr, flush=True)  # noqa: T201 - a prompt
        line = sys.stdin.readline()
        answer = line.strip().lower()
        if answer in {"y", "yes"}:
            return True
        if not line:
            note("")
        if answer in {"", "n", "no"}:
            return False

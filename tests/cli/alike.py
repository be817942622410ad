"""The same command in two places, which tell the same in the same words."""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

__all__ = ["OWN", "Tell", "alike"]

Tell = Callable[..., Any]
"""Runs a command: its words, the exit code that is expected, and what `cli` takes besides."""

OWN: Final = (
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(\+00:00|Z)?|in [\d.]+ s, [\d,]+ a second"
    r'|"(duration_us|seconds|rate)": [\d.]+'
    r"|(sqlite|postgresql|redis|mongodb|replicated|http)://[\w.:/*?=&@-]+\b"
    r'|--after \S+|"next": "[^"]+"'
)
"""What no two runs have in common: times, durations, cursors, and where it is."""


def without_own(text: str) -> str:
    """The text, without what is each run's own."""
    return re.sub(OWN, "*", text)


def alike(
    cli: Tell, places: Sequence[Sequence[str]], plain: Callable[[str], str] = without_own
) -> Tell:
    """Run a command in both places; insist that both say the same, and give the second's answer."""

    def run(*words: object, code: int = 0, **options: Any) -> Any:
        answers = [cli(*words, *place, **options) for place in places]
        assert [answer.code for answer in answers] == [code, code], answers
        for text in ("out", "err"):
            first, second = (plain(getattr(answer, text)) for answer in answers)
            assert second == first, words
        return answers[1]

    return run

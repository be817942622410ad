"""What callers know: what they sent, and what they were told. The rest of the truth is in the store."""

from typing import Any

from pystator.engine.copying import copy_mapping
from pystator.engine.result import TransitionResult
from pystator.errors import (
    EntityExistsError,
    EntityNotFoundError,
    EvaluationError,
    FSMError,
    IdempotencyConflictError,
    InvalidValueError,
    StaleVersionError,
    StoreUnavailableError,
)
from pystator.orchestrator.answers import REFUSALS
from pystator.records import Context  # noqa: TC001 - one import style
from simulation.plan import Item

__all__ = ["SHARED", "Journal", "Note", "said", "scribble"]

_FINAL = (
    EntityExistsError,
    EntityNotFoundError,
    EvaluationError,
    IdempotencyConflictError,
    InvalidValueError,
)
"""Errors that say that nothing was written, and that asking again is of no use."""


def _is_written(result: TransitionResult) -> bool:
    """It has a row; a failure that was only told has none."""
    return result.version is not None


def _is_final(result: TransitionResult) -> bool:
    """It was applied or rejected; else it could not be decided or written."""
    return (
        result.success
        or result.reason in REFUSALS
        or (isinstance(result.error, EvaluationError) and _is_written(result))
    )


SHARED = frozenset({"event", "pipeline", "stream"})
"""Kinds of calls that share batches where callers do: what becomes of one that is cancelled is seen
to by those who share it. A call of another kind ends when it is cancelled, actions and all."""


class Note:
    """One event as its caller knows it.

    Attributes:
        number: When it was first sent, among all events.
        tries: How often it was sent.
        alone: It was the only event of its call.
        maybe: A try ended without a certain answer.
        refused: A try met another version than the event expects.
        home: The process that sent it by itself; None for events of callers.
        died, left: Its process died under it, or the call that was all there was of it; its caller did not wait.
        answers: What was said about it, in the end: one result, or several that have to agree, each with the context
            that it had.
        since, until: The steps at which it was first sent, and first answered.
        error: What was said in the end, where it is an error that says that nothing was written.
        done: There is nothing more to come.
    """

    __slots__ = (
        "alone", "answers", "caller", "died", "done", "error", "home", "item", "kind", "left", "maybe", "number", "refused", "since", "tries", "until",
    )  # fmt: skip

    def __init__(
        self, item: Item, caller: str, kind: str, number: int, since: int, *, alone: bool
    ) -> None:
        self.item = item
        self.caller = caller
        self.kind = kind
        self.number = number
        self.alone = alone
        self.tries = 0
        self.home: object = None
        self.since = since
        self.until: int | None = None
        self.maybe = self.died = self.left = self.done = self.refused = False
        self.answers: list[tuple[TransitionResult, Context | None]] = []
        self.error: Exception | None = None

    def behind(self) -> bool:
        """It was refused by a replica that did not know of what the event expects."""
        error = self.error
        return (
            self.refused
            and isinstance(error, StaleVersionError)
            and int(str(error.context["actual"])) < (self.item.expects or 0)
        )

    def told(self, answer: object, step: int) -> bool:
        """Take an answer; True when it is safe and sensible to ask again."""
        if isinstance(answer, TransitionResult) and _is_final(answer):
            context = answer.context
            self.answers.append((answer, None if context is None else copy_mapping(context)))
            if context is not None:
                scribble(context)
            self.until = step if self.until is None else self.until
            self.done = True
            return False
        error = answer.error if isinstance(answer, TransitionResult) else answer
        if isinstance(error, StaleVersionError) and "expected" in error.context:
            self.error = error
            self.done = self.refused = True
            return False
        if isinstance(error, StaleVersionError) or (
            isinstance(error, StoreUnavailableError) and error.context.get("written") is False
        ):
            self.error = error
            return True
        if isinstance(error, _FINAL):
            self.error = error
            self.done = True
            return False
        self.maybe = True
        if self.item.event_id is not None:
            return True
        self.done = True
        return False


class Journal:
    """The notes of all callers, by tag, and the timers that somebody was told of."""

    def __init__(self) -> None:
        self.notes: dict[str, Note] = {}
        self.fired: list[TransitionResult] = []
        self._number = 0

    def sent(self, item: Item, caller: str, kind: str, step: int, *, alone: bool) -> Note:
        """It is about to be sent."""
        self._number += 1
        note = self.notes.get(item.tag)
        if note is None:
            note = self.notes[item.tag] = Note(item, caller, kind, self._number, step, alone=alone)
        note.tries += 1
        return note

    def arrived(self, item: Item) -> None:
        """Its call began; those of a pipeline begin one after the other."""
        note = self.notes[item.tag]
        if note.tries == 1:
            self._number += 1
            note.number = self._number


def scribble(own: dict[str, Any]) -> None:
    """Do with data what its owner may do."""
    own["scribble"] = True
    if "deep" in own:
        own["deep"]["list"].append("scribble")


def said(answer: Any) -> str:
    """An answer in a few words, for traces."""
    if isinstance(answer, TransitionResult):
        if answer.success:
            return f"{answer.source_state}->{answer.target_state} as {answer.written}"
        return f"{answer.reason}"
    if isinstance(answer, FSMError):
        return f"{type(answer).__name__}: {answer.message[:60]}"
    return type(answer).__name__

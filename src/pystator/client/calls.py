"""What goes to a service and what comes back, as values."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pystator.records import record

__all__ = ["Answer", "Call", "Lost", "TooLongError"]

T = TypeVar("T")


@record
class Answer:
    """What a service answered; the names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@record
class Lost:
    """There is no answer.

    Attributes:
        sure: Nothing was sent, so nothing was done.
        why: For people.
        final: Another attempt would end in the same way.
    """

    sure: bool
    why: str
    cause: Exception | None = None
    final: bool = False


@dataclass(slots=True)
class Call(Generic[T]):
    """A request, and how its answer is read.

    Attributes:
        path: Below the service's URL, ready to be sent.
        read: The answer's value; raises the error that it is.
        again: Sent twice, it is done once.
        key: The idempotency key, if it has one.
        doubt: What is to be said when nobody knows whether it was done; nothing where it changes
            nothing.
    """

    method: str
    path: str
    read: Callable[[Answer], T]
    params: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    again: bool = False
    key: str | None = None
    doubt: str = ""


class TooLongError(Exception):
    """An answer, or an event of a stream, is longer than is taken."""

    def __init__(self, most: int) -> None:
        super().__init__(f"its answer is longer than {most:,} bytes: ask for less at once")

"""One call to a service: try, wait, try again, give up. No I/O, no clock, no random number.

Laws:

- A call is sent again only when that cannot do anything twice: it changes nothing, it carries an
  idempotency key, or it is certain that nothing was done.
- It ends: after so many attempts, and at the latest when its time is up.
- What nobody knows is said so: an error after which an event may have been applied names the key
  with which it can be sent again.

::

    perform ──Send(call, seconds)──> driver ──> service
            <──(Answer | Lost, now)──
            ──Pause(seconds)───────> driver
            <──now───────────────────
"""

from collections.abc import Callable, Generator
from typing import Any, Final, TypeVar

from pystator.client.calls import Answer, Call, Lost
from pystator.client.problems import problem_of
from pystator.errors import FSMError, StoreUnavailableError
from pystator.records import record

__all__ = ["Patience", "Pause", "Program", "Send", "backoff", "perform", "unreached"]

T = TypeVar("T")

_BUSY: Final = frozenset({429, 502, 503, 504})
"""Statuses after which another attempt may get on."""

_LEAST: Final = 0.05
"""Seconds below which there is no point in one more attempt."""

_TRIES: Final = 3
"""Attempts that never answer and still fit into a call's time."""


@record
class Patience:
    """How long and how often a call is tried.

    Attributes:
        total: Seconds for all of it.
        attempts: The most attempts.
        draw: A random number from 0 to 1.
        first, longest: Seconds of the first pause, doubled each time, and of the longest one.
    """

    total: float
    attempts: int
    draw: Callable[[], float]
    first: float = 0.1
    longest: float = 5.0


@record
class Send:
    """Send the call, and wait so many seconds for the whole answer."""

    call: Call[Any]
    seconds: float


@record
class Pause:
    """Wait so many seconds."""

    seconds: float


Program = Generator[Send | Pause, Any, T]


def perform(call: Call[T], patience: Patience, url: str, now: float) -> Program[T]:
    """The call's value.

    Args:
        call: What to do.
        patience: For how long.
        url: The service's, for errors.
        now: Monotonic seconds, as of all replies.

    Raises:
        FSMError: The service refused, or could not be reached.
    """
    end = now + patience.total
    each = patience.total / _TRIES if call.again else patience.total
    doubtful = False  # an attempt may have been carried out, and nobody knows
    attempt = 0
    while True:
        attempt += 1
        reply: Answer | Lost
        reply, now = yield Send(call, min(each, end - now))
        if isinstance(reply, Answer) and reply.status not in _BUSY:
            return call.read(reply)
        sure = _nothing_was_done(reply)
        doubtful = doubtful or not sure
        wait = max(backoff(patience, attempt), _wanted(reply))
        over = attempt >= patience.attempts or now + wait + _LEAST > end
        if over or _is_final(reply) or not (sure or call.again):
            raise _given_up(call, reply, url, doubtful=doubtful)
        now = yield Pause(wait)


def backoff(patience: Patience, attempt: int) -> float:
    """Seconds to wait after this attempt: somewhere in the upper half of what doubles each time."""
    most = min(patience.longest, patience.first * float(1 << min(attempt - 1, 20)))
    return most * (0.5 + patience.draw() / 2)


def _nothing_was_done(reply: Answer | Lost) -> bool:
    if isinstance(reply, Lost):
        return reply.sure
    return reply.status == 429 or problem_of(reply).get("written") is False


def _is_final(reply: Answer | Lost) -> bool:
    return isinstance(reply, Lost) and reply.final


def _wanted(reply: Answer | Lost) -> float:
    """Seconds that the service asks to wait; 0 when it does not say it in seconds."""
    text = "" if isinstance(reply, Lost) else reply.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0.0


def _given_up(call: Call[Any], reply: Answer | Lost, url: str, *, doubtful: bool) -> FSMError:
    """Why there is no answer, and what is known of what was done."""
    error = unreached(reply, url) if isinstance(reply, Lost) else _refused(call, reply)
    if call.key is not None:
        error.context["event_id"] = call.key
    if doubtful and call.doubt:
        error.message += f"; {call.doubt}"
        error.args = (error.message,)
    return error


def _refused(call: Call[Any], answer: Answer) -> FSMError:
    """The error of an answer that says to come back."""
    try:
        call.read(answer)
    except FSMError as error:
        return error
    return StoreUnavailableError(f"the service answered {answer.status}")


def unreached(lost: Lost, url: str) -> StoreUnavailableError:
    """The error of a service that does not answer."""
    error = StoreUnavailableError(f"no answer from the service at {url}: {lost.why}")
    error.context["url"] = url
    error.__cause__ = lost.cause
    return error

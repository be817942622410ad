"""The program of a worker process: one task after the other, from standard input.

Laws:

- It holds nothing that a task may not know: no store, no key, no code of the application.
- A task ends: by itself, or by the alarm, or because the service ends the process.
- Who met its limit - time, memory - does not go on: what a task left half done is in no cache.
- When the service is gone, so is its worker.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, BinaryIO

from pystator.errors import FSMError
from pystator.service.workroom import frames
from pystator.service.workroom.tasks import TASKS

__all__ = ["main"]

ANSWER = 8_000_000
"""Bytes of an answer at most: what is larger helps nobody."""

_ALARM = hasattr(signal, "setitimer")
"""Where there is none, the service ends a worker that takes too long."""


class OutOfTimeError(BaseException):
    """The alarm: passes whatever catches errors of machines."""


def main() -> None:
    """Work until the service hangs up."""
    megabytes = int(sys.argv[1])
    source, target = _streams()
    _limit(megabytes)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service
    if _ALARM:
        signal.signal(signal.SIGALRM, _alarm)
    while (frame := frames.read(source)) is not None:
        facts, content = frame
        answer, goes_on = _answer(facts, content)
        try:
            frames.write(target, answer)
        except OSError:
            return
        if not goes_on:
            return


def _streams() -> tuple[BinaryIO, BinaryIO]:
    """Both ends of the service; what anybody prints goes where errors go."""
    target = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return sys.stdin.buffer, target


def _limit(megabytes: int) -> None:
    try:
        import resource  # Unix has it
    except ImportError:
        return
    size = megabytes << 20
    with suppress(ValueError, OSError):  # some systems know the limit and do not set it
        resource.setrlimit(resource.RLIMIT_AS, (size, size))


def _alarm(_number: int, _frame: FrameType | None) -> None:
    raise OutOfTimeError


def _answer(facts: dict[str, Any], content: bytes) -> tuple[bytes, bool]:
    """The answer's frame, and whether the worker is as good as new."""
    seconds = facts["seconds"]
    try:
        done = _in_time(TASKS[facts["task"]], facts["given"], content, seconds)
        answer = frames.pack({"done": done})
    except OutOfTimeError:
        return _refusal(f"it took longer than {seconds:g} s"), False
    except MemoryError:
        return _refusal("it took more memory than it may"), False
    except FSMError as error:
        return frames.pack({"error": error.to_dict()}), True
    except Exception:  # noqa: BLE001 # a mistake of ours: said in the log, and no end of service
        traceback.print_exc()
        return frames.pack({"failed": traceback.format_exc(limit=-1)}), False
    if len(answer) > ANSWER:
        return _refusal(f"the answer has more than {ANSWER:,} bytes"), True
    return answer, True


def _in_time(
    task: Callable[..., dict[str, Any]], given: dict[str, Any], content: bytes, seconds: float
) -> dict[str, Any]:
    if not _ALARM:
        return task(content, **given)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return task(content, **given)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _refusal(why: str) -> bytes:
    return frames.pack({"refused": why})


if __name__ == "__main__":
    main()

"""Problem documents (RFC 9457) as errors of ours: the class is told by the stable ``code``."""

import json
from collections.abc import Mapping
from typing import Any, Final, cast

from pystator.client.calls import Answer
from pystator.errors import ErrorCode, FSMError, error_of

__all__ = ["error_from", "error_in", "parsed", "problem_of"]

_STANDARD: Final = frozenset({"type", "title", "status", "detail", "instance", "code"})
"""Members that the error itself says, or that say nothing about what went wrong."""

_CODES: Final = {
    "invalid_header": ErrorCode.INVALID_VALUE.value,
    "invalid_json": ErrorCode.INVALID_VALUE.value,
    "invalid_request": ErrorCode.INVALID_VALUE.value,
    "too_large": ErrorCode.INVALID_VALUE.value,
    "uri_too_long": ErrorCode.INVALID_VALUE.value,
}
"""Codes of HTTP's own mistakes that stand for one of ours."""

_LONGEST: Final = 200
"""Characters of a foreign answer that an error shows."""


def parsed(body: bytes) -> Any:
    """A JSON body; None when it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def problem_of(answer: Answer) -> dict[str, Any]:
    """The members of a problem document; empty for anything else."""
    found = parsed(answer.body)
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def error_from(answer: Answer) -> FSMError:
    """The error that an answer is.

    One without a code of ours is of something else on the way, such as a proxy.
    """
    problem = problem_of(answer)
    return error_in(problem) if isinstance(problem.get("code"), str) else _foreign(answer)


def error_in(problem: Mapping[str, Any]) -> FSMError:
    """The error that a problem document tells of."""
    code = str(problem["code"])
    message = str(problem.get("detail") or problem.get("title") or code)
    facts = {name: value for name, value in problem.items() if name not in _STANDARD}
    return error_of(_CODES.get(code, code), message, facts)


def _foreign(answer: Answer) -> FSMError:
    status = answer.status
    said = " ".join(answer.body[:_LONGEST].decode("utf-8", "replace").split())
    what = f" ({said})" if said else ""
    message = f"HTTP {status}{what} is no answer of PyStator: is this the URL of the service?"
    if 300 <= status < 400:
        message = f"HTTP {status}: this URL leads elsewhere; give the URL of the service itself"
    kind = ErrorCode.STORE_UNAVAILABLE if status in {502, 503, 504} else ErrorCode.FSM
    return error_of(kind.value, message, {"status": status})

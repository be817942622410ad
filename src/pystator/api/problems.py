"""Errors as answers: problem documents (RFC 9457), and the one table of their status codes.

Laws:

- Every error of a request is answered from here, as ``application/problem+json``: ours, those of a
  request that does not fit, those of the framework, and those that nobody foresaw.
- ``code`` is stable and for programs, ``detail`` says what to do. What nobody foresaw goes to the
  log whole, and to the caller as one sentence.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from pystator.api.paths import ENDLESS
from pystator.api.rendering import render
from pystator.errors import ErrorCode, FSMError

__all__ = [
    "MEDIA_TYPE",
    "RETRY_SECONDS",
    "TABLE",
    "Problem",
    "handle_problems",
    "problem_of",
    "problem_response",
    "refusal_of",
    "response_to",
]

MEDIA_TYPE: Final = "application/problem+json"

_log = logging.getLogger("pystator.api")

TABLE: Final[Mapping[str, tuple[int, str]]] = {
    # The request
    "invalid_json": (400, "The body is not JSON"),
    "invalid_cursor": (422, "The cursor is none of this feed"),
    "invalid_header": (400, "A header cannot be understood"),
    "invalid_encoding": (400, "The request is not UTF-8"),
    "invalid_http": (400, "The request is not HTTP"),
    "unauthorized": (401, "Authentication is needed"),
    "forbidden": (403, "Not allowed"),
    "not_found": (404, "Not found"),
    "method_not_allowed": (405, "Method not allowed"),
    "request_timeout": (408, "The request came too slowly"),
    "too_large": (413, "The body is too large"),
    "uri_too_long": (414, "The URL is too long"),
    "unsupported_media_type": (415, "The body's media type is not taken"),
    "invalid_request": (422, "The request does not fit"),
    "too_many_requests": (429, "Too many requests"),
    "headers_too_large": (431, "The headers are too large"),
    "not_supported": (501, "Not supported here"),
    # What is asked for
    ErrorCode.ENTITY_NOT_FOUND: (404, "No such entity"),
    ErrorCode.MACHINE_NOT_FOUND: (404, "No such machine"),
    "event_not_found": (404, "No such event"),
    ErrorCode.AMBIGUOUS_ENTITY: (409, "Several machines have an entity of this id"),
    ErrorCode.ENTITY_EXISTS: (409, "The entity exists"),
    ErrorCode.MACHINE_CONFLICT: (409, "The machine cannot be changed like this"),
    # Events that are not allowed
    ErrorCode.INVALID_TRANSITION: (409, "The event is not allowed in this state"),
    "no_transition": (409, "The event is not allowed in this state"),
    ErrorCode.GUARD_REJECTED: (409, "A guard said no"),
    ErrorCode.TERMINAL_STATE: (409, "The entity has reached its end"),
    ErrorCode.ENTITY_ARCHIVED: (409, "The entity is archived"),
    ErrorCode.ENTITY_MACHINE_MISMATCH: (409, "The entity belongs to another machine"),
    ErrorCode.MACHINE_VERSION_MISMATCH: (409, "The entity is in no state of this machine version"),
    ErrorCode.CHOICE_UNRESOLVED: (409, "No way out of a choice holds"),
    "precondition_failed": (412, "The entity has another version"),
    # Events that cannot be
    ErrorCode.UNDEFINED_TRIGGER: (422, "No such trigger"),
    ErrorCode.CONTEXT_INVALID: (422, "The context breaks the machine's rules"),
    ErrorCode.INVALID_VALUE: (422, "A value is not taken"),
    ErrorCode.EVALUATION_FAILED: (422, "A guard, effect or expression failed"),
    ErrorCode.LIVELOCK: (422, "The machine does not come to rest"),
    ErrorCode.UNDEFINED_STATE: (422, "No such state"),
    ErrorCode.IDEMPOTENCY_CONFLICT: (422, "The idempotency key belongs to another request"),
    ErrorCode.CONFIGURATION: (422, "The configuration has mistakes"),
    # What lies behind
    "too_many_connections": (503, "Too many connections"),
    "too_many_streams": (503, "No room for another stream"),
    ErrorCode.STALE_VERSION: (503, "Others changed the entity first"),
    ErrorCode.STORE_UNAVAILABLE: (503, "The store does not answer"),
    ErrorCode.SCHEMA: (503, "The database's schema does not fit"),
    ErrorCode.REPLICATION: (503, "The stores do not agree"),
    ErrorCode.TIMEOUT_EXPIRED: (504, "It took too long"),
    ErrorCode.GUARD_NOT_FOUND: (500, "A guard is not registered"),
    ErrorCode.ACTION_NOT_FOUND: (500, "An action is not registered"),
    ErrorCode.FSM: (500, "It failed"),
    "internal_error": (500, "Internal error"),
}
"""Code -> status and title."""

_OF_STATUS: Final = {
    400: "invalid_json",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    414: "uri_too_long",
    415: "unsupported_media_type",
    422: "invalid_request",
    429: "too_many_requests",
    431: "headers_too_large",
    501: "not_supported",
}
"""Codes of what the framework answers by itself."""

_MEMBERS: Final = frozenset({"type", "title", "status", "detail", "instance", "code"})
"""What a fact of an error never replaces."""

_METHODS: Final = ("DELETE", "GET", "PATCH", "POST", "PUT")

_OBJECT: Final = "it has to be an object"
_WORDS: Final = {
    "missing": "it is missing",
    "extra_forbidden": "there is no such field",
    "dict_type": _OBJECT,
    "list_type": "it has to be a list",
    "model_attributes_type": _OBJECT,
    "model_type": _OBJECT,
    "string_type": "it has to be a text",
}
"""What pydantic says in the words of its models; the rest is said as it says it."""

_TOLD: Final = 3
"""Mistakes of a request that its sentence tells; ``issues`` has them all."""

RETRY_SECONDS: Final = "1"
"""After which a request may be sent again that met something passing."""


class Problem(Exception):  # noqa: N818 # it is named after what it becomes
    """An error of a request that is none of the machine's.

    Args:
        code: One of `TABLE`.
        detail: What is wrong, and what to do.
        headers: Of the answer.
        facts: Members of the document.
    """

    def __init__(
        self, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **facts: Any
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})
        self.facts = facts


def document(
    code: str, detail: str, instance: str, facts: Mapping[str, Any], kind: str | None = None
) -> dict[str, Any]:
    """A problem document; ``kind`` is the entry of the table, where it is not the code."""
    status, title = TABLE.get(kind or code, TABLE["internal_error"])
    return {
        "type": f"urn:pystator:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": instance,
        "code": code,
        **{name: value for name, value in facts.items() if name not in _MEMBERS},
    }


def problem_response(
    code: str,
    detail: str,
    instance: str,
    *,
    headers: Mapping[str, str] | None = None,
    **facts: Any,
) -> Response:
    """A problem document as an answer; middlewares use it, too."""
    return _response(document(code, detail, instance, facts), dict(headers or {}))


def _response(told: Mapping[str, Any], headers: dict[str, str]) -> Response:
    if told["status"] == 503:
        headers.setdefault("Retry-After", RETRY_SECONDS)
    return Response(render(told), told["status"], headers, media_type=MEDIA_TYPE)


def problem_of(
    error: FSMError, instance: str, facts: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The problem document of an error of ours.

    Args:
        error: The error.
        instance: The request's path.
        facts: Instead of those of the error.
    """
    code = str(error.code)
    stale = code == ErrorCode.STALE_VERSION and "expected" in error.context
    kind = "precondition_failed" if stale else code
    facts = error.context if facts is None else facts
    return document(code, _sentence(error), instance, facts, kind)


def refusal_of(
    error: FSMError,
    instance: str,
    facts: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The answer to an error of ours, see `problem_of`."""
    told = problem_of(error, instance, facts)
    headers = dict(headers or {})
    actual = error.context.get("actual")
    if told["status"] == 412 and actual:
        headers["ETag"] = f'"{actual}"'
    return _response(told, headers)


def _sentence(error: FSMError) -> str:
    """The message; of many mistakes, a line each, the first: all are among the issues."""
    if "issues" not in error.context:
        return error.message
    first, *more = error.message.splitlines() or [""]
    return f"{first} (and {len(more)} more)" if more else first


# Handlers ---------------------------------------------------------------------------------------


def handle_problems(app: FastAPI) -> None:
    """Answer every error of a request by a problem document."""
    app.add_exception_handler(FSMError, _ours)
    app.add_exception_handler(Problem, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _of_framework)
    app.add_exception_handler(Exception, _unexpected)


def response_to(error: FSMError | Problem, method: str, instance: str) -> Response:
    """The answer to an error that we know; what is no mistake of the caller's goes to the log."""
    if isinstance(error, Problem):
        return problem_response(
            error.code, error.detail, instance, headers=error.headers, **error.facts
        )
    answer = refusal_of(error, instance)
    if answer.status_code >= 500:
        _log.warning("%s %s: %s", method, instance, error.message)
    return answer


async def _ours(request: Request, error: Exception) -> Response:
    known = cast("FSMError | Problem", error)
    return response_to(known, request.method, instance_of(request))


async def _invalid(request: Request, error: Exception) -> Response:
    return invalid(cast("RequestValidationError", error).errors(), instance_of(request))


async def _of_framework(request: Request, error: Exception) -> Response:
    found = cast("HTTPException", error)
    code = _OF_STATUS.get(found.status_code, "internal_error")
    detail = f"{request.method} {instance_of(request)}: {str(found.detail).lower()}"
    if code == "not_found":
        detail += "; /docs lists what there is"
    headers = dict(found.headers or {})
    if code == "method_not_allowed":
        headers["Allow"] = ", ".join(_allowed(request))
    return problem_response(code, detail, instance_of(request), headers=headers)


def _allowed(request: Request) -> list[str]:
    """The methods of the path: it may be of several routes, and the framework tells of one."""
    app: FastAPI = request.app
    found = [
        method
        for method in _METHODS
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL
            for route in app.routes
        )
    ]
    has_head = "GET" in found and not instance_of(request).endswith(ENDLESS)
    return sorted([*found, "HEAD"]) if has_head else found


async def _unexpected(request: Request, error: Exception) -> Response:
    del error  # the framework raises it again, for the log
    return problem_response(
        "internal_error",
        "something failed here; the log of the service says what",
        instance_of(request),
    )


def instance_of(request: Request) -> str:
    """The request's path, as it was sent."""
    path: str = request.scope["path"]
    return path


def invalid(errors: Sequence[Any], instance: str, *within: str) -> Response:
    """The answer to a request that does not fit: each mistake with a pointer.

    Args:
        errors: What pydantic says.
        instance: The request's path.
        within: Where the places that it says are: nothing, or ``body``.
    """
    broken = next((each for each in errors if each["type"] == "json_invalid"), None)
    if broken is not None:
        reason = broken.get("ctx", {}).get("error", "it ends too early")
        return problem_response("invalid_json", f"the body is not JSON: {reason}", instance)
    issues = [
        _issue((*within, *each["loc"]), _WORDS.get(each["type"]) or each["msg"]) for each in errors
    ]
    told = [
        f"{each['pointer'] or each['parameter'] or 'the request'}: {each['message']}"
        for each in issues[:_TOLD]
    ]
    if len(issues) > _TOLD:
        told.append(f"and {len(issues) - _TOLD} more")
    return problem_response("invalid_request", "; ".join(told), instance, issues=issues)


def _issue(place: Sequence[Any], message: str) -> dict[str, Any]:
    """One mistake: where it is and what is wrong, without the value that was sent."""
    where, *path = place
    body = where == "body"
    return {
        "pointer": "".join(f"/{_escaped(part)}" for part in path) if body else None,
        "parameter": None if body else ".".join(map(str, path)),
        "in": where,
        "message": message.removeprefix("Value error, "),
    }


def _escaped(part: object) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")

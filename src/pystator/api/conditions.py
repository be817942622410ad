"""HTTP's own words about a request: which version it is for, and under which key it is known."""

import re
from contextlib import suppress
from typing import Final

from starlette.datastructures import Headers
from starlette.types import Scope

from pystator.api.bodies import check_json
from pystator.api.problems import Problem
from pystator.errors import InvalidValueError
from pystator.orchestrator.tracing import check_trace
from pystator.records import record
from pystator.service.entities import ANY_VERSION, Versions

__all__ = [
    "TAGS",
    "Asked",
    "asked_in",
    "etag",
    "event_id_of",
    "is_known",
    "names_tag",
    "refuse_headers",
    "trace_of",
    "versions_of",
]

_ONE: Final = r'(?:(?:W/)?"[^"]*"|[0-9]{1,18})'
TAGS: Final = rf" *(?:[*]|{_ONE}(?: *, *{_ONE})*) *"
"""What a header with entity tags looks like."""

_TAGS: Final = re.compile(TAGS)
_TAG: Final = re.compile(r'(W/)?"([^"]*)"|([0-9]+)')
_VERSION: Final = re.compile(r"[1-9][0-9]{0,17}")
_LONGEST: Final = 255
_NEVER: Final = 2**62
"""A version that no entity has."""


@record
class Asked:
    """What the headers of a request ask for, besides its body."""

    event_id: str | None
    versions: Versions
    trace: str | None


_NOTHING: Final = Asked(None, None, None)
_NAMES: Final = frozenset({b"if-match", b"if-none-match", b"idempotency-key", b"traceparent"})


def asked_in(scope: Scope) -> Asked:
    """What the headers of a JSON request ask for.

    Raises:
        Problem: One of them cannot be understood, or the body is no JSON.
    """
    kind = b""
    is_special = False
    for name, value in scope["headers"]:
        if name == b"content-type":
            kind = value
        elif name in _NAMES:
            is_special = True
    if kind != b"application/json":
        check_json(kind.decode("latin-1"))
    if not is_special:
        return _NOTHING
    headers = Headers(raw=scope["headers"])
    return Asked(event_id_of(headers), versions_of(headers), trace_of(headers))


def etag(version: int) -> str:
    """The ``ETag`` of an entity of this version."""
    return f'"{version}"'


def _tags(name: str, value: str) -> list[tuple[str, str]]:
    """The entity tags of a header: (``W/`` or nothing, what is between the quotes).

    Raises:
        Problem: It is no list of them.
    """
    if _TAGS.fullmatch(value) is None:
        raise Problem(
            "invalid_header",
            f'{name} is an ETag of an answer, with its quotes, e.g. {name}: "5"; or *',
            header=name,
        )
    return [(weak, tag or bare) for weak, tag, bare in _TAG.findall(value)]


def versions_of(headers: Headers) -> Versions:
    """The versions that the entity may have for the request to be carried out.

    ``If-Match: "5"`` names one, a list several, ``*`` every one there is; ``If-None-Match: *`` says
    that there must be no entity. A weak tag matches nothing, as the standard has it; a bare number
    is taken for one in quotes, which are a nuisance in a shell.

    Raises:
        Problem: A header cannot be understood.
    """
    wanted = headers.get("if-match")
    unwanted = headers.get("if-none-match")
    if wanted is None:
        if unwanted is None:
            return None
        if unwanted.strip() != "*":
            raise Problem(
                "invalid_header",
                "for what changes an entity, If-None-Match is *: there must be none yet;"
                ' If-Match: "5" is for the entity at version 5',
                header="If-None-Match",
            )
        return (0,)
    if wanted.strip() == "*":
        return ANY_VERSION
    tags = _tags("If-Match", wanted)
    versions = [int(tag) for weak, tag in tags if not weak and _VERSION.fullmatch(tag)]
    return tuple(versions) or (_NEVER,)


def is_known(headers: Headers, version: int) -> bool:
    """The caller has this version already (``If-None-Match`` of a read).

    Raises:
        Problem: The header cannot be understood.
    """
    known = headers.get("if-none-match")
    if known is None:
        return False
    if known.strip() == "*":
        return True
    return any(tag == str(version) for _, tag in _tags("If-None-Match", known))


def names_tag(header: str | None, tag: str) -> bool:
    """``If-None-Match`` names this tag, weak or strong, or any: the client has what it asks for.

    Args:
        header: ``"a", W/"b"`` or ``*``; None where the request has none.
        tag: With its quotes.
    """
    if header is None:
        return False
    return any(each.strip().removeprefix("W/") in {tag, "*"} for each in header.split(","))


def event_id_of(headers: Headers) -> str | None:
    """The event id that ``Idempotency-Key`` says: as it is, or in quotes.

    Raises:
        Problem: It is empty or too long, or is there twice.
    """
    given = headers.getlist("idempotency-key")
    if not given:
        return None
    key = given[0].strip()
    if len(key) > 2 and key[0] == key[-1] == '"':
        key = key[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    with suppress(UnicodeDecodeError):  # then it is Latin-1, as headers were
        key = key.encode("latin-1").decode()
    if len(given) > 1 or not 0 < len(key) <= _LONGEST:
        raise Problem(
            "invalid_header",
            "Idempotency-Key is one text of 1 to 255 characters, the same for each attempt at one"
            " request",
            header="Idempotency-Key",
        )
    return key


def refuse_headers(headers: Headers, instead: str, *names: str) -> None:
    """A promise that a route cannot keep is refused: who gets no refusal relies on it.

    Args:
        headers: Of the request.
        instead: What to do.
        names: Of headers that make such a promise.

    Raises:
        Problem: One of them is there.
    """
    for name in names:
        if name in headers:
            raise Problem("invalid_header", f"{name} is not taken here: {instead}", header=name)


def trace_of(headers: Headers) -> str | None:
    """The ``traceparent``; one that is none is not passed on, as its standard has it."""
    given = headers.get("traceparent")
    if given is not None:
        with suppress(InvalidValueError):
            return check_trace(given)
    return None

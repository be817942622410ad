"""What a request may be, before any route sees it."""

import asyncio
import json
from typing import Any

import pytest

from pystator.api.layers.limits import BodyLimits, HeadLimits, Limits, is_too_deep

LIMITS = Limits(body=100, body_seconds=0.2, depth=3, path=30, query=30, headers=5, header_bytes=200)


class Inner:
    """The application behind: what it was given, answered with 200."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.called = 0

    async def __call__(self, scope, receive, send) -> None:
        self.called += 1
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.bodies.append(body)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})


def ask(
    app: Any, *parts: bytes | None, path: str = "/x", query: bytes = b"", **headers: str
) -> dict[str, Any]:
    """The answer to a request whose body comes in parts; None is where its sender goes away or stops."""
    said = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "headers": said,
    }
    messages = [
        {"type": "http.request", "body": part, "more_body": number + 1 < len(parts)}
        for number, part in enumerate(parts or (b"",))
    ]
    sent: list[Any] = []

    async def receive():
        if not messages or messages[0]["body"] is None:
            await asyncio.sleep(30)
        return messages.pop(0)

    async def send(message) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    body = b"".join(each.get("body", b"") for each in sent[1:])
    return {
        "status": sent[0]["status"],
        "headers": dict(sent[0]["headers"]),
        "read": max(len(parts), 1) - len(messages),
        "code": json.loads(body)["code"] if body.startswith(b"{") else None,
    }


def body(*parts: bytes | None, **headers: str) -> tuple[dict[str, Any], Inner]:
    inner = Inner()
    headers.setdefault("content_type", "application/json")
    headers.setdefault("transfer_encoding", "chunked")
    return ask(BodyLimits(inner, LIMITS), *parts, **headers), inner


def test_a_body_comes_to_the_application_in_one_piece():
    answer, inner = body(b'{"a":', b" 1}")
    assert answer["status"] == 200
    assert inner.bodies == [b'{"a": 1}']


@pytest.mark.parametrize(
    ("parts", "headers", "status", "code"),
    [
        ((b"x" * 101,), {"content_length": "101"}, 413, "too_large"),
        ((), {"content_length": "99999999999999999999"}, 413, "too_large"),
        ((b"x" * 60, b"x" * 60), {}, 413, "too_large"),
        ((b"x" * 60, b"x" * 60, None), {}, 413, "too_large"),
        ((b"{", None), {}, 408, "request_timeout"),
        ((b'"\xff"',), {}, 400, "invalid_json"),
        ((b'"\xed\xa0\x80"',), {}, 400, "invalid_json"),
        ((b'{"a": [[[1]]]}',), {}, 400, "invalid_json"),
        ((b"[[[[",), {}, 400, "invalid_json"),
        ((b"\x1f\x8b",), {"content_encoding": "gzip"}, 415, "unsupported_media_type"),
        ((b"{}",), {"content_encoding": "identity, \u00e9"}, 415, "unsupported_media_type"),
    ],
)
def test_a_body_that_is_refused_reaches_nobody(parts, headers, status, code):
    answer, inner = body(*parts, **headers)
    assert (answer["status"], answer["code"]) == (status, code)
    assert inner.called == 0
    if status in {408, 413, 415}:
        assert answer["headers"][b"connection"] == b"close", "the rest is not read"


def test_who_still_sends_too_much_is_heard_out_before_the_answer():
    """Otherwise a client is cut while it writes, and never reads why."""
    parts = [b"x" * 60] * 8
    answer, _ = body(*parts, content_length="480")
    assert answer["status"] == 413
    assert answer["read"] == len(parts)
    answer, _ = body(*parts, content_length="9999")
    assert answer["status"] == 413
    assert answer["read"] == 0, "there is an end to patience"


def test_a_body_of_exactly_the_limits_passes():
    deep = b'[[["' + b"[" * 50 + b'"]]]'
    assert body(deep.ljust(100))[0]["status"] == 200
    assert body(b"{}", content_encoding="Identity")[0]["status"] == 200


def test_yaml_may_be_as_deep_as_its_own_limits_say():
    assert body(b"[[[[[1]]]]]", content_type="application/yaml")[0]["status"] == 200


def head(**request: Any) -> dict[str, Any]:
    return ask(HeadLimits(Inner(), LIMITS), **request)


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        ({"path": "/" + "x" * 30}, 414, "uri_too_long"),
        ({"query": b"x" * 31}, 414, "uri_too_long"),
        ({f"h{n}": "x" for n in range(6)}, 431, "headers_too_large"),
        ({"h": "x" * 200}, 431, "headers_too_large"),
        ({"query": b"a=%c3%28"}, 400, "invalid_encoding"),
        ({"query": b"a=%ed%a0%80"}, 400, "invalid_encoding"),
        ({"query": b"a=\xff"}, 400, "invalid_encoding"),
    ],
)
def test_a_head_that_is_refused(request_, status, code):
    answer = head(**request_)
    assert (answer["status"], answer["code"]) == (status, code)


@pytest.mark.parametrize(
    "request_", [{"path": "/" + "x" * 29}, {"path": "/%C3%A9"}, {"query": b"a=%E2%82%AC+b%20c"}, {}]
)
def test_a_head_that_passes(request_):
    assert head(**request_)["status"] == 200


DEPTHS = [
    (b"[" * 4 + b"]" * 4, 4),
    (b"[[],[],[[]]]", 3),
    (b'["[[[[", {"]": [1]}]', 3),
    (b'["\\"[[[[", 1]', 1),
    (b'["\\\\", [[]]]', 3),
    (b"[" * 100_000, 100_000),
    (b'{"a":' * 50 + b"1" + b"}" * 50, 50),
    (b"[" + b"[]," * 5_000 + b"[]]", 2),
    (b"]]]][", 0),
    (b'"\\', 0),
    (b'["\\', 1),
]


@pytest.mark.parametrize(("text", "depth"), DEPTHS, ids=range(len(DEPTHS)))
def test_the_depth_of_a_text(text, depth):
    assert not is_too_deep(text, depth)
    assert depth == 0 or is_too_deep(text, depth - 1)


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 2**20,
        b"[]" * 2**19,
        b'["' + b'\\"' * 2**19,
        b'""' * 2**19 + b"[" * 99,
        b'"\\' * 2**19,
    ],
    ids=["deep", "flat", "escapes", "strings", "unended"],
)
def test_the_depth_of_a_megabyte_of_anything_is_found_quickly(text):
    import time

    began = time.process_time()
    is_too_deep(text, 64)
    assert time.process_time() - began < 1.5

"""Bytes that are no request, against a real server: it answers the next request as if nothing had been."""

import json
import re
import socket
import time
from collections.abc import Iterator
from random import Random

import pytest

from servers.service import Service, start

CREATE = b"/api/v1/entities/a/create"
SECONDS = 0.5
"""In which a request has to come: the server is told so."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One process for all of them: what one leaves behind, the next one meets."""
    folder = tmp_path_factory.mktemp("raw")
    with start(folder, PYSTATOR_API_REQUEST_SECONDS=str(SECONDS)) as served:
        yield served


def talk(
    server: Service, *parts: bytes, pause: float = 0.0, close: bool = False, answers: int = 1
) -> bytes:
    """What comes back for these bytes, until the server closes or says nothing for a while.

    So many ``answers`` may take their time; what comes behind them has to come at once.
    """
    with socket.create_connection((server.host, server.port), 5) as line:
        try:
            for part in parts:
                line.sendall(part)
                time.sleep(pause)
            if close:
                line.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it closed before everything was sent
        return read(line, 2 * SECONDS + 1 if not close else 2, answers)


def read(line: socket.socket, seconds: float, answers: int = 1) -> bytes:
    line.settimeout(seconds)
    came = b""
    try:
        while chunk := line.recv(65_536):
            came += chunk
            if complete(came) and len(statuses(came)) >= answers:
                line.settimeout(0.05)  # is there more, or an end?
    except (TimeoutError, ConnectionResetError):
        pass
    return came


def complete(came: bytes) -> bool:
    head, found, body = came.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    return bool(found and length and len(body) >= int(length[1]))


def post(body: bytes, *headers: bytes, length: bytes | None = None) -> bytes:
    said = (b"Host: localhost", b"Content-Type: application/json", *headers)
    if length != b"":
        said += (b"Content-Length: " + (str(len(body)).encode() if length is None else length),)
    return b"POST " + CREATE + b" HTTP/1.1\r\n" + b"\r\n".join(said) + b"\r\n\r\n" + body


GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked"
DEEP = b'{"context": {"a": ' + b"[" * 200 + b"]" * 200 + b"}}"

CORPUS: dict[str, tuple[tuple[bytes, ...], set[int]]] = {
    # name: (what is sent, the status codes of the answers in order; none: closed without a word)
    "random bytes": ((bytes(range(256)) * 4,), {400}),
    "TLS": ((b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500,), {400}),
    "HTTP/2": ((b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",), {400}),
    "HTTP/0.9": ((b"GET /\r\n",), {400, 408}),
    "HTTP/9.9": ((b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",), {400}),
    "no host": ((b"GET /health HTTP/1.1\r\n\r\n",), {400}),
    "two hosts": ((b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: y\r\n\r\n",), {400}),
    "a null byte in the path": ((b"GET /a\x00b HTTP/1.1\r\nHost: localhost\r\n\r\n",), {400}),
    "a null byte in a header": (
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nA: b\x00c\r\n\r\n",),
        {400},
    ),
    "a space before the colon": ((b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",), {400}),
    "a folded header": (
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n folded\r\n\r\n",),
        {400, 404, 403},
    ),
    "a header without a name": ((b"GET / HTTP/1.1\r\nHost: localhost\r\n: y\r\n\r\n",), {400}),
    "a header without a colon": ((b"GET / HTTP/1.1\r\nHost: localhost\r\nhello\r\n\r\n",), {400}),
    "bare carriage returns": ((b"GET / HTTP/1.1\rHost: localhost\r\r",), {400, 408}),
    "a path that is not UTF-8": (
        (b"GET /%ff HTTP/1.1\r\nHost: localhost\r\n\r\n",),
        {400, 404, 422},
    ),
    "raw bytes in the path": ((b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",), {400}),
    "a line feed in the path": (
        (b"GET /a%0ab HTTP/1.1\r\nHost: localhost\r\n\r\n",),
        {400, 404, 422},
    ),
    "an endless path": ((b"GET /" + b"a" * 70_000,), {431}),
    "a long path": ((b"GET /" + b"a" * 5_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",), {414}),
    "a long query": ((b"GET /?" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",), {414}),
    "a huge header": (
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nA: " + b"b" * 70_000 + b"\r\n\r\n",),
        {431},
    ),
    "a big header": (
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nA: " + b"b" * 20_000 + b"\r\n\r\n",),
        {431},
    ),
    "many headers": (
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 150 + b"\r\n",),
        {431},
    ),
    "headers without end": (
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 20_000,),
        {431},
    ),
    "a slow head": ((b"GET / HTTP/1.1\r\n",), {408}),
    "no byte at all": ((b"",), set()),
    "a slow body": ((post(b'{"con', length=b"100"),), {408}),
    "a slow chunk": ((post(b"50\r\n{", CHUNKED, length=b""),), {408}),
    "a declared body that is too big": ((post(b"", length=b"1048577"),), {413}),
    "a body without end": (
        (post(b"", CHUNKED, length=b""), *([b"10000\r\n" + b"x" * 65_536 + b"\r\n"] * 20)),
        {413},
    ),
    "a length with a sign": ((post(b"{}", length=b"+2"),), {400}),
    "a negative length": ((post(b"{}", length=b"-2"),), {400}),
    "a length that is a word": ((post(b"{}", length=b"two"),), {400}),
    "a length of many digits": ((post(b"{}", length=b"9" * 50),), {400, 413}),
    "two lengths": ((post(b"{}", b"Content-Length: 3"),), {400}),
    "two lengths in one": ((post(b"{}", length=b"2, 3"),), {400}),
    "length and chunks": ((post(b"0\r\n\r\n" + GET, CHUNKED),), {400}),
    "chunks twice": ((post(b"0\r\n\r\n", CHUNKED, CHUNKED, length=b""),), {400}),
    "chunks in another coat": (
        (post(b"0\r\n\r\n", b"Transfer-Encoding: xchunked", length=b""),),
        {400},
    ),
    "chunks with a tab": (
        (post(b"0\r\n\r\n", b"Transfer-Encoding:\x0bchunked", length=b""),),
        {400},
    ),
    "gzip, chunked": (
        (post(b"0\r\n\r\n", b"Transfer-Encoding: gzip, chunked", length=b""),),
        {400},
    ),
    "a chunk of a strange size": ((post(b"zz\r\n{}\r\n0\r\n\r\n", CHUNKED, length=b""),), {400}),
    "a chunk of a negative size": ((post(b"-1\r\n{}\r\n0\r\n\r\n", CHUNKED, length=b""),), {400}),
    "a chunk of a huge size": ((post(b"f" * 40 + b"\r\n{}", CHUNKED, length=b""),), {400}),
    "a chunk that goes on": ((post(b"2\r\n{}xx\r\n0\r\n\r\n", CHUNKED, length=b""),), {400}),
    "JSON that is deep": ((post(DEEP),), {400}),
    "JSON that is not UTF-8": ((post(b'{"context": "\xff"}'),), {400}),
    "JSON that ends early": ((post(b'{"context": '),), {400}),
    "JSON of brackets": ((post(b"[" * 1_000_000),), {400}),
    "JSON of a long number": ((post(b'{"context": ' + b"9" * 100_000 + b"}"),), {400, 422}),
    "no JSON": ((post(b"\x00" * 64),), {400}),
    "an upgrade": (
        (
            b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        ),
        {200, 400, 426},
    ),
    "an upgrade to HTTP/2": (
        (
            b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        ),
        {200},
    ),
    "another method": ((b"BREW /health HTTP/1.1\r\nHost: localhost\r\n\r\n",), {405}),
    "CONNECT": ((b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",), {400, 403, 404, 405}),
    "a whole URL": (
        (b"GET http://evil/health HTTP/1.1\r\nHost: localhost\r\n\r\n",),
        {400, 403, 404},
    ),
    "garbage after a request": ((GET + b"\x00\x01garbage\r\n\r\n",), {200, 400}),
}


def statuses(came: bytes) -> list[int]:
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", came)]


@pytest.mark.parametrize("name", CORPUS)
def test_the_server_answers_and_goes_on(server, name):
    sent, expected = CORPUS[name]
    came = talk(server, *sent)
    found = statuses(came)
    assert set(found) <= expected, came[:500]
    assert found or not expected, "it closed without a word"
    for text in problems(came):
        assert text["status"] in found
        assert "Traceback" not in json.dumps(text)
    assert server.is_well()


def problems(came: bytes) -> list[dict]:
    return [json.loads(each) for each in re.findall(rb'^\{"type":.*\}$', came, re.MULTILINE)]


@pytest.mark.parametrize("cut", [1, 30, 80, 115, -5])
def test_a_request_that_is_cut_off_does_nothing(server, cut):
    whole = post(b'{"context": {}}')
    came = talk(server, whole[:cut], close=True)
    assert 200 not in statuses(came)
    assert server.is_well()
    assert server.get("/api/v1/entities/a").status_code == 404, "no half event was applied"


def test_a_body_that_another_request_hides_in_is_one_body(server):
    """Smuggling: what is behind the first request is only read where both sides agree that it ends."""
    hidden = b"POST /api/v1/entities/smuggled/create HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
    for wrong in (
        post(b"0\r\n\r\n" + hidden, CHUNKED),
        post(b"0\r\n\r\n" + hidden, CHUNKED, length=b"5"),
        post(b"0\r\n\r\n" + hidden, b"Transfer-Encoding : chunked"),
        post(b"0\r\n\r\n" + hidden, b"Transfer-Encoding: chunked, identity"),
        post(hidden, b"Content-Length: 0", length=b"0, 5"),
    ):
        assert statuses(talk(server, wrong)) == [400]
    assert server.get("/api/v1/entities/smuggled").status_code == 404
    assert server.is_well()


def test_pipelined_requests_are_answered_in_order(server):
    other = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n"
    came = talk(server, GET + other + GET, answers=3)
    assert statuses(came) == [200, 404, 200]


def test_a_hundred_slow_connections_keep_nobody_waiting(server):
    lines = [socket.create_connection((server.host, server.port), 5) for _ in range(100)]
    try:
        for line in lines:
            line.sendall(b"POST /api/v1/entities/a/create HTTP/1.1\r\nHost: localhost\r\n")
        began = time.monotonic()
        assert server.is_well()
        assert time.monotonic() - began < SECONDS
        assert {statuses(read(line, 3 * SECONDS))[0] for line in lines} == {408}
    finally:
        for line in lines:
            line.close()


WHOLE = (
    post(b'{"context": {"a": [1, 2.5, "x", null]}}'),
    post(b'5\r\n{"con\r\n9\r\ntext":{}}\r\n0\r\n\r\n', CHUNKED, length=b""),
    GET,
)
PIECES = (
    b"\r\n",
    b"\n",
    b"\r",
    b"\x00",
    b" ",
    b"\t",
    b":",
    b"\xff",
    b"0",
    b"-1",
    b"%",
    CHUNKED,
    GET,
)


def mangled(random: Random) -> bytes:
    """A request in which something is lost, changed, put in or said twice."""
    text = bytearray(random.choice(WHOLE) * random.choice((1, 1, 2)))
    for _ in range(random.randint(1, 4)):
        place = random.randrange(len(text))
        match random.randrange(4):
            case 0:
                del text[place : place + random.randint(1, 9)]
            case 1:
                text[place] = random.randrange(256)
            case 2:
                text[place:place] = random.choice(PIECES)
            case _:
                text[place:place] = text[place : place + 20]
        text = text or bytearray(b"x")
    return bytes(text)


@pytest.mark.parametrize("count", [150, pytest.param(5_000, marks=pytest.mark.soak)])
def test_a_mangled_request_harms_nobody(server, count):
    """Each has its seed; who fails can be sent again."""
    for seed in range(count):
        came = talk(server, mangled(Random(seed)), close=True)
        assert not {code for code in statuses(came) if code >= 500}, (seed, came)
    assert server.is_well()


def test_nothing_of_all_this_left_a_traceback_in_the_log(server):
    """The last one of this module."""
    assert server.is_well()
    assert "Traceback" not in server.log
    assert "Exception" not in server.log

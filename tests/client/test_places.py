"""Where a service is: URLs, keys that are never shown, redirects, certificates, answers without a bound."""

import datetime as dt
import ipaddress
import logging
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from pystator import ConfigurationError, FSMError, InvalidValueError, StoreUnavailableError
from pystator.client import AsyncClient, Client
from servers.service import Service, free_port

SECRET = "pst_abc_" + "s3cret" * 7
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def request_from(caller: socket.socket) -> bytes:
    """A whole request: who closes a connection with a rest of it unread takes the answer back."""
    came = b""
    while True:
        head, end, body = came.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head.lower())
        if end and len(body) >= (int(length[1]) if length else 0):
            return came
        part = caller.recv(65_536)
        if not part:
            return came
        came += part


@contextmanager
def answering(
    *answers: bytes, tls: ssl.SSLContext | None = None
) -> Iterator[tuple[int, list[bytes]]]:
    """A server that gives these answers, one a connection; its port, and what it was sent."""
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            for answer in answers:
                with suppress(OSError):
                    plain, _ = listening.accept()
                    with (
                        plain if tls is None else tls.wrap_socket(plain, server_side=True) as caller
                    ):
                        seen.append(request_from(caller))
                        caller.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1], seen
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8004",
        "ftp://host",
        "http://",
        "http://ho st",
        "http://host:99999",
        "http://h?x=1",
        "http://h#f",
    ],
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        Client(url)


def test_a_password_in_a_url_is_refused_without_being_shown() -> None:
    with pytest.raises(ConfigurationError) as told:
        Client(f"http://ada:{SECRET}@localhost:8004")
    assert SECRET not in str(told.value)
    assert "PYSTATOR_API_KEY" in str(told.value)


def test_url_and_key_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="PYSTATOR_API_URL"):
        Client()
    with answering(EMPTY) as (port, seen):
        monkeypatch.setenv("PYSTATOR_API_URL", f"http://127.0.0.1:{port}/api/v1/")
        monkeypatch.setenv("PYSTATOR_API_KEY", SECRET)
        with Client() as client:
            client.machines.validate("states: []")
    assert seen[0].startswith(b"POST /api/v1/machines/validate HTTP/1.1\r\n")
    assert f"Authorization: Bearer {SECRET}\r\n".encode() in seen[0]


def test_the_key_is_in_no_text(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client = Client(f"http://127.0.0.1:{free_port()}", api_key=SECRET, attempts=1)
    with pytest.raises(StoreUnavailableError) as told:
        client.get_entity("x")
    texts = [repr(client), repr(client._wire.place), str(told.value), str(told.value.to_dict())]
    texts += [repr(AsyncClient(client.url, api_key=SECRET)), caplog.text]
    assert not [text for text in texts if SECRET in text]


@pytest.mark.parametrize("key", ["two words", "a\nb", "schlüssel"])
def test_a_key_that_no_header_can_carry_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(ConfigurationError) as told:
        Client("http://localhost", api_key=key)
    assert key not in str(told.value)


def test_a_redirect_is_not_followed() -> None:
    """The key would go along to whoever the answer names."""
    with answering(EMPTY) as (other, stolen):
        moved = f"HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:{other}/\r\nContent-Length: 0\r\n\r\n"
        with (
            answering(moved.encode()) as (port, _),
            Client(f"http://127.0.0.1:{port}", api_key=SECRET) as client,
            pytest.raises(FSMError, match="leads elsewhere"),
        ):
            client.get_entity("x")
        assert stolen == []


def test_what_is_no_service_of_ours_is_said(service: Service) -> None:
    page = b"HTTP/1.1 404 Not Found\r\nContent-Length: 15\r\n\r\n<h1>nginx</h1>\n"
    with (
        answering(page) as (port, _),
        Client(f"http://127.0.0.1:{port}") as client,
        pytest.raises(FSMError, match=r"HTTP 404 \(<h1>nginx</h1>\) is no answer of PyStator"),
    ):
        client.get_entity("x")
    with (
        answering(EMPTY) as (port, _),
        Client(f"http://127.0.0.1:{port}") as client,
        pytest.raises(FSMError, match="of another release"),
    ):
        client.get_entity("x")
    with Client(f"{service.url}/elsewhere") as client, pytest.raises(FSMError) as told:
        client.machines.list()
    assert told.value.context["code"] == "not_found"


def test_an_answer_that_is_too_long_is_not_read_to_its_end() -> None:
    endless = b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n" + b" " * 200_000
    with (
        answering(endless) as (port, _),
        Client(f"http://127.0.0.1:{port}", max_answer=100_000) as client,
        pytest.raises(StoreUnavailableError, match="longer than 100,000 bytes"),
    ):
        client.get_entity("x")


def test_an_answer_is_not_asked_for_compressed() -> None:
    """A small compressed one could grow without a bound."""
    with answering(EMPTY) as (port, seen), Client(f"http://127.0.0.1:{port}") as client:
        client.machines.validate({})
    assert b"Accept-Encoding: identity\r\n" in seen[0]


@pytest.mark.parametrize(
    "context",
    [
        {"at": dt.datetime.now(dt.UTC)},
        {1: 2},
        {"a": (1, 2)},
        {"a": float("nan")},
        {"a": "\ud800"},
    ],
)
def test_data_that_json_would_change_is_refused_before_it_is_sent(context: object) -> None:
    with Client(f"http://127.0.0.1:{free_port()}") as client, pytest.raises(InvalidValueError):
        client.process_event("x", "go", context)


@pytest.mark.parametrize("entity_id", ["a/b", "..", ".", "?x=1#y", "ü %2F", "bulk", "a b", "%"])
def test_any_id_reaches_its_entity(client: Client, entity_id: str) -> None:
    result = client.process_event(entity_id, "add", {"by": 1}, event_id=f'"{entity_id}\\ "')
    assert result.success
    entity = client.get_entity(entity_id)
    assert entity is not None
    assert entity.entity_id == entity_id
    row = client.event(entity_id, f'"{entity_id}\\ "')
    assert row is not None
    assert row.version == result.version


# TLS ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """A certificate for 127.0.0.1 that nobody but itself vouches for."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    own = folder / "own.pem"
    own.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    authority = folder / "ca.pem"
    authority.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own)
    return authority, context


def test_a_certificate_that_nobody_vouches_for_is_refused_at_once(
    certificate: tuple[Path, ssl.SSLContext],
) -> None:
    with answering(EMPTY, tls=certificate[1]) as (port, seen):
        with (
            Client(f"https://127.0.0.1:{port}", api_key=SECRET) as client,
            pytest.raises(StoreUnavailableError, match="certificate is not trusted"),
        ):
            client.get_entity("x")
        assert seen == []


def test_a_file_says_whom_to_trust(
    certificate: tuple[Path, ssl.SSLContext], tmp_path: Path
) -> None:
    with (
        answering(EMPTY, EMPTY, tls=certificate[1]) as (port, _),
        Client(f"https://127.0.0.1:{port}", verify=certificate[0]) as client,
    ):
        assert client.machines.validate({}) == {}
    for path, why in ((tmp_path / "none.pem", "no such file"), (Path(__file__), "no certificates")):
        with pytest.raises(ConfigurationError, match=why):
            Client("https://localhost", verify=path)

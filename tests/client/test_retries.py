"""A call is sent again when that is safe, and only then: never twice, never lost."""

import asyncio
import random
import threading
import time
import uuid
from typing import Any

import pytest

from pystator import StoreUnavailableError
from pystator.client import AsyncClient, Client
from pystator.client.exchange import Patience
from servers.service import Service, free_port
from servers.unreliable import Unreliable

CUTS = ("deaf", "before", "after", "half", "pass")
BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nbad",
    b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n",
)


def a_name() -> str:
    return f"counter-{uuid.uuid4().hex[:8]}"


def fates(seed: int, number: int) -> list[Any]:
    choose = random.Random(seed)
    return [choose.choice((*CUTS, *BUSY, "pass", "pass")) for _ in range(number)]


def quick(proxy: Unreliable, **options: Any) -> Client:
    """A client that is in a hurry, so that the test is."""
    made = Client(proxy.url, **{"timeout": 30, "attempts": 30, **options})
    hurry(made)
    return made


def hurry(client: Client | AsyncClient) -> None:
    patience = client._wire.patience
    client._wire.patience = Patience(patience.total, patience.attempts, random.random, 0.01, 0.05)


def check(client: Client, name: str, events: int) -> None:
    """Each event was applied once: the sum, the version and the rows say so."""
    entity = client.get_entity(name)
    assert entity is not None
    assert (entity.context["total"], entity.version) == (events, events)
    rows = client.history(name, limit=1_000).items
    assert [row.version for row in rows] == list(range(1, events + 1))


def test_events_over_a_line_that_is_cut_are_applied_once(service: Service, client: Client) -> None:
    name = a_name()
    with Unreliable(service.port, fates(1, 60)) as proxy, quick(proxy) as unlucky:
        for _ in range(15):
            result = unlucky.process_event(name, "add", {"by": 1})
            assert result.success
            assert not result.replayed, "the caller sent it once"
    check(client, name, 15)


def test_the_same_from_asyncio_and_concurrently(service: Service, client: Client) -> None:
    name = a_name()

    async def send(proxy: Unreliable) -> None:
        async with AsyncClient(proxy.url, timeout=30, attempts=30) as unlucky:
            hurry(unlucky)
            calls = [unlucky.process_event(name, "add", {"by": 1}) for _ in range(12)]
            results = await asyncio.gather(*calls)
        assert {result.version for result in results} == set(range(1, 13))

    with Unreliable(service.port, fates(2, 40)) as proxy:
        asyncio.run(send(proxy))
    check(client, name, 12)


def test_many_events_in_one_request_are_applied_once_each(service: Service, client: Client) -> None:
    name = a_name()
    with Unreliable(service.port, ["after", "half", "before"]) as proxy, quick(proxy) as unlucky:
        results = unlucky.process_events([(name, "add", {"by": 1})] * 520)
    assert [result.version for result in results] == list(range(1, 521))
    check_total = client.get_entity(name)
    assert check_total is not None
    assert check_total.context["total"] == 520


@pytest.mark.parametrize("cut", ["before", "after", "half"])
def test_what_has_no_key_is_not_sent_again(service: Service, client: Client, cut: str) -> None:
    """Nobody knows whether it was done; the error says so, and it was not done twice."""
    name = a_name()
    client.create_entity(name)
    with Unreliable(service.port, [cut]) as proxy, quick(proxy) as unlucky:
        with pytest.raises(StoreUnavailableError, match="may have been done or not: look"):
            unlucky.force_state(name, "closed", reason="a test")
        assert len(proxy.seen) == 1
    done = [row for row in client.history(name).items if row.kind == "forced"]
    assert len(done) == (0 if cut == "before" else 1)


@pytest.mark.parametrize("answer", [BUSY[2], "refused"])
def test_what_has_no_key_is_sent_again_when_nothing_was_done(
    service: Service, client: Client, answer: Any
) -> None:
    name = a_name()
    client.create_entity(name)
    told = b'{"code":"store_unavailable","detail":"busy","written":false}'
    unwritten = (
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n"
        + f"Content-Length: {len(told)}\r\n\r\n".encode()
        + told
    )
    fate = unwritten if answer == "refused" else answer
    with Unreliable(service.port, [fate]) as proxy, quick(proxy) as unlucky:
        assert unlucky.force_state(name, "closed", reason="a test").success


def test_what_nobody_listens_to_is_sent_when_somebody_does(service: Service) -> None:
    """A refused connection is certain to have done nothing."""
    port = free_port()
    name = a_name()
    answered: list[int | None] = []

    def send() -> None:
        with Client(f"http://127.0.0.1:{port}", timeout=10) as patient:
            answered.append(patient.process_event(name, "add", {"by": 1}).version)

    sender = threading.Thread(target=send)
    sender.start()
    time.sleep(0.3)
    with Unreliable(service.port, port=port):
        sender.join(10)
    assert answered == [1]


def test_a_rejection_is_an_answer_and_is_not_sent_again(service: Service) -> None:
    name = a_name()
    with Unreliable(service.port) as proxy, quick(proxy) as client:
        result = client.process_event(name, "add", {"by": 0})
        assert (result.success, result.reason) == (False, "guard_rejected")
        assert len(proxy.seen) == 1


def test_it_gives_up_when_its_time_is_up(service: Service) -> None:
    """The error has the key with which the event can be sent again, to whoever takes over."""
    name = a_name()
    with Unreliable(service.port, ["after"] * 99) as proxy:
        began = time.monotonic()
        with (
            quick(proxy, timeout=1.5, attempts=99) as unlucky,
            pytest.raises(StoreUnavailableError, match="may have been done") as told,
        ):
            unlucky.process_event(name, "add", {"by": 1})
        assert time.monotonic() - began < 3
        key = str(told.value.context["event_id"])
        proxy.fates.clear()
        with quick(proxy) as lucky:
            again = lucky.process_event(name, "add", {"by": 1}, event_id=key)
            assert (again.replayed, again.version) == (True, 1)


def test_a_service_that_never_answers_takes_no_longer(service: Service) -> None:
    silent = threading.Event()
    with Unreliable(service.port, [lambda: silent.wait(5)] * 9) as proxy:
        began = time.monotonic()
        with quick(proxy, timeout=0.6) as unlucky, pytest.raises(StoreUnavailableError):
            unlucky.get_entity("x")
        assert time.monotonic() - began < 1.5
        silent.set()


def test_retry_after_is_waited_for(service: Service) -> None:
    busy = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
    with Unreliable(service.port, [busy]) as proxy, quick(proxy) as client:
        began = time.monotonic()
        assert client.process_event(a_name(), "add", {"by": 1}).success
        assert time.monotonic() - began > 0.95


def test_one_that_is_longer_than_the_call_may_take_is_not(service: Service) -> None:
    busy = b"HTTP/1.1 503 Busy\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n"
    with Unreliable(service.port, [busy]) as proxy, quick(proxy) as client:
        began = time.monotonic()
        with pytest.raises(StoreUnavailableError):
            client.process_event(a_name(), "add", {"by": 1})
        assert time.monotonic() - began < 1


def test_a_service_that_is_killed_between_request_and_answer(own_service: Service) -> None:
    """-9, at moments from before the commit to after it: the event is applied once all the same."""
    name, service = a_name(), own_service
    moments = iter([0.0, 0.01])

    def kill() -> None:
        time.sleep(next(moments))
        service.kill()
        service.begin()

    with (
        Unreliable(service.port, ["pass", kill, "pass", kill]) as proxy,
        Client(proxy.url, timeout=60, attempts=99) as patient,
    ):
        for _ in range(4):
            assert patient.process_event(name, "add", {"by": 1}).success
    service.wait()
    with Client(service.url) as client:
        check(client, name, 4)

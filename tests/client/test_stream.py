"""The live feed: every row once, in order, over connections that are cut."""

import asyncio
import threading
import time
import uuid

import pytest

from pystator import FSMError, StoreUnavailableError
from pystator.client import AsyncClient, Client
from servers.service import Service, free_port
from servers.unreliable import Unreliable

EVENTS = 50


def a_name() -> str:
    return f"counter-{uuid.uuid4().hex[:8]}"


def send(client: Client, name: str, proxy: Unreliable | None = None) -> None:
    """Events, and now and then every connection is cut."""
    for number in range(EVENTS):
        client.process_event(name, "add", {"by": 1})
        if proxy is not None and number % 9 == 5:
            proxy.cut()


def test_rows_come_once_over_cut_connections(service: Service, client: Client) -> None:
    name = a_name()
    with (
        Unreliable(service.port, ["pass", "after", "half"]) as proxy,
        Client(proxy.url) as unlucky,
        unlucky.stream(entity_id=name) as stream,
    ):
        sender = threading.Thread(target=send, args=(client, name, proxy))
        sender.start()
        rows = []
        for row in stream:
            rows.append(row.version)
            if row.version == EVENTS:
                break
        sender.join()
    assert rows == list(range(1, EVENTS + 1))


def test_the_same_from_asyncio(service: Service, client: Client) -> None:
    name = a_name()

    async def read(proxy: Unreliable) -> list[int]:
        rows: list[int] = []
        async with AsyncClient(proxy.url) as unlucky, unlucky.stream(entity_id=name) as stream:
            begin = asyncio.get_running_loop().run_in_executor
            sending = None
            async for row in stream:
                rows.append(row.version)
                if row.version == EVENTS:
                    break
                if sending is None:
                    sending = begin(None, send, client, name, proxy)
            await sending
        return rows

    with Unreliable(service.port) as proxy:
        client.process_event("another", "add", {"by": 1})
        first = threading.Timer(0.5, lambda: client.process_event(name, "add", {"by": 1}))
        first.start()
        rows = asyncio.run(read(proxy))
    assert rows == list(range(1, EVENTS + 1))


def test_it_goes_on_behind_the_row_that_was_given_last(client: Client) -> None:
    """The cursor is for another process: what comes after it is neither skipped nor repeated."""
    name = a_name()
    start = client.transitions(after="now").next
    for _ in range(5):
        client.process_event(name, "add", {"by": 1})
    with client.stream(after=start, entity_id=name) as stream:
        rows = iter(stream)
        seen = [next(rows).version for _ in range(2)]
        cursor = stream.cursor
    with client.stream(after=cursor, entity_id=name) as stream:
        rows = iter(stream)
        seen += [next(rows).version for _ in range(3)]
    assert seen == [1, 2, 3, 4, 5]


def test_filters(client: Client) -> None:
    name = a_name()
    start = client.transitions(after="now").next
    client.process_event(name, "add", {"by": 0})
    client.process_event(name, "add", {"by": 1})
    client.process_event(name, "close")
    for wanted, found in (
        ({"success": False}, [("add", False)]),
        ({"trigger": "close"}, [("close", True)]),
        ({"state": "closed"}, [("close", True)]),
        ({}, [("add", False), ("add", True), ("close", True)]),
    ):
        page = client.transitions(after=start, entity_id=name, **wanted)
        assert [(row.trigger, row.success) for row in page.items] == found


def test_a_cursor_that_is_none_is_refused_at_once(client: Client) -> None:
    with client.stream(after="nonsense") as stream, pytest.raises(FSMError, match="cursor"):
        next(iter(stream))


def test_it_gives_up_when_the_service_stays_away() -> None:
    began = time.monotonic()
    with Client(f"http://127.0.0.1:{free_port()}", timeout=0.5) as client:
        stream = client.stream(after="WyJmZWVkIiwxN10")
        with pytest.raises(StoreUnavailableError):
            next(iter(stream))
    assert time.monotonic() - began < 3


def test_before_anybody_reads_nothing_is_missed(client: Client) -> None:
    """The place to begin is known when the stream is made."""
    name = a_name()
    with client.stream(entity_id=name) as stream:
        client.process_event(name, "add", {"by": 1})
        assert next(iter(stream)).version == 1

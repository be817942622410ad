"""Two replicas over one PostgreSQL, killed in turn under load: nothing is lost, nothing done twice.

Clients and subscribers know both addresses, and go to the other one when theirs is gone, as they
would behind a load balancer.
"""

import asyncio
import json
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from pystator import PostgresStateStore
from servers.service import Service

APPLICATION: Final = """
from pystator import StateMachine
from pystator.api import Application

def application():
    return Application([StateMachine.from_dict({
        "meta": {"machine_name": "counter"},
        "states": [{"name": "open", "type": "initial"}, {"name": "shut"}],
        "transitions": [
            {"trigger": "add", "source": "open", "dest": "shut", "actions": [{"increment": "n"}]},
            {"trigger": "add", "source": "shut", "dest": "open", "actions": [{"increment": "n"}]},
        ],
    })])
"""

ENTITIES: Final = [f"counter-{number:03}" for number in range(100)]
CLIENTS: Final = 64
SUBSCRIBERS: Final = 4
BEHIND: Final = (httpx.TransportError, ConnectionError)
"""The replica is gone, or was killed before it had answered."""


class Replicas:
    """Two addresses; whoever is killed comes back at the same one."""

    def __init__(self, folder: Path, store: str) -> None:
        self.folder = folder
        self.store = store
        self.running: list[Service] = []

    def begin(self) -> None:
        for number in range(2):
            place = self.folder / str(number)
            place.mkdir()
            (place / "counters.py").write_text(APPLICATION)
            service = Service(place, self.store, app="counters:application")
            self.running.append(service)
            service.begin()
        for service in self.running:
            service.wait()

    @property
    def urls(self) -> list[str]:
        return [each.url for each in self.running]

    def kill_and_start_again(self, number: int) -> None:
        service = self.running[number]
        service.kill()
        service.begin()
        service.wait()

    def end(self) -> None:
        for service in self.running:
            service.end()


class Client:
    """Sends events until told to stop; each until it is answered, some of them once more."""

    def __init__(self, number: int, urls: list[str], http: httpx.AsyncClient) -> None:
        self.luck = random.Random(number)
        self.name = f"client-{number}"
        self.urls = urls
        self.http = http
        self.conditional = number % 2 == 1
        self.done: dict[tuple[str, str], int] = {}
        self.refused = 0
        self.replayed = 0

    async def run(self, over: asyncio.Event) -> None:
        number = 0
        while not over.is_set():
            number += 1
            entity, key = self.luck.choice(ENTITIES), f"{self.name}-{number}"
            version = await self.send(entity, key)
            if self.luck.random() < 0.2:
                assert await self.send(entity, key, again=True) == version
            assert (entity, key) not in self.done
            self.done[entity, key] = version

    async def send(self, entity: str, key: str, *, again: bool = False) -> int:
        """The version that the event made."""
        tag: str | None = None
        while True:
            try:
                if self.conditional and tag is None and not again:
                    tag = await self.tag_of(entity)
                headers = {"Idempotency-Key": key} | ({"If-Match": tag} if tag else {})
                answer = await self.ask("POST", entity, headers)
            except BEHIND:
                await asyncio.sleep(0.02)
                continue
            if answer.status_code == 412:
                self.refused += 1
                tag = None
            elif answer.status_code == 503:
                await asyncio.sleep(0.05)
            else:
                assert answer.status_code == 200, answer.text
                replayed = answer.headers.get("Idempotency-Replayed") == "true"
                assert replayed or not again
                self.replayed += replayed
                assert answer.headers["ETag"] == f'"{answer.json()["version"]}"'
                return answer.json()["version"]

    async def tag_of(self, entity: str) -> str | None:
        """None while there is no such entity."""
        answer = await self.ask("GET", entity)
        return answer.headers["ETag"] if answer.status_code == 200 else None

    async def ask(
        self, method: str, entity: str, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        url = f"{self.luck.choice(self.urls)}/api/v1/entities/{entity}"
        if method == "GET":
            return await self.http.get(url)
        return await self.http.post(f"{url}/events", json={"trigger": "add"}, headers=headers)


class Subscriber:
    """Reads the stream at whichever replica is there, and goes on where it was."""

    def __init__(self, number: int, urls: list[str], last: str) -> None:
        self.luck = random.Random(-number)
        self.urls = urls
        self.last = last
        self.rows: list[tuple[str, int, str]] = []
        self.broken = 0

    async def run(self, http: httpx.AsyncClient) -> None:
        while True:
            url = self.luck.choice(self.urls)
            try:
                async for cursor, row in self.read(url, http):
                    self.last = cursor
                    if row["kind"] == "event":
                        self.rows.append((row["entity_id"], row["version"], row["event_id"]))
                    if self.luck.random() < 0.002:
                        break  # as a laptop that is closed
            except BEHIND:
                await asyncio.sleep(0.02)
            self.broken += 1

    async def read(
        self, url: str, http: httpx.AsyncClient
    ) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        headers = {"Last-Event-ID": self.last}
        async with http.stream(
            "GET", f"{url}/api/v1/transitions/stream", headers=headers
        ) as answer:
            assert answer.status_code == 200, await answer.aread()
            cursor = ""
            async for line in answer.aiter_lines():
                name, _, value = line.partition(": ")
                if name == "id":
                    cursor = value
                elif name == "data":
                    yield cursor, json.loads(value)


async def load(
    replicas: Replicas, kills: int, pause: float
) -> tuple[list[Client], list[Subscriber]]:
    over = asyncio.Event()
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(timeout=10, limits=limits) as http:
        clients = [Client(number, replicas.urls, http) for number in range(CLIENTS)]
        found = await http.get(f"{replicas.urls[0]}/api/v1/transitions", params={"cursor": "now"})
        now: str = found.json()["next"]
        subscribers = [Subscriber(number, replicas.urls, now) for number in range(SUBSCRIBERS)]
        reading = [asyncio.create_task(each.run(http)) for each in subscribers]
        sending = [asyncio.create_task(each.run(over)) for each in clients]
        for number in range(kills):
            await asyncio.sleep(pause)
            await asyncio.to_thread(replicas.kill_and_start_again, number % 2)
        await asyncio.sleep(pause)
        over.set()
        await asyncio.gather(*sending)
        events = sum(len(each.done) for each in clients)
        async with asyncio.timeout(30):
            while any(len(each.rows) < events for each in subscribers):  # noqa: ASYNC110 # of four
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)  # nothing comes twice
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
    return clients, subscribers


@pytest.mark.parametrize(
    ("kills", "pause"), [(2, 1.0), pytest.param(20, 3.0, marks=pytest.mark.soak)]
)
@pytest.mark.timeout(300)
def test_replicas_that_are_killed_lose_and_double_nothing(kills, pause, tmp_path, postgres_url):
    replicas = Replicas(tmp_path, postgres_url)
    try:
        replicas.begin()
        clients, subscribers = asyncio.run(load(replicas, kills, pause))
    finally:
        replicas.end()
    done: dict[tuple[str, str], int] = {}
    for client in clients:
        done |= client.done
    rows = stored_rows(postgres_url)
    assert {(entity, key): version for entity, version, key in rows} == done
    assert len(rows) == len(done), "an event was applied twice"
    for subscriber in subscribers:
        assert Counter(subscriber.rows) == Counter(rows)
        assert in_order(subscriber.rows)
        assert subscriber.broken >= kills // 2
    assert sum(client.replayed for client in clients) > 0
    assert sum(client.refused for client in clients) > 0


def stored_rows(url: str) -> list[tuple[str, int, str]]:
    """(entity, version, event id) of what is in the histories, which agree with the entities."""
    found: list[tuple[str, int, str]] = []
    with PostgresStateStore(url) as store:
        for entity in store.entities(limit=1_000).items:
            rows = list(all_rows(store, entity.entity_id))
            assert [row.version for row in rows] == list(range(1, entity.version + 1))
            events = [row for row in rows if row.kind == "event"]
            assert entity.context == {"n": len(events)}
            found += [(row.entity_id, row.version, row.event_id or "") for row in events]
    return found


def all_rows(store: PostgresStateStore, entity_id: str) -> Any:
    after = None
    while True:
        page = store.history(entity_id, after=after, limit=1_000)
        yield from page.items
        after = page.next
        if after is None:
            return


def in_order(rows: list[tuple[str, int, str]]) -> bool:
    """Each entity's versions come one after the other."""
    versions: dict[str, list[int]] = defaultdict(list)
    for entity, version, _ in rows:
        versions[entity].append(version)
    return all(found == sorted(found) for found in versions.values())

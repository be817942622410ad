"""The feed over HTTP: pages, and streams that miss nothing however often they are cut."""

import asyncio
import random
import socket
import time
from collections import defaultdict
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx
import pytest

from api.running import CLIENT, frames, rows, running, stream, together
from pystator import InMemoryStateStore, Orchestrator, StateMachine, create_state_store
from pystator.api import ApiSettings, create_app
from pystator.service.keyfile import create_key, revoke_key
from servers.service import until
from stores.three import Three


def machine(name="door"):
    return StateMachine.from_dict(
        {
            "meta": {"machine_name": name},
            "states": [{"name": "open", "type": "initial"}, {"name": "closed"}],
            "transitions": [
                {"trigger": "close", "source": "open", "dest": "closed"},
                {"trigger": "open", "source": "closed", "dest": "open"},
            ],
        }
    )


class Doors:
    """A store with doors and gates, and a server over it."""

    def __init__(self, store, server):
        self.store = store
        self.url = server.url
        self.server = server
        self.of = {name: Orchestrator(machine(name), store) for name in ("door", "gate")}

    def turn(self, entity_id, times=1, name="door"):
        orchestrator = self.of[name]
        for _ in range(times):
            if not orchestrator.process_event(entity_id, "close").success:
                orchestrator.process_event(entity_id, "open")

    def get(self, **params):
        return CLIENT.get(f"{self.url}/transitions", params=params)

    def page(self, **params):
        answer = self.get(**params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    @property
    def streams(self):
        return self.server.app.state.services.live.following


@pytest.fixture(scope="module")
def doors():
    store = InMemoryStateStore()
    store.connect()
    settings = ApiSettings(most_streams_each=12, most_streams=12)
    with running([machine(), machine("gate")], store=store, settings=settings) as server:
        yield Doors(store, server)


@pytest.fixture
def now(doors):
    """The feed's end: tests share a store."""
    return doors.page(cursor="now")["next"]


# Pages --------------------------------------------------------------------------------------------


def test_a_page_has_rows_of_all_entities_and_a_cursor_to_come_back_with(doors, now):
    doors.turn("a")
    doors.turn("b")
    page = doors.page(cursor=now)
    assert [(row["entity_id"], row["trigger"]) for row in page["items"]] == [
        ("a", "close"),
        ("b", "close"),
    ]
    first = page["items"][0]
    assert first["machine_name"] == "door"
    assert first["timestamp"] == first["recorded_at"]
    assert (first["source_state"], first["target_state"]) == ("open", "closed")
    later = doors.page(cursor=page["next"])
    assert (later["items"], later["end"], later["next"]) == ([], True, page["next"])
    doors.turn("a")
    assert [row["version"] for row in doors.page(cursor=page["next"])["items"]] == [1, 2]


def test_filters(doors, now):
    doors.turn("f", 3)
    doors.turn("f", 1, "gate")

    def versions(**params):
        return [row["version"] for row in doors.page(cursor=now, **params)["items"]]

    assert versions(entity_id="f", machine_name="gate") == [1]
    assert versions(machine_name="gate") == [1]
    assert versions(trigger="open") == [2]
    assert versions(success=False) == [1]  # a closed door that is to be closed
    assert versions(state="closed", machine_name="door") == [1, 3]
    assert versions(state="closed", success=False) == []
    assert versions(entity_id="x\x00") == []


@pytest.mark.parametrize("path", ["", "/stream"])
@pytest.mark.parametrize(
    ("params", "status", "code"),
    [
        ({"cursor": "nonsense"}, 422, "invalid_cursor"),
        ({"cursor": "WyJlbnRpdGllcyIsIngiXQ"}, 422, "invalid_cursor"),
        ({"cursor": ""}, 422, "invalid_cursor"),
        ({"success": "perhaps"}, 422, "invalid_request"),
        ({"entity_id": "x" * 256}, 422, "invalid_request"),
    ],
)
def test_what_does_not_fit_is_told(doors, path, params, status, code):
    if path:
        params = {"after" if name == "cursor" else name: params[name] for name in params}
    answer = CLIENT.get(f"{doors.url}/transitions{path}", params=params)
    told = answer.json()
    assert (answer.status_code, told["code"]) == (status, code), told
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_limit_is_kept_and_bounded(doors, now):
    doors.turn("l", 5)
    assert len(doors.page(cursor=now, limit=2)["items"]) == 2
    assert doors.get(limit=0).status_code == doors.get(limit=100_000).status_code == 422


def test_a_store_without_a_feed_answers_501(doors):
    async def ask():
        app = create_app(machine(), store=Three())
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return [
                await client.get(
                    f"/api/v1/transitions{path}", params={"seconds": 1} if path else {}
                )
                for path in ("", "/stream")
            ]

    for answer in asyncio.run(ask()):
        assert (answer.status_code, answer.json()["code"]) == (501, "not_supported")
        assert "Three" in answer.json()["detail"]


# Streams ------------------------------------------------------------------------------------------


def test_a_stream_begins_now_and_says_at_once_where_that_is(doors):
    doors.turn("before")
    with stream(doors.url) as events:
        first = next(events)
        doors.turn("s", 2)
        found = [next(rows(events)) for _ in range(3)]
    assert set(first) == {"id", "retry"}
    assert [row["trigger"] for _, row in found] == ["close", "close", "open"]
    assert {row["entity_id"] for _, row in found} == {"s"}
    # cut before the first row, nothing is lost
    with stream(doors.url, first["id"]) as events:
        assert [next(rows(events)) for _ in range(3)] == found


def test_the_last_event_id_is_stronger_than_the_address(doors, now):
    doors.turn("p", 3)
    with stream(doors.url, after=now) as events:
        found = rows(events)
        first, second = next(found), next(found)
    with stream(doors.url, first[0], after=now) as events:
        assert next(rows(events)) == second


def test_items_are_those_of_the_pages(doors, now):
    doors.turn("i", 2)
    items = doors.page(cursor=now)["items"]
    with stream(doors.url, after=now) as events:
        found = rows(events)
        assert [next(found)[1] for _ in items] == items


def test_a_stream_with_filters_moves_on_behind_what_it_does_not_show(doors, now):
    with stream(doors.url, after=now, trigger="open", seconds=0.5) as events:
        begin = next(events)["id"]
        doors.turn("m", 2)
        found = list(events)
    assert begin == now
    assert [row["trigger"] for _, row in rows(iter(found))] == ["open"]


def test_a_heartbeat_says_how_far_rows_that_are_not_asked_for_were_passed_over(
    doors, now, monkeypatch
):
    """Who is cut afterwards does not read them all again. A browser takes an id without data, too."""
    monkeypatch.setattr("pystator.api.sse.HEARTBEAT", 0.2)
    with stream(doors.url, entity_id="nobody") as events:
        begin = next(events)["id"]
        doors.turn("h", 2)
        until(lambda: (beat := next(events)).get("id", begin) != begin and ":" in beat)
        assert next(events) == {":": "heartbeat"}


def made(path):
    """A key that sees doors."""
    now = time.time_ns() // 1_000
    return create_key(path, "reader", scopes=["read"], machines=["door"], now=now)


def test_a_stream_ends_at_a_heartbeat_after_its_key_was_revoked(tmp_path, monkeypatch):
    monkeypatch.setattr("pystator.api.sse.HEARTBEAT", 0.2)
    text, key = made(tmp_path / "keys.json")
    settings = ApiSettings(keys_file=str(tmp_path / "keys.json"))
    store = InMemoryStateStore()
    with running([machine(), machine("gate")], store=store, settings=settings) as server:
        doors = Doors(store, server)
        bearer = {"Authorization": f"Bearer {text}"}
        assert CLIENT.get(f"{server.url}/transitions").status_code == 401
        with stream(server.url, headers=bearer) as events:
            next(events)
            doors.turn("k", 1, "gate")
            doors.turn("k", 1)
            assert next(rows(events))[1]["machine_name"] == "door"  # it sees no gates
            revoke_key(tmp_path / "keys.json", key.id, now=time.time_ns() // 1_000)
            began = time.monotonic()
            assert not list(rows(events))
            assert time.monotonic() - began < 3
        answer = CLIENT.get(
            f"{server.url}/transitions", params={"machine_name": "gate"}, headers=bearer
        )
        assert answer.status_code == 401


def test_a_key_for_some_machines_sees_rows_of_these(tmp_path):
    text, _ = made(tmp_path / "keys.json")
    settings = ApiSettings(keys_file=str(tmp_path / "keys.json"))
    store = InMemoryStateStore()
    with running([machine(), machine("gate")], store=store, settings=settings) as server:
        doors = Doors(store, server)
        doors.turn("k", 1, "gate")
        doors.turn("k", 2)

        def ask(**params):
            return CLIENT.get(
                f"{server.url}/transitions", params=params, headers={"X-API-Key": text}
            )

        found = ask().json()["items"]
        assert {row["machine_name"] for row in found} == {"door"}
        assert ask(machine_name="door").json()["items"] == found
        assert ask(machine_name="gate").status_code == 403


def test_a_reader_that_leaves_is_noticed(doors):
    with stream(doors.url) as events:
        next(events)
        assert doors.streams == 1
    until(lambda: doors.streams == 0)


def test_streams_are_limited(doors):
    url = f"{doors.url}/transitions/stream"
    with ExitStack() as stack:
        for _ in range(12):
            assert stack.enter_context(CLIENT.stream("GET", url)).status_code == 200
        answer = CLIENT.get(url)
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_requests")
    assert answer.headers["retry-after"]
    until(lambda: doors.streams == 0)


def test_streams_end_well_when_the_server_stops():
    store = InMemoryStateStore()
    with running([machine()], store=store) as server, stream(server.url) as events:
        next(events)
        began = time.monotonic()
        server.stop()
        assert list(events) == []  # an end of the answer, and no broken connection
        assert time.monotonic() - began < 3


def test_a_slow_reader_costs_no_memory_and_gets_everything(doors, now):
    """25 MB of rows for a reader that sleeps: the server waits for it."""
    orchestrator = doors.of["door"]
    for number in range(256):
        orchestrator.process_event("slow", "knock", {"text": "x" * 100_000, "number": number})
    with stream(doors.url, after=now) as events:
        found = rows(events)
        next(found)
        time.sleep(0.5)
        doors.turn("quick", 1)  # others are not held up
        assert doors.page(cursor=now, entity_id="quick")["items"]
        numbers = [row["payload"]["number"] for _, row in (next(found) for _ in range(255))]
    assert numbers == list(range(1, 256))


def test_streams_wait_for_a_store_that_is_down_and_go_on_where_they_were(own_redis):
    server = own_redis()
    with running([machine()], store=server.url) as api:
        store = create_state_store(server.url)
        store.connect()
        doors = Doors(store, api)
        with stream(api.url) as events:
            next(events)
            doors.turn("w", 1)
            found = rows(events)
            next(found)
            server.kill()
            time.sleep(0.3)  # it is looked for
            server.start()
            until(lambda: CLIENT.get(f"{api.url}/transitions").status_code == 200)
            doors.turn("w", 3)
            told = [next(found)[1]["trigger"] for _ in range(5)]
        store.disconnect()
    assert told == ["close", "open", "close", "close", "open"]


def test_a_reader_that_takes_nothing_is_left(doors, now, monkeypatch):
    monkeypatch.setattr("pystator.api.sse.STUCK", 0.3)
    for number in range(200):
        doors.of["door"].process_event("stuck", "knock", {"text": "x" * 100_000, "n": number})
    address = urlsplit(doors.url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        path = f"{address.path}/transitions/stream?after={now}"
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode())
        until(lambda: doors.streams == 1)
        until(lambda: doors.streams == 0)


# Storms -------------------------------------------------------------------------------------------


def storm(url, start, end, seed, **filters):
    """Read from a cursor, cut at random moments, until a row of the entity ``end``."""
    dice, last, seen = random.Random(seed), start, []
    while True:
        with stream(url, last, **filters) as events:
            for _ in range(dice.randrange(1, 15)):
                frame = next(events)
                last = frame.get("id", last)
                if "data" in frame:
                    ((_, row),) = rows(iter([frame]))
                    if row["entity_id"] == end:
                        return seen
                    seen.append((row["entity_id"], row["version"], row["trigger"]))


@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgres"])
def test_a_reader_that_is_cut_again_and_again_sees_every_transition_once(kind, request, tmp_path):
    url = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path / 'live.db'}"}.get(kind)
    store = create_state_store(url or request.getfixturevalue(f"{kind}_url"))
    store.connect()
    try:
        with running([machine(), machine("gate")], store=store) as server:
            doors = Doors(store, server)
            start = doors.page(cursor="now")["next"]

            def write(part):
                dice = random.Random(part)
                for _ in range(8):
                    doors.turn(f"d-{part}-{dice.randrange(3)}")

            def all_writes():
                together(*[lambda part=part: write(part) for part in range(3)])
                doors.turn("last")

            seen, of_some, of_one, _ = together(
                lambda: storm(server.url, start, "last", 1),
                lambda: storm(server.url, start, "last", 2, success=True),
                lambda: storm(server.url, start, "last", 3, machine_name="door"),
                all_writes,
            )
    finally:
        store.disconnect()
    per_entity = defaultdict(list)
    for entity_id, version, trigger in seen:
        per_entity[entity_id].append((version, trigger))
    # every row, rejections included: closing a closed door is one, and then it is opened
    assert sum(len(each) for each in per_entity.values()) >= 24
    for each in per_entity.values():
        expected, version = [], 0
        while len(expected) < len(each):
            version += 1
            expected.append((version, "close"))
            expected += [(version, "close"), (version + 1, "open")]
            version += 1
        assert each == expected[: len(each)]
    assert of_one == seen
    assert of_some == [
        row for number, row in enumerate(seen) if row not in seen[:number] or row[2] == "open"
    ]


def test_the_frames_of_the_tests_are_those_of_a_browser():
    lines = iter(["retry: 1", "id: a", "", ": heartbeat", "id:b", "", "data: 1:2", ""])
    assert list(frames(lines)) == [
        {"retry": "1", "id": "a"},
        {":": "heartbeat", "id": "b"},
        {"data": "1:2"},
    ]

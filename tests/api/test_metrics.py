"""Numbers for Prometheus: right, and of a bounded number of series."""

import asyncio
import os
import re
import subprocess
import sys
import time

from prometheus_client.parser import text_string_to_metric_families

from api.running import CLIENT, running, stream
from pystator import InMemoryStateStore, StateMachine
from pystator.api.metrics import FOLDER, Metrics, forget_worker, shared_folder
from servers.service import until


def numbers(text):
    """``name{label=value,...}`` -> number."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def series(text, name):
    """The samples of one name, by the values of their labels in the order of the labels' names."""
    return {
        tuple(value for _, value in key[1:]): number
        for key, number in numbers(text).items()
        if key[0] == name
    }


async def scraped(client):
    answer = await client.get("http://test/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return answer.text


def test_requests_are_counted_by_route_and_not_by_path(serve, order):
    async def go():
        async with serve(order) as client:
            for number in range(5):
                await client.post(f"/entities/order-{number}/create")
            await client.post("/entities/order-1/create")
            await client.get("/nothing/here")
            await client.request("BREW", "/entities/order-1")
            return await scraped(client)

    text = asyncio.run(go())
    route = "/entities/{entity_id}/create"
    requests = series(text, "pystator_http_requests_total")
    assert requests["POST", route, "201"] == 5
    assert requests["POST", route, "409"] == 1
    assert requests["GET", "none", "404"] == 1
    assert [key for key in requests if key[0] == "other"]
    assert series(text, "pystator_http_request_duration_seconds_count")["POST", route] == 6
    assert "order-1" not in text


def test_events_are_counted_by_what_became_of_them(serve, order):
    async def go():
        async with serve(order) as client:
            path = "/entities/order-1/events"
            place = {"trigger": "place", "context": {"total": 5}}
            await client.post(path, json=place, headers={"Idempotency-Key": "k"})
            await client.post(path, json=place, headers={"Idempotency-Key": "k"})
            await client.post(path, json={"trigger": "place"})
            await client.post(path, json={"trigger": "nothing_of_this_name"})
            await client.post(
                path, json={"trigger": "x", "context": {"n": 1}}, headers={"If-Match": '"7"'}
            )
            await client.post(
                "/entities/bulk/events",
                json={"events": [{"entity_id": f"bulk-{n}", **place} for n in range(3)]},
            )
            return await scraped(client)

    text = asyncio.run(go())
    events = series(text, "pystator_events_total")
    assert events[order.name, "applied", ""] == 4
    assert events[order.name, "replayed", ""] == 1
    assert events[order.name, "rejected", "no_transition"] == 1
    assert events[order.name, "rejected", "undefined_trigger"] == 1
    assert events[order.name, "failed", "stale_version"] == 1
    assert series(text, "pystator_event_duration_seconds_count")[order.name,] == 8
    requests = series(text, "pystator_http_requests_total")
    assert requests["POST", "/entities/{entity_id}/events", "200"] == 2
    assert "nothing_of_this_name" not in text
    assert "bulk-1" not in text


def test_the_entities_of_a_commit_are_counted(serve, order, tmp_path):
    async def go():
        async with serve(order, store=f"sqlite:///{tmp_path / 'shop.db'}") as client:
            place = {"trigger": "place", "context": {"total": 5}}
            await asyncio.gather(
                *[client.post(f"/entities/order-{n}/events", json=place) for n in range(30)]
            )
            return await scraped(client)

    text = asyncio.run(go())
    commits = series(text, "pystator_commit_entities_count")[()]
    assert series(text, "pystator_commit_entities_sum")[()] == 30
    assert 1 <= commits < 30


def test_entities_that_are_decided_while_redis_writes_are_counted(serve, redis_url):
    door = StateMachine.from_dict(
        {
            "meta": {"machine_name": "door"},
            "states": [{"name": "open", "type": "initial"}],
            "transitions": [{"trigger": "turn", "source": "open", "dest": "open"}],
        }
    )

    async def go():
        async with serve(door, store=redis_url) as client:
            events = [{"entity_id": f"d-{number}", "trigger": "turn"} for number in range(100)]
            for _ in range(2):  # they are started, and then there
                answer = await client.post("/entities/bulk/events", json={"events": events})
                assert answer.status_code == 200
            return await scraped(client)

    text = asyncio.run(go())
    assert series(text, "pystator_commit_entities_sum")[()] == 200


def test_the_store_and_the_release_are_told(serve, order):
    async def go():
        async with serve(order) as client:
            return await scraped(client)

    text = asyncio.run(go())
    assert series(text, "pystator_store_up") == {(): 1}
    assert list(series(text, "pystator_build_info").values()) == [1]
    assert series(text, "process_resident_memory_bytes")


def test_who_asks_for_openmetrics_gets_it(serve, order):
    async def go():
        async with serve(order) as client:
            accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
            return await client.get("http://test/metrics", headers=accept)

    answer = asyncio.run(go())
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def test_every_metric_has_a_unit_and_a_sentence():
    """Prometheus' conventions: base units, ``_total`` for what only grows."""
    text = Metrics().exposition("")[0].decode()
    ours = re.findall(r"# HELP (pystator_\w+) (.+)", text)
    kinds = dict(re.findall(r"# TYPE (pystator_\w+) (\w+)", text))
    assert len(ours) >= 8
    for name, about in ours:
        assert about.endswith((".", ".1"))
        assert kinds[name] != "counter" or name.endswith("_total")
        assert kinds[name] != "histogram" or name.endswith(("_seconds", "_entities"))


def test_streams_are_counted_while_they_are_open_and_have_no_duration(order):
    store = InMemoryStateStore()
    with running(order, store=store) as server:
        root = server.url.removesuffix("/api/v1")

        def told(name):
            return series(CLIENT.get(f"{root}/metrics").text, name)

        with stream(server.url) as events:
            next(events)
            assert told("pystator_streams_open") == {(): 1}
            CLIENT.post(f"{server.url}/entities/order-1/create")
            next(events)
            assert told("pystator_feed_position_timestamp_seconds")[()] > 1.7e9
        until(lambda: told("pystator_streams_open") == {(): 0})
        route = "/transitions/stream"
        until(lambda: told("pystator_http_requests_total").get(("GET", route, "200")) == 1)
        assert ("GET", route) not in told("pystator_http_request_duration_seconds_count")


def test_what_a_request_costs_is_little():
    """Far less than the request: the labels' children are looked up once."""
    numbers = Metrics()
    numbers.request("POST", "/events", 200, 0.003)
    began = time.process_time()
    for _ in range(2_000):
        numbers.request("POST", "/events", 200, 0.003)
        numbers.event("order", "applied", "", 0.002)
    assert (time.process_time() - began) / 2_000 < 100e-6


WORKER = """
from pystator.api.metrics import Metrics

numbers = Metrics()
for _ in range(5):
    numbers.event("order", "applied", "", 0.002)
numbers.streams(3)
numbers.store(up=True)
print(numbers.exposition("")[0].decode())
"""


def test_workers_are_added_up_and_one_that_dies_leaves_what_it_counted(tmp_path):
    """See also `test_serving`, where real ones die."""

    def work():
        worker = subprocess.Popen(
            [sys.executable, "-c", WORKER],
            env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
            stdout=subprocess.PIPE,
            text=True,
        )
        text, _ = worker.communicate(timeout=60)
        assert worker.returncode == 0
        return worker.pid, text

    first, _ = work()
    _, text = work()
    key = ("order", "applied", "")
    assert series(text, "pystator_events_total") == {key: 10}
    assert series(text, "pystator_streams_open") == {(): 6}
    assert series(text, "pystator_store_up") == {(): 1}
    forget_worker(first, tmp_path)
    _, text = work()
    assert series(text, "pystator_events_total") == {key: 15}
    assert series(text, "pystator_streams_open") == {(): 6}
    assert "pid=" not in text


def test_the_folder_of_workers_is_gone_afterwards_but_not_one_of_the_users(tmp_path, monkeypatch):
    monkeypatch.delenv(FOLDER, raising=False)
    with shared_folder() as folder:
        assert os.environ[FOLDER] == str(folder)
        assert folder.is_dir()
    assert FOLDER not in os.environ
    assert not folder.exists()
    monkeypatch.setenv(FOLDER, str(tmp_path / "mine"))
    with shared_folder() as folder:
        assert folder == tmp_path / "mine"
    assert folder.is_dir()


def test_a_store_that_is_down_is_told(own_redis, order):
    server = own_redis()
    with running(order, store=server.url) as api:
        root = api.url.removesuffix("/api/v1")
        assert series(CLIENT.get(f"{root}/metrics").text, "pystator_store_up") == {(): 1}
        server.stop()
        assert series(CLIENT.get(f"{root}/metrics").text, "pystator_store_up") == {(): 0}
        server.start()
        until(lambda: series(CLIENT.get(f"{root}/metrics").text, "pystator_store_up") == {(): 1})

"""Who calls: headers of a request, pages of other sites, how often, and what answers and the log say."""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from pystator import StateMachine
from pystator.api import create_app
from pystator.api.layers.access import JsonFormat, TextFormat
from pystator.api.security.rate import RateLimit, parse_rate
from pystator.api.settings import ApiSettings
from pystator.errors import ConfigurationError
from pystator.service.keyfile import create_key, revoke_key

SECRET = "k" * 32
ONE = "/api/v1/entities/a"


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test in an event loop of its own."""

    @wraps(test)
    def run(**given: Any) -> None:
        asyncio.run(test(**given))

    return run


@pytest.fixture
def job() -> StateMachine:
    return StateMachine.from_dict(
        {
            "meta": {"machine_name": "job"},
            "states": [{"name": "new", "type": "initial"}],
            "transitions": [{"trigger": "go", "source": "new", "dest": "new"}],
        }
    )


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def key(path: Path, *scopes: str, name: str = "shop") -> str:
    now = time.time_ns() // 1_000
    return create_key(path, name, scopes=scopes or ["admin"], machines=None, now=now)[0]


def served(application: object, tmp_path: Path, **said: object) -> httpx.AsyncClient:
    """A client of an application with these settings; it needs no lifespan: its store is in memory."""
    settings = ApiSettings.load({}, tmp_path, tmp_path, **said)
    app = create_app(application, store="memory://", settings=settings)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://test")


async def status(client: httpx.AsyncClient, **headers: str) -> int:
    said = {name.replace("_", "-"): value for name, value in headers.items()}
    return (await client.get(ONE, headers=said)).status_code


@in_loop
async def test_a_key_comes_in_either_header_and_only_once(job, keys, tmp_path):
    good = key(keys)
    async with served(job, tmp_path, keys_file=str(keys)) as client:
        assert await status(client, authorization=f"Bearer {good}") == 404
        assert await status(client, authorization=f"bearer   {good} ") == 404
        assert await status(client, x_api_key=good) == 404
        assert await status(client) == 401
        assert await status(client, authorization=good) == 401
        assert await status(client, authorization=f"Basic {good}") == 401
        assert await status(client, authorization="Bearer") == 401
        assert await status(client, authorization=f"Bearer {good}", x_api_key=good) == 401
        twice = [("x-api-key", good), ("x-api-key", good)]
        assert (await client.get(ONE, headers=twice)).status_code == 401
        assert (await client.get(f"{ONE}?api_key={good}")).status_code == 401


@in_loop
async def test_a_refusal_says_how_and_nothing_of_the_key(job, keys, tmp_path):
    good = key(keys)
    async with served(job, tmp_path, keys_file=str(keys)) as client:
        nothing = await client.get(ONE)
        assert nothing.headers["www-authenticate"] == 'Bearer realm="pystator"'
        assert "pystator keys create" in nothing.json()["detail"]
        wrong = await client.get(ONE, headers={"x-api-key": good[:-1]})
        assert 'error="invalid_token"' in wrong.headers["www-authenticate"]
        assert good[:-1] not in wrong.text
        assert wrong.headers["content-type"] == "application/problem+json"


@in_loop
async def test_what_a_load_balancer_asks_and_the_document_are_open(job, keys, tmp_path):
    key(keys)
    async with served(job, tmp_path, keys_file=str(keys)) as client:
        for path in ("/health", "/ready", "/docs", "/api/v1/openapi.json"):
            assert (await client.get(path)).status_code == 200, path
        for path in ("/metrics", "/nothing", "/health/", "/", "/api/v1/", "/docs/x"):
            assert (await client.get(path)).status_code == 401, path
        assert (await client.post("/health")).status_code == 401


@in_loop
async def test_a_key_and_a_token_may_be_taken_side_by_side(job, keys, tmp_path):
    good = key(keys)
    token = jwt.encode({"sub": "x", "exp": time.time() + 60, "scope": "read"}, SECRET, "HS256")
    async with served(job, tmp_path, keys_file=str(keys), jwt_secret=SECRET) as client:
        assert await status(client, authorization=f"Bearer {good}") == 404
        assert await status(client, authorization=f"Bearer {token}") == 404
        assert await status(client, x_api_key=token) == 401, "a token is no key"


@in_loop
async def test_revoking_acts_within_a_second(job, keys, tmp_path):
    good = key(keys)
    async with served(job, tmp_path, keys_file=str(keys)) as client:
        assert await status(client, x_api_key=good) == 404
        revoke_key(keys, good.split("_")[1], now=1)
        began = time.monotonic()
        while await status(client, x_api_key=good) != 401:
            assert time.monotonic() - began < 1


@in_loop
async def test_a_machine_of_a_default_file_is_protected_by_it(job, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    async with served(job, tmp_path) as client:
        assert await status(client) == 404
    key(tmp_path / "pystator-keys.json")
    async with served(job, tmp_path) as client:
        assert await status(client) == 401


def test_a_file_that_is_named_has_to_be_there(job, tmp_path):
    with pytest.raises(ConfigurationError, match="no such file"):
        served(job, tmp_path, keys_file=str(tmp_path / "none.json"))


def test_the_settings_show_no_secret():
    assert SECRET not in repr(ApiSettings(jwt_secret=SECRET))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"PYSTATOR_KEYS_FILE": ""}, "is empty"),
        ({"PYSTATOR_JWT_SECRET": " "}, "is empty"),
        ({"PYSTATOR_API_MAX_BODY": "0"}, "a number above 0"),
        ({"PYSTATOR_API_MAX_BODY": "1e9"}, "a number above 0"),
        ({"PYSTATOR_API_REQUEST_SECONDS": "nan"}, "a number above 0"),
        ({"PYSTATOR_API_REQUEST_SECONDS": "inf"}, "a number above 0"),
        ({"PYSTATOR_API_INSECURE": "perhaps"}, "yes or no"),
    ],
)
def test_a_setting_that_says_nothing_sensible_is_a_mistake_and_never_the_default(
    tmp_path, said, why
):
    """Above all: a secret that is empty does not switch authentication off."""
    with pytest.raises(ConfigurationError, match=why):
        ApiSettings.load(said, tmp_path, tmp_path)


# Browsers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"host": "localhost:8004"}, 404),
        ({"host": "127.0.0.1:8004", "origin": "http://127.0.0.1:8004"}, 404),
        ({"host": "evil.example"}, 403),
        ({"host": "localhost.evil.example:8004"}, 403),
        ({"host": ""}, 403),
        ({"host": "localhost:8004", "origin": "http://evil.example"}, 403),
        ({"host": "localhost:8004", "origin": "http://localhost:9999"}, 403),
        ({"host": "localhost:8004", "origin": "null"}, 403),
        ({"host": "localhost:8004", "origin": ""}, 403),
    ],
)
@in_loop
async def test_without_keys_a_page_of_another_site_is_no_caller(job, tmp_path, headers, expected):
    """On loopback: neither a foreign page nor a name that was turned to this address."""
    async with served(job, tmp_path, hosts=("localhost", "127.0.0.1")) as client:
        assert await status(client, **headers) == expected


@in_loop
async def test_other_sites_are_allowed_one_by_one(job, keys, tmp_path):
    good = key(keys)
    shop = "https://shop.example"
    ask = {"origin": shop, "access-control-request-method": "GET"}
    async with served(job, tmp_path, keys_file=str(keys)) as client:
        answer = await client.options(ONE, headers=ask)
        assert "access-control-allow-origin" not in answer.headers
    async with served(job, tmp_path, keys_file=str(keys), cors_origins=(shop,)) as client:
        answer = await client.options(ONE, headers=ask)
        assert answer.headers["access-control-allow-origin"] == shop
        answer = await client.get(ONE, headers={"origin": shop, "x-api-key": good})
        assert answer.headers["access-control-allow-origin"] == shop
        answer = await client.options(ONE, headers={**ask, "origin": "https://evil.example"})
        assert "access-control-allow-origin" not in answer.headers
        assert (await client.get(ONE, headers={"origin": shop})).status_code == 401


@in_loop
async def test_every_answer_says_what_browsers_and_caches_may_do_with_it(job, keys, tmp_path):
    good = key(keys)
    async with served(job, tmp_path, keys_file=str(keys)) as client:
        for path, headers in ((ONE, {}), (ONE, {"x-api-key": good}), ("/health", {})):
            said = (await client.get(path, headers=headers)).headers
            assert said["x-content-type-options"] == "nosniff"
            assert said["x-frame-options"] == "DENY"
            assert said["cache-control"] == "no-store"
            assert "default-src 'none'" in said["content-security-policy"]
            assert said["x-request-id"]
            assert "server" not in said
        docs = (await client.get("/docs")).headers["content-security-policy"]
        assert "script-src https://cdn.jsdelivr.net" in docs


@pytest.mark.parametrize(
    "origin",
    ["shop.example", "https://shop.example/", "https://Shop.example", "null", "", "https://"],
)
def test_an_origin_that_no_browser_sends_is_a_mistake(job, tmp_path, origin):
    with pytest.raises(ConfigurationError, match="is no origin"):
        served(job, tmp_path, cors_origins=(origin,))


# How often ----------------------------------------------------------------------------------------


@in_loop
async def test_a_key_that_calls_too_often_waits_and_others_do_not(job, keys, tmp_path):
    one, two = key(keys, name="one"), key(keys, name="two")
    async with served(job, tmp_path, keys_file=str(keys), rate="3/h") as client:
        answers = [await client.get(ONE, headers={"x-api-key": one}) for _ in range(4)]
        assert [each.status_code for each in answers] == [404, 404, 404, 429]
        assert [each.headers["ratelimit"][:13] for each in answers] == [
            f'"default";r={left}' for left in (2, 1, 0, 0)
        ]
        assert 1_100 < int(answers[-1].headers["retry-after"]) <= 1_200
        assert answers[-1].json()["code"] == "too_many_requests"
        assert await status(client, x_api_key=two) == 404
        assert (await client.get("/health")).status_code == 200


def test_a_bucket_fills_steadily_and_is_never_more_than_full():
    now = [0.0]
    limit = RateLimit(None, parse_rate("2/s"), clock=lambda: now[0])
    assert [limit._take("a") >= 0 for _ in range(3)] == [True, True, False]
    now[0] += 0.5
    assert [limit._take("a") >= 0 for _ in range(2)] == [True, False]
    now[0] += 100
    assert [limit._take("a") >= 0 for _ in range(3)] == [True, True, False]


def test_buckets_of_who_is_gone_are_forgotten():
    now = [0.0]
    limit = RateLimit(None, parse_rate("2/s"), clock=lambda: now[0])
    for number in range(10_000):
        limit._take(str(number))
    now[0] += 1
    limit._take("new")
    assert list(limit._buckets) == ["new"]


@pytest.mark.parametrize("text", ["", "5", "0/s", "5/d", "-1/s", "1.5/s", "5 / s"])
def test_a_rate_that_is_none(text):
    with pytest.raises(ConfigurationError, match="is no rate"):
        parse_rate(text)


# The log ------------------------------------------------------------------------------------------


@in_loop
async def test_a_line_a_request_without_values(job, keys, tmp_path, caplog):
    """Who, what, how long; no id of an entity, no value of a query, a header or a body."""
    good = key(keys, name="shop")
    with caplog.at_level(logging.INFO, "pystator.access"):
        async with served(job, tmp_path, keys_file=str(keys)) as client:
            await client.get(
                f"{ONE}?machine_name=hidden", headers={"x-api-key": good, "x-request-id": "r-1"}
            )
            await client.get("/api/v1/hidden", headers={"x-request-id": "bad id\t" + "x" * 99})
    records = [each for each in caplog.records if each.name == "pystator.access"]
    first, second = (json.loads(JsonFormat().format(each)) for each in records)
    assert (first["method"], first["status"], first["caller"]) == ("GET", 404, "shop")
    assert first["route"] == "/entities/{entity_id}"
    assert first["request_id"] == "r-1"
    assert first["ms"] >= 0
    logged = datetime.fromisoformat(first["time"])
    assert abs(logged - datetime.fromtimestamp(records[0].created, UTC)) < timedelta(milliseconds=2)
    assert (second["status"], second["caller"], second["route"]) == (401, "-", "-")
    assert len(second["request_id"]) == 16, "an id that could forge a line is not taken"
    lines = [TextFormat().format(each) for each in records]
    assert all("hidden" not in each and good not in each for each in (*lines, str([first, second])))
    assert "GET" in lines[0]


@in_loop
async def test_an_error_that_nobody_foresaw_is_one_sentence_and_one_traceback(
    job, tmp_path, monkeypatch, caplog
):
    async with served(job, tmp_path) as client:
        services = client._transport.app.state.services

        async def broken(*_, **__):
            raise ZeroDivisionError("secret detail")

        monkeypatch.setattr(services.entities, "get", broken)
        answer = await client.get(ONE)
    assert answer.status_code == 500
    said = answer.json()
    assert said["code"] == "internal_error"
    assert answer.headers["x-request-id"] in said["detail"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "secret detail" not in answer.text
    assert caplog.text.count("ZeroDivisionError: secret detail") == 1

"""Every route of the document, asked by everybody who may not: refused, and nothing is touched.

The routes come from the OpenAPI document. One that is new has to be named here, with the scope it
asks for, before this module passes.
"""

import asyncio
import base64
import hmac
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import jwt
import pytest

from pystator import InMemoryStateStore, StateMachine
from pystator.api import create_app
from pystator.api.settings import ApiSettings
from pystator.service.keyfile import create_key, revoke_key

SECRET = "k" * 32
MARK = "hidden-value"
"""In the context of the entity that a stranger must not see."""


class Route(NamedTuple):
    """What a route asks for, and a request that it takes."""

    scope: str | None
    body: dict[str, Any] | None = None
    query: str = ""
    names: str = ""
    """Where the request can name a machine: in its ``body``, its ``query``, or the ``path``."""


def config(name: str, version: str = "1") -> dict[str, Any]:
    return {
        "meta": {"machine_name": name, "version": version},
        "states": [{"name": "new", "type": "initial"}, {"name": "going"}],
        "transitions": [{"trigger": "go", "source": ["new", "going"], "dest": "going"}],
    }


ROUTES = {
    "GET /health": Route(None),
    "GET /ready": Route(None),
    "GET /api/v1/health": Route(None),
    "GET /api/v1/ready": Route(None),
    "GET /metrics": Route("read"),
    "POST /api/v1/entities/bulk/events": Route(
        "send", {"events": [{"entity_id": "one-e", "trigger": "go", "machine_name": "mine"}]}
    ),
    "POST /api/v1/entities/{entity_id}/events": Route("send", {"trigger": "go"}, names="body"),
    "POST /api/v1/entities/{entity_id}/create": Route("send", {}, names="body"),
    "POST /api/v1/entities/{entity_id}/apply-data": Route("send", {"data": {"a": 1}}, names="body"),
    "POST /api/v1/entities/{entity_id}/dry-run": Route("read", {"trigger": "go"}, names="body"),
    "POST /api/v1/entities/{entity_id}/force-state": Route(
        "admin", {"state": "going", "reason": "test"}, names="body"
    ),
    "POST /api/v1/entities/{entity_id}/archive": Route("admin", {"reason": "test"}, names="body"),
    "POST /api/v1/entities/{entity_id}/unarchive": Route("admin", {"reason": "test"}, names="body"),
    "GET /api/v1/entities/{entity_id}": Route("read", names="query"),
    "GET /api/v1/entities/{entity_id}/history": Route("read", names="query"),
    "GET /api/v1/events/{event_id}": Route("read", query="entity_id=one-e", names="query"),
    "GET /api/v1/entities": Route("read", names="query"),
    "GET /api/v1/counts": Route("read", names="query"),
    "GET /api/v1/transitions": Route("read", names="query"),
    "GET /api/v1/transitions/stream": Route("read", query="seconds=0.05", names="query"),
    "GET /api/v1/machines": Route("read"),
    "POST /api/v1/machines": Route("admin", config("mine", "2"), names="text"),
    "POST /api/v1/machines/validate": Route("read", config("mine")),
    "GET /api/v1/machines/{name}": Route("read", names="path"),
    "PUT /api/v1/machines/{name}": Route("admin", config("mine", "2"), names="path"),
    "DELETE /api/v1/machines/{name}": Route("admin", names="path"),
    "GET /api/v1/machines/{name}/versions": Route("read", names="path"),
    "GET /api/v1/machines/{name}/diagram": Route("read", names="path"),
    "POST /api/v1/process": Route("read", {"trigger": "go", "machine": config("mine")}),
}

PATH = {"entity_id": "one-e", "event_id": "first", "name": "mine"}


class Place:
    """An application with two machines, one entity of the first, and everybody's credentials."""

    def __init__(self, folder: Path) -> None:
        self.store = InMemoryStateStore()
        keys = folder / "keys.json"
        now = time.time_ns() // 1_000
        make = partial(create_key, keys, machines=None, now=now)
        self.admin, _ = make("admin", scopes=["admin"])
        self.keys = {scope: make(scope, scopes=[scope])[0] for scope in ("read", "send")}
        self.expired, _ = make("late", scopes=["admin"], expires_at=now)
        self.revoked, gone = make("gone", scopes=["admin"])
        revoke_key(keys, gone.id, now=now)
        settings = ApiSettings.load(
            {},
            folder,
            folder,
            keys_file=str(keys),
            jwt_secret=SECRET,
            jwt_issuer="me",
            jwt_audience="pystator",
        )
        machines = [StateMachine.from_dict(config(name)) for name in ("mine", "other")]
        self.app = create_app(machines, store=self.store, settings=settings)
        self.routes = {
            f"{method.upper()} {path}": operation
            for path, operations in self.app.openapi()["paths"].items()
            for method, operation in operations.items()
        }

    def ask(self, name: str, headers: dict[str, str], **changed: Any) -> httpx.Response:
        """The answer to a route's request with these headers."""
        route = ROUTES[name]._replace(**changed)
        method, _, path = name.partition(" ")
        url = path.format(**PATH) + (f"?{route.query}" if route.query else "")
        return asyncio.run(self._send(method, url, headers, route.body))

    async def _send(self, method: str, url: str, headers: Any, body: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, url, headers=headers, json=body, timeout=30)

    def begin(self) -> None:
        """One entity of the machine ``mine``."""
        admin = {"x-api-key": self.admin, "idempotency-key": "first"}
        body = {"machine_name": "mine", "context": {"secret": MARK}}
        made = self.ask("POST /api/v1/entities/{entity_id}/create", admin, body=body)
        assert made.status_code == 201, made.text

    def everything(self) -> str:
        """All that the store has."""
        entities = self.store.entities().items
        rows = self.store.feed(None, 1_000).items
        archived = self.store.entities(archived=True).items
        return repr((entities, archived, rows, list(self.store.stored_machines().items)))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("access"))
    made.begin()
    yield made
    made.app.state.services.workroom.close()


def token(secret: str = SECRET, algorithm: str = "HS256", **said: Any) -> str:
    claims = {"sub": "x", "exp": time.time() + 3_600, "iss": "me", "aud": "pystator"}
    return jwt.encode({**claims, "scope": "admin", **said}, secret, algorithm)


def unsigned() -> str:
    _, body, _ = token().split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    return f"{none}.{body}."


def as_key_file() -> str:
    """A token whose HMAC is made with something that everybody knows."""
    text = token().rpartition(".")[0]
    seal = base64.urlsafe_b64encode(hmac.digest(b"", text.encode(), "sha256"))
    return f"{text}.{seal.rstrip(b'=').decode()}"


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


WHO: dict[str, tuple[int, Callable[[Place], dict[str, str]]]] = {
    "no key": (401, lambda _: {}),
    "a wrong key": (401, lambda of: {"x-api-key": of.admin[:-2] + "xx"}),
    "a key of another id": (401, lambda of: bearer(f"pst_{'a' * 12}_{of.admin[-43:]}")),
    "a revoked key": (401, lambda of: {"x-api-key": of.revoked}),
    "an expired key": (401, lambda of: bearer(of.expired)),
    "a key twice": (401, lambda of: {"x-api-key": of.admin, **bearer(of.admin)}),
    "an expired token": (401, lambda _: bearer(token(exp=time.time() - 60))),
    "a token without end": (401, lambda _: bearer(jwt.encode({"sub": "x"}, SECRET, "HS256"))),
    "a forged token": (401, lambda _: bearer(token("f" * 32))),
    "a token of no secret": (401, lambda _: bearer(as_key_file())),
    "an unsigned token": (401, lambda _: bearer(unsigned())),
    "a token of another algorithm": (401, lambda _: bearer(token("k" * 64, "HS512"))),
    "a token for another audience": (401, lambda _: bearer(token(aud="billing"))),
    "a token of another issuer": (401, lambda _: bearer(token(iss="you"))),
    "a token with a broken claim": (401, lambda _: bearer(token(machine={"mine": 1}))),
    "a token without scopes": (403, lambda _: bearer(token(scope="openid email"))),
}


def test_every_route_of_the_document_is_in_the_table(place):
    assert set(place.routes) == set(ROUTES)


def test_the_document_says_where_a_key_is_asked_for(place):
    schemes = place.app.openapi()["components"]["securitySchemes"]
    assert {each["type"] for each in schemes.values()} == {"http", "apiKey"}
    for name, operation in place.routes.items():
        asked = [next(iter(each)) for each in operation["security"]]
        assert asked == ([] if ROUTES[name].scope is None else list(schemes)), name
        expected = {"400", "414", "431"} | ({"401", "403", "429"} if asked else set())
        expected |= {"408", "413"} if ROUTES[name].body is not None else set()
        assert expected <= set(operation["responses"]), name


@pytest.mark.parametrize("who", WHO)
def test_who_may_not_call_is_refused_at_every_route_and_touches_nothing(place, who):
    status, credentials = WHO[who]
    headers = credentials(place)
    before = place.everything()
    for name in place.routes:
        answer = place.ask(name, {**headers, "idempotency-key": "x"})
        if ROUTES[name].scope is None:
            assert answer.status_code == 200, name
            continue
        assert answer.status_code == status, (name, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert ("www-authenticate" in answer.headers) == (status == 401)
        assert MARK not in answer.text
        assert str(status) in place.routes[name]["responses"], f"{name} does not declare it"
        assert place.everything() == before, name


def test_a_key_opens_its_scope_and_no_other(place):
    before = place.everything()
    asked = 0
    for name, route in ROUTES.items():
        for scope, key in place.keys.items():
            if route.scope is None or route.scope == scope:
                continue
            answer = place.ask(name, {"x-api-key": key})
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), name
            assert answer.json()["scope"] == route.scope
            asked += 1
    assert asked > 30
    assert place.everything() == before


def test_who_may_call_is_not_refused(tmp_path):
    """The requests of the table are good ones: what refuses them is who sends them."""
    place = Place(tmp_path)
    place.begin()
    for name, route in ROUTES.items():
        keys = [place.admin]
        if route.scope in place.keys:
            keys.append(place.keys[route.scope])
        for key in keys:
            answer = place.ask(name, {"x-api-key": key})
            assert answer.status_code not in {400, 401, 403, 415, 422}, (name, answer.text)
    place.app.state.services.workroom.close()


# Machines -----------------------------------------------------------------------------------------


def stranger(machine: str = "other") -> dict[str, str]:
    """Who may do everything, to the entities of one machine."""
    return bearer(token(machine=machine))


def naming(route: Route) -> dict[str, Any]:
    """The route's request, with the other machine's name in it."""
    if route.names == "body":
        return {"body": {**(route.body or {}), "machine_name": "mine"}}
    if route.names == "query":
        return {"query": "&".join(filter(None, (route.query, "machine_name=mine")))}
    return {}


def test_a_request_that_names_another_machine_is_refused(place):
    before = place.everything()
    asked = 0
    for name, route in ROUTES.items():
        if not route.names:
            continue
        answer = place.ask(name, stranger(), **naming(route))
        assert answer.status_code == 403, (name, answer.text)
        assert MARK not in answer.text
        asked += 1
    assert asked > 15
    assert place.everything() == before


@pytest.mark.parametrize("machine", ["other", "no-such-machine"])
def test_what_another_machine_has_is_not_there(place, machine):
    """Lists leave it out, lookups do not find it, and nothing of it changes.

    A new entity of the stranger's own machine may have the same id: it is another one.
    """
    mine = [each for each in place.store.entities().items if each.machine_name == "mine"]
    rows = [each for each in place.store.feed(None, 1_000).items if each.machine_name == "mine"]
    for name, route in ROUTES.items():
        if route.scope is None or name.startswith(("POST /api/v1/machines/v", "POST /api/v1/proc")):
            continue  # what is sent along is the sender's own
        answer = place.ask(name, stranger(machine))
        assert MARK not in answer.text, name
        if answer.status_code < 300 and "bulk" not in name:  # where the request names it
            assert "mine" not in answer.text, (name, answer.text)
    entities = place.store.entities().items
    assert [each for each in entities if each.machine_name == "mine"] == mine
    feed = place.store.feed(None, 1_000).items
    assert [each for each in feed if each.machine_name == "mine"] == rows


def test_an_entity_of_another_machine_cannot_be_told_from_one_that_is_not_there(place):
    for path in ("GET /api/v1/entities/{entity_id}", "GET /api/v1/entities/{entity_id}/history"):
        there = place.ask(path, stranger("no-such-machine"))
        method, _, url = path.partition(" ")
        send = place._send(method, url.format(entity_id="one-z"), stranger("no-such-machine"), None)
        nowhere = asyncio.run(send)
        assert (there.status_code, nowhere.status_code) == (404, 404)
        assert there.text.replace("one-e", "one-z") == nowhere.text


def test_not_by_what_is_known_of_its_events_either(tmp_path):
    """Also for who sees a single machine, which an entity without a row would belong to."""
    place = Place(tmp_path)
    place.begin()
    try:
        there, nowhere = (
            asyncio.run(place._send("GET", f"/api/v1/{path}", stranger(), None))
            for path in ("events/first?entity_id=one-e", "events/first?entity_id=one-z")
        )
    finally:
        place.app.state.services.workroom.close()
    assert (there.status_code, nowhere.status_code) == (404, 404)
    assert there.text.replace("one-e", "one-z") == nowhere.text


def test_a_stream_has_the_rows_of_the_callers_machines_only(place):
    """From the feed's beginning: the stranger's rows come, the others' do not."""
    start = place.ask("GET /api/v1/transitions", {"x-api-key": place.admin}, query="limit=1")
    events = "POST /api/v1/entities/{entity_id}/events"
    for machine in ("mine", "other", "mine"):
        body = {"trigger": "go", "machine_name": machine}
        sent = place.ask(events, {"x-api-key": place.admin}, body=body)
        assert sent.status_code == 200, sent.text
    query = f"seconds=0.5&after={start.json()['next']}"
    for headers, machines in ((stranger(), {"other"}), (bearer(token()), {"mine", "other"})):
        answer = place.ask("GET /api/v1/transitions/stream", headers, query=query)
        rows = [json.loads(line[6:]) for line in answer.text.splitlines() if line[:6] == "data: "]
        assert {row["machine_name"] for row in rows} == machines

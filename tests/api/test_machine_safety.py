"""Who may do what with machines, and what no machine of a stranger may do."""

import asyncio
import json
import time
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import jwt
import pytest

from api.definitions import YAML, small
from pystator import InMemoryStateStore, StateMachine
from pystator.api import ApiSettings, create_app
from servers.service import Service, until
from stores.three import Three

SECRET = "k" * 32


@asynccontextmanager
async def served(application=None, **options):
    """``client(scopes, machines)``: a client with a token that says these."""
    options.setdefault("settings", ApiSettings(jwt_secret=SECRET))
    app = create_app(application, store="memory://", **options)

    def client(scopes="admin", machines=None):
        claims = {"sub": "ada", "scope": scopes, "exp": int(time.time()) + 600}
        if machines is not None:
            claims["machine"] = sorted(machines)
        token = jwt.encode(claims, SECRET, "HS256")
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False),
            base_url="http://test/api/v1",
            headers={"Authorization": f"Bearer {token}"},
        )

    async with app.router.lifespan_context(app):
        yield client


# Who may do what ----------------------------------------------------------------------------------

READS = [
    ("GET", "/machines", None),
    ("GET", "/machines/small", None),
    ("GET", "/machines/small/versions", None),
    ("GET", "/machines/small/diagram?format=mermaid", None),
    ("POST", "/machines/validate", small()),
    ("POST", "/process", {"machine": small()}),
    ("POST", "/process", {"machine_name": "small"}),
]
CHANGES = [
    ("POST", "/machines", small(version="2")),
    ("PUT", "/machines/small", small(version="2")),
    ("DELETE", "/machines/small", None),
]


def test_reading_needs_one_scope_and_changing_another() -> None:
    async def go() -> None:
        async with served([StateMachine.from_dict(small(name="own"))]) as client:
            await client().post("/machines", json=small())
            for scopes, reads in (("read", True), ("send", False), ("admin", True), ("", False)):
                for method, path, body in READS:
                    answer = await client(scopes).request(method, path, json=body)
                    assert answer.status_code == (200 if reads else 403), (scopes, path)
            for scopes in ("read", "send", "read send", ""):
                for method, path, body in CHANGES:
                    answer = await client(scopes).request(method, path, json=body)
                    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
            kept = (await client().get("/machines")).json()["items"]
            assert [(each["name"], each["version"]) for each in kept] == [
                ("own", "1"), ("small", "1")
            ]  # fmt: skip

    asyncio.run(go())


def test_a_caller_of_some_machines_sees_and_changes_no_others() -> None:
    async def go() -> None:
        async with served([StateMachine.from_dict(small(name="own"))]) as client:
            for name in ("small", "other"):
                await client().post("/machines", json=small(name=name))
            mine = client(machines={"small", "own", "nothing"})
            listed = (await mine.get("/machines?limit=1")).json()
            rest = (await mine.get(f"/machines?cursor={listed['next']}")).json()
            assert [each["name"] for each in listed["items"] + rest["items"]] == ["own", "small"]
            for method, path, body in (
                ("GET", "/machines?name=other", None),
                ("GET", "/machines/other", None),
                ("GET", "/machines/other/versions", None),
                ("GET", "/machines/other/diagram", None),
                ("POST", "/machines", small("2", "other")),
                ("PUT", "/machines/other", small("2", "other")),
                ("DELETE", "/machines/other", None),
                ("POST", "/process", {"machine_name": "other"}),
            ):
                answer = await mine.request(method, path, json=body)
                assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), path
            gone = await mine.get("/machines/nothing")
            assert (gone.status_code, "other" in gone.text) == (404, False)
            alone = await client(machines={"small"}).post("/process", json={})
            assert alone.json()["machine_name"] == "small"  # the only one there is, to this caller
            many = await mine.post("/process", json={})
            assert (many.status_code, "other" in many.text) == (422, False)

    asyncio.run(go())


def test_a_store_that_keeps_no_machines_says_so() -> None:
    """One of a user's own need not; the machines of the application are served all the same."""

    async def go() -> None:
        services = create_app([StateMachine.from_dict(small())], store=Three()).state.services
        app = create_app([StateMachine.from_dict(small())], store=InMemoryStateStore())
        app.state.services.admin = services.admin  # a store of three methods cannot be connected
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://test/api/v1"
            ) as client:
                listed = (await client.get("/machines")).json()["items"]
                assert [each["name"] for each in listed] == ["small"]
                assert (await client.get("/machines/nothing")).status_code == 404
                for method, path in (("POST", "/machines"), ("DELETE", "/machines/x")):
                    answer = await client.request(method, path, json=small(name="x"))
                    assert (answer.status_code, answer.json()["code"]) == (501, "not_supported")
        services.workroom.close()

    asyncio.run(go())


# Strangers ----------------------------------------------------------------------------------------


def aliases() -> str:
    lines = ["meta:", "  a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    return "\n".join([*lines, "states: *a29", "transitions: []"])


BOMBS = {
    "aliases": aliases,
    "depth": lambda: "[" * 300_000,
    "depth_of_mappings": lambda: "{a: " * 100_000,
    "one_number": lambda: "states: " + "9" * 500_000,
    "long_expression": lambda: (
        "states: [{name: a, type: initial}]\ntransitions:\n- {trigger: t, source: a, dest: a,"
        " guards: [{expr: '" + "(" * 200_000 + "'}]}"
    ),
    "many_mistakes": lambda: "states: [" + "1," * 100_000 + "]\ntransitions: []",
    "garbage": lambda: "\x07\x1b[2J" * 1_000,
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_text_that_is_made_to_exhaust_is_refused(everything, bomb) -> None:
    """In bounded time, by what stores it and by what checks it; and the next one is answered."""
    text = BOMBS[bomb]().encode()

    async def go(client) -> None:
        stored = await client.post("/machines", content=text, headers=YAML, timeout=60)
        assert (stored.status_code, stored.headers["content-type"]) == (
            422, "application/problem+json"
        )  # fmt: skip
        checked = await client.post("/machines/validate", content=text, headers=YAML, timeout=60)
        assert (checked.status_code, checked.json()["valid"]) == (200, False)
        assert len(checked.content) < 1_000_000
        assert (await client.get("/machines")).json()["items"] == []

    everything(go)


@pytest.mark.parametrize(
    ("numbers", "effect"),
    [
        ('{"n": 1e999}', "n + 1"),
        ('{"n": 1e200}', "n * n"),
        ('{"n": %s}' % ("9" * 4_000), "n + 1"),
        ('{"n": "\\ud800"}', "n"),
        ('{"\\ud800": 1, "n": 1}', "n"),
        ('{"n": ' + "[" * 200 + "]" * 200 + "}", "n"),
    ],
    ids=["infinity", "overflow", "long", "surrogate", "key", "deep"],
)
def test_what_no_store_holds_is_refused_in_a_trial(everything, numbers, effect) -> None:
    way = {"trigger": "go", "source": "a", "dest": "b", "actions": [{"compute": {"n": effect}}]}
    machine = json.dumps(small(transitions=[way]))

    async def go(client) -> None:
        for place in ("context", "payload"):
            body = f'{{"machine": {machine}, "state": "a", "trigger": "go", "{place}": {numbers}}}'
            headers = {"content-type": "application/json"}
            answer = await client.post("/process", content=body, headers=headers)
            assert answer.status_code in {400, 422} or answer.json()["success"] is False

    everything(go)


def test_a_picture_has_nothing_in_it_that_a_browser_runs(everything) -> None:
    evil = "<script>alert(1)</script>"
    config = small(name="evil")
    config["meta"]["description"] = evil
    config["states"][0]["description"] = f'"><img src=x onerror=alert(1)>{evil}'
    config["transitions"][0]["description"] = evil
    config["transitions"][0]["guards"] = [{"expr": f'n == "{evil}"'}]

    async def go(client) -> None:
        made = await client.post("/machines", json=config)
        assert made.status_code == 201
        picture = await client.get("/machines/evil/diagram")
        assert "<script" not in picture.text
        assert "<img" not in picture.text
        assert "default-src 'none'" in picture.headers["content-security-policy"]
        await client.delete("/machines/evil")

    everything(go)


# Processes ----------------------------------------------------------------------------------------


def children(pid: int) -> set[int]:
    return {
        int(each)
        for task in Path(f"/proc/{pid}/task").glob("*/children")
        for each in task.read_text().split()
    }


def test_workers_end_with_their_service(tmp_path) -> None:
    """Though it was killed: no process is left behind."""
    with Service(tmp_path, "memory://") as service:
        assert service.post("/api/v1/machines/validate", small()).json()["valid"]
        workers = children(service.process.pid)
        assert len(workers) == 1
        service.kill()
        until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers), 20)

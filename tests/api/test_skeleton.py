"""The first things a client meets."""

import asyncio
from urllib.parse import quote

import pytest


def test_it_is_alive_and_ready(serve) -> None:
    async def go() -> None:
        async with serve() as client:
            for path in ("/health", "/ready", "http://test/health", "http://test/ready"):
                assert (await client.get(path)).status_code == 200

    asyncio.run(go())


def test_an_entity_is_started_and_read(serve, order) -> None:
    async def go() -> None:
        async with serve(order) as client:
            made = await client.post("/entities/order-1/create", json={"context": {"total": 5}})
            assert (made.status_code, made.headers["etag"]) == (201, '"1"')
            read = await client.get("/entities/order-1")
            assert read.json() == made.json()
            assert read.json()["state"] == "draft"
            again = await client.post("/entities/order-1/create")
            assert (again.status_code, again.json()["code"]) == (409, "entity_exists")

    asyncio.run(go())


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "code"),
    [
        ("GET", "/entities/nobody", {}, 404, "entity_not_found"),
        ("GET", "/nothing", {}, 404, "not_found"),
        ("DELETE", "/entities/order-1", {}, 405, "method_not_allowed"),
        ("POST", "/entities/a/create", {"content": b"{"}, 400, "invalid_json"),
        (
            "POST",
            "/entities/a/create",
            {"content": b'{"context": {"a": NaN}}'},
            400,
            "invalid_json",
        ),
        ("POST", "/entities/a/create", {"content": b"\xff"}, 400, "invalid_json"),
        ("POST", "/entities/a/create", {"content": b"[" * 100_000}, 400, "invalid_json"),
        ("POST", "/entities/a/create", {"json": {"contxt": {}}}, 422, "invalid_request"),
        ("POST", "/entities/a/create", {"json": {"machine_name": "b"}}, 404, "machine_not_found"),
        ("POST", "/entities/a%00/create", {}, 422, "invalid_value"),
        ("POST", "/entities/a%FF/create", {}, 422, "invalid_value"),
    ],
)
def test_every_mistake_is_a_problem_document(
    serve, order, method, path, options, status, code
) -> None:
    async def go() -> None:
        if "content" in options:
            options["headers"] = {"content-type": "application/json"}
        async with serve(order) as client:
            answer = await client.request(method, path, **options)
            told = answer.json()
            assert (answer.status_code, told["code"]) == (status, code), told
            assert answer.headers["content-type"] == "application/problem+json"
            assert (told["type"], told["status"]) == (f"urn:pystator:problem:{code}", status)
            assert told["detail"]

    asyncio.run(go())


@pytest.mark.parametrize(
    "entity_id", ["create", "a/b", "a b", "ä+ö", "%2F", "bulk", "?", "..", "a" * 255]
)
def test_any_storable_id_works_in_a_path(serve, order, entity_id) -> None:
    async def go() -> None:
        path = f"/entities/{quote(entity_id, safe='')}".replace("..", "%2E%2E")
        async with serve(order) as client:
            made = await client.post(f"{path}/create")
            assert made.status_code == 201, made.text
            assert made.json()["entity_id"] == entity_id
            assert (await client.get(path)).json()["entity_id"] == entity_id

    asyncio.run(go())

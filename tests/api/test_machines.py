"""Machines over HTTP: a version never changes, and what the application brings stays its own."""

import asyncio
import json

import pytest
import yaml

from api.definitions import ORDER, YAML, small
from pystator import StateMachine
from pystator.api import create_app
from pystator.definition.load import load_file
from pystator.service.machine_admin import following


def test_a_day_of_a_machine(serve) -> None:
    """Stored, read, used, changed, drawn, deleted."""

    async def go() -> None:
        async with serve() as client:
            made = await client.post("/machines", content=ORDER, headers=YAML)
            assert made.status_code == 201
            assert made.json()["source"] == "store"
            where = made.headers["location"]
            assert where == "/api/v1/machines/shop_order?version=2.0"
            again = await client.post("/machines", content=ORDER, headers=YAML)
            assert (again.status_code, again.json()) == (200, made.json())

            read = await client.get(f"http://test{where}")
            assert read.headers["etag"].startswith(f'"{made.json()["fingerprint"]}')
            assert read.json()["definition"]["meta"]["machine_name"] == "shop_order"
            same = await client.get(
                f"http://test{where}", headers={"if-none-match": f'"x", {read.headers["etag"]}'}
            )
            assert (same.status_code, same.content) == (304, b"")

            entity = await client.post("/entities/order-1/create", json={"context": {"total": 5}})
            assert entity.json()["machine_version"] == "2.0"
            refused = await client.delete("/machines/shop_order")
            assert (refused.status_code, refused.json()["code"]) == (409, "machine_conflict")
            assert refused.json()["live"] == 1

            changed = ORDER.replace('version: "2.0"', 'version: "2.1"').replace(
                "total > 0", "total > 9"
            )
            put = await client.put("/machines/shop_order", content=changed, headers=YAML)
            assert (put.status_code, put.json()["version"]) == (201, "2.1")
            versions = (await client.get("/machines/shop_order/versions")).json()
            assert [each["version"] for each in versions["items"]] == ["2.0", "2.1"]
            other = await client.post("/entities/order-2/create", json={"context": {"total": 5}})
            assert other.json()["machine_version"] == "2.1"

            gone = await client.delete("/machines/shop_order", params={"version": "9"})
            assert (gone.status_code, gone.json()["versions"]) == (404, ["2.0", "2.1"])

    asyncio.run(go())


def test_a_machine_without_live_entities_is_deleted(serve) -> None:
    async def go() -> None:
        async with serve() as client:
            for version in "12":
                await client.post("/machines", json=small(version, dest="bc"[int(version) - 1]))
            assert (await client.delete("/machines/small?version=1")).status_code == 204
            assert (await client.get("/machines/small?version=1")).status_code == 404
            assert (await client.get("/machines/small")).json()["version"] == "2"
            assert (await client.delete("/machines/small")).status_code == 204
            gone = await client.get("/machines/small")
            assert (gone.status_code, gone.json()["code"]) == (404, "machine_not_found")
            lost = await client.post("/entities/x/create", json={"machine_name": "small"})
            assert lost.status_code == 404
            assert (await client.delete("/machines/small")).status_code == 404

    asyncio.run(go())


def test_a_version_never_changes(serve) -> None:
    """And the answer says which version may come next."""

    async def go() -> None:
        async with serve() as client:
            await client.post("/machines", json=small("2.9"))
            answer = await client.put("/machines/small", json=small("2.9", dest="c"))
            assert answer.status_code == 409
            assert answer.json()["code"] == "machine_conflict"
            assert 'meta.version: "2.10"' in answer.json()["detail"]
            kept = await client.get("/machines/small")
            assert kept.json()["definition"]["transitions"][0]["dest"] == "b"

    asyncio.run(go())


@pytest.mark.parametrize(
    ("version", "after"),
    [("2.0", "2.1"), ("v9", "v10"), ("beta", "beta-2"), ("1.2-rc3", "1.2-rc4")],
)
def test_the_version_that_may_come_next(version, after) -> None:
    assert following(version) == after


def test_a_machine_of_the_application_is_its_codes(serve, order) -> None:
    async def go() -> None:
        async with serve(order) as client:
            listed = (await client.get("/machines")).json()["items"]
            assert [(each["name"], each["source"], each["created_at"]) for each in listed] == [
                ("shop_order", "application", None)
            ]
            assert (await client.get("/machines/shop_order")).json()["version"] == "2.0"
            for answer in (
                await client.put("/machines/shop_order", json=small(name="shop_order")),
                await client.post("/machines", json=small(name="shop_order")),
                await client.delete("/machines/shop_order"),
            ):
                assert (answer.status_code, answer.json()["code"]) == (409, "machine_conflict")
                assert "registered by the application" in answer.json()["detail"]
            assert (await client.get("/machines/shop_order/versions")).json()["items"] == listed

    asyncio.run(go())


def test_the_name_in_the_path_is_the_machines(serve) -> None:
    async def go() -> None:
        async with serve() as client:
            answer = await client.put("/machines/other", json=small())
            assert (answer.status_code, answer.json()["code"]) == (409, "machine_conflict")
            assert (await client.put("/machines/small", json=small())).status_code == 201

    asyncio.run(go())


def test_a_machine_that_is_named_like_a_route_is_found_where_its_location_is(serve) -> None:
    async def go() -> None:
        async with serve() as client:
            named = {**small(), "meta": {"machine_name": "validate", "version": "1"}}
            place = (await client.post("/machines", json=named)).headers["location"]
            found = await client.get(place.removeprefix("/api/v1"))
            assert (found.status_code, found.json()["name"]) == (200, "validate")

    asyncio.run(go())


def test_lists_go_page_by_page_through_both_homes(serve) -> None:
    """In order, nothing twice; of one name and version, the application's."""

    async def go() -> None:
        own = [StateMachine.from_dict(small("1", name)) for name in ("b", "d")]
        async with serve(own) as client:
            store = (
                client._transport.app.state.services.store
            )  # behind the API's back: `b` is taken
            for name, version in (
                ("a", "1"),
                ("b", "0"),
                ("b", "1"),
                ("c", "1"),
                ("c", "2"),
                ("e", "1"),
            ):
                prepared = await client._transport.app.state.services.admin.prepare(
                    json.dumps(small(version, name, dest="abc"[int(version)])).encode()
                )
                await store.asave_machine(prepared)
            found, after = [], None
            for _ in range(20):
                params = {"limit": 2, **({"cursor": after} if after else {})}
                page = (await client.get("/machines", params=params)).json()
                assert len(page["items"]) <= 2
                found += [(m["name"], m["version"], m["source"]) for m in page["items"]]
                after = page["next"]
                if after is None:
                    break
            assert found == [
                ("a", "1", "store"), ("b", "0", "store"), ("b", "1", "application"),
                ("c", "1", "store"), ("c", "2", "store"), ("d", "1", "application"),
                ("e", "1", "store"),
            ]  # fmt: skip
            named = (await client.get("/machines", params={"name": "c"})).json()["items"]
            assert [(m["name"], m["version"]) for m in named] == [("c", "1"), ("c", "2")]
            bad = await client.get("/machines", params={"cursor": "x"})
            assert bad.status_code == 422

    asyncio.run(go())


def test_the_definition_as_a_file(serve, tmp_path) -> None:
    async def go() -> None:
        async with serve() as client:
            await client.post("/machines", content=ORDER, headers=YAML)
            answer = await client.get("/machines/shop_order?format=yaml")
            assert answer.headers["content-type"].startswith("application/yaml")
            file = tmp_path / "order.yaml"
            file.write_text(answer.text, encoding="utf-8")
            stored = (await client.get("/machines/shop_order")).json()
            assert load_file(file).fingerprint == stored["fingerprint"]
            assert (
                answer.headers["etag"] != (await client.get("/machines/shop_order")).headers["etag"]
            )
            assert yaml.safe_load(answer.text) == stored["definition"]

    asyncio.run(go())


def test_a_picture_in_four_languages(serve, order) -> None:
    async def go() -> None:
        async with serve(order) as client:
            for form, kind, begins in (
                ("svg", "image/svg+xml", "<svg"),
                ("mermaid", "text/plain", "---\ntitle:"),
                ("dot", "text/vnd.graphviz", "digraph"),
                ("json", "application/json", '{"machine":"shop_order"'),
            ):
                answer = await client.get("/machines/shop_order/diagram", params={"format": form})
                assert answer.status_code == 200
                assert answer.headers["content-type"].startswith(kind)
                assert answer.text.startswith(begins)
            await client.post("/entities/o/create", json={"context": {"total": 5}})
            marked = await client.get("/machines/shop_order/diagram?format=json&entity_id=o")
            states = {each["name"]: each for each in marked.json()["states"]}
            assert states["draft"]["current"]
            asked = await client.get(
                "/machines/shop_order/diagram?format=json&highlight=unpaid%2Bqueued"
            )
            assert [s["name"] for s in asked.json()["states"] if s["current"]] == [
                "unpaid",
                "queued",
            ]
            for query, status, code in (
                ("highlight=nope", 422, "undefined_state"),
                ("entity_id=nobody", 404, "entity_not_found"),
                ("format=png", 422, "invalid_request"),
                ("version=9", 404, "machine_not_found"),
            ):
                answer = await client.get(f"/machines/shop_order/diagram?{query}")
                assert (answer.status_code, answer.json()["code"]) == (status, code)

    asyncio.run(go())


def test_a_method_that_is_not_there_tells_those_that_are(everything) -> None:
    """Of all routes of a path, not of the first one."""

    async def go(client) -> None:
        for path, allowed in (
            ("/machines", "GET, HEAD, POST"),
            ("/machines/small", "DELETE, GET, HEAD, PUT"),
            ("/machines/validate", "POST"),
            ("/machines/%76alidate", "DELETE, GET, HEAD, PUT"),  # a machine of this name
            ("/process", "POST"),
        ):
            answer = await client.request("PATCH", path)
            assert (answer.status_code, answer.headers["allow"]) == (405, allowed)

    everything(go)


@pytest.mark.parametrize("odd", ["%00", "%1F", "x" * 250, "%F0%9F%8E%89", "a%2Fb", "*", "%5C"])
def test_a_name_that_no_machine_can_have_is_not_there(everything, odd) -> None:
    """Whatever the store's own words for it are."""

    async def go(client) -> None:
        for method, path in (
            ("GET", f"/machines/{odd}"),
            ("GET", f"/machines/{odd}/versions"),
            ("GET", f"/machines/{odd}/diagram"),
            ("DELETE", f"/machines/{odd}"),
            ("GET", f"/machines/small?version={odd}"),
            ("DELETE", f"/machines/small?version={odd}"),
        ):
            answer = await client.request(method, path)
            assert (answer.status_code, answer.json()["code"]) == (404, "machine_not_found"), path
        listed = await client.get(f"/machines?name={odd}")
        assert (listed.status_code, listed.json()["items"]) == (200, [])

    everything(go)


def test_the_document_says_everything_about_machines() -> None:
    """Each parameter and each field in words, each link to an operation that is there."""
    document = create_app(store="memory://").openapi()
    operations = {
        operation["operationId"]: operation
        for path in document["paths"].values()
        for operation in path.values()
    }
    mine = {
        identity: operation
        for identity, operation in operations.items()
        if "machines" in operation.get("tags", ())
    }
    assert len(mine) == 9
    for identity, operation in mine.items():
        assert operation["summary"], identity
        assert operation["description"], identity
        for parameter in operation.get("parameters", ()):
            assert parameter["description"], (identity, parameter["name"])
        for status, answer in operation["responses"].items():
            assert answer["description"], (identity, status)
            if status >= "400":
                assert set(answer["content"]) == {"application/problem+json"}, (identity, status)
            for link in answer.get("links", {}).values():
                names = {each["name"] for each in operations[link["operationId"]]["parameters"]}
                assert set(link["parameters"]) <= names
    for name in ("VersionModel", "MachineModel", "MachinePage", "ValidationModel", "TrialModel"):
        for field, schema in document["components"]["schemas"][name]["properties"].items():
            assert schema.get("description"), (name, field)

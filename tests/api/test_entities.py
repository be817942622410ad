"""Entities: started, read, listed, moved by hand; whatever their ids are."""

from urllib.parse import quote

import pytest

from pystator import StateMachine
from pystator.api import Application


def flat(name: str) -> StateMachine:
    return StateMachine.from_dict(
        {
            "meta": {"machine_name": name, "version": "1"},
            "states": [{"name": "a", "type": "initial"}, {"name": "b"}],
            "transitions": [
                {"trigger": "go", "source": "a", "dest": "b", "guards": [{"expr": "ok == true"}]}
            ],
        }
    )


async def test_it_is_alive_and_ready(serve) -> None:
    async with serve() as client:
        for path in ("/health", "/ready", "http://test/health", "http://test/ready"):
            assert (await client.get(path)).status_code == 200


async def test_a_load_balancer_may_ask_for_heads_only(serve, order) -> None:
    async with serve(order) as client:
        for path in ("/health", "/ready"):
            assert (await client.head(path)).status_code == 200


async def test_an_entity_is_started_once_and_read(serve, store, order) -> None:
    async with serve(order, store=store) as client:
        made = await client.post("/entities/o/create", json={"context": {"total": 5}})
        assert (made.status_code, made.headers["etag"]) == (201, '"1"')
        assert made.headers["location"] == "/api/v1/entities/o"
        assert (
            made.json()["kind"],
            made.json()["target_state"],
            made.json()["changed"]["total"],
        ) == ("created", "draft", 5)
        read = await client.get("/entities/o")
        entity = read.json()
        assert read.headers["etag"] == '"1"'
        assert (entity["state"], entity["version"], entity["context"]["total"]) == ("draft", 1, 5)
        assert (entity["machine_name"], entity["machine_version"]) == ("shop_order", "2.0")
        assert entity["triggers"] == ["place", "cancel"]
        assert "verdicts" not in entity
        again = await client.post("/entities/o/create")
        assert (again.status_code, again.json()["code"]) == (409, "entity_exists")


async def test_guards_are_asked_only_when_somebody_wants_to_know(serve, store, order) -> None:
    async with serve(order, store=store) as client:
        await client.post("/entities/o/create")
        told = (await client.get("/entities/o?verdicts=true")).json()["verdicts"]
        assert [(each["trigger"], each["allowed"], each["reason"]) for each in told] == [
            ("place", False, "guard_rejected"),
            ("cancel", True, None),
        ]
        assert len((await client.get("/entities/o/history")).json()["items"]) == 1


@pytest.mark.parametrize(
    "entity_id",
    [
        "create",
        "events",
        "bulk",
        "a/b",
        "a//b/",
        "/",
        "a b",
        "ä+ö",
        "%2F",
        "%",
        "?",
        "#",
        ".",
        "..",
        "a;b=c",
        "日本",
        "a\u2028b",
        "x" * 255,
    ],
)
async def test_any_storable_id_works_in_a_path(serve, store, order, entity_id) -> None:
    path = f"/entities/{quote(entity_id, safe='').replace('.', '%2E').replace('bulk', '%62ulk')}"
    async with serve(order, store=store) as client:
        made = await client.post(f"{path}/create")
        assert (made.status_code, made.json()["entity_id"]) == (201, entity_id), made.text
        assert made.headers["location"] == f"/api/v1{path}"
        assert (await client.post(f"{path}/events", json={"trigger": "cancel"})).status_code == 200
        assert (await client.get(path)).json()["entity_id"] == entity_id
        assert len((await client.get(f"{path}/history")).json()["items"]) == 2
        (listed,) = (await client.get("/entities")).json()["items"]
        assert listed["entity_id"] == entity_id


async def test_history_is_paged_both_ways(serve, store, order) -> None:
    async with serve(order, store=store) as client:
        await client.post("/entities/o/create")
        for number in range(4):
            await client.post("/entities/o/apply-data", json={"data": {"n": number}})
        whole = (await client.get("/entities/o/history")).json()
        assert ([row["version"] for row in whole["items"]], whole["next"]) == (
            [1, 2, 3, 4, 5],
            None,
        )
        assert {row["entity_id"] for row in whole["items"]} == {"o"}
        assert all(row["timestamp"] == row["recorded_at"] for row in whole["items"])
        for newest in (False, True):
            found, cursor = [], ""
            while cursor is not None:
                more = f"&cursor={cursor}" if cursor else ""
                page = (
                    await client.get(
                        f"/entities/o/history?limit=2&newest_first={str(newest).lower()}{more}"
                    )
                ).json()
                found += page["items"]
                cursor = page["next"]
            assert found == (whole["items"][::-1] if newest else whole["items"])


async def test_lists_are_filtered_and_paged(serve, store, order) -> None:
    async with serve(order, store=store) as client:
        for name in "abcde":
            await client.post(f"/entities/{name}/create")
        await client.post("/entities/c/events", json={"trigger": "cancel"})
        first = (await client.get("/entities?limit=3")).json()
        rest = (await client.get(f"/entities?limit=3&cursor={first['next']}")).json()
        assert [each["entity_id"] for each in first["items"] + rest["items"]] == list("abcde")
        assert rest["next"] is None

        async def listed(query):
            return [
                each["entity_id"]
                for each in (await client.get(f"/entities?{query}")).json()["items"]
            ]

        assert await listed("state=cancelled") == ["c"]
        assert await listed("in_state_longer_than=2h") == []
        assert await listed("machine_name=other") == []
        assert await listed("machine_name=shop_order&state=draft") == list("abde")
        counts = (await client.get("/counts")).json()
        assert counts == {"total": 5, "by_state": {"draft": 4, "cancelled": 1}}
        assert (await client.get("/counts?machine_name=other")).json() == {
            "total": 0,
            "by_state": {},
        }


async def test_an_entity_is_put_into_a_state_by_hand_and_history_says_by_whom(
    serve, store, order
) -> None:
    async with serve(order, store=store) as client:
        await client.post("/entities/o/create", json={"context": {"total": 5}})
        body = {"state": "closed", "reason": "the customer called"}
        answer = await client.post("/entities/o/force-state", json=body)
        assert (answer.status_code, answer.json()["kind"], answer.json()["target_state"]) == (
            200,
            "forced",
            "closed",
        )
        assert answer.headers["etag"] == '"2"'
        row = (await client.get("/entities/o/history?newest_first=true&limit=1")).json()["items"][0]
        assert (row["actor"], row["payload"]) == ("anonymous", {"reason": "the customer called"})
        wrong = await client.post("/entities/o/force-state", json={**body, "state": "nowhere"})
        assert (wrong.status_code, wrong.json()["code"]) == (422, "undefined_state")


@pytest.mark.parametrize("what", ["force-state", "archive", "unarchive"])
async def test_what_is_done_by_hand_takes_no_key(serve, order, what) -> None:
    """It would be done again by who relies on the key."""
    async with serve(order) as client:
        await client.post("/entities/o/create", json={"context": {"total": 5}})
        body = {"reason": "r", **({"state": "closed"} if what == "force-state" else {})}
        key = {"Idempotency-Key": "k"}
        answer = await client.post(f"/entities/o/{what}", json=body, headers=key)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_header")
        assert "If-Match" in answer.json()["detail"]
        assert (await client.get("/entities/o")).json()["version"] == 1


async def test_an_archived_entity_is_put_away_and_can_be_read(serve, order) -> None:
    async with serve(order) as client:
        await client.post("/entities/o/create")
        body = {"reason": "it was a test"}
        for etag in ('"2"', '"2"'):  # the second time, nothing is done
            answer = await client.post("/entities/o/archive", json=body)
            assert (answer.status_code, answer.headers["etag"]) == (200, etag)
        assert (await client.get("/entities")).json()["items"] == []
        (listed,) = (await client.get("/entities?archived=true")).json()["items"]
        read = (await client.get("/entities/o")).json()
        assert listed["archived_at"] == read["archived_at"] is not None
        assert (await client.get("/counts")).json()["total"] == 0
        assert (await client.get("/counts?archived=true")).json()["total"] == 1
        refused = await client.post("/entities/o/events", json={"trigger": "cancel"})
        assert (refused.status_code, refused.json()["code"]) == (409, "entity_archived")
        back = await client.post("/entities/o/unarchive", json=body)
        assert (back.status_code, back.json()["kind"], back.headers["etag"]) == (
            200,
            "unarchived",
            '"3"',
        )
        assert (
            await client.post("/entities/o/events", json={"trigger": "cancel"})
        ).status_code == 200
        rows = (await client.get("/entities/o/history")).json()["items"]
        assert [(row["kind"], row["actor"]) for row in rows if row["payload"] == body] == [
            ("archived", "anonymous"),
            ("unarchived", "anonymous"),
        ]


# Machines -----------------------------------------------------------------------------------------


async def test_a_new_entity_needs_its_machine_where_there_are_several(serve, store) -> None:
    async with serve(Application([flat("one"), flat("two")]), store=store) as client:
        answer = await client.post(
            "/entities/e/events", json={"trigger": "go", "context": {"ok": True}}
        )
        assert (answer.status_code, answer.json()["code"]) == (404, "machine_not_found")
        assert answer.json()["machines"] == ["one", "two"]
        made = await client.post("/entities/e/create", json={"machine_name": "two"})
        assert made.json()["machine_name"] == "two"
        known = await client.post(
            "/entities/e/events", json={"trigger": "go", "context": {"ok": True}}
        )
        assert (known.status_code, known.json()["machine_name"]) == (200, "two")


async def test_two_entities_of_one_id_are_told_apart_by_their_machine(serve, store) -> None:
    async with serve(Application([flat("one"), flat("two")]), store=store) as client:
        for name in ("one", "two"):
            assert (
                await client.post("/entities/e/create", json={"machine_name": name})
            ).status_code == 201
        answer = await client.get("/entities/e")
        assert (answer.status_code, answer.json()["code"]) == (409, "ambiguous_entity")
        assert answer.json()["machines"] == ["one", "two"]
        for name in ("one", "two"):
            read = await client.get(f"/entities/e?machine_name={name}")
            assert read.json()["machine_name"] == name
            assert (
                len((await client.get(f"/entities/e/history?machine_name={name}")).json()["items"])
                == 1
            )


async def test_without_any_machine_it_is_said_what_to_do(serve) -> None:
    async with serve() as client:
        answer = await client.post("/entities/e/create")
        assert (answer.status_code, answer.json()["code"]) == (404, "machine_not_found")
        assert "POST /api/v1/machines" in answer.json()["detail"]


async def test_entities_of_a_machine_that_is_not_served_can_be_read(serve, tmp_path) -> None:
    store = f"sqlite:///{tmp_path}/shop.db"
    async with serve(flat("one"), store=store) as client:
        await client.post("/entities/e/create", headers={"Idempotency-Key": "k"})
    async with serve(flat("two"), store=store) as client:  # the only one there is
        assert (await client.get("/entities/e")).json()["machine_name"] == "one"
        assert len((await client.get("/entities/e/history")).json()["items"]) == 1
        assert (await client.get("/events/k?entity_id=e")).status_code == 200
        assert (await client.get("/entities/f")).status_code == 404
        assert (await client.get("/entities/f/history")).status_code == 404
    async with serve(Application([flat("two"), flat("three")]), store=store) as client:
        entity = (await client.get("/entities/e")).json()
        assert (entity["machine_name"], entity["triggers"]) == ("one", None)
        answer = await client.post("/entities/e/events", json={"trigger": "go"})
        assert (answer.status_code, answer.json()["code"]) == (404, "machine_not_found")

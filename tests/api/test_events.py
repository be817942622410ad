"""Events: what they do, how they are answered, and that a second attempt is answered as the first."""

import asyncio

import httpx
import pytest

from pystator import EntitySession, StateMachine
from pystator.api import Application, create_app

MACHINE = {
    "meta": {"machine_name": "door", "version": "1"},
    "states": [{"name": "open", "type": "initial"}, {"name": "shut", "on_enter": ["ring", "fail"]}],
    "transitions": [
        {"trigger": "shut", "source": "open", "dest": "shut", "actions": [{"increment": "times"}]},
        {"trigger": "open", "source": "shut", "dest": "open", "actions": [{"clear": "note"}]},
    ],
}


@pytest.fixture
def door() -> Application:
    def fail(ctx) -> None:
        raise RuntimeError("no bell")

    machine = StateMachine.from_dict(MACHINE)
    return Application([machine], actions={"ring": lambda ctx: None, "fail": fail})


def send(client, entity_id="d", trigger="shut", context=None, query="", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = {"trigger": trigger} if context is None else {"trigger": trigger, "context": context}
    return client.post(f"/entities/{entity_id}/events{query}", json=body, headers=named)


async def test_an_event_is_answered_with_the_facts_of_its_row(serve, store, door) -> None:
    async with serve(door, store=store) as client:
        answer = await send(client, context={"note": "x"})
        told = answer.json()
        assert (answer.status_code, answer.headers["etag"]) == (200, '"1"')
        assert "idempotency-replayed" not in answer.headers
        (failed,) = told.pop("action_errors")
        assert (failed["name"], failed["error"]["message"]) == ("fail", "no bell")
        now = told.pop("now")
        actions = told.pop("actions")
        assert [each["name"] for each in actions] == ["ring", "fail"]
        assert told == {
            "entity_id": "d",
            "machine_name": "door",
            "machine_version": "1",
            "kind": "event",
            "trigger": "shut",
            "success": True,
            "source_state": "open",
            "target_state": "shut",
            "version": 1,
            "reason": None,
            "changed": {"note": "x", "times": 1},
            "removed": [],
            "event_id": None,
        }
        answer = await send(client, trigger="open")
        assert (answer.json()["removed"], answer.json()["changed"]) == (["note"], {})
        first = (await client.get("/entities/d/history?limit=1")).json()["items"][0]
        assert (first["now"], first["actor"], first["actions"]) == (now, "anonymous", actions)


async def test_the_context_is_told_to_who_asks(serve, door) -> None:
    async with serve(door) as client:
        answer = await send(
            client, context={"note": "x"}, query="?include=context", idempotency_key="1"
        )
        assert answer.json()["context"] == {"note": "x", "times": 1}
        await send(client, trigger="open")
        again = await send(
            client, context={"note": "x"}, query="?include=context", idempotency_key="1"
        )
        assert again.json()["context"] == {"times": 1}


async def test_a_rejection_is_a_problem_with_the_same_facts(serve, store, door) -> None:
    async with serve(door, store=store) as client:
        await send(client)
        answer = await send(client)
        told = answer.json()
        assert (answer.status_code, answer.headers["etag"]) == (409, '"1"')
        assert answer.headers["content-type"] == "application/problem+json"
        assert (told["success"], told["reason"], told["source_state"]) == (
            False,
            "no_transition",
            "shut",
        )
        assert told["detail"] == "event 'shut' is not allowed in state 'shut'; allowed here: open"
        assert "Traceback" not in answer.text


@pytest.mark.parametrize(("trigger", "status"), [("shut", 200), ("open", 409), ("lock", 422)])
async def test_a_second_attempt_gets_the_first_answer(serve, store, door, trigger, status) -> None:
    """The same status and the same bytes; and nothing happens twice."""
    async with serve(door, store=store) as client:
        first = await send(client, trigger=trigger, idempotency_key="k-1")
        assert first.status_code == status
        await send(client, trigger="shut" if trigger == "lock" else "open")
        for key in ("k-1", '"k-1"'):
            again = await send(client, trigger=trigger, idempotency_key=key)
            assert (again.status_code, again.content) == (status, first.content)
            assert again.headers.get("etag") == first.headers.get("etag")
            assert again.headers["idempotency-replayed"] == "true"
        other = await send(client, trigger=trigger, context={"a": 1}, idempotency_key="k-1")
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_conflict")


async def test_a_second_attempt_after_a_restart_gets_the_first_answer(
    serve, tmp_path, door
) -> None:
    store = f"sqlite:///{tmp_path}/shop.db"
    async with serve(door, store=store) as client:
        first = await send(client, idempotency_key="k-1")
        made = await client.post(
            "/entities/e/create", json={"context": {"a": 1}}, headers={"idempotency-key": "k"}
        )
    async with serve(door, store=store) as client:
        again = await send(client, idempotency_key="k-1")
        assert again.content == first.content
        assert len(again.json()["action_errors"]) == 1
        second = await client.post(
            "/entities/e/create", json={"context": {"a": 1}}, headers={"idempotency-key": "k"}
        )
        assert (second.status_code, second.content) == (201, made.content)
        assert second.headers["idempotency-replayed"] == "true"
        assert second.headers["location"] == made.headers["location"] == "/api/v1/entities/e"


async def test_two_attempts_at_once_are_one_event(serve, store, door) -> None:
    async with serve(door, store=store) as client:
        answers = await asyncio.gather(*[send(client, idempotency_key="k-1") for _ in range(10)])
        assert {answer.status_code for answer in answers} == {200}
        assert {answer.json()["version"] for answer in answers} == {1}
        assert sum("idempotency-replayed" in answer.headers for answer in answers) == 9


@pytest.mark.parametrize("key", ["", " ", "x" * 256])
async def test_a_key_that_is_none_is_refused(serve, door, key) -> None:
    async with serve(door) as client:
        answer = await client.post(
            "/entities/d/events",
            json={"trigger": "shut"},
            headers=[(b"idempotency-key", key.encode())],
        )
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_header")
        assert (await client.get("/entities/d")).status_code == 404


@pytest.mark.parametrize(
    ("sent", "key"),
    [
        (b"k-1", "k-1"),
        (b'"k-1"', "k-1"),
        (b'"a\\"b"', 'a"b'),
        (b'""', '""'),
        ("\u00e4".encode(), "\u00e4"),
        (b"\xe4", "\u00e4"),
    ],
)
async def test_a_key_may_be_in_quotes_and_in_any_language(serve, door, sent, key) -> None:
    async with serve(door) as client:
        headers = [(b"content-type", b"application/json"), (b"idempotency-key", sent)]
        answer = await client.post(
            "/entities/d/events", content=b'{"trigger": "shut"}', headers=headers
        )
        assert (answer.status_code, answer.json()["event_id"]) == (200, key)


async def test_an_event_can_be_looked_up_by_its_key(serve, store, door) -> None:
    async with serve(door, store=store) as client:
        await send(client, idempotency_key="a/b")
        await send(client, trigger="lock", idempotency_key="k-2")
        row = (await client.get("/events/a%2Fb?entity_id=d")).json()
        assert (row["event_id"], row["success"], row["target_state"]) == ("a/b", True, "shut")
        row = (await client.get("/events/k-2?entity_id=d")).json()
        assert (row["success"], row["error_code"]) == (False, "undefined_trigger")
        assert (await client.get("/events/k-3?entity_id=d")).status_code == 404
        assert (await client.get("/events/k-2")).status_code == 422


async def test_what_a_sender_says_of_time_and_trace_is_kept(serve, door) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with serve(door) as client:
        body = {"trigger": "shut", "occurred_at": "2026-03-02T08:00:00+02:00"}
        await client.post("/entities/d/events", json=body, headers={"traceparent": trace})
        await client.post(
            "/entities/d/events", json={"trigger": "open"}, headers={"traceparent": "nonsense"}
        )
        rows = (await client.get("/entities/d/history")).json()["items"]
        events = [row for row in rows if row["kind"] == "event"]
        assert [row["occurred_at"] for row in events] == ["2026-03-02T06:00:00+00:00", None]
        assert [row["trace"] for row in events] == [trace, None]


async def test_a_dry_run_says_what_an_event_would_do_and_does_nothing(serve, store, door) -> None:
    async with serve(door, store=store) as client:
        body = {"trigger": "shut", "context": {"note": "x"}}
        told = (await client.post("/entities/d/dry-run?include=context", json=body)).json()
        assert (told["target_state"], told["changed"]["times"], told["version"]) == ("shut", 1, 1)
        assert told["context"] == {"note": "x", "times": 1}
        refused = await client.post("/entities/d/dry-run", json={"trigger": "open"})
        assert (refused.status_code, refused.json()["reason"]) == (409, "no_transition")
        assert (await client.get("/entities/d")).status_code == 404


async def test_data_is_merged_without_an_event(serve, store, door) -> None:
    async with serve(door, store=store) as client:
        headers = {"idempotency-key": "k"}
        told = await client.post("/entities/d/apply-data", json={"data": {"a": 1}}, headers=headers)
        assert (told.status_code, told.json()["trigger"], told.json()["changed"]) == (
            200,
            None,
            {"a": 1},
        )
        again = await client.post(
            "/entities/d/apply-data", json={"data": {"a": 1}}, headers=headers
        )
        assert again.content == told.content
        assert (await client.get("/entities/d")).json()["context"] == {"a": 1}


async def test_past_the_router_or_through_it_an_event_is_answered_the_same(door) -> None:
    """The shortcut is for requests without a prefix; behind one, the router is asked."""
    told = []
    for root in ("", "/shop"):
        app = create_app(door, store="memory://")
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app, root_path=root)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://test/api/v1"
            ) as client:
                answers = [
                    await send(client, "a%2Fb", context={"note": "x"}, query="?include=context"),
                    await send(client, "a%2Fb", idempotency_key="k"),
                    await send(client, "a%2Fb", idempotency_key="k"),
                    await send(client, "a%2Fb", trigger="open", if_match='"7"'),
                    await send(client, "a%2Fb", trigger="open", if_match='"1"', traceparent="x"),
                    await send(client, "a%2Fb", query="?inclde=context"),
                    await send(client, "%FF"),
                    await client.post("/entities/a/events", content=b"{"),
                    await client.post(
                        "/entities/a/events", json={"trigger": "shut", "machine_name": "b"}
                    ),
                    await client.post("/entities/bulk/events", json={"events": []}),
                    await client.post("/entities/%62ulk/events", json={"trigger": "shut"}),
                ]
        told.append([plain(answer) for answer in answers])
    assert told[0] == told[1]
    assert [status for status, *_ in told[0]] == [
        200,
        409,
        409,
        412,
        200,
        422,
        422,
        415,
        404,
        200,
        200,
    ]


def plain(answer):
    """An answer without what is another one each time."""
    body = {
        name: value for name, value in answer.json().items() if name not in {"now", "action_errors"}
    }
    return answer.status_code, answer.headers.get("etag"), answer.headers["content-type"], body


def test_the_machine_is_the_one_of_the_page(door) -> None:
    """The tests above are of a machine that does what it says without a service."""
    session = EntitySession(door.machines["door"])
    assert session.send("shut").target_state == "shut"


async def test_a_rejection_of_what_was_never_started_can_be_read(serve, order) -> None:
    """Its row is there, though there is no entity: it is the only machine's."""
    async with serve(order) as client:
        sent = {"trigger": "place", "context": {"total": 0}}
        answer = await client.post(
            "/entities/order-9/events", json=sent, headers={"Idempotency-Key": "k-1"}
        )
        assert answer.json()["reason"] == "guard_rejected"
        row = (await client.get("/events/k-1?entity_id=order-9")).json()
        assert (row["kind"], row["version"], row["error_code"]) == ("rejected", 0, "guard_rejected")

"""Whatever is wrong, the answer is a problem document that says what to do."""

import pytest

from pystator import EvaluationError, InMemoryStateStore, StateMachine
from pystator.api.problems import TABLE
from pystator.errors import ErrorCode

HERE = "/entities/order-1"


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "code"),
    [
        ("GET", "/entities/nobody", {}, 404, "entity_not_found"),
        ("GET", "/entities/nobody/history", {}, 404, "entity_not_found"),
        ("GET", "/events/e-1?entity_id=nobody", {}, 404, "event_not_found"),
        ("GET", "/nothing", {}, 404, "not_found"),
        ("GET", "/entities//history", {}, 404, "not_found"),
        ("DELETE", HERE, {}, 405, "method_not_allowed"),
        ("POST", f"{HERE}/events", {"content": b"{"}, 400, "invalid_json"),
        ("POST", f"{HERE}/events", {"content": b""}, 400, "invalid_json"),
        ("POST", f"{HERE}/events", {"content": b"\xff"}, 400, "invalid_json"),
        ("POST", f"{HERE}/events", {"content": b"[" * 100_000}, 400, "invalid_json"),
        ("POST", f"{HERE}/events", {"content": b'{"a": NaN}'}, 400, "invalid_json"),
        ("POST", f"{HERE}/create", {"content": b"{"}, 400, "invalid_json"),
        ("POST", f"{HERE}/create", {"content": b'{"context": {"a": NaN}}'}, 400, "invalid_json"),
        ("POST", f"{HERE}/create", {"content": b"\xff"}, 400, "invalid_json"),
        ("POST", f"{HERE}/create", {"content": b"[" * 100_000}, 400, "invalid_json"),
        ("POST", f"{HERE}/create", {"json": {"contxt": {}}}, 422, "invalid_request"),
        ("POST", f"{HERE}/create", {"json": {"machine_name": "b"}}, 404, "machine_not_found"),
        ("POST", f"{HERE}/events", {"json": []}, 422, "invalid_request"),
        ("POST", f"{HERE}/events", {"json": {"trigger": 5}}, 422, "invalid_request"),
        ("POST", f"{HERE}/events", {"json": {"trigger": "pay", "contex": {}}}, 422, "invalid_request"),
        ("POST", f"{HERE}/events", {"json": {"trigger": "pay", "context": []}}, 422, "invalid_request"),
        ("POST", f"{HERE}/events", {"json": {"trigger": "pay", "occurred_at": "2026-03-02"}}, 422, "invalid_request"),
        ("POST", f"{HERE}/events", {"json": {"trigger": "pay", "context": {"_a": 1}}}, 422, "invalid_request"),
        ("POST", f"{HERE}/events", {"json": {"trigger": "payy"}}, 422, "undefined_trigger"),
        ("POST", f"{HERE}/events", {"json": {"trigger": "pay"}}, 409, "no_transition"),
        ("POST", f"{HERE}/events", {"json": {"trigger": "place"}}, 409, "guard_rejected"),
        ("POST", f"{HERE}/events?include=all", {"json": {"trigger": "place"}}, 422, "invalid_request"),
        ("POST", f"{HERE}/events", {"json": {"trigger": "pay", "machine_name": "b"}}, 404, "machine_not_found"),
        ("POST", f"{HERE}/apply-data", {"json": {}}, 422, "invalid_request"),
        ("POST", f"{HERE}/force-state", {"json": {"state": "draft"}}, 422, "invalid_request"),
        ("POST", f"{HERE}/force-state", {"json": {"state": "draft", "reason": " "}}, 422, "invalid_value"),
        ("POST", f"{HERE}/force-state", {"json": {"state": "draft", "reason": "x"}}, 404, "entity_not_found"),
        ("POST", "/entities/a%00/create", {}, 422, "invalid_value"),
        ("POST", "/entities/a%FF/create", {}, 422, "invalid_value"),
        ("POST", f"/entities/{'a' * 256}/create", {}, 422, "invalid_value"),
        ("POST", "/entities/bulk/events", {"json": {"events": [{}]}}, 422, "invalid_request"),
        ("POST", "/entities/bulk/events", {"json": {"events": [{"entity_id": "a", "trigger": "b"}] * 1001}}, 422, "invalid_request"),
        ("POST", f"{HERE}/events?includ=context", {"json": {"trigger": "place"}}, 422, "invalid_request"),
        ("GET", "/entities?machine=shop_order", {}, 422, "invalid_request"),
        ("GET", "/entities?limit=0", {}, 422, "invalid_request"),
        ("GET", "/entities?limit=1001", {}, 422, "invalid_request"),
        ("GET", "/entities?cursor=x", {}, 422, "invalid_value"),
        ("GET", "/entities?in_state_longer_than=2", {}, 422, "invalid_request"),
    ],
)  # fmt: skip
async def test_every_mistake_is_a_problem_document(
    serve, order, method, path, options, status, code
) -> None:
    if "content" in options:
        options["headers"] = {"content-type": "application/json"}
    async with serve(order) as client:
        answer = await client.request(method, path, **options)
        told = answer.json()
        assert (
            answer.status_code,
            told["code"].replace("invalid_transition", "no_transition"),
        ) == (status, code), told
        assert answer.headers["content-type"] == "application/problem+json"
        assert (told["type"], told["status"]) == (f"urn:pystator:problem:{told['code']}", status)
        assert told["detail"]
        assert told["instance"] == answer.request.url.raw_path.decode().partition("?")[0]


async def test_a_request_that_does_not_fit_is_told_where(serve, order) -> None:
    body = {
        "events": [
            {"entity_id": "a", "trigger": "b"},
            {"entity_id": "a", "context": {"x/y": 1}, "trigger": 3},
        ]
    }
    async with serve(order) as client:
        told = (await client.post("/entities/bulk/events", json=body)).json()
        assert told["issues"] == [
            {
                "pointer": "/events/1/trigger",
                "parameter": None,
                "in": "body",
                "message": "it has to be a text",
            }
        ]
        told = (await client.post("/entities/a/events", json={"triger": "b"})).json()
        assert told["detail"] == "/trigger: it is missing; /triger: there is no such field"
        told = (await client.post("/entities/a/events", json=["b"])).json()
        assert told["detail"] == "the request: it has to be an object"
        told = (await client.get("/entities?limit=many")).json()
        assert [
            (issue["in"], issue["parameter"], issue["pointer"]) for issue in told["issues"]
        ] == [("query", "limit", None)]


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded", "application/xml"]
)
@pytest.mark.parametrize("path", ["events", "apply-data", "create"])
async def test_what_is_not_sent_as_json_is_refused(serve, order, kind, path) -> None:
    """A page of another site can send these without asking."""
    headers = {} if kind is None else {"content-type": kind}
    async with serve(order) as client:
        answer = await client.post(
            f"{HERE}/{path}", content=b'{"trigger": "pay", "data": {}}', headers=headers
        )
        assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
        assert "application/json" in answer.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"trigger": "pay", "context": {"total": 1, "total": 1000}}',
        b'{"trigger": "pay", "trigger": "cancel"}',
        b'{"trigger": "pay", "context": {"a": [{"t": 1, "\\u0074": 2}]}}',
    ],
)
async def test_a_key_that_is_there_twice_is_refused(serve, order, body) -> None:
    """A gateway may have looked at the first one, and the event would take the second."""
    async with serve(order) as client:
        headers = {"content-type": "application/json"}
        answer = await client.post(f"{HERE}/events", content=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_json")
        assert "twice" in answer.json()["detail"]


async def test_a_secret_that_was_sent_is_not_in_the_answer(serve, order) -> None:
    async with serve(order) as client:
        for body in (
            {"trigger": ["hunter2"]},
            {"trigger": "pay", "context": "hunter2"},
            ["hunter2"],
        ):
            assert "hunter2" not in (await client.post(f"{HERE}/events", json=body)).text


async def test_what_nobody_foresaw_is_one_sentence_without_a_traceback(serve) -> None:
    class Broken(InMemoryStateStore):
        async def aload(self, lookups):
            raise RuntimeError("a secret place")

    machine = StateMachine.from_dict(
        {
            "states": [{"name": "a", "type": "initial"}],
            "transitions": [{"trigger": "go", "source": "a", "internal": True}],
        }
    )
    async with serve(machine, store=Broken()) as client:
        answer = await client.get("/entities/a")
        assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
        assert "secret" not in answer.text


async def test_numbers_that_json_does_not_have_are_null_in_an_error(serve, order) -> None:
    class Odd(InMemoryStateStore):
        async def aload(self, lookups):
            raise EvaluationError(
                "odd", context={"value": float("nan"), "more": [{"a": float("inf")}]}
            )

    async with serve(order, store=Odd()) as client:
        told = (await client.get("/entities/a")).json()
        assert (told["value"], told["more"]) == (None, [{"a": None}])


def test_every_code_of_ours_has_its_status() -> None:
    assert [code for code in ErrorCode if code not in TABLE] == []

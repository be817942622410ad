"""A request that is sent again, to another process, is answered in the first one's words: on every store."""

import asyncio
import time

import pytest

from pystator import StateMachine
from pystator.api import Application

MACHINE = {
    "meta": {"machine_name": "parcel", "version": "1"},
    "states": [{"name": "packed", "type": "initial"}, {"name": "sent", "on_enter": ["call"]}],
    "transitions": [
        {"trigger": "send", "source": "packed", "dest": "sent",
         "actions": [{"timestamp": "sent_at"}, {"increment": "times"}, {"clear": "note"}]},
    ],
}  # fmt: skip

CONTEXT = {
    "z": 1, "a": {"y": [1.0, 1.5, -0.0, 1e300, 2**70, None, True], "b": {}}, "ä": '\u2028 \U0001f600 "quoted"',
    "price": 0.1, "": [], "$t": ["dict"], "note": "x",
}  # fmt: skip


def shop() -> Application:
    def fail(ctx) -> None:
        raise RuntimeError("nobody answers")

    return Application([StateMachine.from_dict(MACHINE)], actions={"call": fail})


@pytest.mark.parametrize("kind", ["sqlite", "postgres_url", "redis_url", "mongodb_url"])
async def test_a_second_attempt_at_another_process_gets_the_first_bytes(
    serve, request, tmp_path, kind
) -> None:
    store = f"sqlite:///{tmp_path}/shop.db" if kind == "sqlite" else request.getfixturevalue(kind)
    requests = [
        ("create", {"context": CONTEXT}),
        ("apply-data", {"data": {"a": {"c": 1.0}}}),
        ("events", {"trigger": "receive"}),
        ("events", {"trigger": "send", "context": {"by": "ada"}}),
        ("events", {"trigger": "send"}),
    ]
    first = []
    async with serve(shop(), store=store) as one, serve(shop(), store=store) as other:
        for client in (one, other):
            answers = []
            for number, (path, body) in enumerate(requests):
                headers = {"idempotency-key": f"k-{number}"}
                answer = await client.post(f"/entities/p-1/{path}", json=body, headers=headers)
                answers.append((answer.status_code, answer.headers.get("etag"), answer.content))
                assert ("idempotency-replayed" in answer.headers) == (client is other)
            first = first or answers
            assert answers == first
    assert [status for status, _, _ in first] == [201, 200, 422, 200, 409]
    assert b'"message":"nobody answers"' in first[3][2]


@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgres_url", "redis_url", "mongodb_url"])
async def test_an_attempt_while_actions_still_run_gets_the_first_bytes(
    serve, request, tmp_path, kind
) -> None:
    """As a client sends again that was too impatient, at the same process or at another one."""

    def slow() -> Application:
        async def fail(context) -> None:
            await asyncio.sleep(0.2)
            raise RuntimeError("nobody answers")

        return Application([StateMachine.from_dict(MACHINE)], actions={"call": fail})

    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/shop.db"}
    store = urls[kind] if kind in urls else request.getfixturevalue(kind)
    async with serve(slow(), store=store) as one, serve(slow(), store=store) as other:
        clients = [one, one, other][: 2 if kind == "memory" else 3]
        await one.post("/entities/p-1/create")

        async def send(client, wait):
            await asyncio.sleep(wait)
            headers = {"idempotency-key": "k"}
            return await client.post(
                "/entities/p-1/events", json={"trigger": "send"}, headers=headers
            )

        answers = await asyncio.gather(*[send(each, 0.05 * n) for n, each in enumerate(clients)])
        assert len({each.content for each in answers}) == 1
        assert len(answers[0].json()["action_errors"]) == 1
        assert ["idempotency-replayed" in each.headers for each in answers].count(False) == 1


async def test_nobody_waits_long_for_actions_that_died_with_their_process(
    serve, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("pystator.orchestrator.actions.record", lambda settings, rows: iter(()))
    monkeypatch.setattr("pystator.service.answers.PATIENCE", 0.4)
    async with serve(shop(), store=f"sqlite:///{tmp_path}/shop.db") as client:
        headers = {"idempotency-key": "k"}
        for seconds in (0.0, 0.4):
            began = time.monotonic()
            answer = await client.post(
                "/entities/p-1/events", json={"trigger": "send"}, headers=headers
            )
            assert answer.status_code == 200
            assert seconds <= time.monotonic() - began < seconds + 3
        assert answer.json()["action_errors"] == []

"""A request that is sent again, to another process, is answered in the first one's words: on every store."""

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

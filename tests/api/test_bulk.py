"""Many events in one request: each has its own answer, and those of one entity are one change."""

import pytest

from pystator import StateMachine
from pystator.api import Application

MACHINE = {
    "meta": {"machine_name": "door", "version": "1"},
    "states": [{"name": "open", "type": "initial"}, {"name": "shut"}],
    "transitions": [
        {"trigger": "shut", "source": "open", "dest": "shut"},
        {"trigger": "open", "source": "shut", "dest": "open"},
    ],
}


def door(name: str = "door") -> StateMachine:
    return StateMachine.from_dict({**MACHINE, "meta": {"machine_name": name, "version": "1"}})


def item(entity_id, trigger, **more):
    return {"entity_id": entity_id, "trigger": trigger, **more}


async def test_each_event_has_its_own_answer(serve, store) -> None:
    events = [
        item("a", "shut", event_id="1"),
        item("b", "open"),
        item("a", "open", context={"x": 1}),
        item("b", "slam"),
        item("a", "shut", event_id="1"),
        item("b", "shut", expected_version=7),
        item("\u0000", "shut"),
        item("c", "shut", expected_version=0),
    ]
    async with serve(door(), store=store) as client:
        answer = await client.post(
            "/entities/bulk/events", json={"events": events[:-2] + events[-1:]}
        )
        assert answer.status_code == 200
        items = answer.json()["items"]
        assert [each["status"] for each in items] == [200, 409, 200, 422, 200, 412, 200]
        assert [each["etag"] for each in items] == ['"1"', None, '"2"', None, '"1"', None, '"1"']
        assert [each["replayed"] for each in items] == [False] * 4 + [True] + [False] * 2
        assert [each["entity_id"] for each in items] == ["a", "b", "a", "b", "a", "b", "c"]
        assert (items[2]["changed"], items[2]["target_state"], items[2]["error"]) == (
            {"x": 1},
            "open",
            None,
        )
        assert (
            items[1]["error"]["detail"]
            == "event 'open' is not allowed in state 'open'; allowed here: shut"
        )
        assert (items[5]["error"]["code"], items[5]["error"]["actual"]) == ("stale_version", 0)


async def test_it_can_be_sent_again(serve, store) -> None:
    events = [
        item(f"e{number % 10}", ("shut", "open")[number // 10 % 2], event_id=str(number))
        for number in range(40)
    ]
    async with serve(door(), store=store) as client:
        first = (await client.post("/entities/bulk/events", json={"events": events})).json()[
            "items"
        ]
        again = (await client.post("/entities/bulk/events", json={"events": events})).json()[
            "items"
        ]
        assert {each["status"] for each in first} == {200}
        assert [{**each, "replayed": True} for each in first] == again
        assert (await client.get("/entities/e3")).json()["version"] == 4


async def test_events_of_several_machines_find_theirs(serve, store) -> None:
    async with serve(Application([door("one"), door("two")]), store=store) as client:
        events = [
            item("a", "shut", machine_name="one"),
            item("b", "shut", machine_name="two"),
            item("c", "shut"),
            item("d", "shut", machine_name="three"),
        ]
        items = (await client.post("/entities/bulk/events", json={"events": events})).json()[
            "items"
        ]
        assert [each["status"] for each in items] == [200, 200, 404, 404]
        assert [each.get("machine_name") for each in items] == ["one", "two", None, None]
        items = (
            await client.post("/entities/bulk/events", json={"events": [item("b", "open")]})
        ).json()["items"]
        assert (items[0]["machine_name"], items[0]["version"]) == ("two", 2)


async def test_nothing_is_no_mistake(serve) -> None:
    async with serve(door()) as client:
        assert (await client.post("/entities/bulk/events", json={"events": []})).json() == {
            "items": []
        }


@pytest.mark.parametrize(
    ("name", "value"), [("Idempotency-Key", "k"), ("If-Match", '"1"'), ("If-None-Match", "*")]
)
async def test_a_header_for_one_event_is_refused(serve, name, value) -> None:
    """Who sends it all again under the same key would have every event twice."""
    async with serve(door()) as client:
        body = {"events": [item("a", "shut")]}
        answer = await client.post("/entities/bulk/events", json=body, headers={name: value})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_header")
        assert "event_id" in answer.json()["detail"]
        assert (await client.get("/entities/a")).status_code == 404

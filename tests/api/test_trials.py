"""Trials over HTTP: what an event would do, without an entity and without its actions."""

import asyncio

import pytest

from api.definitions import small
from pystator import StateMachine
from pystator.api import Application


def test_an_event_is_tried_with_a_machine_that_is_sent_along(everything) -> None:
    async def go(client) -> None:
        body = {"machine": small(), "state": "a", "trigger": "go", "context": {"n": 1}}
        answer = await client.post("/process", json=body)
        assert answer.status_code == 200
        told = answer.json()
        assert (told["success"], told["target_state"], told["context"]) == (True, "b", {"n": 1})
        refused = await client.post("/process", json={**body, "state": "b"})
        assert (refused.status_code, refused.json()["reason"]) == (200, "no_transition")

    everything(go)


def test_an_event_is_tried_with_a_machine_that_is_served(serve) -> None:
    """With the guards of the application, async ones too; its actions are not run."""

    async def rich(context) -> bool:
        await asyncio.sleep(0)
        return context["n"] > 5

    def never(context) -> None:
        raise AssertionError("an action was run")

    config = small(transitions=[
        {"trigger": "go", "source": "a", "dest": "b", "guards": ["rich"], "actions": ["never"]}
    ])  # fmt: skip

    async def go() -> None:
        machine = StateMachine.from_dict(config)
        application = Application([machine], guards={"rich": rich}, actions={"never": never})
        async with serve(application) as client:
            body = {"state": "a", "trigger": "go", "context": {"n": 9}}
            told = (await client.post("/process", json=body)).json()
            assert (told["target_state"], told["actions"][0]["name"]) == ("b", "never")
            body["context"]["n"] = 1
            told = (await client.post("/process", json=body)).json()
            assert (told["success"], told["reason"]) == (False, "guard_rejected")
            sent = await client.post("/process", json={**body, "machine": config})
            assert (sent.status_code, sent.json()["code"]) == (422, "configuration_error")
            assert "rich" in sent.json()["detail"]

    asyncio.run(go())


def test_an_older_version_can_be_tried(serve) -> None:
    async def go() -> None:
        async with serve() as client:
            await client.post("/machines", json=small("1", dest="b"))
            await client.post("/machines", json=small("2", dest="c"))
            for version, target in (("1", "b"), ("2", "c"), (None, "c")):
                body = {"machine_name": "small", "version": version, "state": "a", "trigger": "go"}
                told = (await client.post("/process", json=body)).json()
                assert told["target_state"] == target

    asyncio.run(go())


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"machine": small(), "machine_name": "small"}, 422, "invalid_value"),
        ({"machine_name": "nope"}, 404, "machine_not_found"),
        ({}, 422, "invalid_value"),
        ({"machine": small(), "state": "zz", "trigger": "go"}, 422, "undefined_state"),
        ({"machine": small(), "state": "a", "trigger": ""}, 422, "invalid_request"),
        ({"machine": small(), "now": "2026-01-01T00:00:00"}, 422, "invalid_request"),
        ({"machine": small(), "now": 5}, 422, "invalid_request"),
        ({"machine": small(), "context": {"_x": 1}}, 422, "invalid_value"),
        ({"machine": {}}, 422, "configuration_error"),
        ({"machine": []}, 422, "invalid_request"),
        ({"machine": small(), "unknown": 1}, 422, "invalid_request"),
    ],
)
def test_a_trial_that_cannot_be_says_why(everything, body, status, code) -> None:
    async def go(client) -> None:
        answer = await client.post("/process", json=body)
        assert (answer.status_code, answer.json()["code"]) == (status, code)

    everything(go)

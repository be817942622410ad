"""Machines with mistakes: each has its place, and what is no machine is refused."""

import asyncio
import json

import pytest

from api.definitions import ORDER, YAML, small


def test_every_mistake_is_told_with_its_place(serve) -> None:
    async def go() -> None:
        wrong = ORDER.replace("dest: open", "dest: opne").replace(
            "in_state: paid", "in_state: piad"
        )
        async with serve() as client:
            answer = await client.post("/machines", content=wrong, headers=YAML)
            told = answer.json()
            assert (answer.status_code, told["code"]) == (422, "configuration_error")
            assert "did you mean" in told["detail"]
            assert told["detail"].endswith("(and 1 more)")
            places = {(each["line"], each["column"]) for each in told["issues"]}
            lines = wrong.splitlines()
            assert len(places) == 2
            for line, column in places:
                assert lines[line - 1][column - 1 :].startswith(("opne", "piad"))

            checked = await client.post("/machines/validate", content=wrong, headers=YAML)
            assert checked.status_code == 200
            assert checked.json()["valid"] is False
            assert {(i["line"], i["column"]) for i in checked.json()["issues"]} == places
            assert (await client.get("/machines")).json() == {"items": [], "next": None}

    asyncio.run(go())


def test_validation_says_what_can_never_happen(everything) -> None:
    async def go(client) -> None:
        right = (await client.post("/machines/validate", content=ORDER, headers=YAML)).json()
        assert (right["valid"], right["issues"]) == (True, [])
        assert right["machine"]["states"] == 19
        odd = small()
        answer = (await client.post("/machines/validate", json=odd)).json()
        assert answer["valid"] is True
        found = {(issue["code"], issue["severity"]) for issue in answer["issues"]}
        assert ("unreachable", "warning") in found
        strict = await client.post("/machines/validate?strict=true", json=odd)
        assert strict.json()["valid"] is False

    everything(go)


@pytest.mark.parametrize(
    ("content", "kind", "status", "code"),
    [
        ("{", "application/json", 400, "invalid_json"),
        ("", "application/json", 400, "invalid_json"),
        ("", "application/yaml", 422, "configuration_error"),
        ("a: [", "application/yaml", 422, "configuration_error"),
        (b"\xff", "application/yaml", 422, "configuration_error"),
        ("a: b", "text/plain", 415, "unsupported_media_type"),
        ("a: b", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        ('{"states": NaN}', "application/json", 400, "invalid_json"),
        ("5", "application/json", 422, "configuration_error"),
        (json.dumps(small("")), "application/json", 422, "invalid_value"),
        (json.dumps(small("v" * 300)), "application/json", 422, "invalid_value"),
        (json.dumps(small("\x07")), "application/json", 422, "invalid_value"),
    ],
)
def test_what_is_no_machine_is_refused(everything, content, kind, status, code) -> None:
    async def go(client) -> None:
        answer = await client.post("/machines", content=content, headers={"content-type": kind})
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer.headers["content-type"] == "application/problem+json"

    everything(go)

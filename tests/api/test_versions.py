"""Two replicas over one store: a version stored through one is used by the other within two seconds."""

import asyncio
import time
from contextlib import asynccontextmanager

import httpx

from pystator.api import create_app

WITHIN = 2.0


def config(version, **states):
    """``b`` leads on to where ``states`` say: ``c`` in one version, ``d`` in another."""
    target = states.get("target", "c")
    names = ["b", target]
    return {
        "meta": {"machine_name": "ship", "version": version},
        "states": [{"name": "a", "type": "initial"}, *({"name": name} for name in names)],
        "transitions": [
            {"trigger": "go", "source": "a", "dest": "b"},
            {"trigger": "on", "source": "b", "dest": target},
            {"trigger": "back", "source": target, "dest": "b"},
        ],
    }


@asynccontextmanager
async def replica(url):
    app = create_app(store=url)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test/api/v1") as client:
            yield client


async def created(client, entity_id):
    answer = await client.post(f"/entities/{entity_id}/create", json={"machine_name": "ship"})
    assert answer.status_code == 201, answer.text
    return answer.json()["machine_version"]


def test_a_new_version_is_used_everywhere_within_two_seconds(tmp_path) -> None:
    async def go() -> None:
        url = f"sqlite:///{tmp_path}/two.db"
        async with replica(url) as one, replica(url) as two:
            for version in ("1", "2"):
                made = await one.post("/machines", json=config(version, target=f"c{version}"))
                assert made.status_code == 201
                stored = time.monotonic()
                assert await created(one, f"own-{version}") == version  # at once, where it came in
                if version == "1":
                    assert await created(two, "first") == "1"  # and it is known there from now on
                    continue
                used = ""
                number = 0
                while used != version:  # used all the time: no request waits for what is new
                    used = await created(two, f"{version}-{number}")
                    number += 1
                    assert time.monotonic() - stored < WITHIN
                    await asyncio.sleep(0.02)

    asyncio.run(go())


def test_a_deleted_machine_is_gone_everywhere_within_two_seconds(tmp_path) -> None:
    async def go() -> None:
        url = f"sqlite:///{tmp_path}/two.db"
        async with replica(url) as one, replica(url) as two:
            await one.post("/machines", json=config("1"))
            trial = {"machine_name": "ship", "state": "a", "trigger": "go"}
            assert (await two.post("/process", json=trial)).status_code == 200
            gone = await one.delete("/machines/ship")
            assert gone.status_code == 204, gone.text
            deleted = time.monotonic()
            while (await two.post("/process", json=trial)).status_code != 404:
                assert time.monotonic() - deleted < WITHIN
                await asyncio.sleep(0.02)

    asyncio.run(go())


def test_a_version_that_means_the_same_is_served_under_its_own_number(tmp_path) -> None:
    """History says which version wrote a row."""

    async def go() -> None:
        async with replica(f"sqlite:///{tmp_path}/one.db") as client:
            await client.post("/machines", json=config("1"))
            assert await created(client, "x") == "1"
            same = await client.post("/machines", json=config("2"))
            assert same.status_code == 201
            assert await created(client, "y") == "2"

    asyncio.run(go())


def test_entities_of_an_older_version_go_on_where_the_new_one_lets_them(tmp_path) -> None:
    """One in a state that both know goes the new way; one in a state that is gone is refused, and kept."""

    async def go() -> None:
        async with replica(f"sqlite:///{tmp_path}/one.db") as client:
            await client.post("/machines", json=config("1", target="c"))
            for name, triggers in (("young", ["go"]), ("old", ["go", "on"])):
                await created(client, name)
                for trigger in triggers:
                    sent = await client.post(f"/entities/{name}/events", json={"trigger": trigger})
                    assert sent.status_code == 200, sent.text
            await client.post("/machines", json=config("2", target="d"))

            sent = (await client.post("/entities/young/events", json={"trigger": "on"})).json()
            assert (sent["target_state"], sent["machine_version"]) == ("d", "2")
            refused = await client.post("/entities/old/events", json={"trigger": "back"})
            assert (refused.status_code, refused.json()["code"]) == (
                409, "machine_version_mismatch"
            )  # fmt: skip
            kept = (await client.get("/entities/old")).json()
            assert (kept["state"], kept["machine_version"], kept["version"]) == ("c", "1", 3)
            used = await client.delete("/machines/ship?version=1")
            assert (used.status_code, used.json()["code"]) == (409, "machine_conflict")

    asyncio.run(go())

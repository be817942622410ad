"""The version of an entity as its ``ETag``: events that are only for one, reads that need not be."""

import asyncio

import pytest

CREATE = {"context": {"total": 5}}


async def event(client, match, trigger="cancel", **headers):
    named = {"if-match": match, **{key.replace("_", "-"): value for key, value in headers.items()}}
    return await client.post("/entities/o/events", json={"trigger": trigger}, headers=named)


@pytest.mark.parametrize("match", ["1", '"1"', '"7", "1"', "7, 1", '"1","2"', "*", ' "1" '])
async def test_an_event_at_the_version_it_is_for_is_applied(serve, store, order, match) -> None:
    async with serve(order, store=store) as client:
        await client.post("/entities/o/create", json=CREATE)
        answer = await event(client, match)
        assert (answer.status_code, answer.headers["etag"]) == (200, '"2"')


@pytest.mark.parametrize("match", ['"2"', '"7", "8"', 'W/"1"', '"abc"', '""', '"01"'])
async def test_an_event_at_another_version_does_nothing(serve, store, order, match) -> None:
    async with serve(order, store=store) as client:
        await client.post("/entities/o/create", json=CREATE)
        answer = await event(client, match)
        assert (answer.status_code, answer.json()["code"]) == (412, "stale_version")
        assert answer.headers["etag"] == '"1"'
        assert len((await client.get("/entities/o/history")).json()["items"]) == 1


@pytest.mark.parametrize("match", ["a", "5 6", "", '"1', '"1" "2"', "**", '"1",'])
async def test_a_condition_that_is_none_is_refused(serve, order, match) -> None:
    async with serve(order) as client:
        answer = await event(client, match)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_header")
        assert (await client.get("/entities/o")).status_code == 404


@pytest.mark.parametrize("match", ['"1"', "*"])
async def test_without_an_entity_no_version_matches(serve, store, order, match) -> None:
    async with serve(order, store=store) as client:
        assert (await event(client, match)).status_code == 412
        assert (await client.get("/entities/o")).status_code == 404


async def test_an_event_can_be_for_a_new_entity_only(serve, store, order) -> None:
    async with serve(order, store=store) as client:
        for status in (200, 412):
            answer = await client.post(
                "/entities/o/events", json={"trigger": "cancel"}, headers={"if-none-match": "*"}
            )
            assert answer.status_code == status
        wrong = await client.post(
            "/entities/o/events", json={"trigger": "cancel"}, headers={"if-none-match": '"1"'}
        )
        assert wrong.status_code == 400


@pytest.mark.parametrize("match", ['"1"', "*", '"1", "9"'])
async def test_a_known_key_is_answered_before_the_version_is_looked_at(
    serve, store, order, match
) -> None:
    """The sender of the first attempt has lost its answer, and cannot know the new version."""
    async with serve(order, store=store) as client:
        await client.post("/entities/o/create", json=CREATE)
        first = await event(client, match, idempotency_key="k")
        again = await event(client, match, idempotency_key="k")
        assert (again.status_code, again.content) == (200, first.content)


async def test_one_of_many_at_the_same_version_wins(serve, store, order) -> None:
    async with serve(order, store=store) as client:
        await client.post("/entities/o/create", json=CREATE)
        answers = await asyncio.gather(*[event(client, '"1"') for _ in range(10)])
        assert sorted(answer.status_code for answer in answers) == [200] + 9 * [412]


async def test_data_and_hands_take_conditions_too(serve, store, order) -> None:
    async with serve(order, store=store) as client:
        await client.post("/entities/o/create", json=CREATE)
        for path, body in (
            ("apply-data", {"data": {"a": 1}}),
            ("force-state", {"state": "closed", "reason": "x"}),
        ):
            wrong = await client.post(f"/entities/o/{path}", json=body, headers={"if-match": '"9"'})
            assert wrong.status_code == 412
            version = (await client.get("/entities/o")).headers["etag"]
            right = await client.post(
                f"/entities/o/{path}", json=body, headers={"if-match": version}
            )
            assert right.status_code == 200


async def test_a_reader_who_has_the_version_gets_no_body(serve, order) -> None:
    async with serve(order) as client:
        await client.post("/entities/o/create", json=CREATE)
        for known, status in (
            ('"1"', 304),
            ('W/"1"', 304),
            ('"0", "1"', 304),
            ("*", 304),
            ('"2"', 200),
            ("x", 400),
        ):
            answer = await client.get("/entities/o", headers={"if-none-match": known})
            assert answer.status_code == status
            assert status != 304 or (answer.content, answer.headers["etag"]) == (b"", '"1"')

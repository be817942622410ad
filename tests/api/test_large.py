"""Answers have a bounded size, whatever their rows hold: one reader does not take all the memory."""

import pytest

LARGE = "x" * 400_000
NUMBER = 40


@pytest.mark.parametrize(
    "path", ["entities?limit=1000", "entities/e-0/history?limit=1000", "transitions?limit=1000"]
)
async def test_a_page_of_large_rows_is_short_and_can_be_gone_on_with(serve, order, path) -> None:
    one = "history" in path
    async with serve(order) as client:
        for number in range(NUMBER):
            place = f"/entities/e-{0 if one else number}"
            await client.post(f"{place}/apply-data", json={"data": {"note": f"{number}{LARGE}"}})
        items = []
        sizes = []
        cursor = ""
        while cursor is not None:
            answer = await client.get(f"/{path}{cursor}")
            page = answer.json()
            items += page["items"]
            sizes.append(len(answer.content))
            more = page["next"] if not page.get("end") else None
            cursor = None if more is None else f"&cursor={more}"
        assert max(sizes) < 16_000_000, "the first sixteen rows, or less"
        places = [(each["entity_id"], each["version"]) for each in items]
        assert len(places) == len(set(places)) == NUMBER


async def test_a_page_of_small_rows_is_as_long_as_it_was_asked_to_be(serve, order) -> None:
    async with serve(order) as client:
        for number in range(120):
            await client.post(f"/entities/e-{number}/create", json={"context": {"total": number}})
        for path in ("/entities", "/transitions"):
            page = (await client.get(path)).json()
            assert (len(page["items"]), page["next"] is None) == (100, False)
        assert len((await client.get("/entities?limit=1000")).json()["items"]) == 120

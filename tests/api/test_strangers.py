"""Whatever strangers send: the service goes on answering, and nothing is a failure of ours."""

import asyncio
import json
import time

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.definitions import ORDER, YAML, small


def test_health_is_quick_while_a_stranger_takes_all_there_is(serve) -> None:
    config = small(transitions=[{
        "trigger": "go", "source": "a", "dest": "b",
        "actions": [{"compute": {f"x{n}": "xs + xs"}} for n in range(3_000)],
    }])  # fmt: skip
    body = {"machine": config, "state": "a", "trigger": "go", "context": {"xs": [1] * 30_000}}

    async def go() -> None:
        async with serve() as client:
            work = [asyncio.ensure_future(client.post("/process", json=body)) for _ in range(2)]
            await asyncio.sleep(0.3)
            times = []
            while not all(task.done() for task in work):
                began = time.perf_counter()
                assert (await client.get("/health")).status_code == 200
                times.append(time.perf_counter() - began)
                await asyncio.sleep(0.02)
            for task in work:
                answer = task.result()
                assert (answer.status_code, answer.json()["code"]) == (422, "evaluation_failed")
            assert len(times) > 5
            assert sorted(times)[len(times) // 2] < 0.1

    asyncio.run(go())


def test_a_crowd_is_told_to_come_again(serve) -> None:
    """Some are answered, the others get a 503 with Retry-After, none a failure."""

    async def go() -> None:
        async with serve() as client:
            asked = [
                client.post("/machines/validate", content=ORDER, headers=YAML) for _ in range(40)
            ]
            answers = await asyncio.gather(*asked)
            statuses = {answer.status_code for answer in answers}
            assert statuses == {200, 503}
            assert all(a.headers["retry-after"] for a in answers if a.status_code == 503)

    asyncio.run(go())


scalars = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=10) | st.floats(allow_nan=False)
)
plain = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "machine": plain | st.just(small()) | st.builds(small, st.text(), st.text(), st.text()),
        "machine_name": plain,
        "version": plain,
        "state": st.sampled_from(["a", "b", "a+b"]) | plain,
        "trigger": st.sampled_from(["go"]) | plain,
        "context": st.dictionaries(st.text(max_size=3), plain, max_size=2) | plain,
        "payload": st.dictionaries(st.text(max_size=3), plain, max_size=2) | plain,
        "now": st.datetimes().map(lambda moment: f"{moment.isoformat()}Z") | plain,
    },
)


@pytest.mark.parametrize("count", [12, pytest.param(500, marks=pytest.mark.soak)])
def test_whatever_comes_is_never_a_failure_of_ours(everything, count) -> None:
    @settings(max_examples=count)
    @given(
        drawn=st.lists(
            st.tuples(bodies, plain, st.binary(max_size=60), st.text()), min_size=2, max_size=2
        )
    )
    def whatever(drawn) -> None:
        async def go(client: httpx.AsyncClient) -> None:
            for body, config, raw, word in drawn:
                named = (
                    httpx.URL("http://test")
                    .copy_with(path="/")
                    .join(
                        "/api/v1/machines/"
                        + "".join(
                            f"%{byte:02X}" for byte in (word or "x").encode("utf-8", "replace")
                        )
                    )
                )
                for answer in (
                    await client.post(
                        "/process",
                        content=json.dumps(body),
                        headers={"content-type": "application/json"},
                    ),
                    await client.post(
                        "/machines",
                        content=json.dumps(config),
                        headers={"content-type": "application/json"},
                    ),
                    await client.post("/machines/validate", content=raw, headers=YAML),
                    await client.put(named, content=raw, headers=YAML),
                    await client.get(named),
                    await client.get(f"{named}/diagram"),
                    await client.delete(named),
                ):
                    assert answer.status_code < 500, (answer.status_code, answer.text)

        everything(go)

    whatever()

"""HEAD is GET without a body."""

import pytest

from pystator.api import ApiSettings
from pystator.service.keyfile import create_key

READS = [
    ("/entities/order-1", 200),
    ("/entities/order-1?verdicts=true", 200),
    ("/entities/order-2", 404),
    ("/entities/order-1/history?limit=1", 200),
    ("/entities?limit=0", 422),
    ("/machines", 200),
    ("/transitions", 200),
    ("/health", 200),
    ("/nothing", 404),
]


def lasting(headers) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in {"x-request-id", "date"}}


@pytest.mark.parametrize(("path", "status"), READS)
async def test_a_head_is_what_a_get_begins_with(serve, order, path, status) -> None:
    async with serve(order) as client:
        await client.post("/entities/order-1/create")
        whole, head = await client.get(path), await client.head(path)
        assert (whole.status_code, head.status_code) == (status, status)
        assert lasting(head.headers) == lasting(whole.headers)
        assert whole.content
        assert head.content == b""


async def test_what_only_a_post_does_has_no_head(serve, order) -> None:
    async with serve(order) as client:
        answer = await client.head("/entities/order-1/events")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
        assert (await client.get("/transitions")).json()["items"] == []


async def test_what_has_no_end_has_no_head(serve, order) -> None:
    async with serve(order) as client:
        answer = await client.head("/transitions/stream")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
        answer = await client.delete("/entities/order-1")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


async def test_a_known_version_is_not_told_again(serve, order) -> None:
    async with serve(order) as client:
        await client.post("/entities/order-1/create")
        answer = await client.head("/entities/order-1", headers={"If-None-Match": '"1"'})
        assert (answer.status_code, answer.headers["etag"]) == (304, '"1"')


async def test_it_needs_the_scope_of_the_get(serve, order, tmp_path) -> None:
    file = tmp_path / "keys.json"
    key, _ = create_key(file, "shop", scopes=["send"], machines=None, now=0)
    settings = ApiSettings.load({}, tmp_path, tmp_path, keys_file=str(file))
    async with serve(order, settings=settings) as client:
        assert (await client.head("/entities")).status_code == 401
        answer = await client.head("/entities", headers={"X-API-Key": key})
        assert (answer.status_code, answer.content) == (403, b"")


async def test_numbers_tell_it_from_a_get(serve, order) -> None:
    async with serve(order) as client:
        await client.head("/machines")
        told = (await client.get("http://test/metrics")).text
        assert (
            'pystator_http_requests_total{method="HEAD",route="/machines",status="200"} 1.0' in told
        )

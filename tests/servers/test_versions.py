"""The page of what was tested names the servers that the tests use."""

import sqlite3
from pathlib import Path

import psycopg
import pymongo
import pytest
import redis

from servers import find
from servers.cluster import ClusterKeys

PAGE = (Path(__file__).parents[2] / "docs" / "tested.md").read_text(encoding="utf-8")
ROWS = {
    line.split("|")[1].strip(): line
    for line in PAGE.partition("## What is killed")[0].splitlines()
    if line.startswith("| ")
}


def from_wheel(name: str) -> bool:
    return find.url_of(name) is None and getattr(find, name)() is None


def test_sqlite_is_new_enough():
    assert sqlite3.sqlite_version_info >= (3, 35)


def test_postgres_is_of_a_version_that_the_page_names(empty_postgres_url):
    with psycopg.connect(empty_postgres_url) as connection:
        version = connection.info.server_version
    if from_wheel("postgres"):
        assert f"| {version // 10_000}.{version % 10_000} |" in ROWS["PostgreSQL"]
    else:
        assert version >= 140_000


@pytest.mark.parametrize(
    ("name", "row", "field"),
    [("redis", "Redis", "redis_version"), ("valkey", "Redis, on Valkey", "valkey_version")],
)
def test_redis_is_of_the_version_that_the_page_names(request, name, row, field):
    with redis.Redis.from_url(request.getfixturevalue(f"{name}_url")) as client:
        info = client.info("server")
    if from_wheel(name):
        assert f"| {info[field]} |" in ROWS[row]
    assert ("valkey_version" in info) == (field == "valkey_version")


def test_the_nodes_of_the_cluster_are_of_the_version_that_the_page_names(
    redis_cluster_keys: ClusterKeys,
):
    with redis.RedisCluster.from_url(redis_cluster_keys.url) as client:
        nodes = client.info("server", target_nodes="primaries")
    versions = {each["redis_version"] for each in nodes.values()}
    if from_wheel("redis") and redis_cluster_keys.ours:
        assert len(nodes) == 3
        assert [f"| {version} |" in ROWS["Redis Cluster"] for version in versions] == [True]


def test_mongodb_is_of_the_version_that_the_page_names(mongodb_url):
    with pymongo.MongoClient(mongodb_url) as client:
        version = client.admin.command("buildInfo")["version"]
    if from_wheel("mongodb"):
        assert f"it says {version}:" in ROWS["MongoDB"]
        requirements = find.REQUIREMENTS.read_text(encoding="utf-8")
        assert "secantusdb==0.7.0b3 " in requirements
        assert "| SecantusDB 0.7.0b3 |" in ROWS["MongoDB"]

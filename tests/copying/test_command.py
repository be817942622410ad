"""``pystator stores copy`` and ``pystator machines``."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from copying.filled import contents, fill, machines_of, put
from pystator import create_state_store
from pystator.cli.app import app
from pystator.testing.building import change

pytestmark = pytest.mark.filterwarnings("ignore:.*writes nothing to a disk")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """``run(*words)``: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYSTATOR_DATABASE_URL", raising=False)

    def call(*words: str, code: int = 0) -> tuple[str, str]:
        done = CliRunner().invoke(app, list(words))
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == code, (done.stdout, done.stderr)
        return done.stdout, done.stderr

    return call


@pytest.fixture
def filled(tmp_path):
    """The URL of a SQLite store with something in it."""
    url = f"sqlite:///{tmp_path / 'from.db'}"
    with create_state_store(url) as store:
        fill(store)
    return url


def as_json(text: str) -> Any:
    return json.loads(text)


def test_a_copy_says_what_it_did(run, filled) -> None:
    out, _ = run("stores", "copy", filled, "sqlite:///to.db", "--dry-run")
    assert out == "4 entities, 10 rows and 2 machines would be copied\n"
    assert not Path("to.db").exists()
    out, _ = run("stores", "copy", filled, "sqlite:///to.db")
    first, second, digest = out.splitlines()
    assert first == "4 entities, 10 rows and 2 machines copied"
    assert second == "compared: TO has all of it, 4 entities, 10 rows and 2 machines"
    assert digest.startswith("digest ")
    out, _ = run("stores", "copy", filled, "sqlite:///to.db", "--batch", "3")
    assert out.splitlines() == ["nothing to copy", second, digest]
    report = as_json(run("stores", "copy", filled, "sqlite:///to.db", "--json")[0])
    assert (report["verified"], report["copied"]["rows"], report["rows"]) == (True, 0, 10)
    assert f"digest {report['digest']}" == digest
    assert report["from"] == filled


def test_a_dry_run_makes_nothing_where_there_is_nothing_yet(run, filled, mongodb_url) -> None:
    """A database without collections is taken for an empty store, as a missing file is."""
    for _ in range(2):
        out, _ = run("stores", "copy", filled, mongodb_url, "--dry-run")
        assert out == "4 entities, 10 rows and 2 machines would be copied\n"
    _, told = run("machines", "list", "--store", mongodb_url, code=1)
    assert "a command that writes" in told


def test_a_part_of_it(run, filled) -> None:
    out, _ = run("stores", "copy", filled, "sqlite:///to.db", "--no-history", "--machine", "m")
    assert out.startswith("2 entities copied\n")
    out, _ = run("stores", "copy", filled, "sqlite:///to.db", "--machine", "m")
    assert out.startswith("8 rows copied\n")


@pytest.mark.parametrize("kind", ["postgres", "redis", "mongodb"])
def test_into_a_server_and_back(run, filled, kind, request) -> None:
    url = request.getfixturevalue(f"{kind}_url")
    digests = set()
    for pair in ((filled, url), (url, "sqlite:///back.db")):
        report = as_json(run("stores", "copy", *pair, "--json")[0])
        assert report["verified"], report
        digests.add(report["digest"])
    assert len(digests) == 1
    with create_state_store(filled) as first, create_state_store("sqlite:///back.db") as last:
        keys = [each.key for each in first.entities().items]
        assert contents(last, keys) == contents(first, keys)
        assert machines_of(last) == machines_of(first)


def test_conflicts_are_listed_and_nothing_is_overwritten(run, filled) -> None:
    with create_state_store("sqlite:///to.db") as store:
        put(store, *[change(name, context={"mine": 1}, now=7) for name in ("a", "b")])
    out, err = run("stores", "copy", filled, "sqlite:///to.db", code=1)
    assert out.startswith("2 entities, 3 rows and 2 machines copied\n")
    assert "compared" not in out
    assert "a of m: the target has another entity, version 1 in 'open'" in err
    assert "error: 2 conflicts: TO keeps what it has there" in err
    report = as_json(run("stores", "copy", filled, "sqlite:///to.db", "--json", code=1)[0])
    assert [each["entity_id"] for each in report["conflicts"]] == ["a", "b"]
    with create_state_store("sqlite:///to.db") as store:
        assert store.get_context("b") == {"mine": 1}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("sqlite:///from.db", "memory://"), "memory:// is in memory"),
        (("sqlite://", "sqlite:///to.db"), "sqlite:// is in memory"),
        (("sqlite:///from.db", "sqlite:///./from.db"), "FROM and TO are the same store"),
        (("sqlite:///none.db", "sqlite:///to.db"), "none.db"),
        (("sqlite:///from.db", "mysql://x"), "mysql"),
    ],
)
def test_mistakes_are_told(run, filled, words, expected) -> None:
    result = CliRunner().invoke(app, ["stores", "copy", *words], env={"COLUMNS": "200"})
    assert result.exit_code in {1, 2}
    assert expected in result.stderr
    assert "Traceback" not in result.stderr


# Killed and stopped -------------------------------------------------------------------------------


@pytest.fixture
def long(tmp_path):
    """A store with histories that take a moment to copy."""
    url = f"sqlite:///{tmp_path / 'long.db'}"
    with create_state_store(url, synchronous="OFF") as store:
        store.commit([change(f"e{n:04}", steps=6, event_id="i") for n in range(150)])
        for start in range(0, 1_000, 50):
            store.commit([change("long", after=start, steps=50, event_id=f"i{start}")])
    return url


def begin(tmp_path, *words: str) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-m", "pystator", "stores", "copy", *words],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for_rows(store, number: int) -> None:
    """Until the target has some of it."""
    deadline = time.monotonic() + 60
    while len(store.feed(None, number).items) < number:
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.mark.parametrize(("kind", "rows"), [("sqlite", 1), ("sqlite", 900), ("postgres", 500)])
def test_killed_it_goes_on_and_nothing_is_there_twice(
    tmp_path, run, long, kind, rows, request
) -> None:
    target = f"sqlite:///{tmp_path / 'to.db'}"
    if kind == "postgres":
        target = request.getfixturevalue("postgres_url")
    with create_state_store(target) as store:
        process = begin(tmp_path, long, target, "--batch", "20")
        wait_for_rows(store, rows)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        with create_state_store(long) as source:
            for entity in store.entities(limit=1_000).items:
                [mine], [theirs] = (contents(each, [entity.key]) for each in (store, source))
                assert mine == theirs, "an entity comes with all of its history"
    report = as_json(run("stores", "copy", long, target, "--json")[0])
    assert (report["verified"], report["entities"], report["rows"]) == (True, 151, 1_900)
    assert report["copied"]["rows"] < 1_900
    with create_state_store(target) as store:
        assert len(store.feed(None, 10_000).items) == 1_900


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_says_how_to_go_on(tmp_path, run, long, number) -> None:
    target = f"sqlite:///{tmp_path / 'to.db'}"
    with create_state_store(target) as store:
        process = begin(tmp_path, long, target, "--batch", "5")
        wait_for_rows(store, 50)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    assert b"stopping after the batch under way" in err
    assert b"stopped; the same command goes on with the rest" in err
    assert b" copied\n" in out
    assert as_json(run("stores", "copy", long, target, "--json")[0])["verified"]


# Machines -----------------------------------------------------------------------------------------

ORDER = """
meta: {machine_name: order, version: "1.0", description: An order}
states:
  - {name: new, type: initial}
  - {name: paid, type: terminal}
transitions:
  - {trigger: pay, source: new, dest: paid}
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "redis", "mongodb"])
def test_machines_are_stored_listed_and_run_by_name(tmp_path, run, kind, request) -> None:
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    if kind != "sqlite":
        url = request.getfixturevalue(f"{kind}_url")
    (tmp_path / "order.yaml").write_text(ORDER)
    assert run("machines", "create", "order.yaml", "--store", url)[0] == "order 1.0  added\n"
    assert run("machines", "create", "order.yaml", "--store", url)[0] == "order 1.0  was there\n"
    (tmp_path / "order.yaml").write_text(ORDER.replace("paid", "settled"))
    _, err = run("machines", "create", "order.yaml", "--store", url, code=1)
    assert "order@1.0 is stored already, and is another machine" in err
    (tmp_path / "order.yaml").write_text(ORDER.replace("1.0", "1.1"))
    run("machines", "create", "order.yaml", "--store", url)
    out, _ = run("machines", "list", "--store", url)
    assert [line.split()[:2] for line in out.splitlines()] == [["order", "1.0"], ["order", "1.1"]]
    assert "An order" in out
    found = as_json(run("machines", "get", "order", "--store", url, "--json")[0])
    assert (found["version"], found["definition"]["meta"]["version"]) == ("1.1", "1.1")
    out, _ = run("machines", "get", "order@1.0", "--store", url)
    (tmp_path / "again.yaml").write_text(out)
    assert run("check", "again.yaml")[0]
    _, err = run("machines", "get", "ordre", "--store", url, code=1)
    assert "stored are order@1.0, order@1.1" in err
    assert "paid" in run("send", "o-1", "pay", "--machine", "order", "--store", url)[0]
    assert run("graph", "order@1.0", "--store", url)[0]


def test_where_no_machine_is_stored(run) -> None:
    out, err = run("machines", "list", "--store", "sqlite:///none.db")
    assert (out, "no machine is stored" in err) == ("", True)
    assert as_json(run("machines", "list", "--store", "sqlite:///none.db", "--json")[0]) == {
        "machines": []
    }
    assert not Path("none.db").exists()

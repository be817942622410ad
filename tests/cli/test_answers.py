"""Whatever people type or have, the answer is a sentence, and standard output stays what it is."""

import json
import os
import subprocess
import sys
from pathlib import Path

MACHINE = """
meta: {machine_name: order, version: "1.0"}
states: [{name: open, type: initial}, {name: paid, type: terminal}]
transitions: [{trigger: pay, source: open, dest: paid, actions: [tell]}]
"""
CODE = "print('loading')\nactions = {'tell': lambda ctx: print('paid')}\n"


def pystator(folder: Path, *words: str, stdin: str = "", **environment: str):
    """Run the command in a folder of its own."""
    names = {key: value for key, value in os.environ.items() if not key.startswith("PYSTATOR_")}
    return subprocess.run(
        [sys.executable, "-m", "pystator", *words],
        cwd=folder,
        env={**names, **environment},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_misspelt_command_is_answered_with_the_nearest(tmp_path):
    done = pystator(tmp_path, "histroy", "o-1")
    assert done.returncode == 2
    assert "Did you mean 'history'?" in done.stderr


def test_what_a_users_code_prints_does_not_get_between_json(tmp_path):
    (tmp_path / "order.yaml").write_text(MACHINE)
    (tmp_path / "code.py").write_text(CODE)
    options = ("--machine", "order.yaml", "--code", "code.py", "--json")
    done = pystator(tmp_path, "send", "o-1", "pay", *options)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["target_state"] == "paid"
    assert "loading" in done.stderr
    assert "paid" in done.stderr


def test_truncate_asks_and_takes_only_a_yes(tmp_path, cli):
    assert cli("db", "init").code == 0
    for answer in ("", "n\n", "maybe\nno\n"):
        done = pystator(tmp_path, "db", "truncate", stdin=answer)
        assert done.returncode == 1
        assert "nothing was deleted" in done.stderr
    assert pystator(tmp_path, "db", "truncate", stdin="y\n").returncode == 0


def test_downgrade_asks_where_there_are_rows_to_lose(tmp_path, cli):
    """Without a revision it undoes the last migration, and does not ask what that one holds."""
    assert cli("db", "init").code == 0
    assert cli("db", "seed").code == 0
    refused = pystator(tmp_path, "db", "downgrade", stdin="")
    assert refused.returncode == 1
    assert "nothing was deleted" in refused.stderr
    assert "is up to date" in cli("db", "upgrade").out
    assert cli("db", "downgrade", "base", "--force").code == 0
    assert cli("db", "init").code == 0
    assert pystator(tmp_path, "db", "downgrade").returncode == 0


def test_nobody_is_asked_about_a_database_that_is_not_there(tmp_path):
    done = pystator(tmp_path, "db", "truncate", stdin="y\n")
    assert done.returncode == 1
    assert "[y/N]" not in done.stderr
    assert not (tmp_path / "pystator.db").exists()


def test_a_locale_of_plain_ascii_is_enough(tmp_path):
    (tmp_path / "order.yaml").write_text(MACHINE)
    (tmp_path / "code.py").write_text("actions = {'tell': lambda ctx: None}\n")
    options = ("--machine", "order.yaml", "--code", "code.py", "--json")
    done = pystator(tmp_path, "send", "ö-1", "pay", "who=Zoë", *options, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert json.loads(done.stdout)["context"] == {"who": "Zoë"}


def test_nan_is_no_json(tmp_path):
    (tmp_path / "order.yaml").write_text(MACHINE)
    words = ("send", "o-1", "pay", "--context", '{"qty": NaN}', "--machine", "order.yaml")
    done = pystator(tmp_path, *words)
    assert done.returncode == 2
    assert "NaN is no JSON value" in done.stderr


def test_a_time_outside_of_the_calendar_is_refused(tmp_path):
    (tmp_path / "order.yaml").write_text(MACHINE)
    words = ("send", "o-1", "pay", "--machine", "order.yaml", "--at", "0001-01-01T00:00:00+02:00")
    done = pystator(tmp_path, *words)
    assert done.returncode == 2
    assert "years 1 to 9999" in done.stderr

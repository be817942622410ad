"""Histories cut into pages."""

import json

import pytest
from typer.testing import CliRunner

from pystator.cli.app import app

MACHINE = """
meta: {machine_name: door, version: "1.0"}
states: [{name: open, type: initial}, {name: shut}]
transitions:
  - {trigger: turn, source: open, dest: shut, actions: [log]}
  - {trigger: turn, source: shut, dest: open, actions: [log]}
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "door.yaml").write_text(MACHINE)
    return lambda *words: CliRunner().invoke(app, list(words))


@pytest.mark.parametrize("newest", [(), ("--newest",)])
def test_an_outcome_on_another_page_is_not_called_unknown(run, newest):
    """The row of an action's outcome may be the first or the last of its page."""
    for _ in range(3):
        assert run("send", "d-1", "turn", "-m", "door.yaml").exit_code == 0
    after: tuple[str, ...] = ()
    told = ""
    while True:
        page = run("history", "d-1", "-n", "1", *newest, *after)
        assert page.exit_code == 0, page.output
        told += page.output
        cursor = json.loads(run("history", "d-1", "-n", "1", "--json", *newest, *after).stdout)
        if cursor["next"] is None:
            break
        after = ("--after", cursor["next"])
    assert "on another page" in told
    assert "unknown" not in told

"""The tables of docs/stores.md say what the stores' classes say."""

import inspect
import re
from pathlib import Path

import pystator
from pystator.stores.postgres import PostgresStateStore
from pystator.stores.prunable import CompleteStore
from pystator.stores.sqlite import SQLiteStateStore

PAGE = (Path(__file__).parents[2] / "docs" / "stores.md").read_text(encoding="utf-8")
COLUMNS = {
    "memory": pystator.InMemoryStateStore,
    "SQLite": SQLiteStateStore,
    "PostgreSQL": PostgresStateStore,
    "MongoDB": pystator.MongoDBStateStore,
    "Redis": pystator.RedisStateStore,
    "replicated": pystator.ReplicatedStateStore,
}
COMMON = {"url", "connection_string", "machine_name", "context_limit", "clock"}


def rows(first: str) -> list[list[str]]:
    """The cells of the table that begins so."""
    lines = PAGE[PAGE.index(first) :].splitlines()
    table = lines[: next(n for n, line in enumerate(lines) if not line.startswith("|"))]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_every_store_of_ours_has_its_row() -> None:
    named = [re.match(r"`(\w+)`", row[0]) for row in rows("| Store |")[2:]]
    assert [each[1] for each in named if each] == [kind.__name__ for kind in COLUMNS.values()]
    for kind, row in zip(COLUMNS.values(), rows("| Store |")[2:], strict=False):
        assert issubclass(kind, CompleteStore)
        assert kind.durable is not row[2].startswith("nothing")


def test_the_options_and_transactions_are_those_of_the_classes() -> None:
    heads, _, *body = rows("| | memory |")
    assert heads[1:] == list(COLUMNS)
    said = {row[0]: row[1:] for row in body}
    for name, cell in zip(COLUMNS, said["options of its own"], strict=True):
        options = set(inspect.signature(COLUMNS[name]).parameters) - COMMON
        assert set(re.findall(r"`(\w+)`", cell)) == options, name
    [transactions] = [row for head, row in said.items() if "connection=" in head]
    for name, cell in zip(COLUMNS, transactions, strict=True):
        has = COLUMNS[name].within is not CompleteStore.within
        assert (cell == "yes") is has, name
    [machines] = [row for head, row in said.items() if "--machine" in head]
    assert machines == [
        "yes" if hasattr(kind, "save_machine") else "no" for kind in COLUMNS.values()
    ]

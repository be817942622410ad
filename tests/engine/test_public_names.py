"""``from pystator import ...``"""

import ast
import subprocess
import sys
from pathlib import Path

import pystator


def test_every_public_name_has_one_home_and_type_checkers_see_it() -> None:
    """The lazy table, ``__all__`` and the imports for type checkers are three views of one list."""
    tree = ast.parse(Path(pystator.__file__).read_text(encoding="utf-8"))
    seen = {
        (node.module, alias.name)
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    lazy = {(home, name) for home, names in pystator._HOMES.items() for name in names}
    assert seen == lazy
    assert {name for _, name in lazy} | {"__version__"} == set(pystator.__all__)
    assert set(pystator.__all__) == set(dir(pystator))


def test_a_store_whose_driver_is_missing_is_there_and_says_what_to_install() -> None:
    """Any program may import the names; who makes such a store is told."""
    for module, name, extra in (
        ("psycopg", "PostgresStateStore", "postgres"),
        ("redis", "RedisStateStore", "redis"),
        ("hiredis", "RedisStateStore", "redis"),
        ("pymongo", "MongoDBStateStore", "mongodb"),
    ):
        code = f"""
import sys
sys.modules[{module!r}] = None
import pystator
from pystator import *
from pystator import {name}
for make in ({name}, pystator.create_state_store):
    try:
        make({URLS[name]!r})
    except pystator.ConfigurationError as error:
        assert "pip install '.[{extra}]'" in error.message, error.message
        assert {module!r} in error.message and "secret" not in error.message
    else:
        raise AssertionError
"""
        subprocess.run([sys.executable, "-c", code], check=True)


URLS = {
    "PostgresStateStore": "postgresql://user:secret@localhost/shop",
    "RedisStateStore": "redis://:secret@localhost:6379/0",
    "MongoDBStateStore": "mongodb://user:secret@localhost",
}

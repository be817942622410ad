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
    code = """
import sys
for driver in ("psycopg", "hiredis", "pymongo"):
    sys.modules[driver] = None
import pystator
from pystator import *

for driver, make, extra, url in (
    ("psycopg", PostgresStateStore, "postgres", "postgresql://user:secret@localhost/shop"),
    ("hiredis", RedisStateStore, "redis", "redis://:secret@localhost:6379/0"),
    ("pymongo", MongoDBStateStore, "mongodb", "mongodb://user:secret@localhost"),
):
    for way in (make, create_state_store):
        try:
            way(url)
        except ConfigurationError as error:
            assert f"pip install '.[{extra}]'" in error.message, error.message
            assert driver in error.message and "secret" not in error.message
        else:
            raise AssertionError(driver)
"""
    subprocess.run([sys.executable, "-c", code], check=True)

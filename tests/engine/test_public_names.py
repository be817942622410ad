"""``from pystator import ...``"""

import ast
from pathlib import Path

import pytest

import pystator


@pytest.mark.parametrize("name", ["MongoDBStateStore"])
def test_a_store_that_is_not_in_this_release_says_so(name) -> None:
    with pytest.raises(AttributeError, match="not in this release"):
        getattr(pystator, name)


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

"""Cursors of a page's rows: a sequence of texts, made when they are asked for."""

from pystator.stores.cursors import Cursors
from pystator.stores.keys import write_cursor


def test_they_are_what_write_cursor_makes() -> None:
    cursors = Cursors("feed", [(1, 2), (3, 4)])
    assert list(cursors) == [write_cursor("feed", 1, 2), write_cursor("feed", 3, 4)]
    assert (len(cursors), cursors[-1]) == (2, write_cursor("feed", 3, 4))
    assert cursors[1:] == [write_cursor("feed", 3, 4)]
    assert cursors == Cursors("feed", [[1, 2], [3, 4]])
    assert cursors != Cursors("feed", [(1, 2)])
    assert not Cursors("feed", [])
    assert repr(cursors) == f"Cursors({list(cursors)})"

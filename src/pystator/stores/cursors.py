"""Cursors of the rows of a page: most readers want the last one only."""

from collections.abc import Sequence
from typing import cast, overload

from pystator.stores.keys import write_cursor

__all__ = ["Cursors"]


class Cursors(Sequence[str]):
    """Texts of `write_cursor`, each made when somebody asks for it.

    Args:
        kind: Of the read.
        places: The parts of each of them.
    """

    __slots__ = ("_kind", "_places")

    def __init__(self, kind: str, places: Sequence[Sequence[int]]) -> None:
        self._kind = kind
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> "Cursors": ...
    def __getitem__(self, at: int | slice) -> "str | Cursors":
        if isinstance(at, slice):
            return Cursors(self._kind, self._places[at])
        return write_cursor(self._kind, *self._places[at])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return list(self) == list(cast("Sequence[object]", other))

    __hash__ = None  # type: ignore[assignment] # it is compared as a list is

    def __repr__(self) -> str:
        return f"Cursors({list(self)})"

"""Rows of the feed, as answers."""

from typing import Final

from pydantic import BaseModel, Field

from pystator.api.models.history import RowModel

__all__ = ["CURSOR", "TransitionsModel"]

CURSOR: Final = "WyJmZWVkIiwxN10"
"""A cursor as one looks."""


class TransitionsModel(BaseModel):
    """One page of the feed."""

    items: list[RowModel] = Field(description="The rows, in the feed's order.")
    next: str = Field(
        description="The cursor to go on with, never null: what comes later is behind it.",
        examples=[CURSOR],
    )
    end: bool = Field(
        description="There was nothing more. A page may have no items and not be the end, where"
        " rows that the filters leave out were passed over.",
        examples=[True],
    )

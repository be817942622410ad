"""A compiled part of an expression, and what there is to know of it to choose a quick closure."""

from decimal import Decimal
from typing import Any, Literal

from pystator.engine.frame import Evaluate
from pystator.engine.unchecked import Region, field_region, number_region

__all__ = ["Operand", "Shape", "common", "constant", "field"]

Shape = Literal["constant", "field", "path", "boolean", "scalar", "any"]


class Operand:
    """One compiled node.

    Attributes:
        run: Its closure.
        shape: ``constant``, ``field`` (a name alone), ``path``, ``boolean``, ``scalar`` (no list,
            no object) or ``any``.
        value: Of a constant.
        exact: Of a fractional constant: the Decimal that is written.
        name: Of a field.
        items: Of a list that is written there.
        region: Of arithmetic that can run without checks.
    """

    __slots__ = ("exact", "items", "name", "region", "run", "shape", "value")

    def __init__(
        self,
        run: Evaluate,
        shape: Shape = "any",
        *,
        value: Any = None,
        exact: Decimal | None = None,
        name: str | None = None,
        items: "list[Operand] | None" = None,
        region: Region | None = None,
    ) -> None:
        self.region = region
        self.run = run
        self.shape: Shape = shape
        self.value = value
        self.exact = exact
        self.name = name
        self.items = items

    @property
    def is_constant(self) -> bool:
        """It is known before any step."""
        return self.shape == "constant"

    @property
    def is_cheap(self) -> bool:
        """Evaluating it twice costs less than keeping it."""
        return self.shape in {"constant", "field", "path"}

    @property
    def is_scalar(self) -> bool:
        """It is no list and no object."""
        return self.shape in {"constant", "boolean", "scalar"}


def constant(value: Any, exact: Decimal | None = None) -> Operand:
    """A constant; ``exact`` is the Decimal of a fractional literal's text."""
    return Operand(
        lambda _context, _frame: value,
        "constant",
        value=value,
        exact=exact,
        region=number_region(value),
    )


def field(name: str, run: Evaluate) -> Operand:
    """A field of the context by its name."""
    return Operand(run, "field", name=name, region=field_region(name))


def common(parts: list[Operand]) -> Literal["boolean", "scalar", "any"]:
    """What the value of one of the parts is."""
    if all(part.shape == "boolean" for part in parts):
        return "boolean"
    return "scalar" if all(part.is_scalar for part in parts) else "any"

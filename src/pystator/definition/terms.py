"""The small parts of guards and actions: expressions, context fields, parameters."""

from typing import Any

from pystator.definition.data import is_list, is_map
from pystator.definition.expressions import Expression, ExpressionError, parse
from pystator.definition.issues import Path, Report, show

__all__ = ["Terms"]


class Terms:
    """Lowers the terms of one machine; equal expressions are parsed once.

    Args:
        report: Takes the mistakes.
    """

    def __init__(self, report: Report) -> None:
        self.report = report
        self._expressions: dict[str, Expression] = {}

    def expression(self, text: str, path: Path) -> Expression | None:
        """A checked expression; None when there is a mistake in it, reported at its own place."""
        known = self._expressions.get(text)
        if known is not None:
            return known
        try:
            expression = parse(text)
        except ExpressionError as error:
            self.report.add(
                "expression",
                path,
                f"in the expression: {error.message}",
                text=show(text),
                offset=error.offset,
            )
            return None
        self._expressions[text] = expression
        return expression

    def field(self, text: str, path: Path) -> tuple[str, ...]:
        """A dotted path into the context, to read."""
        steps = tuple(text.split("."))
        if not all(step and step == step.strip() for step in steps):
            message = f"{show(text)!r} is no field: use names with dots between them"
            self.report.add("field", path, message, text=show(text))
        return steps

    def target(self, text: str, path: Path) -> tuple[str, ...]:
        """A dotted path into the context, to write."""
        if text.startswith("_"):
            self.report.add(
                "reserved",
                path,
                f"{show(text)!r} cannot be written: names that start with '_' are reserved",
                text=show(text),
                suggestion=text.lstrip("_") or None,
            )
        return self.field(text, path)

    def value(self, value: Any, path: Path) -> Any:
        """A parameter: ``{expr: ...}`` anywhere inside becomes an expression."""
        if is_map(value):
            text = value.get("expr")
            if len(value) == 1 and isinstance(text, str):
                return self.expression(text, (*path, "expr"))
            return {key: self.value(item, (*path, key)) for key, item in value.items()}
        if is_list(value):
            return [self.value(item, (*path, index)) for index, item in enumerate(value)]
        return value

"""The expression language of guards and effects: what may be written, and that nothing else is.

An expression reads the context and gives a value. It cannot loop, define, assign, call anything but
the functions below, or reach a Python object: names and dots are lookups in plain data, and nothing
is ever passed to `eval`.

::

    qty >= 1 and customer.tier == 'gold'     names are fields of the context, dots go into objects
    items[0].price, rates['EUR'], rates[x]   an index: a position in a list, a key of an object
    0 < qty <= limit                         == != < <= > >=, in, not in, is null, is not null
    total * 1.2 - discount                   + - * / // % **, and signs
    not paid or total == 0                   and, or, not; they give the deciding operand
    'big' if qty > 100 else 'small'          a choice
    status in ['open', 'held']               lists, of constants or of expressions
    null true false                          also None True False
    _event.name, _event.data.qty             the event being processed and its payload
    lower(email), coalesce(retries, 0)       functions, see `FUNCTIONS`

What values mean is decided where expressions are evaluated: `pystator.engine.expressions`.

Limits hold before anything is built: `MAX_LENGTH` characters before the text is parsed, `MAX_NODES`
nodes and `MAX_DEPTH` levels before the tree is looked at any closer.
"""

import ast
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "EVENT",
    "FUNCTIONS",
    "MAX_BITS",
    "MAX_DEPTH",
    "MAX_LENGTH",
    "MAX_NODES",
    "Expression",
    "ExpressionError",
    "parse",
]

MAX_LENGTH = 1_000
"""Characters of an expression."""

MAX_NODES = 500
"""Nodes of its tree: names, constants, operators, calls."""

MAX_DEPTH = 50
"""Levels of its tree."""

MAX_BITS = 4_096
"""Bits of an integer, in the text and at any moment of an evaluation."""

EVENT = "_event"
"""The one reserved name an expression may read: ``{"name": ..., "data": payload}``."""

FUNCTIONS: Mapping[str, tuple[int, int]] = {
    "len": (1, 1),  # of a text, a list or an object
    "min": (1, 99),  # of several values, or of one list
    "max": (1, 99),
    "sum": (1, 1),  # of a list of numbers
    "any": (1, 1),  # one of the list is true
    "all": (1, 1),  # each of the list is true
    "abs": (1, 1),
    "round": (1, 2),  # to so many digits, -30 to 30; halves go to the even neighbour
    "floor": (1, 1),
    "ceil": (1, 1),
    "lower": (1, 1),
    "upper": (1, 1),
    "strip": (1, 1),  # without white space at both ends
    "startswith": (2, 2),
    "endswith": (2, 2),
    "coalesce": (1, 99),  # the first value that is not null
    "int": (1, 1),  # of a number (towards zero) or a text
    "float": (1, 1),
    "decimal": (1, 1),
    "str": (1, 1),
    "now": (0, 0),  # the time of the step, an aware datetime
    "datetime": (1, 1),  # of an ISO 8601 text; without a zone it is UTC
    "seconds": (1, 1),  # durations, to add to a datetime or to compare with a difference
    "minutes": (1, 1),
    "hours": (1, 1),
    "days": (1, 1),
}
"""Every function: how many arguments it takes, at least and at most."""


class ExpressionError(ValueError):
    """A text that is not an expression.

    Attributes:
        message: What is not allowed here and what to write instead.
        offset: Position in the text, in characters from 0.
    """

    def __init__(self, message: str, offset: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression. Two of the same text are equal.

    Attributes:
        text: As it was written.
        tree: Checked: only what this module's docstring lists; ``true``, ``false`` and ``null`` are
            constants in it.
        names: Fields of the context it reads, by their first part.
        calls: Functions it calls.
        literals: Text of each fractional number, by its ``col_offset`` in the tree: ``1.10`` is a
            float to the tree and exactly 1.10 next to a Decimal.
    """

    text: str
    tree: ast.expr = field(compare=False, repr=False)
    names: frozenset[str] = field(compare=False, repr=False)
    calls: frozenset[str] = field(compare=False, repr=False)
    literals: Mapping[int, str] = field(compare=False, repr=False)


def parse(text: str) -> Expression:
    """Text -> a checked expression.

    Args:
        text: At most `MAX_LENGTH` characters. Line breaks count as spaces.

    Raises:
        ExpressionError: It is not an expression of this language.
    """
    if type(text) is not str:
        raise ExpressionError(
            f"an expression is a text, not {type(text).__name__}: put it in quotes"
        )
    if len(text) > MAX_LENGTH:
        raise ExpressionError(
            f"an expression has at most {MAX_LENGTH} characters, this one has {len(text)}:"
            " compute a part of it into a field first, or register a guard",
            MAX_LENGTH,
        )
    if not text.strip():
        raise ExpressionError("an expression cannot be empty")
    check = _Check(text)
    tree = _parse(check)
    _measure(tree, check)
    tree = check.checked(tree)
    return Expression(text, tree, frozenset(check.names), frozenset(check.calls), check.literals)


# Text to tree -----------------------------------------------------------------------------------

_NEWLINES = str.maketrans("\n\r\t\f\v", "     ")
_WARNS = re.compile(r"\\|[0-9](?:and|else|for|if|in|is|not|or)\b", re.IGNORECASE)
"""Texts for which Python's parser may warn: an escape, or a number that runs into a word."""

_HINTS: Mapping[str, str] = {
    r"&&?": "write `and` instead of `&&`",
    r"\|\|?": "write `or` instead of `||`",
    r"===": "write `==` instead of `===`",
    r"<>": "write `!=` instead of `<>`",
    r"\?": "write `a if condition else b` instead of `condition ? a : b`",
    r"!(?!=)": "write `not x` instead of `!x`",
    r"[\u2018\u2019\u201c\u201d]": "write plain quotes, ' or \"",
    r"\$": "fields are written by their name alone, without `$`",
    r"(?<![=!<>])=(?!=)": "write `==` to compare",
    r"\.\s*(?:\d|(?:and|as|class|else|for|from|if|import|in|is|not|or|pass|return|with)\b)": (
        "such a field is read by index: order['from'], items[0]"
    ),
}
"""What people write by habit, as a pattern, and what to write instead."""


def _parse(check: "_Check") -> ast.expr:
    """The raw tree; every way in which Python's parser fails is an `ExpressionError`."""
    source = check.source
    try:
        if _WARNS.search(source):
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # a warning of the parser is a mistake of the author
                return ast.parse(source, mode="eval").body
        return ast.parse(source, mode="eval").body
    except SyntaxError as error:
        offset = check.indent + max((error.offset or 1) - 1, 0)
        reason = (error.msg or "invalid syntax").split(". Perhaps")[0]
        if "too many nested" in reason or "too complex" in reason:
            raise _too_deep(offset) from None
        message = f"this is not an expression ({reason})"
        raise ExpressionError(_hinted(message, source), min(offset, len(check.text))) from None
    except (RecursionError, MemoryError):
        raise _too_deep(0) from None
    except (ValueError, OverflowError) as error:
        reason = "it holds a null character" if "\0" in source else str(error).split(";")[0]
        raise ExpressionError(f"this is not an expression: {reason}") from None


def _hinted(message: str, source: str) -> str:
    bare = re.sub(r"'[^']*'|\"[^\"]*\"", "''", source)
    hints = [hint for pattern, hint in _HINTS.items() if re.search(pattern, bare)]
    return "; ".join([message, *hints])


def _too_deep(offset: int) -> ExpressionError:
    return ExpressionError(
        f"an expression has at most {MAX_DEPTH} levels: compute a part of it into a field first",
        offset,
    )


def _measure(tree: ast.expr, check: "_Check") -> None:
    """Refuse a tree that is too big, without recursion."""
    nodes = 0
    level: list[ast.expr] = [tree]
    for _ in range(MAX_DEPTH):
        nodes += len(level)
        level = [
            child for node in level for child in ast.iter_child_nodes(node)
            if isinstance(child, ast.expr)
        ]  # fmt: skip
        if nodes + len(level) > MAX_NODES:
            raise ExpressionError(
                f"an expression has at most {MAX_NODES} parts: compute some into a field first"
            )
        if not level:
            return
    raise _too_deep(check.offset(level[0]))


# The check --------------------------------------------------------------------------------------

_CONSTANTS: Mapping[str, bool | None] = {"true": True, "false": False, "null": None}
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow)
_REFUSED: Mapping[type[ast.AST], str] = {
    ast.Lambda: "functions cannot be defined here",
    ast.ListComp: "comprehensions are not allowed: use any, all, sum, min, max, `in`",
    ast.SetComp: "comprehensions are not allowed",
    ast.DictComp: "comprehensions are not allowed",
    ast.GeneratorExp: "comprehensions are not allowed: use any, all, sum, min, max, `in`",
    ast.JoinedStr: "f-strings are not allowed: join texts with `+` and str()",
    ast.FormattedValue: "f-strings are not allowed: join texts with `+` and str()",
    ast.NamedExpr: "an expression does not assign: use a `compute` effect",
    ast.Starred: "`*` cannot unpack here",
    ast.Await: "an expression does not wait: register an async guard",
    ast.Yield: "`yield` is not allowed",
    ast.YieldFrom: "`yield` is not allowed",
    ast.Set: "write a list, [a, b], instead of a set",
    ast.Dict: "an expression cannot build an object: use one `set` or `compute` effect per field",
    ast.Slice: "slices are not allowed: read one item by its index",
    ast.Invert: "bit operations are not allowed: write `not x` to negate",
    ast.BitAnd: "bit operations are not allowed: write `and`",
    ast.BitOr: "bit operations are not allowed: write `or`",
    ast.BitXor: "bit operations are not allowed: write `**` for a power, `!=` for exclusive or",
    ast.LShift: "shifts are not allowed: multiply by a power of 2",
    ast.RShift: "shifts are not allowed: divide by a power of 2 with `//`",
    ast.MatMult: "`@` is not allowed",
}
_METHODS: Mapping[str, str] = {
    "get": "{0}.field, or coalesce({0}.field, default)",
    "lower": "lower({0})",
    "upper": "upper({0})",
    "strip": "strip({0})",
    "startswith": "startswith({0}, ...)",
    "endswith": "endswith({0}, ...)",
    "total_seconds": "{0} / seconds(1)",
    "utcnow": "now()",
    "now": "now()",
}


class _Check:
    """One walk over a measured tree: refuses what is not listed, collects names and calls."""

    def __init__(self, text: str) -> None:
        self.text = text
        flat = text.translate(_NEWLINES)
        self.source = flat.strip(" ")
        self.indent = len(flat) - len(flat.lstrip(" "))
        self.names: set[str] = set()
        self.calls: set[str] = set()
        self.literals: dict[int, str] = {}

    # Positions ------------------------------------------------------------------------------

    def _column(self, column: int) -> int:
        """A column of the tree (UTF-8 bytes of the source) as characters of the source."""
        if self.source.isascii():
            return column
        return len(self.source.encode()[:column].decode(errors="ignore"))

    def offset(self, node: ast.expr) -> int:
        """Where the node begins in the text."""
        return self.indent + self._column(node.col_offset)

    def segment(self, node: ast.expr) -> str:
        """The node as it was written."""
        end = len(self.source) if node.end_col_offset is None else self._column(node.end_col_offset)
        return self.source[self._column(node.col_offset) : end]

    def refuse(self, node: ast.expr, message: str) -> ExpressionError:
        """The error for a node."""
        return ExpressionError(message, self.offset(node))

    # Nodes ----------------------------------------------------------------------------------

    def checked(self, tree: ast.expr) -> ast.expr:
        """The tree with ``true``, ``false`` and ``null`` made constants."""
        end = 0 if tree.end_col_offset is None else self._column(tree.end_col_offset)
        rest = self.source[end:].strip(" )")
        if rest:
            offset = self.indent + self.source.find(rest, end)
            raise ExpressionError(
                "a comment is not part of an expression: write it in YAML", offset
            )
        return self.node(tree)

    def node(self, node: ast.expr) -> ast.expr:
        """Check one node and all below it."""
        rule = _RULES.get(type(node))
        if rule is None:
            raise self.refused(node, type(node))
        return rule(self, node)

    def refused(self, node: ast.expr, kind: type[ast.AST]) -> ExpressionError:
        """The error for syntax that is not part of the language."""
        return self.refuse(
            node, _REFUSED.get(kind, f"{kind.__name__} is not allowed in an expression")
        )

    def constant(self, node: ast.Constant) -> ast.expr:
        """Numbers, texts, booleans and null."""
        value: object = node.value
        if value is None or isinstance(value, bool):
            return node
        if isinstance(value, str):
            if not _is_text(value):
                raise self.refuse(node, "this text holds half of a character (a lone surrogate)")
        elif isinstance(value, int):
            if value.bit_length() > MAX_BITS:
                raise self.refuse(node, f"an integer has at most {MAX_BITS} bits")
        elif isinstance(value, float):
            if value in {float("inf"), float("-inf")}:
                raise self.refuse(node, "this number is too large")
            self.literals[node.col_offset] = self.segment(node)
        else:
            raise self.refuse(
                node, "only numbers, texts, true, false and null can be written as constants"
            )
        return node

    def name(self, node: ast.Name) -> ast.expr:
        """A field of the context, or a constant's other spelling."""
        name = node.id
        if name in _CONSTANTS:
            constant = ast.Constant(_CONSTANTS[name])
            return ast.copy_location(constant, node)
        self.plain(node, name, self.segment(node))
        if name.startswith("_"):
            if name != EVENT:
                raise self.refuse(
                    node, f"names that start with `_` are reserved; only `{EVENT}` can be read"
                )
        else:
            self.names.add(name)
        return node

    def plain(self, node: ast.expr, name: str, written: str) -> None:
        """Refuse a name that Python's parser reads as another one (Unicode NFKC)."""
        if not name.isascii() and not written.endswith(name):
            raise self.refuse(
                node, f"this name would be read as {name!r}: write it so, or as an index ['...']"
            )

    def attribute(self, node: ast.Attribute) -> ast.expr:
        """A field of a nested object."""
        self.plain(node, node.attr, self.segment(node))
        if node.attr.startswith("__"):
            raise self.refuse(
                node, f"a dot reads a field of data, and `{node.attr}` is none: Python's own"
                " attributes cannot be reached"
            )  # fmt: skip
        node.value = self.node(node.value)
        return node

    def subscript(self, node: ast.Subscript) -> ast.expr:
        """One item by its position or key."""
        if isinstance(node.slice, ast.Tuple):
            raise self.refuse(node, "an index is one value: write a[x][y] instead of a[x, y]")
        node.value = self.node(node.value)
        node.slice = self.node(node.slice)
        return node

    def items(self, node: ast.List | ast.Tuple) -> ast.expr:
        """A list; a tuple is read as one."""
        node.elts = [self.node(item) for item in node.elts]
        return ast.copy_location(ast.List(node.elts, ast.Load()), node)

    def boolean(self, node: ast.BoolOp) -> ast.expr:
        """``and``, ``or``."""
        node.values = [self.node(value) for value in node.values]
        return node

    def unary(self, node: ast.UnaryOp) -> ast.expr:
        """``not``, ``-``, ``+``."""
        if isinstance(node.op, ast.Invert):
            raise self.refused(node, ast.Invert)
        node.operand = self.node(node.operand)
        return node

    def binary(self, node: ast.BinOp) -> ast.expr:
        """Arithmetic."""
        if not isinstance(node.op, _OPERATORS):
            raise self.refused(node, type(node.op))
        if isinstance(node.op, ast.Mod) and isinstance(getattr(node.left, "value", None), str):
            raise self.refuse(node, "`%` is for numbers: join texts with `+` and str()")
        node.left = self.node(node.left)
        node.right = self.node(node.right)
        return node

    def compare(self, node: ast.Compare) -> ast.expr:
        """Comparisons; ``is`` only with null."""
        node.left = self.node(node.left)
        node.comparators = [self.node(value) for value in node.comparators]
        for operator, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(operator, ast.Is | ast.IsNot) and not (
                isinstance(right, ast.Constant) and right.value is None
            ):
                raise self.refuse(right, "`is` compares with null only: write == or !=")
        return node

    def choice(self, node: ast.IfExp) -> ast.expr:
        """``a if condition else b``."""
        node.test = self.node(node.test)
        node.body = self.node(node.body)
        node.orelse = self.node(node.orelse)
        return node

    def call(self, node: ast.Call) -> ast.expr:
        """One of `FUNCTIONS`, with plain arguments."""
        if not isinstance(node.func, ast.Name):
            raise self.refuse(node, self._method(node))
        name = node.func.id
        if name not in FUNCTIONS or not self.segment(node.func).endswith(name):
            raise self.refuse(node, _unknown_function(name))
        if node.keywords:
            raise self.refuse(node, f"{name}() takes its arguments without names")
        least, most = FUNCTIONS[name]
        if not least <= len(node.args) <= most and not any(
            isinstance(argument, ast.Starred) for argument in node.args
        ):
            wanted = str(least) if least == most else f"{least} to {most}"
            raise self.refuse(node, f"{name}() takes {wanted} arguments, not {len(node.args)}")
        node.args = [self.node(argument) for argument in node.args]
        self.calls.add(name)
        return node

    def _method(self, node: ast.Call) -> str:
        if isinstance(node.func, ast.Attribute):
            owner = self.segment(node.func.value)
            if instead := _METHODS.get(node.func.attr):
                return f"methods cannot be called: write {instead.format(owner)}"
        return f"only these functions can be called: {', '.join(FUNCTIONS)}"


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unknown_function(name: str) -> str:
    from difflib import get_close_matches  # only an error pays for it

    if name == "in_state":
        return "where an entity is, is a guard of its own: write {in_state: STATE} beside this one"
    close = get_close_matches(name, FUNCTIONS, n=1)
    hint = f"did you mean {close[0]}()?" if close else f"there are {', '.join(FUNCTIONS)}"
    return f"there is no function {name}() in expressions; {hint}"


_Rule = Callable[[_Check, Any], ast.expr]
_RULES: Mapping[type[ast.expr], _Rule] = {
    ast.Constant: _Check.constant,
    ast.Name: _Check.name,
    ast.Attribute: _Check.attribute,
    ast.Subscript: _Check.subscript,
    ast.List: _Check.items,
    ast.Tuple: _Check.items,
    ast.BoolOp: _Check.boolean,
    ast.UnaryOp: _Check.unary,
    ast.BinOp: _Check.binary,
    ast.Compare: _Check.compare,
    ast.IfExp: _Check.choice,
    ast.Call: _Check.call,
}
"""All that may be written; each rule takes nodes of its type."""

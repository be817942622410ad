"""Guards and actions: from their entries to the model.

The shape of the entries was checked before; this gives them their meaning: names, expressions, paths of the context.
Every mistake is reported, and stands for something harmless, so that the rest is judged too.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from pystator.definition.expressions import Expression, ExpressionError, parse
from pystator.definition.issues import Path, Report, closest, show
from pystator.definition.model import (
    Action,
    AllOf,
    AnyOf,
    Append,
    Branch,
    Call,
    Check,
    Clear,
    Compute,
    CopyKey,
    ExprGuard,
    Guard,
    Increment,
    InState,
    Named,
    Not,
    Raise,
    Set,
    Snapshot,
    Timestamp,
    ValidateKeys,
)
from pystator.definition.names import Names

__all__ = ["Content"]

Entry = Any
_NAME: Final = re.compile(r"[a-z0-9_]+")
_NOTHING: Final = Named("_")
_CALLS: Final = ("timeout", "retry", "retry_backoff")
_LIST_OPERATORS: Final = frozenset({"in", "not_in"})
_BARE_OPERATORS: Final = frozenset({"is_set", "is_null"})
_LATER: Final = {"http": "HTTP actions", "send": "'send'"}


class Content:
    """Lowers the entries of one machine.

    Args:
        names: What the machine declares.
        report: Takes the mistakes.
    """

    def __init__(self, names: Names, report: Report) -> None:
        self.names = names
        self.report = report
        self._expressions: dict[str, Expression] = {}

    # Guards -----------------------------------------------------------------------------------

    def guards(self, entries: list[Entry] | None, path: Path) -> tuple[Guard, ...]:
        """A list of guard entries."""
        if not entries:
            return ()
        return tuple([self.guard(entry, (*path, index)) for index, entry in enumerate(entries)])

    def guard(self, entry: Entry, path: Path) -> Guard:
        """One guard entry."""
        if isinstance(entry, str):
            return self._named(entry, path)
        form = next(key for key in entry if key in _GUARDS)
        return _GUARDS[form](self, entry[form], (*path, form))

    def _named(self, name: str, path: Path) -> Guard:
        if not _NAME.fullmatch(name):
            self.report.add(
                "guard_name",
                path,
                f"{show(name)!r} is no guard name; for an expression write {{expr: {show(name)!r}}}",
                text=show(name),
            )
        return Named(name)

    def _expr(self, text: str, path: Path) -> Guard:
        expression = self.expression(text, path)
        return ExprGuard(expression) if expression else _NOTHING

    def _check(self, entry: Mapping[str, Any], path: Path) -> Guard:
        operator: Any = entry["op"]
        value = entry.get("value")
        if operator in _LIST_OPERATORS:
            value = self._list_operand(entry, operator, path)
        elif operator in _BARE_OPERATORS:
            for key in ("value", "values"):
                if entry.get(key) is not None:
                    self.report.add(
                        "check", (*path, key), f"{operator!r} takes no {key!r}: remove it", key=True
                    )
        elif entry.get("values") is not None:
            self.report.add(
                "check",
                (*path, "values"),
                f"{operator!r} compares with one 'value'; 'values' is for in and not_in",
                key=True,
            )
        elif "value" not in entry:
            self.report.add("check", path, f"a check with {operator!r} needs 'value'")
        return Check(self.path(entry["field"], (*path, "field"), writes=False), operator, value)

    def _list_operand(self, entry: Mapping[str, Any], operator: str, path: Path) -> list[Any]:
        value = entry["values"] if entry.get("values") is not None else entry.get("value")
        if not isinstance(value, list):
            self.report.add("check", path, f"a check with {operator!r} needs a list of 'values'")
            return []
        return value

    def _all_of(self, entries: list[Entry], path: Path) -> Guard:
        return AllOf(self.guards(entries, path))

    def _any_of(self, entries: list[Entry], path: Path) -> Guard:
        if not entries:
            self.report.warn("never", path, "'anyOf' of nothing never holds")
        return AnyOf(self.guards(entries, path))

    def _not(self, entry: Entry, path: Path) -> Guard:
        return Not(self.guard(entry, path))

    def _in_state(self, name: str, path: Path) -> Guard:
        self.names.state(name, path, self.report)
        return InState(name)

    # Expressions and paths --------------------------------------------------------------------

    def expression(self, text: str, path: Path) -> Expression | None:
        """A checked expression; None when there is a mistake in it, which is reported at its place."""
        known = self._expressions.get(text)
        if known is not None:
            return known
        try:
            expression = parse(text)
        except ExpressionError as error:
            self.report.add(
                "expression", path, f"in the expression: {error.message}", text=show(text),
                offset=error.offset,
            )  # fmt: skip
            return None
        self._expressions[text] = expression
        return expression

    def path(self, text: str, path: Path, *, writes: bool = True) -> tuple[str, ...]:
        """A dotted path into the context."""
        steps = tuple(text.split("."))
        if not all(step and step == step.strip() for step in steps):
            self.report.add(
                "path", path, f"{show(text)!r} is no field: use names with dots between them",
                text=show(text),
            )  # fmt: skip
        elif writes and text.startswith("_"):
            self.report.add(
                "reserved", path, f"the field {show(text)!r} cannot be written: names with '_' first are reserved",
                text=show(text), suggestion=text.lstrip("_") or None,
            )  # fmt: skip
        return steps

    def value(self, value: Any, path: Path) -> Any:
        """A parameter: ``{expr: ...}`` anywhere inside becomes an expression."""
        if isinstance(value, dict):
            entries: dict[str, Any] = value
            text = entries.get("expr")
            if len(entries) == 1 and isinstance(text, str):
                return self.expression(text, (*path, "expr"))
            return {key: self.value(item, (*path, key)) for key, item in entries.items()}
        if isinstance(value, list):
            items: list[Any] = value
            return [self.value(item, (*path, index)) for index, item in enumerate(items)]
        return value

    # Actions ----------------------------------------------------------------------------------

    def actions(self, entries: list[Entry] | None, path: Path) -> tuple[Action, ...]:
        """A list of action entries."""
        if not entries:
            return ()
        lowered: list[Action] = []
        for index, entry in enumerate(entries):
            lowered.extend(self._action(entry, (*path, index)))
        return tuple(lowered)

    def _action(self, entry: Entry, path: Path) -> Iterator[Action]:
        if isinstance(entry, str):
            yield from self._call(entry, {}, {}, path, path)
            return
        form = next(key for key in entry if key in _ACTIONS or key in _LATER)
        inner = (*path, form)
        if form in _LATER:
            self.names.not_supported(_LATER[form], inner, self.report)
            return
        when = entry.get("when")
        condition = None if when is None else self.guard(when, (*path, "when"))
        if form not in {"name", "custom"}:
            self._only_calls(entry, form, path)
        yield from _ACTIONS[form](self, entry, condition, inner)

    def _only_calls(self, entry: Mapping[str, Any], form: str, path: Path) -> None:
        """An effect is done in the step: nothing of it can time out or be tried again."""
        for key in _CALLS:
            if entry.get(key) is not None:
                self.report.add(
                    "effect", (*path, key), f"{key!r} is for registered actions; {form!r} runs in the step",
                    key=True,
                )  # fmt: skip

    def _named_call(
        self, entry: Mapping[str, Any], when: Guard | None, path: Path
    ) -> Iterator[Action]:
        parameters = (*path[:-1], "params")
        yield from self._call(
            entry["name"], entry.get("params") or {}, entry, path, parameters, when
        )

    def _custom(self, entry: Mapping[str, Any], when: Guard | None, path: Path) -> Iterator[Action]:
        custom = entry["custom"]
        parameters = (*path, "params")
        yield from self._call(
            custom["name"], custom.get("params") or {}, entry, (*path, "name"), parameters, when
        )

    def _call(
        self, name: str, params: dict[str, Any], entry: Mapping[str, Any], at: Path, path: Path,
        when: Guard | None = None,
    ) -> Iterator[Action]:  # fmt: skip
        """A registered action, or a built-in one that is an effect."""
        effect = _BUILT_IN.get(name)
        if effect is not None:
            self._only_calls(entry, name, at[:-1])
            yield from effect(self, params, when, path)
            return
        if not _NAME.fullmatch(name):
            self.report.add(
                "action_name", at,
                f"{show(name)!r} is no action name: use lower-case letters, digits and '_'", text=show(name),
            )  # fmt: skip
        yield Call(
            name,
            self.value(params, path) if params else {},
            when,
            entry.get("timeout"),
            entry.get("retry") or 0,
            entry.get("retry_backoff") or 0.0,
        )

    def _set(self, entry: Mapping[str, Any], when: Guard | None, path: Path) -> Iterator[Action]:
        for field, value in entry["set"].items():
            inner = (*path, field)
            if isinstance(value, dict) and list(value) == ["expr"]:
                self.report.warn(
                    "literal", inner,
                    f"'set' writes this mapping as it is; for its value write {{compute: {{{field}: ...}}}}",
                )  # fmt: skip
            yield Set(self.path(field, inner), value, when)

    def _timestamp(
        self, entry: Mapping[str, Any], when: Guard | None, path: Path
    ) -> Iterator[Action]:
        yield Timestamp(self.path(entry["timestamp"], path), when)

    def _increment(
        self, entry: Mapping[str, Any], when: Guard | None, path: Path
    ) -> Iterator[Action]:
        yield from self._amounts(entry["increment"], 1, when, path)

    def _decrement(
        self, entry: Mapping[str, Any], when: Guard | None, path: Path
    ) -> Iterator[Action]:
        yield from self._amounts(entry["decrement"], -1, when, path)

    def _amounts(
        self, amounts: str | dict[str, Any], sign: Literal[1, -1], when: Guard | None, path: Path
    ) -> Iterator[Action]:
        if isinstance(amounts, str):
            yield Increment(self.path(amounts, path), 1, sign, when)
            return
        for field, by in amounts.items():
            inner = (*path, field)
            amount: Any = by
            if isinstance(by, dict):
                amount = self.expression(by["expr"], (*inner, "expr")) or 0
            yield Increment(self.path(field, inner), amount, sign, when)

    def _append(self, entry: Mapping[str, Any], when: Guard | None, path: Path) -> Iterator[Action]:
        append = entry["append"]
        yield Append(self.path(append["field"], (*path, "field")), append["value"], when)

    def _clear(self, entry: Mapping[str, Any], when: Guard | None, path: Path) -> Iterator[Action]:
        yield Clear(self.path(entry["clear"], path), when)

    def _compute(
        self, entry: Mapping[str, Any], when: Guard | None, path: Path
    ) -> Iterator[Action]:
        for field, text in entry["compute"].items():
            inner = (*path, field)
            expression = self.expression(text, inner)
            target = self.path(field, inner)
            if expression is not None:
                yield Compute(target, expression, when)

    def _branch(self, entry: Mapping[str, Any], when: Guard | None, path: Path) -> Iterator[Action]:
        branch = entry["branch"]
        lowered = Branch(
            self.guard(branch["when"], (*path, "when")),
            self.actions(branch["then"], (*path, "then")),
            self.actions(branch.get("else"), (*path, "else")),
        )
        yield lowered if when is None else Branch(when, (lowered,))

    def _raise(self, entry: Mapping[str, Any], when: Guard | None, path: Path) -> Iterator[Action]:
        yield Raise(self.names.raised(entry["raise"], path, self.report), when)

    # Built-in actions that are effects ----------------------------------------------------------

    def _set_context(
        self, params: dict[str, Any], when: Guard | None, path: Path
    ) -> Iterator[Action]:
        if not params:
            self.report.add("params", path, "'set_context' needs 'params': {field: value}")
        for field, value in params.items():
            inner = (*path, field)
            target = self.path(field, inner)
            lowered = self.value(value, inner)
            if isinstance(lowered, Expression):
                yield Compute(target, lowered, when)
            else:
                yield Set(target, lowered, when)

    def _copy_key(self, params: dict[str, Any], when: Guard | None, path: Path) -> Iterator[Action]:
        fields = self._text_params("copy_key", params, ("from", "to"), path)
        if fields is not None:
            source = self.path(fields[0], (*path, "from"), writes=False)
            yield CopyKey(source, self.path(fields[1], (*path, "to")), when)

    def _snapshot(self, params: dict[str, Any], when: Guard | None, path: Path) -> Iterator[Action]:
        fields = self._text_params("snapshot", {"key": "_snapshot", **params}, ("key",), path)
        if fields is not None:
            yield Snapshot(self.path(fields[0], (*path, "key"), writes=False), when)

    def _validate_keys(
        self, params: dict[str, Any], when: Guard | None, path: Path
    ) -> Iterator[Action]:
        self._known_params("validate_keys", params, ("keys",), path)
        keys: Any = params.get("keys")
        if not isinstance(keys, list) or not keys or not all(isinstance(key, str) for key in keys):
            self.report.add("params", path, "'validate_keys' needs 'params': {keys: [field, ...]}")
            return
        inner = (*path, "keys")
        yield ValidateKeys(
            tuple(self.path(key, (*inner, index), writes=False) for index, key in enumerate(keys)),
            when,
        )

    def _text_params(
        self, name: str, params: dict[str, Any], keys: tuple[str, ...], path: Path
    ) -> list[str] | None:
        self._known_params(name, params, keys, path)
        values = [params.get(key) for key in keys]
        if all(isinstance(value, str) for value in values):
            return [str(value) for value in values]
        shape = ", ".join(f"{key}: field" for key in keys)
        self.report.add("params", path, f"{name!r} needs 'params': {{{shape}}}")
        return None

    def _known_params(
        self, name: str, params: dict[str, Any], keys: tuple[str, ...], path: Path
    ) -> None:
        for key in params:
            if key not in keys:
                self.report.add(
                    "params", (*path, key), f"{name!r} has no parameter {show(key)!r}",
                    text=show(key), suggestion=closest(key, keys), key=True,
                )  # fmt: skip


# ruff: noqa: SLF001 - the tables below are part of the class, said once for all
_GUARDS: Final = {
    "expr": Content._expr,
    "check": Content._check,
    "allOf": Content._all_of,
    "anyOf": Content._any_of,
    "not": Content._not,
    "in_state": Content._in_state,
}
_ACTIONS: Final = {
    "name": Content._named_call,
    "custom": Content._custom,
    "set": Content._set,
    "timestamp": Content._timestamp,
    "increment": Content._increment,
    "decrement": Content._decrement,
    "append": Content._append,
    "clear": Content._clear,
    "compute": Content._compute,
    "branch": Content._branch,
    "raise": Content._raise,
}
_BUILT_IN: Final = {
    "set_context": Content._set_context,
    "copy_key": Content._copy_key,
    "snapshot": Content._snapshot,
    "validate_keys": Content._validate_keys,
}

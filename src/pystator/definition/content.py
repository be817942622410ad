"""Actions: from their entries to the model.

An entry becomes no action, one, or several (``set`` of two fields is two effects). Built-in actions
that only change the context are effects too, and lowered like them.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, Literal

from pystator.definition.data import is_list, is_map
from pystator.definition.expressions import Expression
from pystator.definition.guards import Guards
from pystator.definition.issues import Path, Report, show
from pystator.definition.model import (
    Action,
    Append,
    Branch,
    Call,
    Clear,
    Compute,
    CopyKey,
    Guard,
    Increment,
    Raise,
    Set,
    Snapshot,
    Timestamp,
    ValidateKeys,
)
from pystator.definition.names import Names
from pystator.definition.terms import Terms

__all__ = ["Content"]

Entry = Mapping[str, Any]
Actions = Iterator[Action]
When = Guard | None

_NAME: Final = re.compile(r"[a-z0-9_]+")
_OF_CALLS: Final = ("timeout", "retry", "retry_backoff")
_CALLS: Final = frozenset({"name", "custom"})
_LATER: Final = {"http": "'http' actions", "send": "'send'"}


class Content:
    """Lowers the actions of one machine.

    Args:
        names: What the machine declares.
        report: Takes the mistakes.
    """

    def __init__(self, names: Names, report: Report) -> None:
        self.names = names
        self.report = report
        self.terms = Terms(report)
        self.guards = Guards(names, self.terms, report)
        self._forms: dict[str, Callable[[Entry, When, Path], Actions]] = {
            "name": self._name,
            "custom": self._custom,
            "set": self._set,
            "timestamp": self._timestamp,
            "increment": self._increment,
            "decrement": self._decrement,
            "append": self._append,
            "clear": self._clear,
            "compute": self._compute,
            "branch": self._branch,
            "raise": self._raise,
        }
        self._built_in: dict[str, Callable[[dict[str, Any], When, Path], Actions]] = {
            "set_context": self._set_context,
            "copy_key": self._copy_key,
            "snapshot": self._snapshot,
            "validate_keys": self._validate_keys,
        }

    def actions(self, entries: list[Any] | None, path: Path) -> tuple[Action, ...]:
        """A list of action entries; one that was taken out is None."""
        if not entries:
            return ()
        lowered: list[Action] = []
        for index, entry in enumerate(entries):
            if entry is not None:
                lowered.extend(self._entry(entry, (*path, index)))
        return tuple(lowered)

    def _entry(self, entry: Any, path: Path) -> Actions:
        if isinstance(entry, str):
            yield from self._call(entry, {}, {}, None, (path, path))
            return
        form: str = next(key for key in entry if key in self._forms or key in _LATER)
        inner = (*path, form)
        if form in _LATER:
            self.names.not_supported(
                _LATER[form], inner, self.report, instead="register an action instead"
            )
            return
        when = entry.get("when")
        condition = None if when is None else self.guards.one(when, (*path, "when"))
        if form not in _CALLS:
            self._only_of_calls(entry, form, path)
        lowered = tuple(self._forms[form](entry, condition, inner))
        if condition is None or len(lowered) == 1:
            yield from lowered
        elif lowered:
            # One entry is one action: its condition is asked once, before the first of its effects.
            yield Branch(condition, tuple([_unconditional(effect) for effect in lowered]))

    def _only_of_calls(self, entry: Entry, form: str, path: Path) -> None:
        """An effect is done in the step: nothing of it can time out or be tried again."""
        for key in _OF_CALLS:
            if entry.get(key) is not None:
                message = f"{key!r} is for registered actions; {form!r} is done in the step"
                self.report.add("effect", (*path, key), message, key=True)

    # Registered actions -------------------------------------------------------------------------

    def _name(self, entry: Entry, when: When, path: Path) -> Actions:
        params: dict[str, Any] = entry.get("params") or {}
        yield from self._call(entry["name"], params, entry, when, (path, (*path[:-1], "params")))

    def _custom(self, entry: Entry, when: When, path: Path) -> Actions:
        custom = entry["custom"]
        params: dict[str, Any] = custom.get("params") or {}
        places = ((*path, "name"), (*path, "params"))
        yield from self._call(custom["name"], params, entry, when, places)

    def _call(
        self,
        name: str,
        params: dict[str, Any],
        entry: Entry,
        when: When,
        places: tuple[Path, Path],
    ) -> Actions:
        """A registered action, or a built-in effect. ``places``: of its name, of its parameters."""
        effect = self._built_in.get(name)
        if effect is not None:
            self._only_of_calls(entry, name, places[0][:-1])
            yield from effect(params, when, places[1])
            return
        if not _NAME.fullmatch(name):
            message = f"{show(name)!r} is no action name: use lower-case letters, digits and '_'"
            self.report.add("action_name", places[0], message, text=show(name))
        yield Call(
            name,
            self.terms.value(params, places[1]) if params else {},
            when,
            entry.get("timeout"),
            entry.get("retry") or 0,
            entry.get("retry_backoff") or 0.0,
        )

    # Effects ------------------------------------------------------------------------------------

    def _set(self, entry: Entry, when: When, path: Path) -> Actions:
        for field, value in entry["set"].items():
            inner = (*path, field)
            self._literal(value, inner, f"write compute: {{{show(field)}: ...}}")
            yield Set(self.terms.target(field, inner), value, when)

    def _literal(self, value: Any, path: Path, instead: str) -> None:
        """Say so where a value looks like an expression, which it is in parameters only."""
        if is_map(value):
            if len(value) == 1 and isinstance(value.get("expr"), str):
                message = f"this mapping is stored as it is and not computed: {instead}"
                self.report.warn("literal", path, message)
                return
            for key, item in value.items():
                self._literal(item, (*path, key), instead)
        elif is_list(value):
            for index, item in enumerate(value):
                self._literal(item, (*path, index), instead)

    def _timestamp(self, entry: Entry, when: When, path: Path) -> Actions:
        yield Timestamp(self.terms.target(entry["timestamp"], path), when)

    def _increment(self, entry: Entry, when: When, path: Path) -> Actions:
        yield from self._amounts(entry["increment"], 1, when, path)

    def _decrement(self, entry: Entry, when: When, path: Path) -> Actions:
        yield from self._amounts(entry["decrement"], -1, when, path)

    def _amounts(
        self, amounts: str | Mapping[str, Any], sign: Literal[1, -1], when: When, path: Path
    ) -> Actions:
        if isinstance(amounts, str):
            yield Increment(self.terms.target(amounts, path), 1, sign, when)
            return
        for field, by in amounts.items():
            inner = (*path, field)
            amount = self.terms.expression(by["expr"], (*inner, "expr")) if is_map(by) else by
            yield Increment(self.terms.target(field, inner), amount or 0, sign, when)

    def _append(self, entry: Entry, when: When, path: Path) -> Actions:
        append = entry["append"]
        field = show(append["field"])
        instead = f'write compute: {{{field}: "coalesce({field}, []) + [...]"}}'
        self._literal(append["value"], (*path, "value"), instead)
        yield Append(self.terms.target(append["field"], (*path, "field")), append["value"], when)

    def _clear(self, entry: Entry, when: When, path: Path) -> Actions:
        yield Clear(self.terms.target(entry["clear"], path), when)

    def _compute(self, entry: Entry, when: When, path: Path) -> Actions:
        for field, text in entry["compute"].items():
            inner = (*path, field)
            target = self.terms.target(field, inner)
            expression = self.terms.expression(text, inner)
            if expression is not None:
                yield Compute(target, expression, when)

    def _branch(self, entry: Entry, when: When, path: Path) -> Actions:
        branch = entry["branch"]
        lowered = Branch(
            self.guards.one(branch["when"], (*path, "when")),
            self.actions(branch["then"], (*path, "then")),
            self.actions(branch.get("else"), (*path, "else")),
        )
        yield lowered if when is None else Branch(when, (lowered,))

    def _raise(self, entry: Entry, when: When, path: Path) -> Actions:
        yield Raise(self.names.raised(entry["raise"], path, self.report), when)

    # Built-in actions that are effects ----------------------------------------------------------

    def _set_context(self, params: dict[str, Any], when: When, path: Path) -> Actions:
        if not params:
            self.report.add("params", path, "'set_context' needs 'params': {field: value}")
        for field, value in params.items():
            inner = (*path, field)
            target = self.terms.target(field, inner)
            lowered = self.terms.value(value, inner)
            if isinstance(lowered, Expression):
                yield Compute(target, lowered, when)
            else:
                yield Set(target, lowered, when)

    def _copy_key(self, params: dict[str, Any], when: When, path: Path) -> Actions:
        fields = self._fields("copy_key", params, ("from", "to"), path)
        if fields is not None:
            source = self.terms.field(fields[0], (*path, "from"))
            yield CopyKey(source, self.terms.target(fields[1], (*path, "to")), when)

    def _snapshot(self, params: dict[str, Any], when: When, path: Path) -> Actions:
        fields = self._fields("snapshot", {"key": "_snapshot", **params}, ("key",), path)
        if fields is not None:
            yield Snapshot(self.terms.field(fields[0], (*path, "key")), when)

    def _validate_keys(self, params: dict[str, Any], when: When, path: Path) -> Actions:
        self._known(params, "validate_keys", ("keys",), path)
        keys: Any = params.get("keys")
        if is_list(keys) and keys and all(isinstance(key, str) for key in keys):
            inner = (*path, "keys")
            fields = [self.terms.field(key, (*inner, index)) for index, key in enumerate(keys)]
            yield ValidateKeys(tuple(fields), when)
        else:
            self.report.add("params", path, "'validate_keys' needs 'params': {keys: [field, ...]}")

    def _fields(
        self, name: str, params: Mapping[str, Any], keys: tuple[str, ...], path: Path
    ) -> list[str] | None:
        """Parameters that are all fields."""
        self._known(params, name, keys, path)
        values = [params.get(key) for key in keys]
        if all(isinstance(value, str) for value in values):
            return [str(value) for value in values]
        shape = ", ".join(f"{key}: field" for key in keys)
        self.report.add("params", path, f"{name!r} needs 'params': {{{shape}}}")
        return None

    def _known(
        self, params: Mapping[str, Any], name: str, keys: tuple[str, ...], path: Path
    ) -> None:
        for key in params:
            if key not in keys:
                self.report.add(
                    "params",
                    (*path, key),
                    f"{name!r} has no parameter {show(key)!r}",
                    text=show(key),
                    suggestion=self.report.closest(key, keys),
                    key=True,
                )


def _unconditional(effect: Action) -> Action:
    return effect if isinstance(effect, Branch) else replace(effect, when=None)

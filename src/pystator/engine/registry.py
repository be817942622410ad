"""Names in a machine -> callables in Python.

What a callable takes and whether it is a coroutine function is decided here, once, when it is
registered: the step and the executor only call.
"""

import inspect
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar, cast

from pystator.errors import ActionNotFoundError, FSMError, GuardNotFoundError, InvalidValueError
from pystator.records import Context, record

__all__ = [
    "ActionFunction",
    "ActionRegistry",
    "GuardFunction",
    "GuardRegistry",
    "RegisteredAction",
    "RegisteredGuard",
    "is_async",
]

GuardFunction = Callable[[Context], bool] | Callable[[Context], Awaitable[bool]]
"""``fn(context) -> bool``, blocking or async. It reads the context and does not write to it."""

ActionFunction = Callable[..., Any]
"""``fn(context)`` or ``fn(context, **params)``, blocking or async; on a copy of the context."""

F = TypeVar("F", bound=Callable[..., Any])
E = TypeVar("E")


def is_async(function: Callable[..., Any]) -> bool:
    """The callable is a coroutine function, or an object whose ``__call__`` is one."""
    if inspect.iscoroutinefunction(function):
        return True
    return inspect.iscoroutinefunction(getattr(type(function), "__call__", None))  # noqa: B004 # not a test for callable()


@record
class RegisteredGuard:
    """A guard and how to call it."""

    name: str
    function: Callable[[Context], Any]
    is_async: bool


@record
class RegisteredAction:
    """An action and how to call it.

    Attributes:
        takes_params: It is called with the params of its entry as keywords; otherwise with the
            context alone.
    """

    name: str
    function: ActionFunction
    is_async: bool
    takes_params: bool


def _check_name(kind: str, name: object) -> None:
    if name is not None and not isinstance(name, str):
        raise InvalidValueError(
            f"the name of the {kind} must be a string, not {name!r}: write the decorator with"
            " parentheses, empty for the function's own name",
            context={"name": repr(name)},
        )


class _Registry(Generic[E]):
    """What both registries share; ``_entry`` makes an entry of a name and a callable."""

    kind = ""
    missing: type[FSMError] = FSMError

    def __init__(self, functions: Mapping[str, Callable[..., Any]] | None = None) -> None:
        self._entries: dict[str, E] = {}
        self.revision = 0
        self._register_all(functions)

    def _register_all(self, functions: object) -> None:
        if functions is None:
            return
        if not isinstance(functions, Mapping):
            raise InvalidValueError(
                f"{self.kind}s come in a {type(self).__name__} or a mapping of name -> callable,"
                f" not {type(functions).__name__}",
                context={"type": type(functions).__name__},
            )
        for name, function in cast("Mapping[str, Callable[..., Any]]", functions).items():
            self.register(name, function)

    def _entry(self, name: str, function: Callable[..., Any]) -> E:
        raise TypeError(f"{type(self).__name__} cannot register {name!r}, {function!r}")

    def register(self, name: str, fn: Callable[..., Any]) -> None:
        """Give the callable a name; a name that was taken is taken over.

        Raises:
            InvalidValueError: The name is empty, or the object cannot be called.
        """
        if type(name) is not str or not name:
            raise InvalidValueError(
                f"a {self.kind} is registered under a name, not {name!r}",
                context={"name": repr(name)},
            )
        if not callable(fn):
            raise InvalidValueError(
                f"{self.kind} {name!r} must be a callable, not {type(fn).__name__}",
                context={"name": name},
            )
        self._entries[name] = self._entry(name, fn)
        self.revision += 1

    def decorator(self, name: str | None = None) -> Callable[[F], F]:
        """``@registry.decorator()`` registers a function under its own name, or under ``name``.

        Raises:
            InvalidValueError: The parentheses were forgotten: nothing would be registered.
        """
        _check_name(self.kind, name)

        def register(fn: F) -> F:
            self.register(name or str(getattr(fn, "__name__", "")), fn)
            return fn

        return register

    def has(self, name: str) -> bool:
        """There is a callable of this name."""
        return name in self._entries

    @property
    def names(self) -> list[str]:
        """Registered names, in order of registration."""
        return list(self._entries)

    @property
    def entries(self) -> Mapping[str, E]:
        """Name -> entry, as it is at any moment."""
        return self._entries

    def find(self, name: str) -> E | None:
        """The entry, or None."""
        return self._entries.get(name)

    def get(self, name: str) -> E:
        """The entry.

        Raises:
            GuardNotFoundError, ActionNotFoundError: Nothing is registered under this name.
        """
        entry = self._entries.get(name)
        if entry is None:
            known = ", ".join(sorted(self._entries)) or "none"
            raise self.missing(
                f"no {self.kind} is registered under {name!r} (registered: {known});"
                f" register it with registry.register({name!r}, fn)",
                context={"name": name, "registered": sorted(self._entries)},
            )
        return entry

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._entries))

    def __len__(self) -> int:
        return len(self._entries)


class GuardRegistry(_Registry[RegisteredGuard]):
    """Guards by name: ``fn(context) -> bool``, blocking or async.

    Example:
        >>> guards = GuardRegistry()
        >>> guards.register("is_paid", lambda ctx: ctx.get("paid") is True)
        >>> guards.has("is_paid")
        True
    """

    kind = "guard"
    missing = GuardNotFoundError

    def _entry(self, name: str, function: Callable[..., Any]) -> RegisteredGuard:
        return RegisteredGuard(name, function, is_async(function))


class ActionRegistry(_Registry[RegisteredAction]):
    """Actions by name: ``fn(context)`` or ``fn(context, **params)``, blocking or async.

    The built-in actions ``noop log trace publish emit_metric`` are there from the start;
    registering one of these names replaces it, e.g. ``actions.register("publish", bus.publish)``.
    """

    kind = "action"
    missing = ActionNotFoundError

    def __init__(self, functions: Mapping[str, Callable[..., Any]] | None = None) -> None:
        super().__init__()
        self._entries.update(_BUILT_IN)
        self._register_all(functions)

    def _entry(self, name: str, function: Callable[..., Any]) -> RegisteredAction:
        return RegisteredAction(name, function, is_async(function), _takes_params(function))


def _takes_params(function: Callable[..., Any]) -> bool:
    """The callable has room for more than the context."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # some built-in callables have no signature
        return False
    if parameters and parameters[0].kind is parameters[0].VAR_KEYWORD:
        return True
    return any(parameter.kind is not parameter.VAR_POSITIONAL for parameter in parameters[1:])


# Built-in actions -------------------------------------------------------------------------------

_log = logging.getLogger("pystator.actions")
_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}


def _noop(_context: Context, **_params: Any) -> None:
    """``noop``: do nothing."""


def _log_message(
    _context: Context, *, message: str = "", level: str = "info", **params: Any
) -> None:
    """``log``: one line to the logger ``pystator.actions``, at ``level``."""
    rank = _LEVELS.get(str(level).lower(), logging.INFO)
    _log.log(rank, "%s", message or "log", extra={"pystator_params": params})


def _trace(context: Context, **params: Any) -> None:
    """``trace``: params and context to the logger ``pystator.actions``, at debug level."""
    _log.debug("trace %s %s", params, context)


def _publish(context: Context, *, topic: str = "", payload: Any = None, **_params: Any) -> None:
    """``publish``: topic and payload to the logger ``pystator.publish``; a bus may replace it."""
    message = context if payload is None else payload
    logging.getLogger("pystator.publish").info(
        "%s %s", topic, message, extra={"pystator_topic": topic, "pystator_payload": message}
    )


def _emit_metric(
    _context: Context, *, name: str = "", value: float = 1, tags: Any = None, **_params: Any
) -> None:
    """``emit_metric``: name and value to the logger ``pystator.metrics``."""
    logging.getLogger("pystator.metrics").info(
        "%s %s",
        name,
        value,
        extra={"pystator_metric": name, "pystator_value": value, "pystator_tags": tags},
    )


_FUNCTIONS: dict[str, ActionFunction] = {
    "noop": _noop,
    "log": _log_message,
    "trace": _trace,
    "publish": _publish,
    "emit_metric": _emit_metric,
}
_BUILT_IN = {
    name: RegisteredAction(name, function, is_async=False, takes_params=True)
    for name, function in _FUNCTIONS.items()
}

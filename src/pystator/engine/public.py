"""The records users write machines and events with.

`State` and `Transition` are the Python way to write what YAML says; both go through the same loader
and the same checks (``to_config()``), and the queries of a machine hand them out again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from datetime import datetime
from typing import Any, cast

from pystator.definition.model import StateType
from pystator.errors import InvalidValueError
from pystator.records import record

__all__ = ["DestinationCheckResult", "ErrorPolicy", "Event", "State", "StateType", "Transition"]

_EMPTY: Mapping[str, Any] = {}


@dataclass(slots=True, eq=False)
class Event:
    """Something that happened to an entity.

    Attributes:
        payload: Data of the event: merged into the context before guards, and readable as
            ``_event.data``.
        event_id: Makes it idempotent where a store keeps event ids.
        timestamp: When it happened, if the sender knows (aware).

    Raises:
        InvalidValueError: The trigger is empty, or a payload key starts with ``_``: these are
            reserved.
    """

    trigger: str
    payload: Mapping[str, Any] = field(default_factory=dict[str, Any])
    event_id: str | None = None
    timestamp: datetime | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        if type(self.trigger) is not str or not self.trigger:
            raise InvalidValueError(
                f"an event has a trigger, a non-empty string, not {self.trigger!r}",
                context={"trigger": repr(self.trigger)},
            )
        check_payload(self.payload)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Event):
            return NotImplemented
        return all(getattr(self, each.name) == getattr(other, each.name) for each in fields(self))

    def __hash__(self) -> int:
        return hash(self.trigger)


def check_payload(payload: Mapping[str, Any]) -> None:
    """Refuse reserved names.

    Raises:
        InvalidValueError: It is no mapping, or a key is no string or starts with ``_``.
    """
    if payload.__class__ is not dict:
        _check_mapping(payload)
    for key in payload:
        if type(key) is not str or key.startswith("_"):
            raise InvalidValueError(
                f"context key {key!r} is not allowed: keys are strings,"
                " and names that start with '_' are reserved",
                context={"key": repr(key)},
            )


def _check_mapping(payload: object) -> None:
    if not isinstance(payload, Mapping):
        raise InvalidValueError(
            f"context must be a mapping, e.g. {{'amount': 5}}, not {type(payload).__name__}:"
            f" {payload!r:.80}",
            context={"type": type(payload).__name__},
        )


class _Config:
    """Records whose set fields are the configuration."""

    __slots__ = ()

    def to_config(self) -> dict[str, Any]:
        """The entry of a machine file: what was set, in the order of the fields."""
        plain: dict[str, Any] = {}
        for each in fields(self):  # type: ignore[arg-type] # every heir is a dataclass
            value = getattr(self, each.name)
            default = (
                each.default_factory() if each.default_factory is not MISSING else each.default
            )
            if value != default and not (_is_empty(value) and _is_empty(default)):
                plain[each.name] = _plain(value)
        return plain


def _is_empty(value: object) -> bool:
    return isinstance(value, list | tuple | Mapping) and not value


def _plain(value: Any) -> Any:
    if isinstance(value, StateType):
        return value.value
    if isinstance(value, _Config):  # a state written out in a region
        return value.to_config()
    if isinstance(value, Mapping):
        entries = cast("Mapping[str, Any]", value).items()
        return {key: _plain(inner) for key, inner in entries}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in cast("Sequence[Any]", value)]
    return value


@record
class State(_Config):
    """One state, with the keys of a machine file; see the documentation of states.

    A state inside another names it in ``parent``. A parallel state has ``regions``: mappings with
    ``name``, ``initial`` and ``states``, which are names or `State` objects.
    """

    name: str
    type: StateType | str = StateType.STABLE
    description: str | None = None
    group: str | None = None
    parent: str | None = None
    initial_child: str | None = None
    regions: Sequence[Mapping[str, Any]] = ()
    on_enter: Any = ()
    on_exit: Any = ()
    timeout: Mapping[str, Any] | None = None
    when: Any = None
    invoke: Any = None
    on_done: Any = None
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def is_terminal(self) -> bool:
        """Nothing leads out of it."""
        return self.type == StateType.TERMINAL

    @property
    def is_initial(self) -> bool:
        """Entities start here."""
        return self.type == StateType.INITIAL


@record
class Transition(_Config):
    """One transition, with the keys of a machine file; see the documentation of transitions."""

    trigger: str | None = None
    source: str | Sequence[str] = ()
    dest: str | Sequence[str] | None = None
    guards: Any = ()
    actions: Any = ()
    after: int | str | None = None
    at: Any = None
    region: str | None = None
    internal: bool = False
    auto: bool = False
    description: str | None = None
    ref: str | None = None
    refs: Sequence[str] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    id: str | None = None


@record
class ErrorPolicy(_Config):
    """``error_policy`` of a machine file."""

    default_fallback: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])


@record
class DestinationCheckResult:
    """Whether a state can be reached in one transition with this context.

    Attributes:
        candidates: The transitions that lead there and whose guards hold.
    """

    candidates: tuple[Transition, ...]

    @property
    def allowed(self) -> bool:
        """At least one transition leads there."""
        return bool(self.candidates)

    @property
    def is_ambiguous(self) -> bool:
        """Several do: which one is taken depends on the trigger."""
        return len(self.candidates) > 1

    def __bool__(self) -> bool:
        return bool(self.candidates)

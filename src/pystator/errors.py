"""Every error PyStator raises, in one tree.

::

    FSMError
     |- ConfigurationError               a machine, an option or a file is wrong
     |- InvalidTransitionError           the event is not allowed here
     |   |- EntityArchivedError          it was archived
     |   |- GuardRejectedError
     |   |- UndefinedTriggerError
     |   `- TerminalStateError
     |- EvaluationError                  a guard, effect or expression failed
     |- UndefinedStateError              no such state in this machine
     |- InvalidValueError (ValueError)   an id, a name or a context that cannot be stored
     |- GuardNotFoundError
     |- ActionNotFoundError
     |- TimeoutExpiredError
     |- StaleVersionError                somebody else changed the entity first
     |- EntityExistsError
     |- EntityNotFoundError
     |- AmbiguousEntityError             several machines have an entity of this id
     |- EntityMachineMismatchError
     |- MachineConflictError             a machine cannot be stored, replaced or deleted like this
     |- MachineNotFoundError             no machine of this name is served
     |- MachineVersionMismatchError
     |- IdempotencyConflictError         an event id was used for another event
     |- StoreUnavailableError            the store did not answer in time
     |- ReplicationError                 a hot store and its durable one do not belong together
     `- SchemaError                      the database's schema is not the one this release needs

An error says what was wrong, where, and what to do next. ``code`` is stable and meant for programs,
``message`` for people, ``context`` holds the facts the message was made from (plain JSON values).
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import ClassVar

__all__ = [
    "ActionNotFoundError",
    "AmbiguousEntityError",
    "ConfigurationError",
    "EntityArchivedError",
    "EntityExistsError",
    "EntityMachineMismatchError",
    "EntityNotFoundError",
    "ErrorCode",
    "EvaluationError",
    "FSMError",
    "GuardNotFoundError",
    "GuardRejectedError",
    "IdempotencyConflictError",
    "InvalidTransitionError",
    "InvalidValueError",
    "MachineConflictError",
    "MachineNotFoundError",
    "MachineVersionMismatchError",
    "ReplicationError",
    "SchemaError",
    "StaleVersionError",
    "StoreUnavailableError",
    "TerminalStateError",
    "TimeoutExpiredError",
    "UndefinedStateError",
    "UndefinedTriggerError",
    "error_of",
    "readable",
]


class ErrorCode(StrEnum):
    """Stable codes of errors, kept in history rows and answers."""

    ACTION_NOT_FOUND = "action_not_found"
    AMBIGUOUS_ENTITY = "ambiguous_entity"
    CHOICE_UNRESOLVED = "choice_unresolved"
    CONFIGURATION = "configuration_error"
    CONTEXT_INVALID = "context_invalid"
    ENTITY_ARCHIVED = "entity_archived"
    ENTITY_EXISTS = "entity_exists"
    ENTITY_MACHINE_MISMATCH = "entity_machine_mismatch"
    ENTITY_NOT_FOUND = "entity_not_found"
    EVALUATION_FAILED = "evaluation_failed"
    FSM = "fsm_error"
    GUARD_NOT_FOUND = "guard_not_found"
    GUARD_REJECTED = "guard_rejected"
    IDEMPOTENCY_CONFLICT = "idempotency_conflict"
    INVALID_TRANSITION = "invalid_transition"
    INVALID_VALUE = "invalid_value"
    LIVELOCK = "livelock"
    MACHINE_CONFLICT = "machine_conflict"
    MACHINE_NOT_FOUND = "machine_not_found"
    MACHINE_VERSION_MISMATCH = "machine_version_mismatch"
    REPLICATION = "replication_error"
    SCHEMA = "schema_error"
    STALE_VERSION = "stale_version"
    STORE_UNAVAILABLE = "store_unavailable"
    TERMINAL_STATE = "terminal_state"
    TIMEOUT_EXPIRED = "timeout_expired"
    UNDEFINED_STATE = "undefined_state"
    UNDEFINED_TRIGGER = "undefined_trigger"


def readable(text: str) -> str:
    """The text with a question mark for each lone surrogate, so that it can be stored and sent.

    Messages of foreign errors have them where a file's name is no Unicode.
    """
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


class FSMError(Exception):
    """The root of the tree.

    Args:
        message: What was wrong and what to do, for people.
        context: The facts behind the message: plain JSON values.
        code: Overrides the class's own code.
    """

    default_code: ClassVar[ErrorCode] = ErrorCode.FSM

    def __init__(
        self,
        message: str,
        *,
        context: Mapping[str, object] | None = None,
        code: ErrorCode | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.context: dict[str, object] = dict(context) if context else {}
        self.code = self.default_code if code is None else code

    def to_dict(self) -> dict[str, object]:
        """The error as plain data: ``{"error", "code", "message", "context"}``."""
        return {
            "error": type(self).__name__,
            "code": str(self.code),
            "message": self.message,
            "context": self.context,
        }

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.context, self.code)


def _rebuild(
    kind: type[FSMError], message: str, context: Mapping[str, object], code: ErrorCode
) -> FSMError:
    error = kind.__new__(kind)
    FSMError.__init__(error, message, context=context, code=code)
    return error


class ConfigurationError(FSMError):
    """A machine, an option or a file is wrong; ``context["issues"]`` lists every mistake found."""

    default_code = ErrorCode.CONFIGURATION


class InvalidTransitionError(FSMError):
    """The event is not allowed in this state; nothing was changed."""

    default_code = ErrorCode.INVALID_TRANSITION


class GuardRejectedError(InvalidTransitionError):
    """A transition exists, and its guard said no."""

    default_code = ErrorCode.GUARD_REJECTED


class UndefinedTriggerError(InvalidTransitionError):
    """No transition of this machine has such a trigger."""

    default_code = ErrorCode.UNDEFINED_TRIGGER


class TerminalStateError(InvalidTransitionError):
    """The entity has reached its end."""

    default_code = ErrorCode.TERMINAL_STATE


class EntityArchivedError(InvalidTransitionError):
    """The entity was archived: it takes no events until it is taken back."""

    default_code = ErrorCode.ENTITY_ARCHIVED


class EvaluationError(FSMError):
    """A guard, an effect or an expression raised or met a value it cannot work with."""

    default_code = ErrorCode.EVALUATION_FAILED


class UndefinedStateError(FSMError):
    """No such state in this machine."""

    default_code = ErrorCode.UNDEFINED_STATE


class InvalidValueError(FSMError, ValueError):
    """An id, a name or a context that cannot be stored; raised before anything is written."""

    default_code = ErrorCode.INVALID_VALUE


class GuardNotFoundError(FSMError):
    """A guard is named by the machine and not registered."""

    default_code = ErrorCode.GUARD_NOT_FOUND


class ActionNotFoundError(FSMError):
    """An action is named by the machine and not registered."""

    default_code = ErrorCode.ACTION_NOT_FOUND


class TimeoutExpiredError(FSMError):
    """An action or a wait took longer than it was given."""

    default_code = ErrorCode.TIMEOUT_EXPIRED


class StaleVersionError(FSMError):
    """Somebody else changed the entity first: load it again and decide again."""

    default_code = ErrorCode.STALE_VERSION


class EntityExistsError(FSMError):
    """``create_entity`` met an entity of this id and machine."""

    default_code = ErrorCode.ENTITY_EXISTS


class EntityNotFoundError(FSMError):
    """There is no entity of this id."""

    default_code = ErrorCode.ENTITY_NOT_FOUND


class AmbiguousEntityError(FSMError):
    """Several machines have an entity of this id: say which with ``machine_name=``."""

    default_code = ErrorCode.AMBIGUOUS_ENTITY


class EntityMachineMismatchError(FSMError):
    """The entity belongs to another machine."""

    default_code = ErrorCode.ENTITY_MACHINE_MISMATCH


class MachineVersionMismatchError(FSMError):
    """The entity is in a state that the running version of its machine does not have."""

    default_code = ErrorCode.MACHINE_VERSION_MISMATCH


class IdempotencyConflictError(FSMError):
    """The event id was used before, for another trigger or payload."""

    default_code = ErrorCode.IDEMPOTENCY_CONFLICT


class StoreUnavailableError(FSMError):
    """The store did not answer, or stayed busy for too long."""

    default_code = ErrorCode.STORE_UNAVAILABLE


class ReplicationError(FSMError):
    """A hot store and its durable one do not belong together, or no longer agree.

    Nothing was written. The message says what each of them holds and what to do.
    """

    default_code = ErrorCode.REPLICATION


class SchemaError(FSMError):
    """The database's schema is not the one this release needs; the message names the command."""

    default_code = ErrorCode.SCHEMA


class MachineNotFoundError(FSMError):
    """There is no machine of this name; the message lists what there is."""

    default_code = ErrorCode.MACHINE_NOT_FOUND


class MachineConflictError(FSMError):
    """What is there stands in the way: another machine of this version, code, or live entities."""

    default_code = ErrorCode.MACHINE_CONFLICT


# Errors of other times and places -----------------------------------------------------------------


def error_of(code: str, message: str, context: Mapping[str, object]) -> FSMError:
    """The error that was told elsewhere: in a history row, or by a service.

    It is of the class that has the code. A code that is not known, because a newer release wrote
    it, is in ``context["code"]``.
    """
    try:
        known = ErrorCode(code)
    except ValueError:
        return FSMError(message, context={**context, "code": code})
    return _CLASSES[known](message, context=context, code=known)


def _family(kind: type[FSMError]) -> Iterator[type[FSMError]]:
    yield kind
    for heir in kind.__subclasses__():
        yield from _family(heir)


_CLASSES: dict[ErrorCode, type[FSMError]] = {
    **{kind.default_code: kind for kind in _family(FSMError)},
    ErrorCode.CHOICE_UNRESOLVED: InvalidTransitionError,
    ErrorCode.CONTEXT_INVALID: InvalidTransitionError,
    ErrorCode.LIVELOCK: EvaluationError,
}

"""PyStator: the persistent state machine.

    from pystator import InMemoryStateStore, Orchestrator, StateMachine

Every public name is here and is imported when it is first asked for, so that a program pays for
what it uses: ``import pystator`` loads no database, no web and no validation library.
"""

from pystator._version import __version__

TYPE_CHECKING = False  # type checkers know it as true; `typing` itself is not worth its import
if TYPE_CHECKING:
    from pystator.definition.retention import Retention
    from pystator.definition.validate import validate_config
    from pystator.engine.actions import ActionExecutor, ActionOutcome, ActionSpec
    from pystator.engine.machine import StateMachine
    from pystator.engine.public import (
        DestinationCheckResult,
        ErrorPolicy,
        Event,
        State,
        StateType,
        Transition,
    )
    from pystator.engine.registry import ActionRegistry, GuardRegistry
    from pystator.engine.result import Microstep, TimerChanges, TransitionResult
    from pystator.engine.session import EntitySession
    from pystator.errors import (
        ActionNotFoundError,
        AmbiguousEntityError,
        ConfigurationError,
        EntityArchivedError,
        EntityExistsError,
        EntityMachineMismatchError,
        EntityNotFoundError,
        ErrorCode,
        EvaluationError,
        FSMError,
        GuardNotFoundError,
        GuardRejectedError,
        IdempotencyConflictError,
        InvalidTransitionError,
        InvalidValueError,
        MachineNotFoundError,
        MachineVersionMismatchError,
        ReplicationError,
        SchemaError,
        StaleVersionError,
        StoreUnavailableError,
        TerminalStateError,
        TimeoutExpiredError,
        UndefinedStateError,
        UndefinedTriggerError,
    )
    from pystator.orchestrator import Orchestrator
    from pystator.orchestrator.hooks import LoggingHook, MetricsCollector, TransitionHook
    from pystator.orchestrator.tracing import current_trace
    from pystator.records import EventRequest, Pruned
    from pystator.stores.memory import InMemoryStateStore
    from pystator.stores.mongodb import MongoDBStateStore
    from pystator.stores.postgres import PostgresStateStore
    from pystator.stores.protocols import AsyncStateStore, StateStore, VersionedStateStore
    from pystator.stores.redis import RedisStateStore
    from pystator.stores.registry import create_state_store
    from pystator.stores.replicated import ReplicatedStateStore
    from pystator.stores.sqlite import SQLiteStateStore

__all__ = [
    "ActionExecutor",
    "ActionNotFoundError",
    "ActionOutcome",
    "ActionRegistry",
    "ActionSpec",
    "AmbiguousEntityError",
    "AsyncStateStore",
    "ConfigurationError",
    "DestinationCheckResult",
    "EntityArchivedError",
    "EntityExistsError",
    "EntityMachineMismatchError",
    "EntityNotFoundError",
    "EntitySession",
    "ErrorCode",
    "ErrorPolicy",
    "EvaluationError",
    "Event",
    "EventRequest",
    "FSMError",
    "GuardNotFoundError",
    "GuardRegistry",
    "GuardRejectedError",
    "IdempotencyConflictError",
    "InMemoryStateStore",
    "InvalidTransitionError",
    "InvalidValueError",
    "LoggingHook",
    "MachineNotFoundError",
    "MachineVersionMismatchError",
    "MetricsCollector",
    "Microstep",
    "MongoDBStateStore",
    "Orchestrator",
    "PostgresStateStore",
    "Pruned",
    "RedisStateStore",
    "ReplicatedStateStore",
    "ReplicationError",
    "Retention",
    "SQLiteStateStore",
    "SchemaError",
    "StaleVersionError",
    "State",
    "StateMachine",
    "StateStore",
    "StateType",
    "StoreUnavailableError",
    "TerminalStateError",
    "TimeoutExpiredError",
    "TimerChanges",
    "Transition",
    "TransitionHook",
    "TransitionResult",
    "UndefinedStateError",
    "UndefinedTriggerError",
    "VersionedStateStore",
    "__version__",
    "create_state_store",
    "current_trace",
    "validate_config",
]

_HOMES = {
    "pystator.definition.retention": ("Retention",),
    "pystator.definition.validate": ("validate_config",),
    "pystator.engine.actions": ("ActionExecutor", "ActionOutcome", "ActionSpec"),
    "pystator.engine.machine": ("StateMachine",),
    "pystator.engine.public": (
        "DestinationCheckResult",
        "ErrorPolicy",
        "Event",
        "State",
        "StateType",
        "Transition",
    ),
    "pystator.engine.registry": ("ActionRegistry", "GuardRegistry"),
    "pystator.engine.result": ("Microstep", "TimerChanges", "TransitionResult"),
    "pystator.engine.session": ("EntitySession",),
    "pystator.errors": (*[name for name in __all__ if name.endswith("Error")], "ErrorCode"),
    "pystator.orchestrator": ("Orchestrator",),
    "pystator.orchestrator.hooks": ("LoggingHook", "MetricsCollector", "TransitionHook"),
    "pystator.orchestrator.tracing": ("current_trace",),
    "pystator.records": ("EventRequest", "Pruned"),
    "pystator.stores.memory": ("InMemoryStateStore",),
    "pystator.stores.mongodb": ("MongoDBStateStore",),
    "pystator.stores.postgres": ("PostgresStateStore",),
    "pystator.stores.protocols": ("AsyncStateStore", "StateStore", "VersionedStateStore"),
    "pystator.stores.redis": ("RedisStateStore",),
    "pystator.stores.replicated": ("ReplicatedStateStore",),
    "pystator.stores.registry": ("create_state_store",),
    "pystator.stores.sqlite": ("SQLiteStateStore",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


if not TYPE_CHECKING:  # they know every name already, and should not believe in any other

    def __getattr__(name: str) -> object:
        """Import a public name when it is first asked for."""
        home = _HOME_OF.get(name)
        if home is None:
            message = f"module 'pystator' has no attribute {name!r}"
            raise AttributeError(message)
        from importlib import import_module  # the first name pays, not the import

        from pystator.errors import ConfigurationError

        try:
            value = getattr(import_module(home), name)
        except ConfigurationError as error:
            from pystator.db.extras import stand_in

            return stand_in(name, error)  # not kept: the library may be installed any time
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)

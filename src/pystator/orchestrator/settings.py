"""What every program of one orchestrator knows."""

import random
import time
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, Literal

from pystator.engine.machine import StateMachine
from pystator.orchestrator.hooks import Hooks
from pystator.orchestrator.tracing import Telemetry, Tracer
from pystator.records import Context
from pystator.stores.keys import new_commit_id
from pystator.stores.protocols import NativeStore

__all__ = ["PATIENCE", "Settings", "Validator"]

PATIENCE = 10.0
"""Seconds for which a contended event is loaded and decided again before it is given up."""

Validator = Callable[[str, str, str, Context], tuple[bool, Any]]
"""``(entity_id, state, trigger, context with the event's data) -> (ok, errors)``."""


class Settings:
    """The machine, the facts about the store, and what the user chose.

    Attributes:
        name, version, fingerprint: Of the machine, as they stand on entities and rows.
        versioned, archives: The store keeps versions; and that an entity is archived.
        timed: The machine has timers.
        remembers: The machine has history states, so that entities have records of them.
        start_missing: An event for a missing entity starts it.
        takes_ahead: The store draws commits that are decided meanwhile.
        fallback, fallback_state: What becomes of an event that fails by an error, see
            `pystator.orchestrator.draft`.
        rows: The store keeps history.
        holds: The caller commits: actions wait for it, and no commit is ever sent again.
        home: Tells the entities of one orchestrator from those of others.
        plain: There are neither hooks nor a validator nor telemetry.
        patience: Seconds of reloading.
        jitter: A random number in [0, 1).
        tracer: Makes spans, where there is telemetry; the ``hooks`` tell it of events.
        tick: Monotonic nanoseconds, for durations in history rows; nothing is decided by it.
        identify: Makes a commit id, given the wall clock in microseconds.
    """

    __slots__ = (
        "archives",
        "fallback",
        "fallback_state",
        "fingerprint",
        "holds",
        "home",
        "hooks",
        "idempotent",
        "identify",
        "jitter",
        "machine",
        "name",
        "normalise",
        "patience",
        "plain",
        "remembers",
        "rows",
        "start_missing",
        "takes_ahead",
        "tick",
        "timed",
        "tracer",
        "validator",
        "version",
        "versioned",
    )

    def __init__(
        self,
        machine: StateMachine,
        store: NativeStore,
        *,
        hooks: Sequence[object] = (),
        telemetry: Telemetry | None = None,
        validator: Validator | None = None,
        start_missing: bool = True,
        patience: float = PATIENCE,
        jitter: Callable[[], float] = random.random,
        tick: Callable[[], int] = time.perf_counter_ns,
        identify: Callable[[int], str] = new_commit_id,
    ) -> None:
        definition = machine.definition
        self.machine = machine
        self.name = machine.name
        self.version = machine.version
        self.fingerprint = machine.fingerprint
        self.timed = machine.timed
        self.remembers = any(
            target.history for way in definition.transitions for target in way.targets
        )
        self.fallback: Literal["off", "hint", "persist"] = definition.fallback
        self.fallback_state = definition.fallback_state
        self.normalise = _normaliser(definition.normalizer)
        self.idempotent = store.idempotent
        self.rows = store.keeps_history
        self.versioned: bool = getattr(store, "keeps_versions", True)
        self.archives: bool = getattr(store, "archives", True)
        self.takes_ahead: bool = getattr(store, "takes_ahead", False)
        self.holds = False
        self.home: object = self
        self.tracer = None if telemetry is None else Tracer(telemetry, machine.name)
        self.hooks = Hooks(hooks, self.tracer) if hooks or self.tracer is not None else None
        self.validator = validator
        self.plain = self.hooks is None and validator is None
        self.start_missing = start_missing
        self.patience = patience
        self.jitter = jitter
        self.tick = tick
        self.identify = identify

    def holding(self) -> "Settings":
        """The same for events that the caller commits."""
        held = copy(self)
        held.holds = True
        held.plain = False
        return held


def _normaliser(name: Literal["lower", "upper"] | None) -> Callable[[str], str]:
    if name == "lower":
        return str.lower
    return str if name is None else str.upper

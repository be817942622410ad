"""What every call of an orchestrator goes through: options, drivers, the cases of events."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pystator.engine.actions import ActionExecutor
from pystator.engine.machine import StateMachine
from pystator.engine.public import Event
from pystator.engine.registry import ActionRegistry, GuardRegistry
from pystator.engine.result import TransitionResult
from pystator.errors import EvaluationError, InvalidValueError
from pystator.orchestrator.calls import names_of
from pystator.orchestrator.cases import Case, Item, case_of
from pystator.orchestrator.drivers import Driver
from pystator.orchestrator.lines import batches_of
from pystator.orchestrator.options import check_most, check_options
from pystator.orchestrator.requests import Program
from pystator.orchestrator.scheduling import Scheduler, StoredTimers, watch
from pystator.orchestrator.settings import Settings, Validator
from pystator.orchestrator.tracing import Telemetry
from pystator.orchestrator.waiting import DECIDING
from pystator.stores.adapt import lift
from pystator.stores.protocols import lack

if TYPE_CHECKING:
    from pystator.orchestrator.batching import Combiner
    from pystator.orchestrator.leading import Leaders
    from pystator.orchestrator.loops import Loops

__all__ = ["Core"]

T = TypeVar("T")

_Guards = GuardRegistry | Mapping[str, Callable[..., Any]]
_Actions = ActionRegistry | Mapping[str, Callable[..., Any]]

CHUNK: Final = 1_000
"""Events of a bulk call that share a load and a commit."""


class Core:
    """An orchestrator without its calls; for the arguments see `Orchestrator`."""

    def __init__(
        self,
        machine: StateMachine,
        state_store: Any,
        guards: _Guards | None = None,
        actions: _Actions | None = None,
        *,
        context_validator: Validator | None = None,
        scheduler: Scheduler | None = None,
        hooks: Sequence[object] | None = None,
        telemetry: Telemetry | None = None,
        use_initial_state_when_missing: bool = True,
        action_delivery: str = "inline",
        batching: bool | None = None,
        most_waiting: int = 10_000,
        clock: Callable[[], int] | None = None,
    ) -> None:
        check_options(machine, hooks, context_validator, scheduler, action_delivery, telemetry)
        self._most_held = check_most(most_waiting)
        self.machine = machine if guards is None else machine.with_guards(guards)
        self.state_store = state_store
        store = lift(state_store)
        if scheduler is not None:
            store = watch(store, scheduler)
        self._store = store
        self._settings = Settings(
            self.machine,
            store,
            hooks=hooks or (),
            telemetry=telemetry,
            validator=context_validator,
            start_missing=use_initial_state_when_missing,
        )
        executor = ActionExecutor(machine.actions if actions is None else actions)
        self._driver = Driver(store, executor, clock)
        self._holding: Settings | None = None
        self._run_one = self._driver.run_one
        self._blocking = store.sync
        self._async = store.has_async
        plain = self._settings.plain
        self._batching = store.has_async and (store.combines if batching is None else batching)
        self._leaders = _leaders(self._settings, self._driver) if batching and store.sync else None
        self._plain = plain and store.sync and self._leaders is None
        self._aplain = plain and store.has_async and not self._batching
        self._lock = Lock()
        self._loops: Loops | None = None
        self._combiner: Callable[[], Combiner] | None = None
        self._scheduler = scheduler
        if scheduler is not None:
            scheduler.attach(StoredTimers(self._settings, self._driver, clock))
            scheduler.start()

    # Inside -------------------------------------------------------------------------------------

    def _home(self, connection: object, *, reading: bool = False) -> tuple[Settings, Driver]:
        """Whose rules and whose store a call goes by: the caller's transaction has its own.

        Raises:
            ConfigurationError: The connection is none of the store's database in a transaction.
        """
        if connection is None:
            return self._settings, self._driver
        within = getattr(self._store, "within", None)
        if within is None:  # a native store of a user's need not have it
            lack(type(self.state_store).__name__)
        if self._holding is None:
            self._holding = self._settings.holding()
        return self._holding, self._driver.over(within(connection, reading=reading))

    def _run(self, program: Program[T], driver: Driver | None = None) -> T:
        if not self._blocking:
            program.close()
            raise TypeError(
                f"{type(self.state_store).__name__} has only async methods: "
                "use the async twin of this call, e.g. await async_process_event(...)"
            )
        return (driver or self._driver).run(program)

    async def _arun(self, program: Program[T], driver: Driver | None = None) -> T:
        if not self._async:
            program.close()
            raise TypeError(
                f"{type(self.state_store).__name__} has only blocking methods: "
                "use the blocking twin of this call, e.g. process_event(...)"
            )
        if self._scheduler is not None:
            self._scheduler.start()
        return await (driver or self._driver).arun(program)

    def _wake(self, results: Iterable[TransitionResult]) -> None:
        """Tell the scheduler of timers that were armed in transactions it has not seen."""
        if self._scheduler is None:
            return
        deadlines = [moment for each in results for moment in each.timers.armed.values()]
        if deadlines:
            self._scheduler.wake(min(deadlines))

    def _case(
        self,
        entity_id: str,
        trigger: str | Event,
        context: Mapping[str, Any] | None,
        event_id: str | None,
        actor: str | None,
        occurred_at: datetime | None,
        now: datetime | None,
        expected: int | None = None,
        trace: str | None = None,
        *,
        is_data: bool = False,
    ) -> Case:
        case = Case(entity_id, trigger, context, event_id, actor, occurred_at, now, expected, trace)
        case.is_data = is_data
        self._admit(case)
        return case

    def _admit(self, case: Case) -> None:
        asker = DECIDING.get()
        if asker is not None:
            asker.admit(self._settings, case.entity_id)
        if case.expected is not None and not self._settings.versioned:
            raise self._lacking("expected_version= needs a store that keeps versions")
        if case.event_id is None:
            return
        if not self._settings.idempotent:
            raise self._lacking("event_id= needs a store that keeps event ids")
        case.identify(None if case.is_data else self._settings.normalise(case.trigger))

    def _lacking(self, need: str) -> TypeError:
        name = type(self.state_store).__name__
        return TypeError(
            f"{need}, and {name} does not: leave it out, or use one of PyStator's stores"
        )

    def _chunks(self, items: Iterable[Item], actor: str | None) -> Iterator[list[Case]]:
        rest = iter(items)
        while chunk := [self._case_of(item, actor) for item in islice(rest, CHUNK)]:
            yield chunk

    def _case_of(self, item: Item, actor: str | None) -> Case:
        """The case of an item; one that is no event fails alone."""
        try:
            case = case_of(item, actor)
            self._admit(case)
        except (InvalidValueError, EvaluationError) as error:
            case = Case(*names_of(item), None)
            case.error = error
        return case

    def _combine(self) -> "Combiner":
        """The running loop's combiner."""
        if self._combiner is None:
            from pystator.orchestrator.loops import Loops  # asyncio comes with it

            with self._lock:  # loops of several threads share it: each has one combiner
                if self._loops is None:
                    self._loops = Loops(self._settings, self._driver, self._most_held)
                self._combiner = self._loops.combiner
        return self._combiner()

    async def _ended(self) -> None:
        """Nothing is under way on the running loop whose caller may be gone."""
        if self._loops is not None:
            await self._loops.ended()


def _leaders(settings: Settings, driver: Driver) -> "Leaders":
    from pystator.orchestrator.leading import Leaders  # only who asks for it pays for it

    return Leaders(settings, driver, in_flight=batches_of(driver.store))

"""What the interpreter says about an operation: start, event, timer, data.

Around the algorithm: checks before and after it, why an event is not taken, and the result.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from w3c_reference.datamodel import Datamodel, StepError
from w3c_reference.document import State, Target, Transition, read
from w3c_reference.interpreter import Interpreter, Taken, get_proper_ancestors

__all__ = ["Outcome", "Reference"]

CODES = {"no_transition": "invalid_transition", "void_timer": "invalid_transition"}
TYPES = {"string": str, "number": int | float, "boolean": bool, "object": dict}

Context = dict[str, Any]


@dataclass
class Outcome:
    """Everything that is compared, and what was reached on the way."""

    success: bool
    source: str | None
    target: str | None
    trigger: str | None
    context: Context
    reason: str | None = None
    code: str | None = None
    rejections: list[str] = field(default_factory=list)
    actions: list[tuple[str, str, Any]] = field(default_factory=list)
    armed: dict[str, int] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    microsteps: list[Taken] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    features: set[str] = field(default_factory=set)


class Reference:
    """A machine, interpreted.

    Args:
        machine: The plain data of its file.
        guards: Registered guards, by name.
    """

    def __init__(
        self, machine: Mapping[str, Any], guards: Mapping[str, Callable[[Any], bool]]
    ) -> None:
        self.document = read(machine)
        self.guards = guards

    # Operations -------------------------------------------------------------------------------

    def start(self, context: Context, now: int) -> Outcome:
        """Enter the initial states: procedure interpret."""
        missing = {
            each["key"]: each["default"]
            for each in self.document.variables
            if "default" in each and each["key"] not in context
        }
        session = self.session([], {**context, **missing}, now)
        session.routing = self.document.routes

        targets = [Target(state) for state in self.document.initial]
        initial = Transition(self.document.root, targets, internal=True)

        def run() -> None:
            session.microstep([initial])
            session.main_event_loop()

        return self.outcome(session, None, None, context, run)

    def event(
        self, text: str, trigger: str, payload: Mapping[str, Any], context: Context, now: int
    ) -> Outcome:
        """An event that somebody sends."""
        document = self.document
        configuration = self.configuration(text)
        name = document.normal(trigger)
        refused = self.refusal(configuration, name)
        source = _text(configuration)
        if refused:
            if not document.strict("reject_invalid_events"):
                return Outcome(True, source, source, name, context, "ignored")
            return Outcome(False, source, None, name, context, refused, CODES.get(refused, refused))
        session = self.session(configuration, {**context, **payload}, now)
        session.datamodel.event = {"name": name, "data": dict(payload)}
        session.routing = document.routes

        def run() -> None:
            self.check(session)
            session.trigger = name
            self.take(session, session.select_transitions(name))

        return self.outcome(session, source, name, context, run)

    def fire(self, text: str, timer: str, context: Context, now: int) -> Outcome:
        """The deadline of a timer: its transition, whose event is the timer."""
        configuration = self.configuration(text)
        source = _text(configuration)
        transition = self.document.timers.get(timer)
        if transition is None or transition.source not in configuration:
            return Outcome(
                False, source, None, timer, context, "void_timer", CODES["void_timer"],
                cancelled={timer},
            )  # fmt: skip
        session = self.session(configuration, context, now)
        session.datamodel.event = {"name": timer, "data": {}}
        session.routing = self.document.routes
        session.fired = timer

        def run() -> None:
            self.check(session)
            session.trigger = timer
            session.cancel(transition)
            self.take(session, session.select(lambda t: t.guards if t is transition else None))

        return self.outcome(session, source, timer, context, run)

    def apply(self, text: str, data: Mapping[str, Any], context: Context, now: int) -> Outcome:
        """Data that arrives without an event, and where it leads."""
        configuration = self.configuration(text)
        session = self.session(configuration, {**context, **data}, now)
        session.routing = True

        def run() -> None:
            self.check(session)
            session.running = not _ends(configuration)
            session.main_event_loop()

        return self.outcome(session, _text(configuration), None, context, run)

    def place(self, text: str, context: Context, now: int) -> Outcome:
        """Be somewhere without having entered it: nothing happens but that time begins to count."""
        configuration = self.configuration(text)
        session = self.session(configuration, context, now)

        def run() -> None:
            for state in configuration:
                for transition in state.transitions:
                    session.arm(transition)
            session.cancelled.clear()

        return self.outcome(session, None, None, context, run)

    # Parts of them ----------------------------------------------------------------------------

    def session(self, configuration: list[State], context: Context, now: int) -> Interpreter:
        """An interpreter for one macrostep."""
        lenient = not self.document.strict("strict_guard_registry")
        datamodel = Datamodel(deepcopy(context), self.guards, now, lenient=lenient)
        return Interpreter(self.document, datamodel, configuration, now)

    def take(self, session: Interpreter, enabled: list[Transition]) -> None:
        """The first microstep, or why there is none; then what follows."""
        if not enabled:
            raise StepError("guard_rejected")
        session.microstep(enabled)
        session.main_event_loop()

    def outcome(
        self,
        session: Interpreter,
        source: str | None,
        trigger: str | None,
        given: Context,
        run: Callable[[], None],
    ) -> Outcome:
        """Run the macrostep to its end and tell what happened."""
        try:
            run()
            if any(state.kind == "choice" for state in session.configuration):
                raise StepError("choice_unresolved")
            if session.microsteps:
                self.check(session)
        except StepError as error:
            rejected = error.reason == "guard_rejected"
            return Outcome(
                False, source, None, trigger, given, error.reason, error.code,
                rejections=[name for _, name in session.rejections] if rejected else [],
                cancelled=session.cancelled if rejected else set(),
                asked=session.datamodel.asked,
                features=session.features,
            )  # fmt: skip
        return Outcome(
            True, source, session.text(), trigger, session.datamodel.context,
            actions=session.actions,
            armed=session.armed,
            cancelled=session.cancelled,
            microsteps=session.microsteps,
            asked=session.datamodel.asked,
            features=session.features,
        )  # fmt: skip

    def check(self, session: Interpreter) -> None:
        """`validate_context`: types of the state variables, and the invariants."""
        document, model = self.document, session.datamodel
        if not document.meta.get("validate_context"):
            return
        fits = all(_fits(each, model.context.get(each["key"])) for each in document.variables)
        if not fits or not all(self.invariant(model, each) for each in document.invariants):
            raise StepError("context_invalid")

    def invariant(self, model: Datamodel, guard: Any) -> bool:
        """One that cannot be computed does not hold."""
        try:
            return model.holds(guard)
        except StepError:
            return False

    def refusal(self, configuration: list[State], trigger: str) -> str | None:
        """Why an event is not even looked at."""
        if trigger not in self.document.triggers:
            return "undefined_trigger"
        if self.is_terminal(configuration):
            return "terminal_state"
        known = any(t.event == trigger for state in configuration for t in state.transitions)
        return None if known else "no_transition"

    def is_terminal(self, configuration: list[State]) -> bool:
        """Nothing can happen any more."""
        leaves = [state for state in configuration if not state.children]
        return _ends(configuration) or (
            all(leaf.kind == "final" for leaf in leaves)
            and not any(state.transitions for state in configuration)
        )

    def triggers(self, configuration: list[State]) -> list[str]:
        """The declared triggers of the active states, in the order in which they are tried."""
        if self.is_terminal(configuration):
            return []
        session = self.session(configuration, {}, 0)
        above = [[leaf, *get_proper_ancestors(leaf, None)] for leaf in session.atomic_states()]
        events = [t.event for states in above for state in states for t in state.transitions]
        return [event for event in dict.fromkeys(events) if event in self.document.triggers]

    def configuration(self, text: str) -> list[State]:
        """The active states of a text, completed by defaults, without entry actions."""
        states: set[State] = set()
        session = self.session([], {}, 0)
        named = [self.document.state(name) for name in text.split("+")]
        for state in named:
            session.add_descendant_states_to_enter(state, states)
        for state in named:
            session.add_ancestor_states_to_enter(state, None, states)
        return sorted(states, key=lambda state: state.order)


def _text(configuration: list[State]) -> str:
    return "+".join(state.name for state in configuration if not state.children)


def _ends(configuration: list[State]) -> bool:
    return any(state.kind == "final" and state.parent.kind == "root" for state in configuration)


def _fits(variable: Mapping[str, Any], value: Any) -> bool:
    if value is None:
        return not variable.get("required")
    wanted = variable.get("type")
    if wanted is None:
        return True
    return isinstance(value, TYPES[wanted]) and (wanted == "boolean" or not isinstance(value, bool))

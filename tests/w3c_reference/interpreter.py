"""The algorithm of the recommendation, literally and slowly.

State Chart XML (SCXML), W3C Recommendation of 1 September 2015, appendix D, "Algorithm for SCXML
Interpretation". Each procedure stands here under its own name (in snake case) and in its own steps:
sets of states, no numbers, no plans, nothing remembered from one event to the next. What the
package's engine does in one dictionary lookup has to be what these pages say.

Where machines of this package are decided to differ from the recommendation:

- An error in a guard, an effect or an expression fails the whole event, which then changes nothing
  (the recommendation queues `error.execution` and goes on): `StepError` leaves every procedure.
- One event is one macrostep: there is no external queue, no invocation, no datamodel of a language,
  and the interpreter is made anew for each event from a configuration and a context.
- History is data. `history_value` is the context's `_history`: for a parent that some transition
  asks for, the atomic states below it when it was last left. Both kinds of history read this one
  record, and each parent is thought to have both; their default is the parent's own default entry.
- An internal event that nobody takes leaves no trace: `_event` is what it was before, and eventless
  transitions, for which nothing has changed, are not selected again.
- A transition enters only what lies below its domain. (By the letter of addDescendantStatesToEnter, a
  history whose parent contains the source enters everything from the recorded states up to that
  parent, even what is active and was not left.)
- Initial transitions and history defaults have no content.
- A choice is an atomic state whose transitions are eventless; a macrostep that would end in one
  fails (`choice_unresolved`).
- `done.state` events name a region by the region's name, and not at all when a state has the name.
- Timers belong to their source: armed at the end of the microstep that enters it, cancelled by the
  one that leaves it; a timer that fires selects exactly its own transition.
- Routing: where nothing else follows and the machine or the operation asks for it, transitions into
  states with a `when` are selected as if their event had come (`select_routed_transitions`).
- A terminal child of the root ends the macrostep, as in the recommendation it ends the session.
- An event that selects nothing is not dropped in silence: there is a reason (`reference`).
- 1,000 microsteps are a livelock.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from w3c_reference.datamodel import Datamodel, StepError, guard_text
from w3c_reference.document import Document, State, Target, Transition

__all__ = ["Interpreter", "Taken"]

LIVELOCK = 1_000
PARENTS = {"root", "compound", "region"}

Matches = Callable[[Transition], list[Any] | None]
"""The guards under which a transition is enabled, or None where the event does not match it."""


@dataclass
class Taken:
    """One microstep."""

    source: str | None
    target: str
    trigger: str | None
    exited: list[str]
    entered: list[str]
    transitions: list[Transition]


class Interpreter:
    """One macrostep.

    Args:
        document: The machine.
        datamodel: The context, which is written to.
        configuration: Before the event, ancestors included; empty at a start.
    """

    def __init__(
        self, document: Document, datamodel: Datamodel, configuration: Iterable[State], now: int
    ) -> None:
        self.document = document
        self.datamodel = datamodel
        self.configuration = list(configuration)
        self.now = now
        self.internal_queue: deque[str] = deque()
        self.running = True
        self.routing = False
        self.fired: str | None = None
        self.trigger: str | None = None
        self.before = set(self.configuration)
        self.visited = set(self.configuration)
        self.verdicts: dict[Transition, bool] = {}
        self.rejections: list[tuple[Transition, str]] = []
        self.microsteps: list[Taken] = []
        self.actions: list[tuple[str, str, Any]] = []
        self.armed: dict[str, int] = {}
        self.cancelled: set[str] = set()
        self.features: set[str] = set()
        datamodel.is_active = lambda name: document.state(name) in self.configuration

    # procedure mainEventLoop, its inner loop ----------------------------------------------------

    def main_event_loop(self) -> None:
        """Eventless transitions, then internal events in order, until the macrostep is done."""
        while self.running:
            self.trigger = None
            enabled = self.select_eventless_transitions() or self.take_internal_event()
            if not enabled and self.routing:
                enabled = self.select_routed_transitions()
            if not enabled:
                break
            if len(self.microsteps) >= LIVELOCK:
                raise StepError("livelock")
            self.microstep(enabled)

    def take_internal_event(self) -> list[Transition]:
        """The transitions of the first internal event that enables some; the others are gone."""
        before = self.datamodel.event
        while self.internal_queue:
            self.trigger = self.internal_queue.popleft()
            self.datamodel.event = {"name": self.trigger, "data": {}}
            enabled = self.select_transitions(self.trigger)
            if enabled:
                return enabled
            self.features.add("raised event dropped")
        self.trigger, self.datamodel.event = None, before
        return []

    # function selectEventlessTransitions, selectTransitions -------------------------------------

    def select_eventless_transitions(self) -> list[Transition]:
        """Transitions that need no event."""
        return self.select(lambda t: t.guards if t.eventless else None)

    def select_transitions(self, event: str) -> list[Transition]:
        """Transitions that this event enables."""
        return self.select(lambda t: t.guards if t.event == event else None)

    def select_routed_transitions(self) -> list[Transition]:
        """Transitions that data alone enables: not of the recommendation."""
        found = self.select(self.routed)
        if found:
            self.features.add("routed")
        return found

    def routed(self, transition: Transition) -> list[Any] | None:
        """Into states with a `when` that this macrostep has not been in."""
        states = [target.state for target in transition.targets]
        ways = [guard for state in states for guard in state.when]
        if transition.internal or transition.event is None or transition.is_done or not ways:
            return None
        if any(state in self.visited for state in states):
            return None
        return [*transition.guards, *ways]

    def select(self, matches: Matches) -> list[Transition]:
        """The loop that both functions have: for each atomic state the first that is enabled."""
        self.verdicts, self.rejections = {}, []
        enabled: list[Transition] = []
        for state in self.atomic_states():
            found = self.first_enabled(state, matches)
            if found is not None and found not in enabled:
                enabled.append(found)
        return self.remove_conflicting_transitions(enabled)

    def first_enabled(self, state: State, matches: Matches) -> Transition | None:
        """Of an atomic state and its ancestors, inner first, in document order."""
        for s in [state, *get_proper_ancestors(state, None)]:
            for t in s.transitions:
                guards = matches(t)
                if guards is not None and self.condition_match(t, guards):
                    return t
        return None

    def condition_match(self, transition: Transition, guards: list[Any]) -> bool:
        """All guards hold; asked once for each transition of a selection."""
        if transition not in self.verdicts:
            failing = next((each for each in guards if not self.datamodel.holds(each)), None)
            self.verdicts[transition] = failing is None
            if failing is not None:
                self.rejections.append((transition, guard_text(failing)))
        return self.verdicts[transition]

    # function removeConflictingTransitions ------------------------------------------------------

    def remove_conflicting_transitions(self, enabled: list[Transition]) -> list[Transition]:
        """Of two that leave the same state: the descendant's, else the one selected first."""
        filtered: list[Transition] = []
        for t1 in enabled:
            preempted = False
            to_remove: list[Transition] = []
            for t2 in filtered:
                if self.compute_exit_set([t1]) & self.compute_exit_set([t2]):
                    if is_descendant(t1.source, t2.source):
                        to_remove.append(t2)
                    else:
                        preempted = True
                        break
            if not preempted:
                for t3 in to_remove:
                    filtered.remove(t3)
                filtered.append(t1)
            self.note_conflict(preempted=preempted, removed=bool(to_remove))
        return filtered

    def note_conflict(self, *, preempted: bool, removed: bool) -> None:
        """For the count of what was reached."""
        if preempted:
            self.features.add("preempted by an earlier transition")
        elif removed:
            self.features.add("preempted by a descendant's transition")

    # procedure microstep ------------------------------------------------------------------------

    def microstep(self, enabled: list[Transition]) -> None:
        """Exit states, execute transition content, enter states."""
        source = self.text() if self.configuration else None
        exited = self.exit_states(enabled)
        for transition in enabled:
            self.execute(transition.content, "transition")
        entered = self.enter_states(enabled)
        names = [s.name for s in exited], [s.name for s in entered]
        self.microsteps.append(Taken(source, self.text(), self.trigger, *names, enabled))
        self.finish(exited, entered)

    def finish(self, exited: list[State], entered: list[State]) -> None:
        """Move the timers: not of the recommendation."""
        self.visited.update(entered)
        for state in exited:
            for transition in state.transitions:
                self.cancel(transition)
        for state in entered:
            for transition in state.transitions:
                self.arm(transition)

    def execute(self, content: list[Any], phase: str) -> None:
        """Procedure executeContent; what is raised goes to the internal queue."""
        for kind, what in self.datamodel.execute(content):
            if kind == "raise":
                self.internal_queue.append(self.document.normal(what))
                self.features.add("raised")
            else:
                name, params = what
                self.actions.append((name, phase, params))

    # procedure exitStates, computeExitSet -------------------------------------------------------

    def exit_states(self, enabled: list[Transition]) -> list[State]:
        """Record history first; then run exit actions, inner and last states first."""
        states_to_exit = sorted(self.compute_exit_set(enabled), key=exit_order)
        self.record_history(states_to_exit)
        for s in states_to_exit:
            self.execute(s.on_exit, "exit")
            self.configuration.remove(s)
        return states_to_exit

    def record_history(self, states_to_exit: list[State]) -> None:
        """The part of exitStates that writes `historyValue`."""
        record = {
            self.document.key(s): [leaf.name for leaf in self.atomic_states() if is_descendant(leaf, s)]
            for s in states_to_exit
            if self.document.key(s) in self.document.recorded
        }  # fmt: skip
        if record:
            history = self.datamodel.context.get("_history", {})
            self.datamodel.context["_history"] = {**history, **record}
            self.features.add("history recorded")

    def compute_exit_set(self, transitions: list[Transition]) -> set[State]:
        """All active states below the domains of the transitions."""
        states_to_exit: set[State] = set()
        for t in transitions:
            if t.targets:
                domain = self.get_transition_domain(t)
                states_to_exit |= {s for s in self.configuration if is_descendant(s, domain)}
        return states_to_exit

    # procedure enterStates, computeEntrySet -----------------------------------------------------

    def enter_states(self, enabled: list[Transition]) -> list[State]:
        """Run entry actions, outer and first states first; queue what is done."""
        states_to_enter: set[State] = set()
        self.compute_entry_set(enabled, states_to_enter)
        ordered = sorted(states_to_enter, key=entry_order)
        for s in ordered:
            self.configuration.append(s)
            self.execute(s.on_entry, "enter")
            if is_final_state(s):
                self.reach_final(s)
        return ordered

    def reach_final(self, s: State) -> None:
        """The part of enterStates about final states."""
        if s.parent is self.document.root:
            self.running = False
            return
        self.enqueue_done(s.parent)
        grandparent = s.parent.parent
        if is_parallel_state(grandparent) and self.is_in_final_state(grandparent):
            self.features.add("parallel done")
            self.enqueue_done(grandparent)

    def enqueue_done(self, state: State) -> None:
        """A state of a region's name has the event for itself."""
        if state.kind != "region" or not self.document.is_state(state.name):
            self.internal_queue.append(self.document.normal(f"done.state.{state.name}"))

    def compute_entry_set(self, transitions: list[Transition], states_to_enter: set[State]) -> None:
        """Targets with their defaults, then their ancestors up to the domain."""
        for t in transitions:
            if t.targets:
                ancestor = self.get_transition_domain(t)
                entered: set[State] = set()
                for target in t.targets:
                    self.add_target_to_enter(target, entered)
                for s in self.get_effective_target_states(t.targets):
                    self.add_ancestor_states_to_enter(s, ancestor, entered)
                states_to_enter |= {s for s in entered if is_descendant(s, ancestor)}

    def add_target_to_enter(self, target: Target, states_to_enter: set[State]) -> None:
        """The part of addDescendantStatesToEnter about history states."""
        if not target.history:
            self.add_descendant_states_to_enter(target.state, states_to_enter)
            return
        value = self.history_value(target)
        found = "restored" if value else "by default"
        self.features.add(f"{target.history} history {found}")
        restored = value or default_states(target.state)
        for s in restored:
            self.add_descendant_states_to_enter(s, states_to_enter)
        for s in restored:
            self.add_ancestor_states_to_enter(s, target.state, states_to_enter)

    def add_descendant_states_to_enter(self, state: State, states_to_enter: set[State]) -> None:
        """A state and what is entered with it by default."""
        states_to_enter.add(state)
        if is_compound_state(state):
            for s in state.initial:
                self.add_descendant_states_to_enter(s, states_to_enter)
            for s in state.initial:
                self.add_ancestor_states_to_enter(s, state, states_to_enter)
        elif is_parallel_state(state):
            self.add_missing_children(state, states_to_enter)

    def add_ancestor_states_to_enter(
        self, state: State, ancestor: State | None, states_to_enter: set[State]
    ) -> None:
        """The states between a state and an ancestor, and the other children of parallel ones."""
        for anc in get_proper_ancestors(state, ancestor):
            states_to_enter.add(anc)
            if is_parallel_state(anc):
                self.add_missing_children(anc, states_to_enter)

    def add_missing_children(self, parallel: State, states_to_enter: set[State]) -> None:
        """The loop that both procedures have."""
        for child in parallel.children:
            if not any(is_descendant(s, child) for s in states_to_enter):
                self.add_descendant_states_to_enter(child, states_to_enter)

    # functions isInFinalState, getTransitionDomain, getEffectiveTargetStates --------------------

    def is_in_final_state(self, s: State) -> bool:
        """A compound state with an active final child, or a parallel one with only such children."""
        if is_compound_state(s):
            return any(
                is_final_state(child) and child in self.configuration for child in s.children
            )
        if is_parallel_state(s):
            return all(self.is_in_final_state(child) for child in s.children)
        return False

    def get_transition_domain(self, t: Transition) -> State:
        """The compound state that contains source and targets and is not left.

        SCXML has no transitions of regions; one is `type="internal"` in the region by definition.
        """
        tstates = self.get_effective_target_states(t.targets)
        if (
            (t.internal or t.source.kind == "region")
            and is_compound_state(t.source)
            and all(is_descendant(s, t.source) for s in tstates)
        ):
            return t.source
        return find_lcca([t.source, *tstates])

    def get_effective_target_states(self, targets: list[Target]) -> list[State]:
        """Targets with history states replaced by what they stand for."""
        found: dict[State, None] = {}
        for target in targets:
            if target.history:
                stands_for = self.history_value(target) or default_states(target.state)
                found.update(dict.fromkeys(stands_for))
            else:
                found[target.state] = None
        return list(found)

    def history_value(self, target: Target) -> list[State]:
        """`historyValue` of a history state: what was recorded and is still there."""
        parent = target.state
        record = self.datamodel.context.get("_history", {}).get(self.document.key(parent), [])
        leaves = [
            state
            for state in self.document.states
            if state.name in record and state.kind != "region" and is_descendant(state, parent)
        ]
        if target.history == "deep":
            return leaves
        return [s for s in parent.children if any(s is leaf or is_descendant(leaf, s) for leaf in leaves)]  # fmt: skip

    # Timers -----------------------------------------------------------------------------------

    def arm(self, transition: Transition) -> None:
        """Start the transition's timer, if it has one."""
        timer = transition.timer
        if timer is None:
            return
        deadline: Any = self.now + timer.microseconds
        if timer.at is not None:
            deadline = self.datamodel.value(timer.at)
            if deadline is None:
                self.cancel(transition)
                return
            if type(deadline) is not int or deadline < 0:
                raise StepError("evaluation_failed")
        self.armed[timer.id] = deadline
        self.cancelled.discard(timer.id)

    def cancel(self, transition: Transition) -> None:
        """Only a timer that others may know of is told to be cancelled."""
        timer = transition.timer
        if timer is not None:
            self.armed.pop(timer.id, None)
            if timer.id == self.fired or transition.source in self.before:
                self.cancelled.add(timer.id)

    # The configuration ------------------------------------------------------------------------

    def atomic_states(self) -> list[State]:
        """The active states without children, in document order."""
        return sorted((s for s in self.configuration if not s.children), key=entry_order)

    def text(self) -> str:
        """The configuration as it is kept."""
        return "+".join(state.name for state in self.atomic_states())


# Predicates and functions without a session -----------------------------------------------------


def is_descendant(state1: State, state2: State) -> bool:
    """Function isDescendant."""
    parent = state1.parent
    while parent is not None and parent is not state2:
        parent = parent.parent
    return parent is not None


def get_proper_ancestors(state1: State, state2: State | None) -> list[State]:
    """Function getProperAncestors: up to a state that is not among them; inner first, no root."""
    found = []
    parent = state1.parent
    while parent is not None and parent is not state2 and parent.kind != "root":
        found.append(parent)
        parent = parent.parent
    return found


def find_lcca(states: list[State]) -> State:
    """Function findLCCA: the innermost compound state, or root, that contains them all."""
    head, *tail = states
    anc = head.parent
    while not is_compound_state(anc) or not all(is_descendant(s, anc) for s in tail):
        anc = anc.parent
    return anc


def default_states(parent: State) -> list[State]:
    """What the default transition of a parent's history state leads to."""
    return parent.children if is_parallel_state(parent) else parent.initial


def is_compound_state(state: State) -> bool:
    """Function isCompoundState (or the `scxml` element); a region is one."""
    return state.kind in PARENTS


def is_parallel_state(state: State) -> bool:
    """Function isParallelState."""
    return state.kind == "parallel"


def is_final_state(state: State) -> bool:
    """Function isFinalState."""
    return state.kind == "final"


def entry_order(state: State) -> int:
    """Document order."""
    return state.order


def exit_order(state: State) -> int:
    """Reverse document order."""
    return -state.order

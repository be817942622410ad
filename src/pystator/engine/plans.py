"""What is known before an event happens.

A table (`pystator.engine.topology`) leads from configuration and trigger to a cell::

    Cell       Refusal | UnknownTrigger     nothing leads out of here by this trigger
               Plan                         one way, whoever asks
               Choice                       guards decide: Chain | Fork

A `Plan` is one microstep in numbers and closures: what it leaves, runs and enters, and the facts of
its result. It is made when somebody first goes this way and shared by every entity that goes it
again.

A cell is *fast* when its result is known as it stands, *light* when computing it needs no frame,
and *idle* when it needs no time either. Nothing here is bound to callables:
guards are places in a vector that each machine brings with it.
"""

from abc import abstractmethod
from collections.abc import Container, Iterable, Iterator, Mapping
from math import prod
from typing import Any, Final

from pystator.definition.model import Guard, TransitionNode
from pystator.engine.actions import Phase
from pystator.engine.content import Step, reads_frame
from pystator.engine.describe import destination
from pystator.engine.effects import Effect
from pystator.engine.frame import Evaluate, Frame, Test
from pystator.engine.guards import decided, looks
from pystator.engine.result import Facts
from pystator.records import Context

__all__ = [
    "Block",
    "Candidate",
    "Candidates",
    "Cell",
    "Chain",
    "Choice",
    "Foreign",
    "Plan",
    "Refusal",
    "UnknownTrigger",
    "everyone",
    "refused",
]

Block = tuple[Phase, frozenset[str] | None, tuple[Step, ...]]
"""Phase, names of the states that are active while it runs if it looks at them, what it runs."""

_KEPT_REFUSALS: Final = 16


class Cell(Facts):
    """What a table leads to.

    Attributes:
        fast: The facts are the result's: nothing to decide, to compute or to wait for.
        light: It can be computed without a frame, up to what may follow without an event.
        idle: It is light and needs no time.
        needs_now: The result depends on the time, or may.
        lone: The guard and what it decides between, of a choice with one candidate and one guard.
    """

    __slots__ = ()

    fast: bool = False
    light: bool = False
    idle: bool = False
    needs_now: bool = False
    lone: "tuple[Test, Plan, Refusal] | None" = None


class Plan(Cell):
    """One microstep out of one configuration, along one transition or several in regions.

    Attributes:
        quiet: Nothing can follow it: no raised event, no eventless transition, no check at rest.
        short: ``effect`` and ``actions`` are all of its content, and nothing can follow it but an
            eventless transition.
        effect: The effects as one, of a short plan that has some.
        ats: Timers to arm whose deadline is data: (id, closure).
        target: Where it leads.
    """

    __slots__ = (
        "ats",
        "blocks",
        "effect",
        "fast",
        "idle",
        "light",
        "needs_now",
        "quiet",
        "short",
        "target",
    )

    fast: bool
    light: bool
    idle: bool
    quiet: bool
    short: bool
    needs_now: bool
    effect: Effect | None
    blocks: tuple[Block, ...]
    ats: tuple[tuple[str, Evaluate], ...]
    target: str

    @property
    def weight(self) -> int:
        """About how many bytes it holds that no other plan does."""
        total = 700 + 2 * len(self.target) + 8 * len(self.actions)
        for _, names, _ in self.blocks:
            total += 88 if names is None else 168 + 40 * len(names)
        for step in self.microsteps:
            total += 8 * (len(step.exited) + len(step.entered))
        return total


class Refusal(Cell):
    """A cell without a way out; its result is known. Also the no-op of a lenient machine."""

    __slots__ = ()

    fast = True


class UnknownTrigger(Cell):
    """The refusal of an undeclared trigger: made each time, kept by nobody, so it is small."""

    __slots__ = ()

    fast = True
    success = False
    target_state = None
    reason = "undefined_trigger"
    actions = ()
    delays = ()
    deadlines = ()
    cancelled = ()
    microsteps = ()
    details = None
    cause = None
    void = False
    replayed = False

    def __init__(self, source_state: str, trigger: str, hints: Mapping[str, object]) -> None:
        self.source_state = source_state
        self.trigger = trigger
        self.hints = hints


class Foreign(Cell):
    """The cell of something that is no trigger's name: the face takes an `Event` apart."""

    __slots__ = ()

    def __init__(self) -> None:
        """Nothing is known."""


def _never(_context: Context, _frame: Frame) -> bool:
    return False


class Candidate:
    """A transition that may be taken: its guards, all of which must hold.

    Attributes:
        index: Of the transition.
        conditions: The guards of the model, as far as they have to be asked.
        asks: The guards and their words.
        returns: Keys of the records that its history targets read: where it leads is data.
        looks: Which states are active decides about some of the guards.
        never: It is known that it is not taken.
        reads_frame: Its guards look at more than the context.
    """

    __slots__ = ("asks", "conditions", "index", "looks", "never", "reads_frame", "returns", "way")

    def __init__(
        self,
        way: TransitionNode,
        conditions: tuple[Guard, ...],
        asks: tuple[tuple[Test, str], ...],
        returns: tuple[str, ...],
    ) -> None:
        self.way = way
        self.index = way.index
        self.conditions = conditions
        self.asks = asks
        self.returns = returns
        self.looks = any(looks(guard) for guard in conditions)
        self.never = bool(asks) and asks[0][0] is _never
        self.reads_frame = reads_frame(conditions)

    @property
    def guards(self) -> tuple[Test, ...]:
        """The guards alone."""
        return tuple([guard for guard, _ in self.asks])

    def within(self, active: Container[str]) -> "Candidate":
        """As it is where these states are active: what that decides is not asked again.

        A guard that does not hold there keeps its place and its words, as an earlier one may fail.
        """
        conditions: list[Guard] = []
        asks: list[tuple[Test, str]] = []
        for condition, ask in zip(self.conditions, self.asks, strict=True):
            verdict = decided(condition, active)
            if verdict is None:
                conditions.append(condition)
                asks.append(ask)
            elif not verdict:
                asks.append((_never, ask[1]))
                break
        return Candidate(self.way, tuple(conditions), tuple(asks), self.returns)

    def objection(self, context: Context, frame: Frame) -> str | None:
        """The first guard that does not hold, in words; None when all do."""
        for guard, name in self.asks:
            if not guard(context, frame):
                return name
        return None


Candidates = tuple[Candidate, ...]
"""What one leaf may take, in order of priority."""


def everyone(chains: Iterable[Candidates]) -> Candidates:
    """What several leaves may take, each once."""
    return tuple({each.index: each for chain in chains for each in chain}.values())


class Choice(Cell):
    """A cell whose guards decide: a `Chain`, or a `Fork`.

    It is abstract, and no `abc.ABC`: every event asks whether a cell is one, which costs four times
    as much there.

    Attributes:
        blind: The guards look at nothing but the context.
        candidates: Everything that may be taken, in order of priority.
        consumes: The timer that is used up even when nobody takes it.
    """

    __slots__ = ("_refusals", "blind", "consumes", "idle", "light", "lone", "needs_now")

    blind: bool
    light: bool
    idle: bool
    needs_now: bool

    def __init__(self, source: str, trigger: str | None, consumes: tuple[str, ...]) -> None:
        self.source_state = source
        self.trigger = trigger
        self.consumes = consumes
        self.lone = None
        self._refusals: dict[tuple[str, ...], Refusal] = {}

    @property
    @abstractmethod
    def candidates(self) -> Candidates:
        """Everything that may be taken, in order of priority."""

    @property
    def weight(self) -> int:
        """About how many bytes it holds, plans apart; with all the refusals it may come to keep."""
        guards = [len(candidate.asks) for candidate in self.candidates]
        refusals = min(_KEPT_REFUSALS, prod(guards))
        return 200 + sum(250 + 650 * count for count in guards) + 400 * refusals

    @abstractmethod
    def decide(self, context: Context, frame: Frame) -> Plan | Refusal:
        """The plan of what the guards allow; else why there is none."""

    def refusal(self, names: tuple[str, ...]) -> Refusal:
        """The refusal when these guards, one of each candidate, said no."""
        refusal = self._refusals.get(names)
        if refusal is None:
            refusal = refused(
                self.source_state, self.trigger, self.candidates, names, self.consumes
            )
            if len(self._refusals) < _KEPT_REFUSALS:
                self._refusals[names] = refusal
        return refusal


def refused(
    source: str | None,
    trigger: str | None,
    candidates: Candidates,
    names: tuple[str, ...],
    consumes: tuple[str, ...],
) -> Refusal:
    """The refusal of candidates by these guards, one of each."""
    return Refusal(
        success=False,
        source_state=source,
        target_state=None,
        trigger=trigger,
        reason="guard_rejected",
        cancelled=consumes,
        details=_Rejections(candidates, names),
    )


class _Rejections(Mapping[str, Any]):
    """What a refusal says about the guards, told when somebody asks.

    It holds no cell: results live longer than cells should.
    """

    __slots__ = ("_candidates", "_names")

    def __init__(self, candidates: Candidates, names: tuple[str, ...]) -> None:
        self._candidates = candidates
        self._names = names

    def __getitem__(self, key: str) -> Any:
        if key == "guard_name":
            return self._names[0]
        if key == "rejections":
            return [
                {"target": destination(candidate.way), "guard": name}
                for candidate, name in zip(self._candidates, self._names, strict=True)
            ]
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(("guard_name", "rejections"))

    def __len__(self) -> int:
        return 2


class Chain(Choice):
    """One transition at most: the first candidate whose guards hold; each has its plan."""

    __slots__ = ("_candidates", "plans")

    def __init__(
        self,
        source: str,
        trigger: str | None,
        candidates: Candidates,
        consumes: tuple[str, ...],
        plans: tuple[Plan, ...],
    ) -> None:
        super().__init__(source, trigger, consumes)
        self._candidates = candidates
        self.plans = plans
        self.blind = not any(candidate.reads_frame for candidate in candidates)
        if len(candidates) == len(candidates[0].asks) == 1:
            ((test, name),) = candidates[0].asks
            self.lone = (test, plans[0], self.refusal((name,)))

    @property
    def candidates(self) -> Candidates:
        """Everything that may be taken, in order of priority."""
        return self._candidates

    def decide(self, context: Context, frame: Frame) -> Plan | Refusal:
        """The plan of the first candidate whose guards all hold; else why there is none."""
        rejected: list[str] = []
        for candidate, plan in zip(self._candidates, self.plans, strict=True):
            for guard, name in candidate.asks:
                if not guard(context, frame):
                    rejected.append(name)
                    break
            else:
                return plan
        return self.refusal(tuple(rejected))

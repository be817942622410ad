"""Forks: cells whose plan is found when it is known what was selected and what is remembered."""

from collections.abc import Container, Sequence
from typing import TYPE_CHECKING, Final

from pystator.engine.frame import Frame
from pystator.engine.history import Memory, remembered
from pystator.engine.plans import Candidate, Candidates, Choice, Plan, Refusal
from pystator.records import Context

if TYPE_CHECKING:
    from pystator.engine.table import Row

__all__ = ["PLANS", "Fork"]

PLANS: Final = 64
"""Plans that a fork keeps: which transitions come together, and what history leads to, varies."""


class Fork(Choice):
    """Several chains, or transitions that lead to a history.

    Attributes:
        forks: The guards look at nothing but the context; whether the plan does is seen when there
            is one.
    """

    __slots__ = ("_chains", "_plans", "_row", "_shared", "forks")

    def __init__(
        self,
        row: "Row",
        trigger: str | None,
        chains: Sequence[Candidates],
        consumes: tuple[str, ...] = (),
    ) -> None:
        super().__init__(row.text, trigger, consumes)
        self._row = row
        self._chains = chains
        self._plans: dict[tuple[tuple[int, ...], Memory], Plan] = {}
        several = [each for chain in chains for each in chain]
        self._shared = len({each.index for each in several}) < len(several)
        self.idle = False
        self.forks = not row.topology.checks and not any(each.reads_frame for each in several)
        self.needs_now = row.topology.reads_time

    @property
    def candidates(self) -> Candidates:
        """Everything that may be taken, in order of priority."""
        found = {each.index: each for chain in self._chains for each in chain}
        return tuple(found.values())

    def decide(self, context: Context, frame: Frame) -> Plan | Refusal:
        """The plan of what the leaves select; every guard is asked once."""
        selected, objections = self._ask(self._chains, context, frame)
        return self._plan(selected, context) if selected else self.refusal(tuple(objections))

    def unvisited(self, visited: Container[str], context: Context, frame: Frame) -> Plan | None:
        """As `decide`, but for the transitions into states that were visited."""
        chains = [
            tuple(
                candidate
                for candidate in chain
                if not any(target.name in visited for target in candidate.way.targets)
            )
            for chain in self._chains
        ]
        selected, _ = self._ask(chains, context, frame)
        return self._plan(selected, context) if selected else None

    def _ask(
        self, chains: Sequence[Candidates], context: Context, frame: Frame
    ) -> tuple[list[Candidate], list[str]]:
        """What is selected, in order; and of the others the first guard that said no."""
        selected: list[Candidate] = []
        objections: list[str] = []
        asked: dict[int, bool] = {}
        for chain in chains:
            for candidate in chain:
                if self._shared and candidate.index in asked:
                    if asked[candidate.index]:
                        break  # another leaf has selected it already
                    continue
                asked[candidate.index] = False
                for position, guard in enumerate(candidate.guards):
                    if not guard(context, frame):
                        objections.append(candidate.names[position])
                        break
                else:
                    asked[candidate.index] = True
                    selected.append(candidate)
                    break
        return selected, objections

    def _plan(self, selected: list[Candidate], context: Context) -> Plan:
        """The plan of a selection; a row that is kept keeps it."""
        memory: Memory = ()
        indices: tuple[int, ...] = ()
        for candidate in selected:
            indices = (*indices, candidate.index)
            if candidate.returns:
                memory = (*memory, *remembered(candidate.returns, context))
        plan = self._plans.get((indices, memory))
        if plan is None:
            ways = [candidate.way for candidate in selected]
            plan = self._row.plan(ways, self.trigger, memory, self.consumes)
            if self._row.kept:
                self._keep((indices, memory), plan)
        return plan

    def _keep(self, key: tuple[tuple[int, ...], Memory], plan: Plan) -> None:
        if len(self._plans) >= PLANS:
            self._row.grow(-sum(each.weight for each in self._plans.values()))
            self._plans.clear()
        self._plans[key] = plan
        self._row.grow(plan.weight)

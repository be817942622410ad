"""Forks: cells whose plan is found when it is known what was selected and what is remembered."""

from collections.abc import Container, Sequence
from typing import TYPE_CHECKING, Final

from pystator.engine.frame import Frame
from pystator.engine.plans import Candidate, Candidates, Choice, Plan, Refusal
from pystator.records import Context

if TYPE_CHECKING:
    from pystator.engine.history import Memory
    from pystator.engine.table import Row

__all__ = ["PLANS", "Fork"]

PLANS: Final = 64
"""Plans that a fork keeps: which transitions come together, and what history leads to, varies."""


class Fork(Choice):
    """Several chains, or transitions that lead to a history."""

    __slots__ = ("_chains", "_plans", "_row")

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
        self.idle = False
        self.needs_now = row.topology.reads_time

    @property
    def candidates(self) -> Candidates:
        """Everything that may be taken, in order of priority."""
        found = {each.way.index: each for chain in self._chains for each in chain}
        return tuple(found.values())

    def decide(self, context: Context, frame: Frame) -> Plan | Refusal:
        """The plan of what the leaves select; every guard is asked once."""
        selected, rejected = self._ask(self._chains, context, frame)
        if not selected:
            return self.refusal(tuple(rejected.values()))
        return self._plan(selected, context)

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
    ) -> tuple[dict[int, Candidate], dict[int, str]]:
        """What is selected, in order, and of the others the first guard that said no."""
        selected: dict[int, Candidate] = {}
        rejected: dict[int, str] = {}
        for chain in chains:
            for candidate in chain:
                index = candidate.way.index
                if index in selected:
                    break
                if index not in rejected:
                    objection = candidate.objection(context, frame)
                    if objection is None:
                        selected[index] = candidate
                        break
                    rejected[index] = objection
        return selected, rejected

    def _plan(self, selected: dict[int, Candidate], context: Context) -> Plan:
        """The plan of a selection; a row that is kept keeps it."""
        ways = [candidate.way for candidate in selected.values()]
        memory: Memory = ()
        if any(candidate.returns for candidate in selected.values()):
            memory = self._row.topology.history.read(ways, context)
        if not self._row.kept:
            return self._row.plan(ways, self.trigger, memory, self.consumes)
        key = (tuple(selected), memory)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._row.plan(ways, self.trigger, memory, self.consumes)
            if len(self._plans) >= PLANS:
                self._row.grow(-sum(each.weight for each in self._plans.values()))
                self._plans.clear()
            self._plans[key] = plan
            self._row.grow(plan.weight)
        return plan

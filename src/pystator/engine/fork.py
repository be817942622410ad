"""Forks: cells whose plan is found when it is known what was selected and what is remembered."""

from collections.abc import Container, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from pystator.engine.frame import Frame
from pystator.engine.history import Memory, remembered
from pystator.engine.plans import Candidate, Candidates, Choice, Plan, Refusal, everyone
from pystator.records import Context

if TYPE_CHECKING:
    from pystator.engine.table import Row

__all__ = ["PLANS", "Fork"]

PLANS: Final = 64
"""Plans that a fork keeps: which transitions come together, and what history leads to, varies."""


_Key = tuple[tuple[int, ...], Memory]
"""Indices of what was selected, and what is remembered."""


class Fork(Choice):
    """Several chains, or transitions that lead to a history.

    Attributes:
        forks: It can be decided without a frame; whether the plan needs one is seen when there is
            one.
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
        self._plans: dict[_Key, Plan] = {}
        self.idle = self.light = False
        self.needs_now = row.topology.reads_time
        self.blind = True
        self._shared = False
        seen: set[int] = set()
        for chain in chains:
            for candidate in chain:
                self._shared |= candidate.index in seen
                seen.add(candidate.index)
                self.blind &= not candidate.reads_frame
        self.forks = self.blind and not row.topology.checks

    @property
    def candidates(self) -> Candidates:
        """Everything that may be taken, in order of priority."""
        return everyone(self._chains)

    def decide(self, context: Context, frame: Frame) -> Plan | Refusal:
        """The plan of what the leaves select; every guard is asked once."""
        if self._shared:
            selected, objections = _asked(self._chains, context, frame)
            return self._plan(selected, context) or self.refusal(tuple(objections))
        taken: tuple[int, ...] = ()
        memory: Memory = ()
        refused: list[str] = []
        for chain in self._chains:
            for candidate in chain:
                for guard, name in candidate.asks:
                    if not guard(context, frame):
                        refused.append(name)
                        break
                else:
                    taken += (candidate.index,)
                    if candidate.returns:
                        memory += remembered(candidate.returns, context)
                    break
        if not taken:
            return self.refusal(tuple(refused))
        return self._plans.get((taken, memory)) or self._made(taken, memory)

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
        return self._plan(_asked(chains, context, frame)[0], context)

    def _plan(self, selected: Iterable[Candidate], context: Context) -> Plan | None:
        """The plan of a selection; None when nothing was selected."""
        memory: Memory = ()
        taken: tuple[int, ...] = ()
        for candidate in selected:
            taken += (candidate.index,)
            if candidate.returns:
                memory += remembered(candidate.returns, context)
        if not taken:
            return None
        return self._plans.get((taken, memory)) or self._made(taken, memory)

    def _made(self, taken: tuple[int, ...], memory: Memory) -> Plan:
        """A plan made; a row that is kept keeps it."""
        row = self._row
        ways = {candidate.index: candidate.way for candidate in self.candidates}
        plan = row.plan([ways[index] for index in taken], self.trigger, memory, self.consumes)
        if row.kept:
            if len(self._plans) >= PLANS:
                gone = [*self._plans.values()]  # at once: another thread may add one
                row.grow(-sum(each.weight for each in gone))
                self._plans.clear()
            self._plans[taken, memory] = plan
            row.grow(plan.weight)
        return plan


def _asked(
    chains: Sequence[Candidates], context: Context, frame: Frame
) -> tuple[list[Candidate], list[str]]:
    """What is selected, in order; and of the others the first guard that said no."""
    verdicts: dict[int, bool] = {}
    selected: list[Candidate] = []
    objections: list[str] = []
    for chain in chains:
        for candidate in chain:
            verdict = verdicts.get(candidate.index)
            if verdict is None:
                objection = candidate.objection(context, frame)
                verdict = verdicts[candidate.index] = objection is None
                if objection is None:
                    selected.append(candidate)
                else:
                    objections.append(objection)
            if verdict:
                break
    return selected, objections

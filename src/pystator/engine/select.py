"""Selection: which transitions an event takes.

Every active leaf is asked in document order. Its *chain* is what may be taken on the event by the
leaf itself or an ancestor, inner states first; the first candidate whose guards hold is selected.
A machine without regions has one leaf and so one chain. Several leaves select several transitions;
the planner (`pystator.engine.planner`) removes those that conflict.

::

    event --> chains, one a leaf      no chain                         nothing leads out of here
                                      decided without guards           Plan
                                      one chain, guards decide         Chain, a plan each
                                      several chains, or a history     Fork, plans as they come up
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from pystator.definition.model import Guard, Kind, TransitionNode
from pystator.engine.content import reads_time
from pystator.engine.describe import guard_name
from pystator.engine.fork import Fork
from pystator.engine.guards import compile_guard
from pystator.engine.plans import (
    Candidate,
    Candidates,
    Chain,
    Choice,
    Plan,
    Refusal,
    everyone,
    refused,
)
from pystator.engine.tree import Configuration

if TYPE_CHECKING:
    from pystator.engine.table import Row
    from pystator.engine.topology import Topology

__all__ = ["Selector"]

_CHAINS: Final = 1 << 12
"""Chains of leaves that a selector keeps before it begins anew."""

_CANDIDATES: Final = 1 << 10
"""And candidates with guards, which chains share."""


class Selector:
    """The candidates of one machine, compiled, and the cells that decide between them."""

    def __init__(self, topology: "Topology") -> None:
        self.topology = topology
        self._chains: dict[int, dict[str | None, Candidates]] = defaultdict(dict)
        self._count = 0
        self._candidates: dict[tuple[int, bool], Candidate] = {}
        self._restless: dict[int, bool] = {}

    # Chains ---------------------------------------------------------------------------------

    def chains(self, configuration: Configuration, event: str | None) -> list[Candidates]:
        """The chains of an event, which leaves may share; None is without an event."""
        if len(configuration) == 1:
            chain = self.chain(configuration[0], event)
            return [chain] if chain else []
        kept = self._chains
        found: list[Candidates] = []
        for leaf in configuration:
            try:
                chain = kept[leaf][event]
            except KeyError:
                chain = self._keep(leaf, event)
            if chain:
                found.append(chain)
        return found

    def _keep(self, leaf: int, event: str | None) -> Candidates:
        """A chain that is asked for in many configurations."""
        if self._count >= _CHAINS:
            self._chains.clear()
            self._count = 0
        self._count += 1
        chain = self._chains[leaf][event] = self.chain(leaf, event)
        return chain

    def chain(self, leaf: int, event: str | None) -> Candidates:
        """What a leaf or an ancestor may take on an event, up to what always holds."""
        ways: list[TransitionNode] = []
        for way in self._above(leaf):
            if event in way.events if event is not None else way.eventless:
                ways.append(way)
                if not way.guards:
                    break  # it always holds
        return tuple([self.candidate(way) for way in ways])

    def routes(self, configuration: Configuration) -> list[Candidates]:
        """The chains of routing by data."""
        is_route = self.topology.tree.is_route
        found = [
            tuple([self._route(way) for way in self._above(leaf) if is_route(way)])
            for leaf in configuration
        ]
        return [chain for chain in found if chain]

    def is_restless(self, leaf: int) -> bool:
        """Something may happen at a leaf without an event."""
        found = self._restless.get(leaf)
        if found is None:
            tree, routing = self.topology.tree, self.topology.definition.auto_route
            found = tree.nodes[leaf].kind is Kind.CHOICE or any(
                way.eventless or (routing and tree.is_route(way)) for way in self._above(leaf)
            )
            self._restless[leaf] = found
        return found

    def _above(self, leaf: int) -> Iterator[TransitionNode]:
        """The transitions of a leaf and of its ancestors, inner first."""
        tree = self.topology.tree
        for number in tree.upward(leaf):
            yield from tree.nodes[number].transitions

    # Candidates -----------------------------------------------------------------------------

    def candidate(self, way: TransitionNode) -> Candidate:
        """A transition with its guards."""
        found = self._candidates.get((way.index, False))
        return found or self._compiled(way, way.guards, routed=False)

    def _route(self, way: TransitionNode) -> Candidate:
        """A transition as data alone may take it: what its targets demand holds, too."""
        found = self._candidates.get((way.index, True))
        if found is not None:
            return found
        tree = self.topology.tree
        targets = tree.numbers(way.targets)
        when = [guard for number in targets for guard in tree.nodes[number].when]
        return self._compiled(way, (*way.guards, *when), routed=True)

    def _compiled(
        self, way: TransitionNode, conditions: tuple[Guard, ...], *, routed: bool
    ) -> Candidate:
        bind = self.topology.bind
        made = Candidate(
            way,
            conditions,
            tuple([(compile_guard(guard, bind), guard_name(guard)) for guard in conditions]),
            self.topology.history.returns(way),
        )
        if conditions:  # one without guards is made faster than kept
            if len(self._candidates) >= _CANDIDATES:
                self._candidates.clear()
            self._candidates[way.index, routed] = made
        return made

    # Cells ----------------------------------------------------------------------------------

    def cell(
        self,
        row: "Row",
        trigger: str | None,
        chains: Sequence[Candidates],
        consumes: tuple[str, ...] = (),
    ) -> Plan | Choice | Refusal | None:
        """The cell of these chains; None when there are none.

        Args:
            row: Where they start.
            trigger: What they are taken on; a timer's id, or None without an event.
            chains: Of which each selects one transition at most.
            consumes: The timer that fires: used up whether it is taken or not, left or not.
        """
        if row.kept and chains:
            chains = _within(row, chains)
            if trigger is None or any(not chain[-1].asks for chain in chains):
                chains = _possible(chains)  # somebody is taken, or nobody has to be told
            elif not (_possible(chains) or self.topology.checks):
                every = everyone(chains)
                names = tuple([each.asks[0][1] for each in every])
                return refused(row.text, trigger, every, names, consumes)
        if not chains:
            return None
        ways: dict[int, TransitionNode] = {}
        for chain in chains:
            first = chain[0]
            if first.asks or first.returns:
                break
            ways[first.index] = first.way
        else:
            return row.plan([*ways.values()], trigger, (), consumes)
        several = len(chains) > 1 and len(dict.fromkeys(chains)) > 1
        if several or not row.kept or any(candidate.returns for candidate in chains[0]):
            return Fork(row, trigger, chains, consumes)
        return self._decided(row, trigger, chains[0], consumes)

    def _decided(
        self, row: "Row", trigger: str | None, candidates: Candidates, consumes: tuple[str, ...]
    ) -> Chain:
        """The cell of one chain, with all its plans."""
        plans = tuple([row.plan([each.way], trigger, (), consumes) for each in candidates])
        cell = Chain(row.text, trigger, candidates, consumes, plans)
        guards = [each.conditions for each in candidates]
        unseen = cell.blind and not self.topology.checks
        cell.light = unseen and all(plan.light for plan in plans)
        cell.idle = unseen and all(plan.idle for plan in plans)
        cell.needs_now = reads_time(guards) or any(plan.needs_now for plan in plans)
        return cell


def _within(row: "Row", chains: Sequence[Candidates]) -> Sequence[Candidates]:
    """The chains as they are here: what the active states decide is decided."""
    if not any(candidate.looks for chain in chains for candidate in chain):
        return chains
    known: dict[int, Candidate] = {}
    found: list[Candidates] = []
    for chain in chains:
        here: list[Candidate] = []
        for candidate in chain:
            each = known.get(candidate.index)
            if each is None:
                each = candidate.within(row.active) if candidate.looks else candidate
                known[candidate.index] = each
            here.append(each)
            if not each.asks:
                break  # it always holds
        found.append(tuple(here))
    return found


def _possible(chains: Sequence[Candidates]) -> list[Candidates]:
    """The chains without what is not taken here."""
    found = [tuple([each for each in chain if not each.never]) for chain in chains]
    return [chain for chain in found if chain]

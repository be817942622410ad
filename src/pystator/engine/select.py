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

from collections.abc import Container, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from pystator.definition.model import Guard, Node, TransitionNode
from pystator.engine.content import reads_frame, reads_time
from pystator.engine.describe import guard_name
from pystator.engine.frame import Frame
from pystator.engine.guards import compile_guard
from pystator.engine.plans import Candidate, Chain, Choice, Plan, Refusal
from pystator.engine.tree import Configuration
from pystator.records import Context

if TYPE_CHECKING:
    from pystator.engine.history import Memory
    from pystator.engine.table import Row
    from pystator.engine.topology import Topology

__all__ = ["Chains", "Fork", "Selector", "Spot"]

Chains = Sequence[tuple[Candidate, ...]]
"""For each leaf that may take something: its candidates, in order of priority."""

SPOTS: Final = 4096
"""Leaves whose chains are kept."""

PLANS: Final = 64
"""Plans that a fork keeps: which transitions come together, and what history leads to, varies."""


class Spot(dict[str | None, tuple[Candidate, ...]]):
    """One leaf: event -> its chain; None is without an event. Filled as events come.

    Attributes:
        is_restless: Something may happen here without an event.
    """

    __slots__ = ("_selector", "_ways", "is_restless", "routes")

    def __init__(self, selector: "Selector", leaf: int) -> None:
        super().__init__()
        tree = selector.topology.tree
        self._selector = selector
        self._ways: dict[str | None, list[TransitionNode]] = {}
        routed: list[TransitionNode] = []
        for number in tree.upward(leaf):
            for way in tree.nodes[number].transitions:
                for event in (None,) if way.eventless else way.events:
                    ways = self._ways.setdefault(event, [])
                    if not ways or ways[-1].guards:
                        ways.append(way)
                if selector.is_route(way):
                    routed.append(way)
        self.routes = tuple(map(selector.route, routed))
        self.is_restless = None in self._ways or (
            bool(routed) and selector.topology.definition.auto_route
        )

    def __missing__(self, event: str | None) -> tuple[Candidate, ...]:
        ways = self._ways.get(event)
        if ways is None:
            return ()
        self[event] = chain = tuple(map(self._selector.candidate, ways))
        return chain


class Selector:
    """The candidates of one machine, compiled, and the cells that decide between them."""

    def __init__(self, topology: "Topology") -> None:
        self.topology = topology
        self._spots: dict[int, Spot] = {}
        self._candidates: dict[int, Candidate] = {}
        self._routes: dict[int, Candidate] = {}

    # Candidates -----------------------------------------------------------------------------

    def candidate(self, way: TransitionNode) -> Candidate:
        """A transition with its guards."""
        found = self._candidates.get(way.index)
        if found is None:
            found = self._candidates[way.index] = self._compiled(way, way.guards)
        return found

    def route(self, way: TransitionNode) -> Candidate:
        """A transition as data alone may take it: what its targets demand holds, too."""
        found = self._routes.get(way.index)
        if found is None:
            when = [guard for node in self._targets(way) for guard in node.when]
            found = self._routes[way.index] = self._compiled(way, (*way.guards, *when))
        return found

    def is_route(self, way: TransitionNode) -> bool:
        """Data alone may take it: it waits for nothing but an event, and a target says ``when``."""
        return (
            bool(way.events)
            and way.origin == "transitions"
            and not (way.internal or way.eventless)
            and any(node.when for node in self._targets(way))
        )

    def _targets(self, way: TransitionNode) -> list[Node]:
        tree = self.topology.tree
        return [tree.nodes[number] for number in tree.numbers(way.targets)]

    def _compiled(self, way: TransitionNode, guards: Iterable[Guard]) -> Candidate:
        bind = self.topology.bind
        listed = tuple(guards)
        return Candidate(
            way,
            listed,
            tuple([compile_guard(guard, bind) for guard in listed]),
            tuple([guard_name(guard) for guard in listed]),
        )

    # Chains ---------------------------------------------------------------------------------

    def spot(self, leaf: int) -> Spot:
        """What may be taken at a leaf."""
        found = self._spots.get(leaf)
        if found is None:
            if len(self._spots) >= SPOTS:
                self._spots.clear()
            found = self._spots[leaf] = Spot(self, leaf)
        return found

    def chains(self, configuration: Configuration, event: str | None) -> Chains:
        """The chains of an event; leaves that have the same one have it once."""
        if len(configuration) == 1:
            chain = self.spot(configuration[0])[event]
            return (chain,) if chain else ()
        found = dict.fromkeys([self.spot(leaf)[event] for leaf in configuration])
        found.pop((), None)
        return (*found,)

    def routes(self, configuration: Configuration) -> Chains:
        """The chains of routing by data."""
        found = dict.fromkeys([self.spot(leaf).routes for leaf in configuration])
        found.pop((), None)
        return (*found,)

    # Cells ----------------------------------------------------------------------------------

    def cell(
        self, row: "Row", trigger: str | None, chains: Chains, consumes: tuple[str, ...] = ()
    ) -> Plan | Choice | None:
        """The cell of these chains; None when there are none.

        Args:
            row: Where they start.
            trigger: What they are taken on; a timer's id, or None without an event.
            chains: Of which each selects one transition at most.
            consumes: The timer that fires: used up whether it is taken or not, left or not.
        """
        if not chains:
            return None
        first = dict.fromkeys([chain[0] for chain in chains])
        if not any(candidate.guards or candidate.returns for candidate in first):
            return row.plan([candidate.way for candidate in first], trigger, (), consumes)
        if len(chains) == 1 and not any(candidate.returns for candidate in chains[0]):
            return self._chain(row, trigger, chains[0], consumes)
        return Fork(row, trigger, chains, consumes)

    def _chain(
        self,
        row: "Row",
        trigger: str | None,
        candidates: tuple[Candidate, ...],
        consumes: tuple[str, ...],
    ) -> Chain:
        plans = tuple([row.plan([each.way], trigger, (), consumes) for each in candidates])
        cell = Chain(row.text, trigger, candidates, consumes, plans)
        guards = [each.conditions for each in candidates]
        cell.idle = (
            not self.topology.checks
            and not reads_frame(guards)
            and all(plan.idle for plan in plans)
        )
        cell.needs_now = reads_time(guards) or any(plan.needs_now for plan in plans)
        return cell


class Fork(Choice):
    """Several chains, or transitions that lead to a history.

    The plan is found when it is known what was selected and what is remembered.
    """

    __slots__ = ("_chains", "_plans", "_row")

    def __init__(
        self, row: "Row", trigger: str | None, chains: Chains, consumes: tuple[str, ...] = ()
    ) -> None:
        candidates = dict.fromkeys([candidate for chain in chains for candidate in chain])
        super().__init__(row.text, trigger, tuple(candidates), consumes)
        self._row = row
        self._chains = chains
        self._plans: dict[tuple[tuple[Candidate, ...], Memory], Plan] = {}
        self.idle = False
        self.needs_now = row.topology.reads_time

    def decide(self, context: Context, frame: Frame) -> Plan | Refusal:
        """The plan of what the leaves select; every guard is asked once."""
        selected, rejected = self._ask(self._chains, context, frame)
        if not selected:
            return self.refusal(tuple(rejected.values()))
        return self._plan(tuple(selected), context)

    def unvisited(self, visited: Container[str], context: Context, frame: Frame) -> Plan | None:
        """As `decide`, but for the transitions into states that were visited."""
        chains = [
            [
                candidate
                for candidate in chain
                if not any(target.name in visited for target in candidate.way.targets)
            ]
            for chain in self._chains
        ]
        selected, _ = self._ask(chains, context, frame)
        return self._plan(tuple(selected), context) if selected else None

    def _ask(
        self, chains: Iterable[Iterable[Candidate]], context: Context, frame: Frame
    ) -> tuple[dict[Candidate, None], dict[Candidate, str]]:
        """What is selected, in order, and of the others the first guard that said no."""
        selected: dict[Candidate, None] = {}
        rejected: dict[Candidate, str] = {}
        for chain in chains:
            for candidate in chain:
                if candidate in selected:
                    break
                if candidate not in rejected:
                    objection = candidate.objection(context, frame)
                    if objection is None:
                        selected[candidate] = None
                        break
                    rejected[candidate] = objection
        return selected, rejected

    def _plan(self, selected: tuple[Candidate, ...], context: Context) -> Plan:
        """The plan of a selection, made or kept."""
        memory: Memory = ()
        if any(candidate.returns for candidate in selected):
            ways = [candidate.way for candidate in selected]
            memory = self._row.topology.history.read(ways, context)
        key = (selected, memory)
        plan = self._plans.get(key)
        if plan is None:
            ways = [candidate.way for candidate in selected]
            plan = self._row.plan(ways, self.trigger, memory, self.consumes)
            if len(self._plans) >= PLANS:
                self._plans.clear()
            self._plans[key] = plan
        return plan

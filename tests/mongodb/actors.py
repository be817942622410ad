"""Operations of the store run step by step, in any order, as if each were a process of its own."""

import random
from collections.abc import Callable, Sequence
from typing import Any

from pystator.stores.mongodb.link import Link, Operation

__all__ = ["Actor", "run_mixed"]


class Actor:
    """An operation on its way; a step is one command and its answer.

    Args:
        link: What sends the commands.
        operation: The operation.
        then: Is called with its result.
    """

    def __init__(
        self, link: Link, operation: Operation[Any], then: Callable[[Any], None] | None = None
    ) -> None:
        self._link = link
        self._operation = operation
        self._then = then
        self.answer: Any = None
        self.is_done = False

    def step(self) -> None:
        """Send the next command."""
        try:
            request = self._operation.send(self.answer)
        except StopIteration as end:
            self.is_done = True
            if self._then is not None:
                self._then(end.value)
            return
        self.answer = self._link.ask(request)

    def run(self) -> None:
        """All that is left."""
        while not self.is_done:
            self.step()


def run_mixed(
    actors: Sequence[Actor],
    luck: random.Random,
    *,
    deaths: float = 0.0,
    mortal: Sequence[Actor] | None = None,
) -> None:
    """Let them take steps in any order; each step of a mortal one is its last with this chance."""
    running = list(actors)
    while running:
        actor = luck.choice(running)
        actor.step()
        if actor.is_done or (luck.random() < deaths and (mortal is None or actor in mortal)):
            running.remove(actor)

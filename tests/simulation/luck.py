"""Where luck comes in: what happens next, and with which trouble.

Everything that may happen has a label, ``(process or caller, number)``, so that what luck chose can be written down, and
tried again in a smaller world: `Drawn` chooses by a seed, `Given` does what was written down as far as it still can.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from simulation.plan import Plan

__all__ = ["Drawn", "Given", "Label", "Luck", "Script", "Trouble"]

Label = tuple[str, int]


class Trouble(NamedTuple):
    """What goes wrong with a request, see `simulation.network`; ``way`` is one of its kinds."""

    kind: str
    way: int = 0

    def __str__(self) -> str:
        return f"{self.kind}({self.way})"


@dataclass(slots=True)
class Script:
    """What luck chose: who came next, and who met trouble."""

    turns: list[Label] = field(default_factory=list)
    troubles: dict[Label, Trouble] = field(default_factory=dict)


class Luck(Protocol):
    """Chooses."""

    def turn(self, waiting: Sequence[Any]) -> int:
        """Which of those that wait comes next; each has a label."""
        ...

    def trouble(self, label: Label, kinds: Sequence[str]) -> Trouble | None:
        """What goes wrong, of what can."""
        ...


class Drawn:
    """Chooses by the plan's seed.

    Args:
        again: Tells apart several draws for one plan.

    Attributes:
        script: Keeps what was chosen; None to forget it.
        troubles: How many there were.
    """

    __slots__ = ("_calm", "_draw", "_rate", "_style", "script", "troubles")

    def __init__(self, plan: Plan, script: Script | None = None, again: int = 0) -> None:
        self._draw = random.Random(~plan.seed - again * 1_000_003).random
        self._rate = plan.rate
        self._style = plan.style
        self.script = script
        self.troubles = 0
        self._calm = plan.limit * 0.6

    def turn(self, waiting: Sequence[Any]) -> int:
        count = len(waiting)
        draw = self._draw
        self._calm -= 1
        if self._calm < 0:  # in calm weather everything comes to its end
            self._rate, self._style = 0.0, "any"
        if count == 1:
            place = 0
        elif self._style == "any" or draw() < 0.3:
            place = int(draw() * count)
        else:
            place = count - 1 if self._style == "newest" else 0
        if self.script is not None:
            self.script.turns.append(waiting[place].label)
        return place

    def trouble(self, label: Label, kinds: Sequence[str]) -> Trouble | None:
        draw = self._draw
        if not self._rate or draw() >= self._rate:
            return None
        self.troubles += 1
        trouble = Trouble(kinds[int(draw() * len(kinds))], int(draw() * 64))
        if self.script is not None:
            self.script.troubles[label] = trouble
        return trouble


class Given:
    """Chooses what a script says; where that is no longer possible, the oldest comes next."""

    __slots__ = ("_troubles", "_turns", "script")

    def __init__(self, script: Script) -> None:
        self._turns = script.turns.copy()
        self._troubles = script.troubles
        self.script = Script()

    def turn(self, waiting: Sequence[Any]) -> int:
        labels = [each.label for each in waiting]
        place = 0
        for number, label in enumerate(self._turns):
            if label in labels:
                place = labels.index(label)
                del self._turns[number]
                break
        self.script.turns.append(labels[place])
        return place

    def trouble(self, label: Label, kinds: Sequence[str]) -> Trouble | None:
        trouble = self._troubles.get(label)
        if trouble is None or trouble.kind not in kinds:
            return None
        self.script.troubles[label] = trouble
        return trouble

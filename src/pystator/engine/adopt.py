"""Timers of an entity that another version of its machine armed.

A timer is known by what it is: ``state:after:milliseconds:destination``. Where a new version only
changes how long, the armed one would be nobody's and the entity would wait for ever. So it is
carried over: it still runs from the moment its state was entered, for as long as the new version
says. What the new version does not have at all lapses when it is due.
"""

import re
from collections.abc import Mapping

from pystator.records import Timers

__all__ = ["carried"]

_AFTER = re.compile(
    r"(?P<source>(?:region:)?\w+):after:(?P<milliseconds>\d+(?:\.\d+)?):(?P<dest>[^:]*)(?::\d+)?"
)


def carried(timers: Timers, armed: Mapping[str, int], at: int) -> Timers:
    """The timers as the running machine has them.

    Args:
        timers: As they are stored.
        armed: What the running machine arms where the entity is, entered at ``at``: id -> deadline.
        at: Microseconds since the epoch.
    """
    kept = {timer: when for timer, when in timers.items() if timer in armed}
    free = [timer for timer in armed if timer not in timers]
    for timer, (deadline, version) in timers.items():
        if timer in armed:
            continue
        old = _AFTER.fullmatch(timer)
        heir = next((each for each in free if old and _is_heir(old, each)), None)
        if old is None or heir is None:
            kept[timer] = (deadline, version)
            continue
        free.remove(heir)
        entered = deadline - round(float(old["milliseconds"]) * 1_000)
        kept[heir] = (entered + armed[heir] - at, version)
    return kept


def _is_heir(old: re.Match[str], timer: str) -> bool:
    new = _AFTER.fullmatch(timer)
    return new is not None and new.group("source", "dest") == old.group("source", "dest")

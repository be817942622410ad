"""The machines that live in these worlds: one that counts, a chart with everything in it, and a lenient counter.

The first shows a lost event in a number. The second has regions, history states, timers on every level and data that
leads on. An async guard of the first answers after a while, in which anything may happen, or raises. The third ignores
what it does not know, and falls back to a state when its guard raises.
"""

import asyncio
import json
import random
from functools import cache
from typing import Any

from pystator import StateMachine
from pystator.testing.statecharts import CHART

__all__ = ["MACHINES", "async_machine", "by_fingerprint", "event_of", "machine"]

MACHINES = ("counter", "chart", "lenient")

COUNTER: dict[str, Any] = {
    "meta": {"machine_name": "counter", "version": "1.0"},
    "states": [
        {"name": "even", "type": "initial"},
        {"name": "odd", "timeout": {"seconds": 30, "destination": "even"}},
    ],
    "transitions": [
        {"trigger": "add", "source": "even", "dest": "odd", "actions": [{"increment": "n"}]},
        {
            "trigger": "add",
            "source": "odd",
            "dest": "even",
            "actions": [{"increment": "n"}, "tell"],
        },
        {"trigger": "never", "source": "even", "dest": "odd", "guards": [{"expr": "n < 0"}]},
        {
            "source": "even",
            "internal": True,
            "after": "20s",
            "guards": ["allowed"],
            "actions": [{"increment": "n"}, "ring"],
        },
        {
            "trigger": "ask",
            "source": "*",
            "internal": True,
            "guards": ["allowed"],
            "actions": [{"increment": "n"}, "tell"],
        },
    ],
}

LENIENT: dict[str, Any] = {
    **COUNTER,
    "meta": {
        "machine_name": "lenient",
        "version": "1.0",
        "strict_mode": False,
        "orchestrator_default_fallback": "persist",
    },
    "error_policy": {"default_fallback": "lost"},
    "states": [
        *COUNTER["states"],
        {"name": "lost"},
    ],
    "transitions": [
        *COUNTER["transitions"],
        {"trigger": "add", "source": "lost", "dest": "even", "actions": [{"increment": "n"}]},
    ],
}

_TRIGGERS = [
    *["next"] * 5,
    *["pause", "resume", "resume_deep", "review_again"] * 2,
    *["ask", "clear", "agree", "note"],
]


def event_of(name: str, luck: random.Random) -> tuple[str | None, dict[str, Any]]:
    """A trigger of the machine and its data; without a trigger, data alone."""
    chance = luck.random()
    if name != "chart":
        return ("add" if chance < 0.8 else "ask" if chance < 0.92 else "never"), {}
    if chance < 0.15:
        return None, {"clear": chance < 0.1}
    return _TRIGGERS[int(luck.random() * len(_TRIGGERS))], {}


def _allowed(ctx: dict[str, Any]) -> bool:
    number = ctx.get("n", 0)
    if number % 5 == 2:
        raise ValueError("nobody knows")
    return number % 3 != 1


async def _allowed_later(ctx: dict[str, Any]) -> bool:
    """It takes its time, and in some worlds it sends an event itself."""
    world = asyncio.get_running_loop().world
    await world.breathe()
    if world.plan.chatty:
        await world.send_on(ctx["tag"], "guard")
    return _allowed(ctx)


@cache
def machine(name: str, version: str = "1.0") -> StateMachine:
    """The machine with blocking guards: of processes that block, and of the checks afterwards.

    Another version knows another trigger; its states and timers are the same.
    """
    definition = {"counter": COUNTER, "lenient": LENIENT}.get(name) or _chart()
    if version != "1.0":
        extra = {
            "trigger": "newest",
            "source": "*",
            "internal": True,
            "actions": [{"set": {"v": 2}}],
        }
        definition = {
            **definition,
            "meta": {**definition["meta"], "version": version},
            "transitions": [*definition["transitions"], extra],
        }
    made = StateMachine.from_dict(definition)
    return made if name == "chart" else made.with_guards({"allowed": _allowed})


def _chart() -> dict[str, Any]:
    """The chart, begun in its regions, with deadlines that come while its callers are at work."""
    text = json.dumps(CHART).replace("3600", "40").replace("60", "15")
    text = text.replace('"type": "initial"', '"type": "stable"')
    chart = {**json.loads(text), "initial": "review"}
    for way in chart["transitions"]:
        if way["trigger"] in {"pause", "agree"}:
            way["actions"] = ["tell"]
    return chart


@cache
def by_fingerprint(name: str) -> dict[str, StateMachine]:
    """All versions of a machine, as rows name them."""
    versions = [machine(name, version) for version in ("1.0", "2.0")]
    return {each.fingerprint: each for each in versions}


@cache
def async_machine(name: str, version: str = "1.0") -> StateMachine:
    """The same machine, whose guards take their time."""
    made = machine(name, version)
    return made if name == "chart" else made.with_guards({"allowed": _allowed_later})

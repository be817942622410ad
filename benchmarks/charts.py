"""Statecharts for the benchmark of the engine, each with a floor written for it alone.

A floor is the same chart as hand-written Python: dictionaries that lead from what is active to what
comes next, with all orders worked out beforehand. It answers with the same things: the text of the
configuration, the actions in order, a new context where one is written.
"""

import time
from random import Random

from pystator import ActionExecutor, ActionRegistry, StateMachine

# Depth and regions ------------------------------------------------------------------------------

DEEP = {
    "meta": {"machine_name": "deep", "version": "1"},
    "states": [
        {
            "name": "work", "type": "parallel",
            "regions": [
                {"name": "left", "initial": "l1", "states": ["l1", "l2"]},
                {"name": "right", "states": ["r1", "r2"]},
            ],
        },
        *[
            {"name": f"l{side}", "on_enter": [f"e_l{side}"], "on_exit": [f"x_l{side}"]}
            for side in (1, 2)
        ],
        *[
            {
                "name": f"l{side}{level}",
                "parent": f"l{side}{level - 1 or ''}",
                "on_enter": [f"e_l{side}{level}"], "on_exit": [f"x_l{side}{level}"],
            }
            for side in (1, 2) for level in (1, 2, 3)
        ],
        {"name": "r1"},
        {"name": "r2"},
        {"name": "idle"},
    ],
    "initial": "work",
    "transitions": [
        {"trigger": "swap", "source": "l1", "dest": "l2"},
        {"trigger": "swap", "source": "l2", "dest": "l1"},
        {"trigger": "turn", "source": "r1", "dest": "r2"},
        {"trigger": "turn", "source": "r2", "dest": "r1"},
        {"trigger": "both", "source": "l1", "dest": "l2"},
        {"trigger": "both", "source": "r1", "dest": "r2"},
        {
            "trigger": "ask", "source": "l1", "dest": "l2",
            "guards": [{"expr": "qty >= 1"}],
        },
        {"trigger": "ask", "source": "r1", "dest": "r2", "guards": [{"expr": "qty >= 2"}]},
        {"trigger": "pause", "source": "work", "dest": "idle"},
        {"trigger": "resume", "source": "idle", "dest": "H*(work)"},
    ],
}  # fmt: skip
"""Two regions, the left one four levels deep: `swap` runs eight actions."""

ACTIONS = [f"{way}_l{side}{level or ''}" for way in "ex" for side in (1, 2) for level in range(4)]


class Outcome:
    """What a floor tells about an action."""

    __slots__ = ("error", "name", "ok", "seconds")

    def __init__(self, name, ok, error, seconds):
        self.name = name
        self.ok = ok
        self.error = error
        self.seconds = seconds


class Answer:
    """What a floor answers with."""

    __slots__ = ("actions", "context", "success", "target_state")

    def __init__(self, success, target_state, actions, context):
        self.success = success
        self.target_state = target_state
        self.actions = actions
        self.context = context


class DeepFloor:
    """The chart of `DEEP` for two regions whose leaves are known by name."""

    def __init__(self):
        def out(side):
            return [f"x_l{side}3", f"x_l{side}2", f"x_l{side}1", f"x_l{side}"]

        def into(side):
            return [f"e_l{side}", f"e_l{side}1", f"e_l{side}2", f"e_l{side}3"]

        self.left = {
            "l13": ("l23", (*out(1), *into(2))),
            "l23": ("l13", (*out(2), *into(1))),
        }
        self.right = {"r1": "r2", "r2": "r1"}
        self.callbacks = dict.fromkeys(ACTIONS, self.act)
        self.table = {
            f"{left}+{right}": {
                "swap": (f"{self.left[left][0]}+{right}", self.left[left][1]),
                "turn": (f"{left}+{self.right[right]}", ()),
                "both": (f"{self.left[left][0]}+{self.right[right]}", self.left[left][1]),
            }
            for left in self.left
            for right in self.right
        }
        self.acted = 0

    def act(self, context):  # noqa: ARG002 # an action gets a context
        self.acted += 1

    def step(self, state, trigger, context):
        target, actions = self.table[state][trigger]
        return Answer(True, target, actions, context)

    def ask(self, state, context):
        """Both regions decide by a guard."""
        left, right = state.split("+")
        actions = ()
        moved = False
        value = context.get("qty")
        if value is not None and value >= 1 and left == "l13":
            left, actions = self.left[left]
            moved = True
        value = context.get("qty")
        if value is not None and value >= 2 and right == "r1":
            right = self.right[right]
            moved = True
        return Answer(moved, f"{left}+{right}", actions, context)

    def pause(self, state, context):
        """The leaves are remembered in the context."""
        leaves = state.split("+")
        history = {**context.get("_history", {}), "work": leaves}
        return Answer(True, "idle", self.left[leaves[0]][1][:4], {**context, "_history": history})

    def resume(self, context):
        leaves = context.get("_history", {}).get("work", ["l13", "r1"])
        if not all(type(leaf) is str for leaf in leaves):
            leaves = ["l13", "r1"]
        side = 2 if leaves[0] == "l13" else 1
        return Answer(True, "+".join(leaves), self.left[f"l{side}3"][1][4:], context)

    def execute(self, names, context):
        """Each action on a copy that shares nothing, with a timed outcome."""
        own = {key: value for key, value in context.items() if type(value) in PLAIN}
        outcomes = []
        for name in names:
            began = time.perf_counter()
            try:
                self.callbacks[name](own)
            except Exception as error:  # noqa: BLE001 # the executor catches them as well
                outcomes.append(Outcome(name, False, error, time.perf_counter() - began))
            else:
                outcomes.append(Outcome(name, True, None, time.perf_counter() - began))
        return outcomes


PLAIN = frozenset({str, int, float, bool, type(None)})


def deep_cases():
    """Name, case, floor and what the floor does."""
    machine, floor = StateMachine.from_dict(DEEP), DeepFloor()
    executor = ActionExecutor(ActionRegistry(dict.fromkeys(ACTIONS, floor.act)))
    context = {"qty": 2, "n": 1, "customer": "ada"}
    paused = {**context, "_history": {"work": ["l23", "r2"]}}
    process = machine.process

    def planned(trigger):
        def call():
            result = process("l13+r1", trigger, context)
            return result.target_state, result.all_actions

        return call

    def planned_floor(trigger):
        def call():
            result = floor.step("l13+r1", trigger, context)
            return result.target_state, [*result.actions]

        return call

    def executed():
        result = process("l13+r1", "swap", context)
        return result.target_state, executor.execute(result.all_actions, result.context)

    def executed_floor():
        result = floor.step("l13+r1", "swap", context)
        return result.target_state, floor.execute(result.actions, result.context)

    def told(result):
        return result.success, result.target_state, result.context

    return [
        (
            "two regions, one moves", planned("turn"), planned_floor("turn"),
            "a table of configurations worked out beforehand; target and actions read",
        ),
        (
            "two regions move, 8 actions planned", planned("both"), planned_floor("both"),
            "the same, actions in order of execution",
        ),
        (
            "depth 4, 2 regions, 8 actions executed", executed, executed_floor,
            "the same, and each action called on an own copy, with a timed outcome",
        ),
        (
            "two guards in two regions",
            lambda: told(process("l13+r1", "ask", context)),
            lambda: told(floor.ask("l13+r1", context)),
            "both comparisons, null kept apart, then the names joined",
        ),
        (
            "history written",
            lambda: told(process("l13+r1", "pause", context)),
            lambda: told(floor.pause("l13+r1", context)),
            "a new context with a new record of the leaves",
        ),
        (
            "history read",
            lambda: told(process("idle", "resume", paused)),
            lambda: told(floor.resume(paused)),
            "the record looked at, and its names joined",
        ),
    ]  # fmt: skip


# What follows by itself, and what regions owe each other ----------------------------------------

LINKED = {
    "meta": {"machine_name": "linked", "version": "1"},
    "states": [
        {
            "name": "order", "type": "parallel",
            "regions": [
                {"name": "goods", "states": ["packing", "packed"]},
                {"name": "money", "states": ["owed", "paid"]},
            ],
        },
        {"name": "packing"},
        {"name": "packed"},
        {"name": "owed"},
        {"name": "paid"},
    ],
    "initial": "order",
    "transitions": [
        {
            "trigger": "count", "source": "packing", "internal": True,
            "actions": [{"increment": "n"}],
        },
        {"auto": True, "source": "packing", "dest": "packed", "guards": [{"expr": "n >= 1000"}]},
        {"auto": True, "source": "owed", "dest": "paid", "guards": [{"expr": "n >= 2000"}]},
        {"trigger": "pay", "source": "owed", "dest": "paid", "guards": [{"in_state": "packed"}]},
        {"trigger": "stop", "source": "paid", "dest": "owed", "guards": [{"in_state": "packing"}]},
    ],
}  # fmt: skip
"""Each region goes on by itself at some number; money moves by where the goods are."""


class LinkedFloor:
    """The chart of `LINKED`: numbers compared and the other region looked at where it matters."""

    def count(self, state, context):
        value = context["n"] + 1
        context = {**context, "n": value}
        goods, money = state.split("+")
        if goods == "packing" and value >= 1000:
            goods = "packed"
        if money == "owed" and value >= 2000:
            money = "paid"
        return Answer(True, f"{goods}+{money}", (), context)

    def pay(self, state, context):
        goods, money = state.split("+")
        if money == "owed" and goods == "packed":
            return Answer(True, f"{goods}+paid", (), context)
        return Answer(False, None, (), context)


def linked_cases():
    """Name, case, floor and what the floor does."""
    machine, floor = StateMachine.from_dict(LINKED), LinkedFloor()
    few, many = {"n": 1, "customer": "ada"}, {"n": 999, "customer": "ada"}
    unmoved = StateMachine.from_dict({**LINKED, "transitions": LINKED["transitions"][3:]})

    def read(step, *given):
        def call():
            result = step(*given)
            return result.success, result.target_state, result.context

        return call

    return [
        (
            "eventless guards asked, none holds",
            read(machine.process, "packing+owed", "count", few),
            read(floor.count, "packing+owed", few),
            "the number written, and compared for each region",
        ),
        (
            "an eventless transition follows",
            read(machine.process, "packing+owed", "count", many),
            read(floor.count, "packing+owed", many),
            "the same, and one of them holds",
        ),
        (
            "in_state holds",
            read(unmoved.process, "packed+owed", "pay", few),
            read(floor.pay, "packed+owed", few),
            "the names split, looked at and joined",
        ),
        (
            "in_state refuses",
            read(unmoved.process, "packing+owed", "pay", few),
            read(floor.pay, "packing+owed", few),
            "the names split and looked at",
        ),
    ]  # fmt: skip


# More configurations than anybody keeps -----------------------------------------------------------

REGIONS = STATES = 6


def wide_machine():
    """46,656 configurations: six regions that go round in six states, both ways."""
    names = [[f"r{region}s{state}" for state in range(STATES)] for region in range(REGIONS)]
    return StateMachine.from_dict({
        "meta": {"machine_name": "wide", "version": "1"},
        "states": [
            {
                "name": "all", "type": "parallel",
                "regions": [
                    {"name": f"r{region}", "states": names[region]} for region in range(REGIONS)
                ],
            },
            *[{"name": name} for region in names for name in region],
        ],
        "initial": "all",
        "transitions": [
            {
                "trigger": f"{way}{region}",
                "source": names[region][state],
                "dest": names[region][(state + step) % STATES],
            }
            for region in range(REGIONS)
            for state in range(STATES)
            for way, step in (("up", 1), ("down", -1))
        ],
    })  # fmt: skip


class WideFloor:
    """Six dictionaries: nothing is kept of a configuration, as there are too many."""

    def __init__(self):
        self.ways = {}
        for region in range(REGIONS):
            for way, step in (("up", 1), ("down", -1)):
                self.ways[f"{way}{region}"] = {
                    f"r{region}s{state}": f"r{region}s{(state + step) % STATES}"
                    for state in range(STATES)
                }
        self.known = {name for ways in self.ways.values() for name in ways}

    def step(self, state, trigger, context):
        leaves = state.split("+")
        if not self.known.issuperset(leaves):
            raise KeyError(state)
        ways = self.ways[trigger]
        moved = [ways.get(leaf) for leaf in leaves]
        if not any(moved):
            return Answer(False, None, (), context)
        target = "+".join([after or leaf for leaf, after in zip(leaves, moved, strict=True)])
        return Answer(True, target, (), context)


WALK = 500
"""Random events in one call of a case."""


def wide_case():
    """A walk by random events: nearly every configuration is a new one."""
    machine, floor = wide_machine(), WideFloor()
    draw = Random(7)
    names = list(floor.ways)
    triggers = [draw.choice(names) for _ in range(WALK)]
    context = {"qty": 2}

    def walk(step):
        state = "+".join([f"r{region}s0" for region in range(REGIONS)])

        def call():
            nonlocal state
            for trigger in triggers:
                state = step(state, trigger, context).target_state
            return state

        return call

    return (
        f"{REGIONS} regions x {STATES} states, random events",
        walk(machine.process),
        walk(floor.step),
        "the leaves split, checked and looked up in one dictionary for each event, and joined",
    )

"""The engine: one event of a machine, each kind of event beside a floor for it alone.

Case and floor are called the same way, through one method with state, trigger and context, and both
read what a caller reads: whether it worked, and the state it leads to or the reason why not.
"""

import copy
import time

from charts import WALK, deep_cases, linked_cases, wide_case
from floors import Row, compare, table
from pystator import ActionExecutor, ActionRegistry, StateMachine

MACHINE = {
    "meta": {"machine_name": "order", "version": "1"},
    "states": [
        {"name": "draft", "type": "initial"},
        {"name": "open"},
        {"name": "paid"},
        {"name": "closed", "type": "terminal"},
    ],
    "transitions": [
        {"trigger": "submit", "source": "draft", "dest": "open"},
        {"trigger": "count", "source": "open", "dest": "open", "actions": [{"increment": "n"}]},
        {
            "trigger": "pay", "source": "open", "dest": "paid",
            "guards": ["is_funded"], "actions": ["book"],
        },
        {"trigger": "check", "source": "open", "dest": "paid", "guards": [{"expr": "qty >= 1"}]},
        {"trigger": "close", "source": "*", "dest": "closed"},
    ],
}  # fmt: skip


PLAIN = frozenset({str, int, float, bool, type(None)})


class Small:
    """What a floor answers with: three slots."""

    __slots__ = ("success", "target_state", "why")

    def __init__(self, success, target_state, why):
        self.success = success
        self.target_state = target_state
        self.why = why


class Refused:
    """A refusal that its reader can explain: why, where, and what was refused."""

    __slots__ = ("state", "success", "target_state", "trigger", "why")

    def __init__(self, why, state, trigger):
        self.success = False
        self.target_state = None
        self.why = why
        self.state = state
        self.trigger = trigger


class Floor:
    """Dictionaries of dictionaries, and nothing that one case does not need."""

    def __init__(self):
        self.table = {
            "draft": {"submit": "open", "close": "closed"},
            "open": {"count": "open", "pay": "paid", "check": "paid", "close": "closed"},
            "paid": {"close": "closed"},
            "closed": {},
        }
        self.terminal = {"closed"}
        self.triggers = {"submit", "count", "pay", "check", "close"}
        self.booked = 0

    def step(self, state, trigger, context):
        return Small(True, self.table[state][trigger], context)

    def increment(self, state, trigger, context):
        target = self.table[state][trigger]
        context = {**context, "n": context.get("n", 0) + 1}
        return Small(True, target, context)

    def is_funded(self, context):
        return context["qty"] >= 1

    def book(self, context):  # noqa: ARG002 # an action gets a context
        self.booked += 1

    def act(self, state, trigger, context):
        target = self.table[state][trigger]
        if not self.is_funded(context):
            return Small(False, None, "is_funded")
        result = Small(True, target, context)
        own = {
            key: value if type(value) in PLAIN else copy.deepcopy(value)
            for key, value in context.items()
        }
        began = time.perf_counter()
        try:
            self.book(own)
        except Exception as error:  # noqa: BLE001 # the executor catches them as well
            return result, [Small(False, error, time.perf_counter() - began)]
        return result, [Small(True, None, time.perf_counter() - began)]

    def expression(self, state, trigger, context):
        target = self.table[state][trigger]
        value = context.get("qty")
        if value is not None and value >= 1:
            return Small(True, target, context)
        return Refused("qty >= 1", state, trigger)

    def refuse(self, state, trigger, context):
        target = self.table[state].get(trigger)
        if target is not None:
            return Small(True, target, context)
        if trigger not in self.triggers:
            return Refused("undefined_trigger", state, trigger)
        if state in self.terminal:
            return Refused("terminal_state", state, trigger)
        return Refused("no_transition", state, trigger)


def run() -> list[Row]:
    """The rows of the table."""
    machine, floor = StateMachine.from_dict(MACHINE), Floor()
    machine.guard("is_funded")(floor.is_funded)
    executor = ActionExecutor(ActionRegistry({"book": floor.book}))
    context = {"qty": 2, "n": 1, "customer": "ada"}
    poor = {"qty": 0, "n": 1, "customer": "ada"}

    def taken(step, state, trigger):
        def call():
            result = step(state, trigger, context)
            return result.success, result.target_state

        return call

    def refused(step, state, trigger, reason, given=context):
        def call():
            result = step(state, trigger, given)
            return result.success, getattr(result, reason)

        return call

    def acted():
        result = machine.process("open", "pay", context)
        outcomes = executor.execute(result.all_actions, result.context)
        return result.success, result.target_state, outcomes[0].ok

    def acted_floor():
        result, outcomes = floor.act("open", "pay", context)
        return result.success, result.target_state, outcomes[0].success

    def bare(method, state, trigger):
        return lambda: method(state, trigger, context)

    process = machine.process
    cases = [
        (
            "flat, step alone",
            bare(process, "draft", "submit"), bare(floor.step, "draft", "submit"),
            "two dictionary lookups and a result of three slots",
        ),
        (
            "flat",
            taken(process, "draft", "submit"), taken(floor.step, "draft", "submit"),
            "the same, and success and target read",
        ),
        (
            "flat + increment",
            taken(process, "open", "count"), taken(floor.increment, "open", "count"),
            "a new context with one number more",
        ),
        (
            "expr guard",
            taken(process, "open", "check"), taken(floor.expression, "open", "check"),
            "the comparison in Python, null kept apart",
        ),
        (
            "guard + action executed",
            acted, acted_floor,
            "guard and action called, on a copy that shares nothing, with a timed outcome",
        ),
        (
            "rejected: unknown trigger",
            refused(process, "open", "nonsense", "reason"),
            refused(floor.refuse, "open", "nonsense", "why"),
            "lookups, then a result with reason, state and trigger",
        ),
        (
            "rejected: no transition",
            refused(process, "paid", "pay", "reason"), refused(floor.refuse, "paid", "pay", "why"),
            "lookups, then a result with reason, state and trigger",
        ),
        (
            "rejected: guard",
            refused(process, "open", "check", "reason", poor),
            refused(floor.expression, "open", "check", "why", poor),
            "the comparison, then a result with reason, state and trigger",
        ),
        (
            "rejected: terminal",
            refused(process, "closed", "pay", "reason"),
            refused(floor.refuse, "closed", "pay", "why"),
            "lookups, then a result with reason, state and trigger",
        ),
    ]  # fmt: skip
    rows = [
        compare(name, case, low, does=does, goal=0.4, number=2_000, rounds=100)
        for name, case, low, does in cases
    ]  # many short rounds: some fall between what else the machine does
    rows += [
        compare(name, case, low, does=does, goal=0.4, number=500, rounds=200)
        for name, case, low, does in deep_cases()
    ]
    rows += [
        compare(name, case, low, does=does, number=500, rounds=200)
        for name, case, low, does in linked_cases()
    ]
    name, case, low, does = wide_case()
    rows.append(compare(name, case, low, does=does, number=1, rounds=400, per_call=WALK))
    return rows


if __name__ == "__main__":
    print(table(run()))

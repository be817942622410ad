"""Generate the events of a shop as JSON Lines: the same seed, the same file.

A real stream is not clean, and neither is this one: some events come twice, some come late, some
are not allowed, and some lines are damaged.

    python examples/generate_orders.py --orders 5000 --events 30000 > orders.jsonl
"""

import argparse
import json
import random
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
CUSTOMERS = ("ada", "barbara", "edsger", "frances", "grace", "john", "katherine", "tony")
CARRIERS = ("north parcel", "blue bird", "city bikes")
PLACES = ("hub west", "hub east", "sorting centre", "depot 7", "van")
REASONS = ("too small", "too late", "found it cheaper", "changed my mind")

DAMAGED = 3
"""Lines cut off in the middle, as a crashed producer leaves them."""

Event = dict[str, Any]


class Life:
    """One order's events in the order in which they happened."""

    def __init__(self, number: int, dice: random.Random) -> None:
        self.order = f"order-{number:05d}"
        self.dice = dice
        self.events: list[Event] = []
        self.clock = START + timedelta(seconds=dice.randrange(14 * 24 * 3600))
        self.picked = False

    def happen(self, trigger: str, hours: float = 6, **context: Any) -> None:
        """The next event, some hours later."""
        self.clock += timedelta(seconds=self.dice.expovariate(1 / (hours * 3600)))
        event: Event = {"entity_id": self.order, "trigger": trigger}
        event["event_id"] = f"{self.order}-{len(self.events) + 1}"
        event["at"] = self.clock.isoformat(timespec="milliseconds")
        if context:
            event["context"] = context
        self.events.append(event)

    def live(self) -> list[Event]:
        """From the basket to the end."""
        dice = self.dice
        total = dice.randrange(500, 40_000) / 100
        self.happen("place", 0.5, customer=dice.choice(CUSTOMERS), total=total)
        if dice.random() < 0.06:
            return self.events  # never paid: it will expire
        if dice.random() < 0.25:
            self.pick()  # the warehouse does not wait for the money
        if self.pay(total):
            self.deliver()
        elif dice.random() < 0.5:
            self.happen("cancel", reason=dice.choice(REASONS))
        return self.events

    def pay(self, total: float) -> bool:
        """In one payment, in two, or after a bank's refusals; False when it gives up."""
        dice = self.dice
        if dice.random() < 0.12:
            for _ in range(failures := dice.choice((1, 1, 2, 3))):
                self.happen("fail_payment", 1)
            if dice.random() < 0.3:
                return False
            if failures == 3:
                self.happen("release", 5)
        if dice.random() < 0.2:
            part = round(total / 2, 2)
            self.happen("pay", 3, amount=part)
            if dice.random() < 0.1:
                return False
            total = round(total - part, 2)
        self.happen("pay", 3, amount=total)
        return True

    def pick(self) -> None:
        """Once, before or after the money."""
        if not self.picked:
            self.happen("pick")
            self.picked = True

    def deliver(self) -> None:
        """Through the warehouse to the customer, and sometimes back."""
        dice = self.dice
        if dice.random() < 0.05:
            self.happen("cancel", reason=dice.choice(REASONS))
            self.happen("refund", 24)
            return
        self.pick()
        self.happen("ship", 12, carrier=dice.choice(CARRIERS))
        if dice.random() < 0.4:
            self.happen("scan", place=dice.choice(PLACES))
        if dice.random() < 0.03:
            return  # still with the carrier, or lost
        self.happen("deliver", 30)
        if dice.random() < 0.08:
            self.happen("give_back", 100, reason=dice.choice(REASONS))
            self.happen("refund", 48)


def make_events(orders: int, events: int, seed: int) -> list[Event]:
    """Exactly so many events of so many orders, in the order of their arrival."""
    dice = random.Random(seed)
    lives = [Life(number, dice) for number in range(1, orders + 1)]
    happened = [event for life in lives for event in life.live()]
    if len(happened) > events:
        raise SystemExit(f"{orders} orders make {len(happened)} events: ask for at least so many")
    for _ in range(events - len(happened)):
        happened.append(disturb(dice, lives, happened))
    arrivals = [(arrival(dice, event), number, event) for number, event in enumerate(happened)]
    return [event for _, _, event in sorted(arrivals, key=lambda arrived: arrived[:2])]


def disturb(dice: random.Random, lives: list[Life], happened: list[Event]) -> Event:
    """One more event: a duplicate, a sighting of a parcel, or something that is not allowed."""
    kind = dice.random()
    if kind < 0.25:
        return dice.choice(happened)
    life = dice.choice(lives)
    shipped = [event for event in life.events if event["trigger"] == "ship"]
    if kind < 0.75 and not shipped:
        return dice.choice(happened)
    event = dict(shipped[0] if kind < 0.75 else dice.choice(life.events))
    event["event_id"] = f"{event['event_id']}-{dice.randrange(10**6):06d}"
    event.pop("context", None)
    if kind < 0.75:
        seen = datetime.fromisoformat(event["at"]) + timedelta(seconds=dice.randrange(9_000))
        event |= {"trigger": "scan", "context": {"place": dice.choice(PLACES)}}
        return event | {"at": seen.isoformat(timespec="milliseconds")}
    wrong: tuple[tuple[str, dict[str, Any]], ...] = (
        ("pay", {"amount": -10}),
        ("place", {"total": 0}),
        ("ship", {}),
        ("refund", {}),
        ("delvier", {}),
    )
    event["trigger"], context = dice.choice(wrong)
    if context:
        event["context"] = context
    return event


def arrival(dice: random.Random, event: Event) -> str:
    """When the line was written: mostly at once, for one event in forty hours later."""
    happened = datetime.fromisoformat(event["at"])
    late = dice.expovariate(1 / 20_000) if dice.random() < 0.025 else dice.random()
    return (happened + timedelta(seconds=late)).isoformat(timespec="microseconds")


def lines(events: list[Event], seed: int) -> Iterator[str]:
    """The file's lines, of which a few are damaged."""
    dice = random.Random(seed)
    scans = [number for number, event in enumerate(events) if event["trigger"] == "scan"]
    damaged = set(dice.sample(scans, min(DAMAGED, len(scans))))
    for number, event in enumerate(events):
        line = json.dumps(event, separators=(",", ":"))
        yield line[: len(line) // 2] if number in damaged else line


def write(out: TextIO, *, orders: int, events: int, seed: int) -> None:
    """Write the whole file."""
    out.writelines(f"{line}\n" for line in lines(make_events(orders, events, seed), seed))


def main() -> None:
    """Read the options and write to standard output or a file."""
    parser = argparse.ArgumentParser(description="Generate the events of a shop as JSON Lines.")
    parser.add_argument("--orders", type=int, default=5_000)
    parser.add_argument("--events", type=int, default=30_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--output", help="a file; standard output when it is not given")
    options = parser.parse_args()
    sizes = {"orders": options.orders, "events": options.events, "seed": options.seed}
    if options.output is None:
        write(sys.stdout, **sizes)
    else:
        with Path(options.output).open("w", encoding="utf-8") as out:
            write(out, **sizes)


if __name__ == "__main__":
    main()

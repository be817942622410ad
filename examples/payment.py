"""The guards and actions of payment.yaml."""

import sys
from typing import Any

from pystator import ActionRegistry, GuardRegistry

guards = GuardRegistry()
actions = ActionRegistry()


@guards.decorator()
def card_is_good(context: dict[str, Any]) -> bool:
    """A stand-in for a bank: cards that end in 0 are refused."""
    return not str(context.get("card", "0")).endswith("0")


@actions.decorator()
def notify_shop(context: dict[str, Any]) -> None:
    """Tell the shop; here, a line on the terminal."""
    print(f"authorized: {context['amount']}", file=sys.stderr)


@actions.decorator()
def move_money(context: dict[str, Any], *, to: str, amount: float) -> None:
    """Move money; here, only say so."""
    print(f"{amount} for card {context['card']} to the {to}", file=sys.stderr)

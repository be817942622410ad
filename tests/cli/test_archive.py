"""``archive``, ``unarchive``, and events that expect a version."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DB = "sqlite:///shop.db"
WHY = ("--reason", "closed for good", "--actor", "ada")


@pytest.fixture
def run(cli: Callable[..., Any], examples: Path) -> Callable[..., Any]:
    """A command on the shop's database, for its orders."""

    def call(command: str, *words: object) -> Any:
        return cli(command, *words, "--machine", examples / "order.yaml", "--db", DB)

    return call


@pytest.fixture
def shop(run: Callable[..., Any]) -> Callable[..., Any]:
    """`run`, with an order that was placed."""
    assert run("send", "order-1", "place", "total=120", "customer=ada").code == 0
    return run


def test_an_entity_is_put_away_and_taken_back(shop: Callable[..., Any]) -> None:
    answer = shop("archive", "order-1", *WHY)
    assert (answer.code, answer.out) == (0, "order-1: archived in unpaid+queued (version 2)\n")
    refused = shop("send", "order-1", "pay", "amount=120")
    assert refused.code == 1
    assert "is archived" in refused.err
    assert "order-1" not in shop("entities").out
    assert "order-1" in shop("entities", "--archived").out
    assert "\n  archived  2" in shop("show", "order-1").out
    assert "order-1" in shop("entities", "--archived").out
    assert shop("entities", "--archived", "--count", "--json").json["total"] == 1
    assert "order-1" in shop("entities", "--archived", "--where", "total > 100").out
    answer = shop("unarchive", "order-1", *WHY)
    assert (answer.code, answer.out) == (0, "order-1: taken back in unpaid+queued (version 3)\n")
    assert "order-1" in shop("entities").out
    assert "no archived entities" in shop("entities", "--archived").err


def test_doing_it_again_says_so(shop: Callable[..., Any]) -> None:
    shop("archive", "order-1", *WHY)
    again = shop("archive", "order-1", *WHY)
    assert (again.code, again.out.split(" (")[0]) == (
        0,
        "order-1: was archived already in unpaid+queued",
    )
    told = shop("unarchive", "order-1", *WHY, "--json").json
    assert (told["success"], told["version"], told["reason"]) == (True, 3, "unarchived")
    assert shop("unarchive", "order-1", *WHY).out.startswith("order-1: is not archived in")


def test_what_is_missing_is_told(shop: Callable[..., Any]) -> None:
    assert shop("archive", "order-9", *WHY).code == 1
    assert shop("archive", "order-1", "--actor", "ada").code == 2
    empty = shop("archive", "order-1", "--actor", "ada", "--reason", "")
    assert (empty.code, "reason" in empty.err) == (1, True)


def test_an_event_may_expect_a_version(shop: Callable[..., Any]) -> None:
    late = shop("send", "order-1", "place", "--expect-version", 0)
    assert late.code == 1
    assert "is at version 1, and none was expected" in late.err
    assert shop("apply", "order-1", "note=x", "--expect-version", 1).code == 0
    assert shop("apply", "order-1", "note=y", "--expect-version", 1).code == 1
    assert shop("archive", "order-1", *WHY, "--expect-version", 1).code == 1
    assert shop("archive", "order-1", *WHY, "--expect-version", 2).code == 0
    assert shop("send", "order-1", "place", "--expect-version", -1).code == 2

"""Values: a context comes back exactly, or is refused with the path, on every store alike."""

import datetime as dt
import decimal
import math
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pystator.engine.machine import StateMachine
from pystator.errors import InvalidValueError
from pystator.orchestrator import Orchestrator
from pystator.orchestrator.replay import replay
from pystator.records import OutcomeKind
from pystator.stores.refusals import kind_of
from pystator.testing.building import applied, change, lookup, note
from pystator.testing.drivers import Driver, StoreTests

__all__ = ["KEPT", "REFUSED", "ValuesContract", "everything"]

PARIS = ZoneInfo("Europe/Paris")

KEPT: list[Any] = [
    decimal.Decimal("1.10"),
    decimal.Decimal("-0E-10"),
    10**29 + 7,
    -(2**63),
    2**64,
    10**4300 - 1,
    True,
    1,
    1.0,
    -0.0,
    5e-324,
    1.7976931348623157e308,
    dt.datetime(2024, 5, 1, 9, 30, 0, 7, tzinfo=dt.UTC),
    dt.datetime(2024, 5, 1, 9, 30, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=45))),
    dt.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=PARIS),
    dt.datetime(2024, 5, 1, 9, 30),  # noqa: DTZ001 - a naive one is a value, too
    dt.date(2024, 2, 29),
    uuid.UUID("018f3c5e-7b1a-7c3d-9e4f-123456789abc"),
    b"\x00\xff",
    "\x00\x1f\u2028\U0001f600\ufeff",
    {"$t": ["decimal", "1.10"]},
    {"$t": {"$t": None}, "": []},
    [[], {}, None, [True, 1, 1.0]],
]

REFUSED: list[tuple[Any, str]] = [
    ((1, 2), "tuple"),
    ({1}, "set"),
    ({1: 2}, "key"),
    ("\ud800", "surrogate"),
    (math.nan, "not_finite"),
    (-math.inf, "not_finite"),
    (decimal.Decimal("NaN"), "not_finite"),
    (10**4300, "integer"),
    (object(), "object"),
    (dt.timedelta(1), "object"),
]


WIDE = 1_000
DEEP = 20

MACHINE: dict[str, Any] = {
    "meta": {"machine_name": "m"},
    "states": [{"name": "open", "type": "initial"}],
    "transitions": [{"trigger": "go", "source": "open", "dest": "open"}],
}


def everything() -> dict[str, Any]:
    """A context of all that can be kept: a thousand keys, twenty levels of objects and of lists."""
    special: list[Any] = [
        10**29 + 7,
        decimal.Decimal("1.10"),
        dt.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=PARIS),
        dt.datetime(2024, 5, 1, 9, 30, tzinfo=dt.timezone(dt.timedelta(hours=-3, minutes=-30))),
        b"\x00\xff",
        "\x00",
        "\U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467",
        {"$t": ["decimal", "1.10"]},
    ]
    deep: Any = special
    for level in range(DEEP):
        deep = {"level": level, "next": deep} if level % 2 else [level, deep]
    wide = {f"key {n} \u00e9\U0001f511": special[n % len(special)] for n in range(WIDE)}
    return {"deep": deep, **wide}


def _events(drive: Driver) -> Callable[..., Any]:
    """An orchestrator over the store, called through the face of the driver."""
    orchestrator = Orchestrator(StateMachine.from_dict(MACHINE), drive.store)
    return partial(drive.orchestrate, orchestrator)


def _named(value: Any) -> str:
    plain = isinstance(value, int) or type(value) is object  # an address is no name
    return type(value).__name__ if plain else ascii(value)[:30]


def _exactly(left: Any, right: Any) -> bool:
    """Equal and of one type all the way down."""
    if kind_of(left) is dict:
        return left.keys() == right.keys() and all(_exactly(left[key], right[key]) for key in left)
    if kind_of(left) is list:
        return len(left) == len(right) and all(map(_exactly, left, right))
    return type(left) is type(right) and (left == right or repr(left) == repr(right))


class ValuesContract(StoreTests):
    """The context codec, through the store."""

    @pytest.mark.parametrize("value", KEPT, ids=_named)
    def test_a_value_comes_back_exactly(self, drive: Driver, value: Any) -> None:
        fields = {"value": value, "deep": [{"value": value}]}
        applied(
            drive,
            change(
                context=fields,
                payload=fields,
                patch=(fields, ("x",)),
                actions=({"params": fields},),
            ),
        )
        [row] = drive.history("e").items
        for got in (
            drive.get_context("e"),
            row.payload,
            row.patch[0],
            row.actions[0]["params"],
        ):
            assert _exactly(got, fields)

    @pytest.mark.parametrize(("value", "reason"), REFUSED, ids=_named)
    def test_a_value_that_would_not_come_back_is_refused(
        self, drive: Driver, value: Any, reason: str
    ) -> None:
        [outcome] = drive.commit([change(context={"a": [{"b": value}]})])
        assert outcome.kind is OutcomeKind.REFUSED
        assert isinstance(outcome.error, InvalidValueError)
        assert outcome.error.context == {"path": "context.a[0].b", "reason": reason}
        with pytest.raises(InvalidValueError, match=r"context\.a\[0\]\.b"):
            drive.set_state("e", "open", metadata={"context": {"a": [{"b": value}]}})
        assert drive.get_state("e") is None

    def test_a_context_of_everything_comes_back_by_every_way(self, drive: Driver) -> None:
        context = everything()
        drive.set_state("e", "open", metadata={"machine_name": "m", "context": context})
        assert _exactly(drive.get_context("e"), context)
        assert _exactly(drive.list_entities()[0].context, context)
        drive.set_context("e", {})
        drive.set_context("e", context)
        assert _exactly(drive.get_context("e"), context)
        rows = drive.history("e").items
        assert [_exactly(row.patch[0], context) for row in rows] == [True, False, True]
        assert _exactly(replay(rows)[1], context)

    def test_an_event_of_everything_comes_back_by_every_way(self, drive: Driver) -> None:
        """What is stored, what the caller is told, now and again, and what history says."""
        events, context = _events(drive), everything()
        result = events("process_event", "e", "go", context, event_id="i")
        again = events("process_event", "e", "go", context, event_id="i")
        assert (result.success, again.metadata["replayed"]) == (True, True)
        assert _exactly(result.context, context)
        assert _exactly(drive.get_context("e"), context)
        [row] = [row for row in drive.history("e").items if row.trigger == "go"]
        assert _exactly(row.payload, context)
        assert _exactly(events("get_entity", "e").context, context)
        assert _exactly(replay(drive.history("e").items)[1], context)

    def test_what_is_refused_leaves_an_entity_as_it_was(self, drive: Driver) -> None:
        """Wherever it stands, and whoever brings it; the path tells where."""
        applied(drive, change(context={"n": 1}))
        events = _events(drive)
        for value, reason in REFUSED:
            bad = {"a": [{"b": value}]}
            commits = {
                "context": change(after=1, context=bad),
                "payload": change(after=1, context={"n": 2}, payload=bad),
                "context_patch": change(after=1, context={"n": 2}, patch=(bad, ())),
                "actions[0]": change(after=1, actions=(bad,)),
            }
            for name, commit in commits.items():
                [outcome] = drive.commit([commit])
                assert outcome.kind is OutcomeKind.REFUSED
                assert outcome.error.context == {"path": f"{name}.a[0].b", "reason": reason}
            assert drive.commit([note(payload=bad)])[0].kind is OutcomeKind.REFUSED
            for call in (
                partial(drive.set_context, "e", bad),
                partial(drive.set_state, "e", "shut", metadata={"context": bad}),
                partial(events, "process_event", "e", "go", bad),
                partial(events, "process_event", "e", "go", bad, event_id="i"),
                partial(events, "apply_data", "e", bad),
                partial(events, "create_entity", "f", bad),
            ):
                with pytest.raises(InvalidValueError, match=r"\.a\[0\]\.b"):
                    call()
        [loaded] = drive.load([lookup("e", "i")])
        assert (loaded.entity.version, loaded.entity.context) == (1, {"n": 1})
        assert loaded.known == {}
        assert len(drive.history("e").items) == 1
        assert drive.get_state("f") is None

    def test_a_context_of_a_megabyte_fits_and_no_more(self, drive: Driver) -> None:
        least = len('{"text":""}')
        applied(drive, change(context={"text": "x" * (1_000_000 - least)}))
        assert len(drive.get_context("e")["text"]) == 1_000_000 - least
        [outcome] = drive.commit([change("f", context={"text": "x" * (1_000_001 - least)})])
        assert outcome.kind is OutcomeKind.REFUSED
        assert outcome.error.context["reason"] == "too_large"

"""Values: a context comes back exactly, or is refused with the path, on every store alike."""

import datetime as dt
import decimal
import math
import uuid
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pystator.errors import InvalidValueError
from pystator.records import OutcomeKind
from pystator.stores.refusals import kind_of
from pystator.testing.building import applied, change
from pystator.testing.drivers import Driver, StoreTests

__all__ = ["KEPT", "REFUSED", "ValuesContract"]

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

    def test_a_context_of_a_megabyte_fits_and_no_more(self, drive: Driver) -> None:
        least = len('{"text":""}')
        applied(drive, change(context={"text": "x" * (1_000_000 - least)}))
        assert len(drive.get_context("e")["text"]) == 1_000_000 - least
        [outcome] = drive.commit([change("f", context={"text": "x" * (1_000_001 - least)})])
        assert outcome.kind is OutcomeKind.REFUSED
        assert outcome.error.context["reason"] == "too_large"

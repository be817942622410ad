"""The context codec keeps every value exactly, or refuses it with the path to it."""

# ruff: noqa: DTZ001, DTZ901 - naive datetimes are values, too
import math
import uuid
from collections import OrderedDict, defaultdict
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystator.errors import InvalidValueError
from pystator.stores import codec


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Plain(Enum):
    A = 1


KEPT = [
    {},
    {"a": 1, "b": "x", "c": None, "d": True, "e": 1.5},
    {"": "empty key", "ключ": "значение", "nul": "\x00", "line": "\u2028"},
    {"price": Decimal("1.10"), "tiny": Decimal("1E-30"), "zero": Decimal("-0.00")},
    {"n": 10**29 + 7, "minus": -(10**4299), "max": 10**4300 - 1},
    {"float": -0.0, "small": 5e-324, "large": 1.7976931348623157e308, "whole": 3.0},
    {"when": datetime(2024, 5, 1, 9, 30, 0, 123456)},
    {"when": datetime(2024, 5, 1, 9, 30, tzinfo=UTC)},
    {
        "when": datetime(
            2024, 5, 1, 9, 30, tzinfo=timezone(timedelta(hours=-3, minutes=-30, seconds=-1))
        )
    },
    {"when": datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Paris"))},
    {"when": datetime(2024, 10, 27, 2, 30, fold=0, tzinfo=ZoneInfo("Europe/Paris"))},
    {"when": datetime(2024, 3, 31, 2, 30, tzinfo=ZoneInfo("Europe/Paris"))},
    {"when": datetime(2024, 5, 1, 9, 30, fold=1), "min": datetime.min, "max": datetime.max},
    {"day": date(2024, 2, 29)},
    {"id": uuid.UUID("018f3c5e-7b1a-7c3d-9e4f-123456789abc")},
    {"raw": b"", "more": b"\x00\xff", "long": bytes(range(256)) * 10},
    {"list": [1, [2, [3, {"x": []}]], {}]},
    {"$t": "mine"},
    {"$t": ["decimal", "1.10"]},
    {"deep": {"$t": {"$t": Decimal("1.10")}, "n": None}, "text": '"$t"'},
    {"shared": [1, 2]},
]


def same(a, b):
    """Equal, and of the same types all the way down: ``True`` is not 1 here."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, datetime):
        return (a.replace(tzinfo=None), a.fold, a.utcoffset(), str(a.tzinfo)) == (
            b.replace(tzinfo=None), b.fold, b.utcoffset(), str(b.tzinfo)
        )  # fmt: skip
    return repr(a) == repr(b)


@pytest.mark.parametrize("value", KEPT, ids=repr)
def test_what_is_kept_comes_back_exactly(value):
    assert same(value, codec.decode(codec.encode(value)))
    assert same(value, codec.copy(value))
    frozen, flat = codec.freeze(value)
    assert same(value, codec.thaw(frozen, flat=flat))


def test_a_copy_shares_nothing_that_can_change():
    value = {"list": [{"n": 1}], "dict": {"a": {"b": []}}}
    frozen, flat = codec.freeze(value)
    for copied in (codec.copy(value), codec.thaw(frozen, flat=flat)):
        copied["list"][0]["n"] = 2
        copied["dict"]["a"]["b"].append(1)
        copied["new"] = 1
    assert {"list": [{"n": 1}], "dict": {"a": {"b": []}}} == value == frozen


cyclic: dict = {"a": []}
cyclic["a"].append(cyclic)


def nested(levels, inner=None):
    value = inner
    for _ in range(levels):
        value = [value]
    return value


shared: list = []
for _ in range(90):
    shared = [shared, shared]

REFUSED = [
    ({"items": [{"p": (1, 2)}]}, "context.items[0].p", "tuple"),
    ({"tags": {1, 2}}, "context.tags", "set"),
    ({"tags": frozenset()}, "context.tags", "set"),
    ({1: "x"}, "context", "key"),
    ({"a": {None: "x"}}, "context.a", "key"),
    ({"a": {True: "x"}}, "context.a", "key"),
    ({"bad key": "\ud800"}, "context['bad key']", "surrogate"),
    ({"a": {"\udfff": 1}}, "context.a['\\udfff']", "surrogate"),
    ({"x": [0.0, math.nan]}, "context.x[1]", "not_finite"),
    ({"x": math.inf}, "context.x", "not_finite"),
    ({"x": -math.inf}, "context.x", "not_finite"),
    ({"x": Decimal("NaN")}, "context.x", "not_finite"),
    ({"x": Decimal("-Infinity")}, "context.x", "not_finite"),
    ({"x": 10**4300}, "context.x", "integer"),
    ({"x": [-(10**4300)]}, "context.x[0]", "integer"),
    (cyclic, "context.a[0]", "cycle"),
    ({"x": nested(100)}, "context.x" + "[0]" * 99, "too_deep"),
    ({"x": shared}, None, "too_large"),
    ({"x": object()}, "context.x", "object"),
    ({"x": timedelta(1)}, "context.x", "object"),
    ({"x": 1j}, "context.x", "object"),
    ({"x": bytearray(b"x")}, "context.x", "object"),
    ({"x": Plain.A}, "context.x", "object"),
    ({"x": range(3)}, "context.x", "object"),
    ({"x": "y" * 1_000_000}, "context", "too_large"),
    ({"x": "é" * 500_000}, "context", "too_large"),
    ({"x": "\x01" * 170_000}, "context", "too_large"),
    ({"x": [1] * 500_001}, None, "too_large"),
    ({"x": Decimal(10) ** 27 + Decimal("1E-1")} | {"y": b"0" * 800_000}, "context", "too_large"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "path", "reason"), REFUSED, ids=lambda v: str(v)[:40] if isinstance(v, str) else ""
)
def test_what_is_refused_is_named_with_its_path_by_encode_and_copy_alike(value, path, reason):
    for operation in (codec.encode, codec.copy):
        with pytest.raises(InvalidValueError) as caught:
            operation(value)
        assert reason == caught.value.context["reason"]
        if path is not None:
            assert path == caught.value.context["path"]
            assert caught.value.message.startswith(path + ":")
        assert len(caught.value.message) < 600


def test_one_level_less_than_too_deep_is_kept():
    value = {"x": nested(99)}
    assert value == codec.decode(codec.encode(value)) == codec.copy(value)


def test_the_size_limit_is_exact_and_counts_bytes():
    """A limit that a store and its in-memory twin count differently would be found in production."""
    value = {"x": "y" * 1_000, "z": ["é"] * 10}
    size = len(codec.encode(value).encode())
    for operation in (codec.encode, codec.copy):
        assert operation(value, limit=size)
        with pytest.raises(InvalidValueError, match=f"{size:,} bytes"):
            operation(value, limit=size - 1)
    exact = {"x": "y" * (1_000_000 - len('{"x":""}'))}
    assert exact == codec.copy(exact) == codec.decode(codec.encode(exact))


def test_subclasses_are_kept_as_what_they_equal():
    value = {
        "colour": Colour.RED,
        "level": Level.HIGH,
        "counts": defaultdict(int, a=1),
        "ordered": OrderedDict(b=2),
        Colour.RED: 1,
    }
    plain = {"colour": "red", "level": 3, "counts": {"a": 1}, "ordered": {"b": 2}, "red": 1}
    for kept in (codec.decode(codec.encode(value)), codec.copy(value)):
        assert same(plain, kept)
        assert value == kept


def test_a_foreign_zone_keeps_the_moment():
    class Foreign(tzinfo):
        def utcoffset(self, moment):
            return timedelta(hours=2)

        def dst(self, moment):
            return None

        def tzname(self, moment):
            return "foreign"

    moment = datetime(2024, 5, 1, 12, tzinfo=Foreign())
    for kept in (codec.decode(codec.encode([moment]))[0], codec.copy([moment])[0]):
        assert moment == kept
        assert timedelta(hours=2) == kept.utcoffset()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1] 2",
        '{"$t": 1}',
        '{"$t": ["no"]}',
        '{"$t": ["decimal", "x"]}',
        '{"$t": ["uuid"]}',
        "[" * 5_000,
    ],
)
def test_text_that_is_not_the_codecs_is_an_error_of_ours(text):
    with pytest.raises(InvalidValueError, match="context codec"):
        codec.decode(text)


def test_an_error_names_what_the_value_is():
    with pytest.raises(InvalidValueError, match=r"^payload\.x: a tuple"):
        codec.copy({"x": ()}, name="payload")


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(10**40), max_value=10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.binary(max_size=8)
    | st.uuids()
    | st.dates()
    | st.datetimes(timezones=st.none() | st.timezones() | st.just(UTC))
)
keys = st.text(max_size=6) | st.sampled_from(["$t", "a", "b"])
values = st.recursive(
    scalars, lambda v: st.lists(v, max_size=4) | st.dictionaries(keys, v, max_size=4), max_leaves=12
)
contexts = st.dictionaries(keys, values, max_size=5)
doubtful = st.recursive(
    scalars
    | st.floats()
    | st.tuples()
    | st.just(object)
    | st.characters(categories=["Cs"])
    | st.builds(lambda: 10**4300)
    | st.sampled_from([Decimal("sNaN"), Colour.RED, Level.HIGH, {1: 2}, {Colour.RED: 1}]),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(keys, v, max_size=3),
    max_leaves=8,
)


@given(contexts)
@settings(max_examples=300, deadline=None)
def test_every_context_makes_the_round_trip(value):
    assert same(value, codec.decode(codec.encode(value)))
    assert same(value, codec.copy(value))


@given(doubtful, st.sampled_from([100, 1_000_000]))
@settings(max_examples=300, deadline=None)
def test_copy_and_encode_give_the_same_verdict(value, limit):
    verdicts = []
    for operation in (codec.copy, lambda v, limit: codec.decode(codec.encode(v, limit=limit))):
        try:
            verdicts.append(("kept", operation(value, limit=limit)))
        except InvalidValueError as error:
            verdicts.append(("refused", error.message))
    assert verdicts[0][0] == verdicts[1][0]
    assert same(verdicts[0][1], verdicts[1][1])

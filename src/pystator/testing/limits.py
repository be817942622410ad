"""Limits: the longest names, the strangest characters and the largest contexts come back whole.

Names are random, so that a database cannot make them fit by compressing them.
"""

import datetime as dt
import decimal
import random
import uuid
from itertools import product
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest

from pystator.engine.machine import StateMachine
from pystator.errors import InvalidValueError
from pystator.orchestrator.orchestrator import Orchestrator
from pystator.records import EntryKind, OutcomeKind
from pystator.testing.building import applied, change, lookup, note
from pystator.testing.drivers import Driver, StoreTests

__all__ = ["LimitsContract", "long_name"]

LONGEST: Final = 255
LONGEST_STATE: Final = 10_000
_MEGABYTE: Final = 1_000_000

STRANGE: Final = (
    "".join(map(chr, range(0x20)))
    + "\x7f\x80\x85\x9f\xa0\xad\u0600\u200b\u200f\u2028\u2029\u202e\ufeff\ufffd\ufffe\uffff"
    + "\U0001f600\U0010ffff"
    + "\\u0000 \\x00 %00 %s {0} '; -- \" e\u0301 \u00e9 \u1f71 \u03ac \u00df \ufb01 \u0130"
)
"""Characters that databases and drivers are known to drop, end at, escape or normalise."""


def long_name(number: int, length: int = LONGEST) -> str:
    """A random name of characters of four bytes each, the same for each number."""
    luck = random.Random(number)  # noqa: S311 - the same every time
    return "".join(chr(luck.randrange(0x20000, 0x2A6D0)) for _ in range(length))


def _open_file(_: Any) -> bool:
    raise FileNotFoundError("no file \udcff\x00")


class _Sends:
    """An orchestrator with the names a `Driver` calls."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator

    def send(self, entity_id: str, trigger: str, event_id: str) -> Any:
        return self._orchestrator.process_event(entity_id, trigger, event_id=event_id)

    async def asend(self, entity_id: str, trigger: str, event_id: str) -> Any:
        return await self._orchestrator.async_process_event(entity_id, trigger, event_id=event_id)


def everything() -> dict[str, Any]:
    """A thousand keys, twenty levels, and a value of every kind."""
    moment = dt.datetime(2024, 10, 27, 2, 30, 0, 7, fold=1, tzinfo=ZoneInfo("Europe/Paris"))
    deep: Any = decimal.Decimal("0.10")
    for level in range(20):
        deep = {"level": level, "in": deep} if level % 2 else [level, deep]
    values: list[Any] = [
        10**29 + 123_456_789,
        -(10**29) - 1,
        decimal.Decimal("12345678901234567890.123456789012345678900"),
        moment,
        moment.astimezone(dt.timezone(dt.timedelta(hours=-9, minutes=-30))),
        bytes(range(256)),
        uuid.UUID(int=2**128 - 1),
        dt.date(1, 1, 1),
        STRANGE,
        0.1 + 0.2,
        None,
        True,
        [],
        {},
    ]
    many = {f"k{number:03}": values[number % len(values)] for number in range(998)}
    return many | {"deep": deep, STRANGE: "strange key"}


class LimitsContract(StoreTests):
    """What the checks let through is kept, and what they do not is refused with its place."""

    def test_the_longest_names_fit_in_every_field_at_once(self, drive: Driver) -> None:
        names = [long_name(number) for number in range(8)]
        entity_id, machine, event_id, trigger, actor, version, source, target = names
        commit = change(
            entity_id,
            machine=machine,
            state=target,
            trigger=trigger,
            event_id=event_id,
            actor=actor,
            timers={long_name(9): (70, 1)},
            history={long_name(10): [target, source]},
        )
        applied(drive, commit)
        [loaded] = drive.load([lookup(entity_id, event_id, machine=machine)])
        assert loaded.entity.key == (entity_id, machine)
        assert loaded.entity.timers == {long_name(9): (70, 1)}
        assert loaded.entity.history == {long_name(10): [target, source]}
        row = loaded.known[event_id]
        assert (row.trigger, row.actor, row.event_id) == (trigger, actor, event_id)
        assert drive.commit([note(entity_id, machine=machine, event_id=event_id)])[0].kind == (
            OutcomeKind.DUPLICATE
        )
        metadata = {"trigger": actor, "machine_version": version, "source_state": source}
        drive.set_state(entity_id, source, metadata=metadata)
        assert drive.machines(entity_id) == [machine]
        rows = drive.history(entity_id, limit=1)
        rows.items += drive.history(entity_id, after=rows.next).items
        assert [each.version for each in rows.items] == [1, 2]
        assert (rows.items[1].machine_version, rows.items[1].source_state) == (version, source)
        assert drive.count_by_state() == {source: 1}
        assert drive.due(70, 9) == []

    def test_the_longest_names_are_told_apart_by_their_last_character(self, drive: Driver) -> None:
        """A store that compares a part of a name, or a short hash of it, would mix them up."""
        start = long_name(1)[:-1]
        names = [start + last for last in "abcd"]
        applied(drive, *[change(name, context={"of": name[-1]}) for name in reversed(names)])
        applied(drive, *[change("f", machine=name, context={"of": name[-1]}) for name in names])
        for name in names:
            assert drive.get_context(name) == {"of": name[-1]}
            assert drive.get_context("f", machine_name=name) == {"of": name[-1]}
            applied(drive, note("g", version=0, event_id=name, actor=name[-1]))
        [loaded] = drive.load([lookup("g", *names)])
        assert {key: row.actor for key, row in loaded.known.items()} == {
            name: name[-1] for name in names
        }
        page = drive.entities(machine_name="m", limit=3)
        rest = drive.entities(machine_name="m", after=page.next)
        assert [entity.entity_id for entity in page.items + rest.items] == names

    @pytest.mark.parametrize("length", [255, 2_700, LONGEST_STATE])
    def test_long_states_are_kept_and_found(self, drive: Driver, length: int) -> None:
        """One very long leaf, or a configuration of many."""
        one = long_name(1, length - 1)
        states = {"e1": one + "a", "e2": one + "b", "e3": one[:-1]}
        leaves = [f"leaf_{number:03}" for number in range(length // 10)]
        states["e4"] = "+".join(leaves)
        applied(drive, *[change(name, state=state) for name, state in states.items()])
        for name, state in states.items():
            assert drive.get_state(name) == state
            found = [entity.entity_id for entity in drive.entities(state=state, limit=9).items]
            assert found == [name]
        found = [entity.entity_id for entity in drive.entities(state=leaves[-1]).items]
        assert found == ["e4"]
        assert drive.count_by_state() == dict.fromkeys(states.values(), 1)
        page = drive.entities(limit=2)
        assert [each.state for each in page.items] == [states["e1"], states["e2"]]
        applied(drive, change("e1", after=1, state=one + "b"))
        assert drive.count_by_state()[one + "b"] == 2
        row = drive.history("e1").items[0]
        assert row.target_state == one + "a"

    def test_what_is_too_long_is_refused_and_nothing_is_written(self, drive: Driver) -> None:
        long = long_name(1, LONGEST + 1)
        for commit in (
            change(long),
            change(machine=long),
            change(trigger=long),
            change(event_id=long),
            change(actor=long),
            change(state=long_name(1, LONGEST_STATE + 1)),
        ):
            [outcome] = drive.commit([commit])
            assert outcome.kind is OutcomeKind.REFUSED
            assert isinstance(outcome.error, InvalidValueError)
        assert drive.feed(None).items == []
        assert drive.entities().items == []

    def test_strange_characters_come_back_wherever_text_is_free(self, drive: Driver) -> None:
        fields = {"value": STRANGE, STRANGE: [STRANGE, {STRANGE: STRANGE}]}
        commit = change(
            context=fields,
            payload=fields,
            patch=(fields, (STRANGE,)),
            actions=({"name": "act", "params": fields, "error": STRANGE},),
            error_message=STRANGE,
        )
        applied(drive, commit)
        applied(drive, note(kind=EntryKind.REJECTED, error_message="\x00", error_code="x"))
        drive.store.append_later(
            [note(kind=EntryKind.ACTION, ref=1, error_message=STRANGE, actions=(fields,))]
        )
        drive.flush()
        assert drive.get_context("e") == fields
        rows = drive.history("e").items
        entry = commit.entries[0]
        assert (rows[0].payload, rows[0].patch, rows[0].actions) == (
            fields, entry.patch, entry.actions,
        )  # fmt: skip
        messages = sorted(str(row.error_message) for row in rows)
        assert messages == sorted([STRANGE, "\x00", STRANGE])

    def test_a_message_that_is_no_unicode_is_refused(self, drive: Driver) -> None:
        [outcome] = drive.commit([change(error_message="no file \udcff")])
        assert outcome.kind is OutcomeKind.REFUSED
        assert isinstance(outcome.error, InvalidValueError)
        assert drive.feed(None).items == []

    def test_an_error_that_is_no_unicode_does_not_hide_the_event(
        self, store: Any, face: str
    ) -> None:
        """Names of files may be bytes that are no Unicode, and errors quote them."""
        config = {
            "meta": {"machine_name": "m"},
            "states": [{"name": "a", "type": "initial"}],
            "transitions": [
                {"trigger": "guarded", "source": "a", "internal": True, "guards": ["open_file"]},
                {"trigger": "acted", "source": "a", "internal": True, "actions": ["open_file"]},
            ],
        }
        machine = StateMachine.from_dict(config)
        functions = {"open_file": _open_file}
        orchestrator = Orchestrator(machine, store, guards=functions, actions=functions)
        with Driver(_Sends(orchestrator), face) as drive:
            refused = drive.send("e", "guarded", "i-1")
            assert (refused.success, str(refused.error).count("no file")) == (False, 1)
            assert drive.send("e", "acted", "i-2").success
        store.flush()
        rows = store.history("e").items
        assert [row.kind for row in rows] == ["rejected", "event", "action"]
        assert ["no file ?\x00" in row.error_message for row in rows[::2]] == [True, True]

    def test_strange_characters_are_refused_in_names(self, drive: Driver) -> None:
        names = [f"a{character}b" for character in "\0\1\x1f\x7f\x85\n\ud800"]
        for name, field in product(names, ("machine", "state", "trigger", "event_id", "actor")):
            given: dict[str, Any] = {field: name}
            [outcome] = drive.commit([change(**given)])
            assert outcome.kind is OutcomeKind.REFUSED
            assert isinstance(outcome.error, InvalidValueError)
        outcomes = drive.commit([change(name) for name in names])
        assert {outcome.kind for outcome in outcomes} == {OutcomeKind.REFUSED}
        assert drive.feed(None).items == []

    def test_names_that_look_alike_are_not_the_same(self, drive: Driver) -> None:
        """No store folds case, normalises, trims or follows a locale."""
        names = ["e\u0301", "\u00e9", "E\u0301", "ss", "\u00df", "\ufb01", "fi"]
        names += ["a", "a ", " a", "A", "\u0130", "i\u0307", "i"]
        applied(drive, *[change(name, state=f"s{place}") for place, name in enumerate(names)])
        applied(drive, *[change("f", machine=name) for name in names])
        for name in names:
            applied(drive, note("g", version=0, event_id=name))
        for place, name in enumerate(names):
            assert drive.get_state(name) == f"s{place}"
        assert drive.machines("f") == sorted(names)
        assert drive.load([lookup("g", *names)])[0].known.keys() == set(names)
        found = [entity.entity_id for entity in drive.entities(machine_name="m").items]
        assert found == sorted(names)

    def test_a_thousand_keys_of_every_kind_come_back(self, drive: Driver) -> None:
        context = everything()
        assert len(context) == 1_000
        applied(drive, change(context=context, payload=context, patch=(context, ())))
        entity = drive.load([lookup()])[0].entity
        assert ascii(entity.context) == ascii(context)
        assert entity.context == context
        [row] = drive.history("e").items
        assert ascii(row.payload) == ascii(row.patch[0]) == ascii(context)
        drive.set_context("e", context | {"one": "more"})
        patch = drive.history("e").items[1].patch
        assert patch == ({"one": "more"}, ())

    def test_the_size_of_a_context_is_counted_in_bytes(self, drive: Driver) -> None:
        """Exactly at the limit it fits; one byte more, and the refusal names the place."""
        least = len('{"pad":"","text":""}')
        for name, character in enumerate("x\u00e9\u20ac\U0001f600"):
            count, pad = divmod(_MEGABYTE - least, len(character.encode()))
            fits = {"pad": "x" * pad, "text": character * count}
            large = {"pad": "x" * (pad + 1), "text": character * count}
            applied(drive, change(f"e{name}", context=fits))
            assert drive.get_context(f"e{name}") == fits
            [outcome] = drive.commit([change(f"e{name}", after=1, context=large)])
            assert outcome.kind is OutcomeKind.REFUSED
            facts = {"path": "context", "reason": "too_large"}
            assert outcome.error.context == facts | {"size": _MEGABYTE + 1, "limit": _MEGABYTE}
            with pytest.raises(InvalidValueError, match="context: 1,000,001 bytes"):
                drive.set_context(f"e{name}", large)
            assert drive.get_state_versioned(f"e{name}") == ("open", 1)

    def test_a_refusal_says_where_it_is(self, drive: Driver) -> None:
        bad = {"a": [1, {"b": {1, 2}}]}
        parts: dict[str, Any] = {
            "context.a[1].b": {"context": bad},
            "payload.a[1].b": {"payload": bad},
            "context_patch.a[1].b": {"patch": (bad, ())},
            "actions[1].params.a[1].b": {"actions": ({"name": "first"}, {"params": bad})},
        }
        for path, given in parts.items():
            [outcome] = drive.commit([change(**given)])
            assert outcome.kind is OutcomeKind.REFUSED
            assert outcome.error.context["path"] == path
        assert drive.feed(None).items == []

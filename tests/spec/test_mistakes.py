"""What people write wrong, and that the answer says what to write instead, before anything is done."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from pystator import (
    ActionRegistry,
    ConfigurationError,
    EntityNotFoundError,
    EntitySession,
    ErrorPolicy,
    Event,
    GuardRegistry,
    InMemoryStateStore,
    InvalidValueError,
    LoggingHook,
    Orchestrator,
    SQLiteStateStore,
    State,
    StateMachine,
    Transition,
    UndefinedStateError,
    create_state_store,
)
from stores.three import Three

CONFIG: dict[str, Any] = {
    "meta": {"machine_name": "order"},
    "states": [{"name": "open", "type": "initial"}, {"name": "done", "type": "terminal"}],
    "transitions": [
        {"trigger": "close", "source": "open", "dest": "done"},
        {"trigger": "count", "source": "open", "dest": "done", "guards": [{"expr": "n > 1"}]},
    ],
}

MACHINE = StateMachine.from_dict(CONFIG)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/a.db"
    with create_state_store(url) as opened:
        yield opened


@pytest.fixture
def orders(store: Any) -> Iterator[Orchestrator]:
    """Whatever a test does, nothing may be written."""
    yield Orchestrator(MACHINE, store)
    assert store.list_entities() == []
    assert store.feed(None).items == []


# Machines -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("trigger", ["close", "count"])
@pytest.mark.parametrize("context", [[1], "x", 1, [("a", 1)]], ids=repr)
def test_a_context_of_a_machine_is_a_mapping(trigger: str, context: Any) -> None:
    """Also where the event looks at no field: the result would hand the list on."""
    with pytest.raises(TypeError, match=r"a context is a mapping, e\.g\."):
        MACHINE.process("open", trigger, context)
    with pytest.raises(TypeError, match="a context is a mapping"):
        MACHINE.start(context)
    with pytest.raises(InvalidValueError, match="context must be a mapping"):
        MACHINE.create(context=context)


def test_any_mapping_is_a_context() -> None:
    given = MappingProxyType({"n": 2})
    for trigger in ("close", "count"):
        assert MACHINE.process("open", trigger, given).context == {"n": 2}


@pytest.mark.parametrize("trigger", [None, 1, b"close", ["close"], {}], ids=repr)
def test_a_trigger_is_a_name_or_an_event(trigger: Any) -> None:
    with pytest.raises(TypeError, match="a trigger is a name or an Event"):
        MACHINE.process("open", trigger)
    with pytest.raises(InvalidValueError, match="non-empty string"):
        MACHINE.create().send(trigger)


@pytest.mark.parametrize("state", [None, 1, "Open", ""], ids=repr)
def test_a_state_is_one_of_the_machines(state: Any) -> None:
    with pytest.raises(UndefinedStateError):
        MACHINE.process(state, "close")


def test_a_list_is_no_state() -> None:
    with pytest.raises(TypeError, match="a state is a name, not list"):
        MACHINE.process(["open"], "close")  # type: ignore[arg-type]


@pytest.mark.parametrize("now", ["2024-01-01", 1704067200, 0.5], ids=repr)
def test_a_time_is_an_aware_datetime(now: Any) -> None:
    with pytest.raises(TypeError, match="aware datetime"):
        MACHINE.process("open", "close", now=now)
    with pytest.raises(ValueError, match="time zone"):
        MACHINE.process("open", "close", now=datetime(2024, 1, 1))  # noqa: DTZ001 - the mistake


@pytest.mark.parametrize("payload", [None, [1], "x", {1: 2}, {"_x": 1}], ids=repr)
def test_data_of_an_event_is_a_mapping_of_free_names(payload: Any) -> None:
    with pytest.raises(InvalidValueError):
        Event("close", payload)


@pytest.mark.parametrize("path", [CONFIG, 3, None, "states:\n- name: a\n"], ids=lambda path: type(path).__name__)  # fmt: skip
def test_a_file_is_named_by_its_path(path: Any) -> None:
    with pytest.raises(ConfigurationError, match="from_dict"):
        StateMachine.from_yaml(path)


@pytest.mark.parametrize(
    ("states", "transitions", "more", "said"),
    [
        ([State("a", "initial")], [], {}, "states= must be a dict of name -> State"),
        ({"a": {"type": "initial"}}, [], {}, r"states\['a'\] must be of type State"),
        ({"a": State("a", "initial")}, [{"trigger": "x"}], {}, r"transitions\[0\]"),
        ({"a": State("a", "initial")}, [], {"error_policy": {}}, "error_policy="),
        ({"a": State("a", "initial")}, [Transition("x", "a", "b")], {}, "'b'"),
        ({"a": State("a", "initail")}, [], {}, "did you mean 'initial'"),
        ({"a": State("a", "initial")}, [], {"error_policy": ErrorPolicy("b")}, "'b'"),
        ({"a": State("a", "initial")}, [], {"trasitions": []}, "unknown key 'trasitions'"),
    ],
)
def test_a_machine_of_python_records(states: Any, transitions: Any, more: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        StateMachine(states=states, transitions=transitions, **more)


@pytest.mark.parametrize("decorate", [MACHINE.guard, MACHINE.action])
def test_decorators_have_parentheses(decorate: Any) -> None:
    """Without them the function itself would be the name, and nothing would be registered."""
    with pytest.raises(InvalidValueError, match="parentheses"):

        @decorate
        def is_ready(ctx):
            return True


def test_a_snapshot_is_what_a_session_gave() -> None:
    with pytest.raises(InvalidValueError, match=r"session\.snapshot\(\)"):
        EntitySession.from_snapshot(MACHINE, {"state": "open", "context": {}})


# Orchestrators ------------------------------------------------------------------------------------


def _missing(orders: Orchestrator, **how: Any) -> None:
    orders.force_state("o-1", "done", **{"reason": "r", "actor": "a", **how})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"machine": CONFIG}, r"from_dict\(config\)"),
        ({"state_store": InMemoryStateStore}, "is a class"),
        ({"state_store": "sqlite:///a.db"}, "no state store"),
        ({"state_store": None}, "no state store"),
        ({"guards": [len]}, "mapping of name -> callable"),
        ({"guards": ActionRegistry()}, "not ActionRegistry"),
        ({"actions": GuardRegistry()}, "not GuardRegistry"),
        ({"actions": {"x": 3}}, "callable"),
        ({"hooks": LoggingHook()}, "must be a list"),
        ({"hooks": [LoggingHook]}, "no TransitionHook object"),
        ({"hooks": [3]}, "no TransitionHook object"),
        ({"context_validator": {}}, "must be a function"),
        ({"action_delivery": "inlin"}, "inline"),
        ({"contxt_validator": len}, "contxt_validator"),
    ],
)
def test_an_option_that_cannot_work_is_refused_at_once(options: dict[str, Any], said: str) -> None:
    with pytest.raises((ConfigurationError, InvalidValueError, TypeError), match=said):
        Orchestrator(**{"machine": MACHINE, "state_store": InMemoryStateStore(), **options})


@pytest.mark.parametrize(
    "entity_id",
    ["", "x" * 256, "a\nb", "a\x00", "\ud800", None, 1, b"x", ["a"]],
    ids=lambda value: ascii(value)[:12],
)
def test_an_entity_id_is_text_that_every_store_can_hold(
    orders: Orchestrator, entity_id: Any
) -> None:
    with pytest.raises(InvalidValueError):
        orders.process_event(entity_id, "close")
    with pytest.raises(InvalidValueError):
        orders.create_entity(entity_id)
    (result,) = orders.process_events([(entity_id, "close")])
    assert isinstance(result.error, InvalidValueError)


def test_ids_are_checked_for_users_stores_too() -> None:
    store = Three()
    with pytest.raises(InvalidValueError, match="entity id ''"):
        Orchestrator(MACHINE, store).process_event("", "close")
    assert store.kept == {}


@pytest.mark.parametrize(
    ("context", "said"),
    [
        ([1], "must be a mapping"),
        ({1: 2}, "keys are strings"),
        ({"_x": 1}, "reserved"),
        ({"a": {1}}, "context.a: a set cannot be stored; use a sorted list"),
        ({"a": [{"b": (1,)}]}, r"context.a\[0\].b: a tuple"),
        ({"a": float("nan")}, "use null"),
        ({"a": {1: 2}}, "context.a: the key 1"),
        ({"a": "\ud800"}, "surrogate"),
        ({"a": object()}, "use strings, numbers"),
    ],
    ids=lambda value: ascii(value)[:24],
)
def test_data_that_cannot_be_stored_is_refused(
    orders: Orchestrator, context: Any, said: str
) -> None:
    with pytest.raises(InvalidValueError, match=said):
        orders.process_event("o-1", "close", context)
    with pytest.raises(InvalidValueError, match=said):
        orders.create_entity("o-1", context)
    (result,) = orders.process_events([("o-1", "close", context)])
    assert isinstance(result.error, InvalidValueError)


@pytest.mark.parametrize("trigger", [None, 1, b"close", ["close"], "x" * 256, "a\nb"], ids=lambda value: ascii(value)[:12])  # fmt: skip
def test_a_trigger_that_cannot_be_stored_is_refused(orders: Orchestrator, trigger: Any) -> None:
    with pytest.raises(InvalidValueError, match="trigger"):
        orders.process_event("o-1", trigger)


@pytest.mark.parametrize(
    "options",
    [{"event_id": ""}, {"event_id": 1}, {"actor": 1}, {"now": "today"}, {"occurred_at": 1}],
    ids=repr,
)
def test_an_option_of_an_event_that_cannot_be_stored_is_refused(orders: Orchestrator, options: Any) -> None:  # fmt: skip
    with pytest.raises(InvalidValueError):
        orders.process_event("o-1", "close", **options)


@pytest.mark.parametrize("item", [("o-1",), "close", 3, None, {"entity_id": "o-1"}], ids=repr)
def test_an_item_that_is_no_event_says_what_one_is(orders: Orchestrator, item: Any) -> None:
    (result,) = orders.process_events([item])
    assert "(entity_id, trigger[, context]) or an EventRequest" in str(result.error)


@pytest.mark.parametrize("how", [{"reason": ""}, {"reason": None}, {"actor": " "}, {"actor": 3}], ids=repr)  # fmt: skip
def test_nobody_is_moved_without_a_name_and_a_reason(orders: Orchestrator, how: Any) -> None:
    with pytest.raises(InvalidValueError, match="reason= and actor="):
        _missing(orders, **how)
    with pytest.raises(EntityNotFoundError, match="create_entity"):
        _missing(orders)


def test_a_limit_is_a_number(orders: Orchestrator) -> None:
    with pytest.raises(InvalidValueError, match="whole number"):
        orders.fire_due(limit="10")  # type: ignore[arg-type]


# Stores -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [None, "1", -1, 1.0, True], ids=repr)
def test_a_version_is_a_number(store: Any, version: Any) -> None:
    """None would mean "whatever it is": a lost update where one was to be refused."""
    with pytest.raises(InvalidValueError, match="expected_version"):
        store.set_state_versioned("o-1", "open", expected_version=version)
    assert store.get_state("o-1") is None


@pytest.mark.parametrize(
    "metadata",
    ["x", [1], {"context": [1]}, {"context": {"a": {1}}}, {"trigger": 3}, {"machine_name": 3}, {"machine_version": 3}],
    ids=repr,
)  # fmt: skip
def test_metadata_is_checked_before_anything_is_written(store: Any, metadata: Any) -> None:
    with pytest.raises(InvalidValueError):
        store.set_state("o-1", "open", metadata=metadata)
    assert store.list_entities() == []


@pytest.mark.parametrize("context", [None, [1], {"a": {1}}, {"a": float("inf")}], ids=repr)
def test_a_context_is_a_dictionary_a_store_can_hold(store: Any, context: Any) -> None:
    store.set_state("o-1", "open", metadata={"context": {"a": 1}})
    with pytest.raises(InvalidValueError, match="context"):
        store.set_context("o-1", context)
    assert store.get_context("o-1") == {"a": 1}


@pytest.mark.parametrize("url", [None, 3, Path("orders.db"), "", "orders.db", "mysql://u:secret@h/d"], ids=repr)  # fmt: skip
def test_a_store_is_named_by_a_url(url: Any) -> None:
    with pytest.raises(ConfigurationError, match="sqlite:///") as caught:
        create_state_store(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", [3, Path("orders.db"), "orders.db"], ids=repr)
def test_a_path_is_written_as_a_url(url: Any) -> None:
    with pytest.raises(ConfigurationError, match="sqlite:///"):
        SQLiteStateStore(url)

"""Ids, names, cursors and hashes: refused before a write, unique and ordered where they must be."""

import multiprocessing
import os
import threading
import uuid

import pytest

from pystator.errors import InvalidValueError
from pystator.stores import keys


@pytest.mark.parametrize(
    "entity_id", ["a", "order-123", "x" * 255, "заказ 7", "a b/c:%{}", "😀", "\u2028"]
)
def test_an_ordinary_id_passes(entity_id):
    assert entity_id == keys.check_entity_id(entity_id)
    assert entity_id == keys.check_event_id(entity_id)


@pytest.mark.parametrize(
    "entity_id", ["", "x" * 256, "a\x00b", "a\n", "\x7f", "\x9f", "\ud800", None, 7, b"x"]
)
def test_an_id_that_some_store_could_not_hold_is_refused(entity_id):
    with pytest.raises(InvalidValueError, match="cannot be stored"):
        keys.check_entity_id(entity_id)
    with pytest.raises(InvalidValueError, match="event id"):
        keys.check_event_id(entity_id)


def test_a_machine_may_have_no_name_and_a_state_must_have_one():
    assert not keys.check_machine_name("")
    with pytest.raises(InvalidValueError):
        keys.check_state("")
    assert keys.check_state("x" * 10_000)
    with pytest.raises(InvalidValueError):
        keys.check_machine_name("x" * 10_000)


def test_commit_ids_are_uuid7_and_grow():
    """The id resolves an answer that was lost, so no two commits may ever share one."""
    ids = [keys.new_commit_id() for _ in range(10_000)]
    assert sorted(set(ids)) == ids
    first = uuid.UUID(ids[0])
    assert (first.version, first.variant) == (7, uuid.RFC_4122)
    assert ids[0] == str(first)


def test_commit_ids_grow_when_the_clock_goes_back(monkeypatch):
    clock = iter([5_000_000_000, 9_000_000_000, 4_000_000_000, 9_000_000_000])
    monkeypatch.setattr(keys, "_ids", keys._CommitIds())
    monkeypatch.setattr(keys, "time_ns", lambda: next(clock))
    ids = [keys.new_commit_id() for _ in range(4)]
    assert sorted(ids) == ids


def test_threads_never_share_a_commit_id():
    ids: list[str] = []

    def make():
        ids.extend([keys.new_commit_id() for _ in range(2_000)])

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 8_000


def _child(pipe):
    pipe.send([keys.new_commit_id() for _ in range(100)])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_makes_other_ids():
    keys.new_commit_id()
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=_child, args=(there,))
    process.start()
    mine = [keys.new_commit_id() for _ in range(100)]
    theirs = here.recv()
    process.join()
    assert not set(mine) & set(theirs)
    assert mine[0][14:23] != theirs[0][14:23]


def test_a_cursor_is_read_by_its_own_read_only():
    cursor = keys.write_cursor("history", 12, "é")
    assert keys.read_cursor("history", cursor, int, str) == (12, "é")
    for kind, text, types in [
        ("feed", cursor, (int, str)),
        ("history", cursor, (int, int)),
        ("history", cursor, (int,)),
        ("history", "no cursor", (int, str)),
        ("history", keys.write_cursor("history", 12, "\0"), (int, str)),  # what no driver takes
        ("history", keys.write_cursor("history", 12, "\ud800"), (int, str)),
        ("history", "", ()),
        ("history", cursor[:-3], (int, str)),
        ("history", "é", (int, str)),
        ("history", None, (int, str)),
    ]:
        with pytest.raises(InvalidValueError, match="cursor"):
            keys.read_cursor(kind, text, *types)


def test_a_request_hash_tells_a_retry_from_another_event():
    one = keys.request_hash("fill", {"qty": 1, "price": {"a": 1, "b": 2}})
    assert one == keys.request_hash("fill", {"price": {"b": 2, "a": 1}, "qty": 1})
    others = {
        keys.request_hash("fill", {"qty": 1}),
        keys.request_hash("fill", {"qty": True}),
        keys.request_hash("fill", {"qty": 1.0}),
        keys.request_hash("fill", {"qty": "1"}),
        keys.request_hash("cancel", {"qty": 1}),
        keys.request_hash(None, {"qty": 1}),
    }
    assert len(others - {one}) == 6
    assert keys.request_hash("fill", None) == keys.request_hash("fill", {})
    with pytest.raises(InvalidValueError, match=r"payload\.x"):
        keys.request_hash("fill", {"x": {1}})

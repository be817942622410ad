"""Random histories, copied now and then while they go on: in the end the target has all, and can be replayed."""

import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystator import InMemoryStateStore, SQLiteStateStore
from pystator.orchestrator.replay import replay
from pystator.records import EntryKind, Lookup
from pystator.stores.columns import make_patch
from pystator.stores.copying import copy_store
from pystator.testing.building import change, note
from pystator.testing.stateful import KEYS, steps

copies = st.tuples(st.just("copy"), st.sampled_from([1, 3, 1_000]), st.sampled_from([1, 2, 4, 99]))
doings = st.lists(
    steps() | copies | st.just(("prune",)) | st.tuples(st.just("late"), st.sampled_from(KEYS)),
    min_size=1,
    max_size=12,
)


def commit(store, step) -> None:
    """The commit of a step, as `StoreComparison` does it; what does not fit is left out."""
    entity_id, machine = step["key"]
    [loaded] = store.load([Lookup(entity_id, machine)])
    version = loaded.entity.version if loaded.entity else 0
    names = {name: step[name] for name in ("payload", "event_id", "now")}
    if step["note"]:
        store.commit([note(entity_id, machine=machine, version=version, **names)])
        return
    context = step["context"]
    if context is not None and "bad" in context:
        context = None
    patch = None
    if context is not None:
        patch = make_patch(loaded.entity.context if loaded.entity else {}, context)
    names |= {name: step[name] for name in ("steps", "state", "history", "timers")}
    names |= {"context": context, "patch": patch}
    store.commit([change(entity_id, machine=machine, after=version, **names)])


def late(store, key) -> None:
    """The outcome of actions of the first version, whatever came since."""
    store.commit([note(key[0], machine=key[1], version=1, kind=EntryKind.ACTION, ref=1)])


def copy_a_part(source, target, batch, calls) -> None:
    """Stop it after so many batches."""
    left = iter(range(calls))
    report = copy_store(
        source, target, batch=batch, progress=lambda _: next(left, None) is not None
    )
    assert report.conflicts == ()


def rows_of(store, key):
    return [
        replace(row, id=0) for row in store.history(key[0], machine_name=key[1], limit=9_999).items
    ]


def check(source, target) -> None:
    """A copy that is not stopped has everything."""
    report = copy_store(source, target)
    assert (report.verified, report.conflicts) == (True, ())
    assert target.entities().items == source.entities().items
    assert target.count_by_state() == source.count_by_state()
    extra = 0
    for key in KEYS:
        rows, there = rows_of(source, key), rows_of(target, key)
        for row in rows:
            assert row in there
        extra += len(there) - len(rows)
        [loaded] = target.load([Lookup(*key)])
        if loaded.entity is not None:
            assert replay(there) == (loaded.entity.state, loaded.entity.context)
    assert extra >= report.others >= 0
    again = copy_store(source, target)
    assert (again.passes, again.digest, again.verified) == (1, report.digest, True)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_copied_now_and_then_it_is_all_there_in_the_end(kind) -> None:
    @given(doings)
    @settings(max_examples=60 if kind == "memory" else 15)
    def run(doings) -> None:
        source = InMemoryStateStore()
        with tempfile.TemporaryDirectory() as folder:
            target = InMemoryStateStore()
            if kind == "sqlite":
                target = SQLiteStateStore(f"sqlite:///{Path(folder) / 's.db'}", synchronous="OFF")
            with target:
                for doing in doings:
                    if isinstance(doing, dict):
                        commit(source, doing)
                    elif doing[0] == "late":
                        late(source, doing[1])
                    elif doing[0] == "prune":
                        source.prune_history(timedelta(0))  # event ids stay known
                    else:
                        copy_a_part(source, target, *doing[1:])
                check(source, target)

    run()

"""Many callers at once: nothing is lost, nothing is written twice, every version has one author."""

import threading
from collections import Counter
from pathlib import Path
from typing import Any

from pystator.errors import StaleVersionError
from pystator.records import OutcomeKind
from pystator.testing.building import applied, change, lookup, note
from pystator.testing.drivers import Driver, StoreTests

__all__ = ["ConcurrencyContract"]


class ConcurrencyContract(StoreTests):
    """Threads, tasks, and several stores over the same data."""

    def test_of_many_creators_one_wins(self, drive: Driver) -> None:
        calls = [("commit", ([change(context={"author": number})],)) for number in range(8)]
        answers = drive.together(calls)
        kinds = [answer[0].kind for answer in answers]
        assert Counter(kinds) == {OutcomeKind.APPLIED: 1, OutcomeKind.STALE: 7}
        assert drive.get_context("e") == {"author": kinds.index(OutcomeKind.APPLIED)}

    def test_of_many_with_one_event_id_one_wins(self, drive: Driver) -> None:
        calls = [("commit", ([note("e", version=0, event_id="i")],)) for _ in range(8)]
        kinds = Counter(answer[0].kind for answer in drive.together(calls))
        assert kinds == {OutcomeKind.APPLIED: 1, OutcomeKind.DUPLICATE: 7}
        assert len(drive.history("e", machine_name="m").items) == 1

    def test_counting_up_loses_nothing(self, drive: Driver) -> None:
        def count(own: Driver) -> None:
            for _ in range(20):
                _increment(own)

        drive.many(count, 4)
        assert drive.get_context("e") == {"n": 80}
        versions = [row.version for row in drive.history("e", limit=200).items]
        assert versions == list(range(1, 81))
        assert drive.get_state_versioned("e") == ("open", 80)

    def test_unversioned_writes_all_get_through(self, drive: Driver) -> None:
        """Nobody asked for a version, so nobody is told of a conflict: each write is done."""

        def write(own: Driver) -> None:
            for number in range(10):
                own.set_state("e", f"s{number}", metadata={"machine_name": "m"})

        drive.many(write, 4)
        assert drive.get_state_versioned("e") == ("s9", 40)

    def test_batches_over_the_same_entities_do_not_block_each_other(self, drive: Driver) -> None:
        names = [f"e{number}" for number in range(20)]
        applied(drive, *[change(name) for name in names])
        orders = [names, names[::-1], names[5:] + names[:5], names[::2] + names[1::2]]
        calls = [("commit", ([change(name, after=1) for name in order],)) for order in orders]
        answers = drive.together(calls)
        kinds = Counter(outcome.kind for answer in answers for outcome in answer)
        assert kinds == {OutcomeKind.APPLIED: 20, OutcomeKind.STALE: 60}
        assert {row.entity.version for row in drive.load([lookup(name) for name in names])} == {2}

    def test_readers_never_see_half_a_commit(self, drive: Driver) -> None:
        applied(drive, change(state="s1", context={"n": 1}))
        done = threading.Event()
        torn: list[Any] = []

        def read() -> None:
            with Driver(drive.store, drive.face) as own:
                while not done.is_set():
                    entity = own.load([lookup()])[0].entity
                    if not entity.version == entity.context["n"] == int(entity.state[1:]):
                        torn.append(entity)

        reader = threading.Thread(target=read)
        reader.start()
        for version in range(1, 60):
            new = version + 1
            applied(drive, change(after=version, state=f"s{new}", context={"n": new}))
        done.set()
        reader.join()
        assert torn == []

    def test_stores_over_the_same_data_see_each_other(self, store: Any, tmp_path: Path) -> None:
        if not store.durable:
            return  # every store in memory is its own
        others = [self.make_store(tmp_path) for _ in range(2)]
        for other in others:
            other.connect()
        applied(others[0], change(context={"n": 1}))
        assert others[1].get_context("e") == {"n": 1}
        assert others[1].commit([change()])[0].kind is OutcomeKind.STALE
        applied(store, change(after=1, context={"n": 2}))
        assert [each.get_context("e") for each in others] == [{"n": 2}] * 2
        for other in others:
            other.disconnect()
        assert store.get_state("e") == "open"


def _increment(drive: Driver) -> None:
    while True:
        state, version = drive.get_state_versioned("e", machine_name="m")
        n = drive.get_context("e", machine_name="m").get("n", 0) if state else 0
        metadata = {"context": {"n": n + 1}, "machine_name": "m"}
        try:
            drive.set_state_versioned("e", "open", expected_version=version, metadata=metadata)
        except StaleVersionError:
            continue
        return

"""Reconnecting: closed, restarted or dropped in the middle of use, nothing is lost or doubled."""

import threading
from collections import Counter
from typing import Any

import pytest

from pystator.errors import FSMError
from pystator.records import EntryKind, OutcomeKind
from pystator.testing.building import applied, change, lookup, note
from pystator.testing.drivers import Driver, StoreTests

__all__ = ["ReconnectContract"]

WRITERS = 3
PATIENCE = 3_000


class ReconnectContract(StoreTests):
    """``disconnect`` and ``connect`` of one store, and a server that goes away and comes back."""

    def restart(self, store: Any) -> None:
        """Restart the store's server; what has none is closed and opened.

        Args:
            store: The store under test, connected.
        """
        store.disconnect()
        store.connect()

    def test_a_store_is_used_again_after_closing(self, store: Any, face: str) -> None:
        for round_ in range(4):
            with Driver(store, face) as drive:
                version = round_ if store.durable else 0
                name = "e" if store.durable else f"e{round_}"
                applied(drive, change(name, after=version, context={"n": version + 1}))
                store.append_later([note(name, version=version + 1, kind=EntryKind.ACTION)])
            store.disconnect()
            store.connect()
            if store.durable:
                assert store.get_state_versioned("e") == ("open", version + 1)
        if store.durable:
            kinds = Counter(row.kind for row in store.history("e").items)
            assert kinds == {EntryKind.EVENT: 4, EntryKind.ACTION: 4}

    def test_event_ids_are_known_after_reconnecting(self, store: Any, face: str) -> None:
        if not store.durable:
            return  # gone with the connection, as it says
        commits = [change("e", steps=2, event_id="i"), note("f", version=0, event_id="i")]
        with Driver(store, face) as drive:
            applied(drive, *commits)
            self.restart(store)
            outcomes = drive.commit([change("e", after=2, event_id="i"), commits[1]])
            assert [outcome.kind for outcome in outcomes] == [OutcomeKind.DUPLICATE] * 2
            assert drive.load([lookup("e", "i", "i-2")])[0].known.keys() == {"i", "i-2"}

    def test_cursors_go_on_after_reconnecting(self, store: Any, face: str) -> None:
        if not store.durable:
            return
        with Driver(store, face) as drive:
            applied(drive, *[change(f"e{number}", steps=3) for number in range(4)])
            feed, entities = drive.feed(None, 5), drive.entities(limit=2)
            history = drive.history("e0", limit=2)
            self.restart(store)
            applied(drive, change("e0", after=3))
            rest = drive.feed(feed.next)
            assert len({(row.entity_id, row.id) for row in feed.items + rest.items}) == 13
            names = [each.entity_id for each in drive.entities(after=entities.next).items]
            assert names == ["e2", "e3"]
            assert [row.version for row in drive.history("e0", after=history.next).items] == [3, 4]

    @pytest.mark.parametrize("way", ["reconnect", "restart"])
    def test_writers_go_on_over_it(self, store: Any, face: str, way: str) -> None:
        """Each writer sends a change until it knows what became of it; then the books are right."""
        if not store.durable:
            return
        writers = [_Writer(f"e{number}", store, face) for number in range(WRITERS)]
        threads = [threading.Thread(target=writer.run) for writer in writers]
        for thread in threads:
            thread.start()
        try:
            for round_ in range(3):
                _wait(writers, 4 * (round_ + 1))
                if way == "restart":
                    self.restart(store)
                else:
                    store.disconnect()
                    store.connect()
        finally:
            for writer in writers:
                writer.over.set()
            for thread in threads:
                thread.join(60)
        assert [writer.failure for writer in writers] == [None] * WRITERS
        for writer in writers:
            assert store.get_context(writer.name) == {"n": writer.written}
            rows = store.history(writer.name, limit=10_000).items
            assert [row.version for row in rows] == list(range(1, writer.written + 1))
            assert store.get_state_versioned(writer.name) == ("open", writer.written)

    def test_the_next_call_works(self, store: Any, face: str) -> None:
        """Blocking or async, load, commit or query: none needs a second try."""
        if not store.durable:
            return
        with Driver(store, face) as drive:
            applied(drive, change(context={"n": 1}, timers={"t": (5, 1)}))
            expected: list[tuple[str, tuple[Any, ...], Any]] = [
                ("get_state", ("e",), "open"),
                ("get_context", ("e",), {"n": 1}),
                ("due", (5, 9), [("e", "m")]),
                ("count_by_state", (), {"open": 1}),
                ("machines", ("e",), ["m"]),
            ]
            for name, arguments, answer in expected:
                self.restart(store)
                assert getattr(drive, name)(*arguments) == answer
            self.restart(store)
            applied(drive, change(after=1, context={"n": 2}))
            self.restart(store)
            assert drive.load([lookup()])[0].entity.context == {"n": 2}
            self.restart(store)
            assert [row.version for row in drive.history("e").items] == [1, 2]


class _Writer:
    """Counts up an entity of its own, through whatever happens to the connection."""

    def __init__(self, name: str, store: Any, face: str) -> None:
        self.name = name
        self.store = store
        self.face = face
        self.written = 0
        self.over = threading.Event()
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Until `over`."""
        try:
            with Driver(self.store, self.face) as drive:
                while not self.over.is_set():
                    self._count(drive)
        except BaseException as error:  # noqa: BLE001 - the test reads it
            self.failure = error

    def _count(self, drive: Driver) -> None:
        commit = change(self.name, after=self.written, context={"n": self.written + 1})
        for _ in range(PATIENCE):
            try:
                kind = drive.commit([commit])[0].kind
                entity = drive.load([lookup(self.name)])[0].entity
            except FSMError:
                threading.Event().wait(0.01)  # it is closed, or its server is away
                continue
            assert kind in {OutcomeKind.APPLIED, OutcomeKind.STALE}
            assert entity.commit_id == commit.commit_id
            self.written += 1
            return
        raise AssertionError(f"{self.name} is never answered")


def _wait(writers: list[_Writer], least: int) -> None:
    pause = threading.Event()
    for _ in range(6_000):
        if all(writer.written >= least or writer.failure for writer in writers):
            return
        pause.wait(0.01)
    raise AssertionError("the writers do not write")

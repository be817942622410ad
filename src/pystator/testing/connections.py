"""Opening and closing: as often as one likes, from any thread, and nothing is lost by it."""

import asyncio
import threading
from pathlib import Path
from typing import Any

from pystator.records import EntryKind
from pystator.testing.building import applied, change, note
from pystator.testing.drivers import StoreTests

__all__ = ["ConnectionsContract"]


class ConnectionsContract(StoreTests):
    """``connect``, ``disconnect`` and context managers."""

    def test_opening_and_closing_twice_does_nothing(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        assert store.connect() is store
        assert store.connect(auto_initialize=False, validate_schema=False) is store
        store.set_state("e", "open")
        store.disconnect()
        store.disconnect()
        store.connect()
        if store.durable:
            assert store.get_state("e") == "open"
        store.disconnect()

    def test_a_store_is_a_context_manager(self, tmp_path: Path) -> None:
        with self.make_store(tmp_path) as store:
            store.set_state("e", "open")
            assert store.get_state("e") == "open"

    def test_a_store_is_an_async_context_manager(self, tmp_path: Path) -> None:
        async def run() -> None:
            async with self.make_store(tmp_path) as store:
                await store.aset_state("e", "open")
                assert await store.aget_state("e") == "open"
            await store.adisconnect()
            assert await store.aconnect() is store
            await store.adisconnect()

        asyncio.run(run())

    def test_many_threads_may_open_it(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        errors: list[Exception] = []

        def work(name: str) -> None:
            try:
                store.connect()
                store.set_state(name, "open")
            except Exception as error:  # noqa: BLE001 - a thread's error would go unseen
                errors.append(error)

        threads = [threading.Thread(target=work, args=(f"e{n}",)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert store.count_by_state() == {"open": 8}
        store.disconnect()

    def test_what_was_committed_survives_the_store(self, tmp_path: Path) -> None:
        with self.make_store(tmp_path) as store:
            if not store.durable:
                return  # gone with the process, as it says
            applied(store, change(context={"n": 1}, timers={"t": (20, 1)}, event_id="i"))
            store.append_later([note(kind=EntryKind.ACTION, ref=1)])
        with self.make_store(tmp_path) as store:
            assert (store.get_state("e"), store.get_context("e")) == ("open", {"n": 1})
            assert store.due(20, 9) == [("e", "m")]
            kinds = [row.kind for row in store.history("e").items]
            assert kinds == [EntryKind.EVENT, EntryKind.ACTION]

    def test_it_says_which_faces_work(self, store: Any) -> None:
        assert (store.sync, store.has_async) == (True, True)

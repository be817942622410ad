"""What authors of stores test with: the contract that our own stores are held to.

A store of the three methods::

    from pystator.testing import BasicContract, SyncFace

    class TestMyStore(SyncFace, BasicContract, StatechartsContract):
        def make_store(self, path):
            return MyStore()

A native store, with everything: history, event ids, timers, queries, the feed, concurrency::

    from pystator.testing import StoreContract

    class TestMyStore(StoreContract):
        def make_store(self, path):
            return MyStore(path / "data")

Run them with pytest. ``path`` is an empty folder of the test's own; stores made with the same path
hold the same data. Every test runs over the blocking and over the async face (`SyncFace` and
`AsyncFace` choose one). The contract is a class a topic, so that a store that lacks a topic can
combine the others; what a store does not promise (``durable``, ``idempotent``, ...) is read from
its class. `LinearizabilityContract` records what concurrent callers see and checks that some order
explains it; `RecordingStore` and `assert_linearizable` do so for tests of your own.
`pystator.testing.stateful` compares a store with the one in memory over random
histories, with Hypothesis.
"""

from pystator.testing.building import change, note
from pystator.testing.clock import FakeClock
from pystator.testing.crash import Crash, CrashingStore
from pystator.testing.guards import pure_guards
from pystator.testing.recording import RecordingStore
from pystator.testing.retrace import retrace
from pystator.testing.windows import assert_linearizable

TYPE_CHECKING = False  # type checkers know it as true
if TYPE_CHECKING:
    from pystator.testing.basic import BasicContract
    from pystator.testing.contract import StoreContract
    from pystator.testing.drivers import AsyncFace, Driver, StoreTests, SyncFace
    from pystator.testing.ordering import LinearizabilityContract
    from pystator.testing.statecharts import StatechartsContract

__all__ = [
    "AsyncFace",
    "BasicContract",
    "Crash",
    "CrashingStore",
    "Driver",
    "FakeClock",
    "LinearizabilityContract",
    "RecordingStore",
    "StatechartsContract",
    "StoreContract",
    "StoreTests",
    "SyncFace",
    "assert_linearizable",
    "change",
    "note",
    "pure_guards",
    "retrace",
]

_HOMES = {
    "AsyncFace": "drivers",
    "BasicContract": "basic",
    "Driver": "drivers",
    "LinearizabilityContract": "ordering",
    "StatechartsContract": "statecharts",
    "StoreContract": "contract",
    "StoreTests": "drivers",
    "SyncFace": "drivers",
}
"""What needs pytest is imported when it is asked for: a clock is for tests of any kind."""

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import a class of the contract when it is first asked for."""
        home = _HOMES.get(name)
        if home is None:
            message = f"module 'pystator.testing' has no attribute {name!r}"
            raise AttributeError(message)
        from importlib import import_module

        value = getattr(import_module(f"pystator.testing.{home}"), name)
        globals()[name] = value
        return value

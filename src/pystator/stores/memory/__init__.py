"""The store in memory: `store.py`, what it keeps of an entity (`slots.py`), pruning, restoring."""

from pystator.stores.memory.store import InMemoryStateStore

__all__ = ["InMemoryStateStore"]

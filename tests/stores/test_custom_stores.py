"""Stores of users, written as the specification shows, pass the basic part of the contract."""

import copy

from pystator.testing import AsyncFace, BasicContract, StatechartsContract, SyncFace


class MyCustomStateStore:
    def __init__(self):
        self.states = {}
        self.contexts = {}

    def get_state(self, entity_id: str) -> str | None:
        return self.states.get(entity_id)

    def set_state(self, entity_id: str, state: str, *, metadata: dict | None = None) -> None:
        self.states[entity_id] = state
        if metadata and "context" in metadata:
            self.contexts[entity_id] = copy.deepcopy(metadata["context"])

    def get_context(self, entity_id: str) -> dict:
        return copy.deepcopy(self.contexts.get(entity_id, {}))


class MyAsyncStateStore:
    def __init__(self):
        self.inner = MyCustomStateStore()

    async def aget_state(self, entity_id: str) -> str | None:
        return self.inner.get_state(entity_id)

    async def aset_state(self, entity_id: str, state: str, *, metadata: dict | None = None) -> None:
        self.inner.set_state(entity_id, state, metadata=metadata)

    async def aget_context(self, entity_id: str) -> dict:
        return self.inner.get_context(entity_id)


class TestMyCustomStateStore(SyncFace, BasicContract, StatechartsContract):
    def make_store(self, path):
        return MyCustomStateStore()


class TestMyAsyncStateStore(AsyncFace, BasicContract, StatechartsContract):
    def make_store(self, path):
        return MyAsyncStateStore()

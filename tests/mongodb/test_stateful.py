"""The store in MongoDB against the one in memory, over random histories."""

import pymongo
import pytest
from hypothesis import settings

from pystator.stores.mongodb import MongoDBStateStore
from pystator.stores.mongodb.documents import HISTORY, MACHINES, STATES
from pystator.testing.stateful import StoreComparison

urls: list[str] = []


@pytest.fixture(autouse=True)
def _url(mongodb_url):
    urls.append(mongodb_url)
    yield
    urls.pop()


class MongoDBAgainstMemory(StoreComparison):
    def make_store(self, path):
        mark = path / "used"
        if not mark.exists():  # the first of a run
            mark.touch()
            with pymongo.MongoClient(urls[-1]) as client:
                for name in (STATES, HISTORY, MACHINES):  # their indexes stay
                    client.get_default_database()[name].delete_many({})
        return MongoDBStateStore(urls[-1], pool_size=2)


class MongoDBAgainstMemoryAsync(MongoDBAgainstMemory):
    face = "async"


TestMongoDBAgainstMemory = MongoDBAgainstMemory.TestCase
TestMongoDBAgainstMemory.settings = settings(max_examples=5, stateful_step_count=15, deadline=None)

TestMongoDBAgainstMemoryAsync = MongoDBAgainstMemoryAsync.TestCase
TestMongoDBAgainstMemoryAsync.settings = settings(
    max_examples=3, stateful_step_count=12, deadline=None
)


@pytest.mark.soak
class TestMongoDBAgainstMemoryForLong(MongoDBAgainstMemory.TestCase):
    settings = settings(max_examples=300, stateful_step_count=25, deadline=None)


@pytest.mark.soak
class TestMongoDBAgainstMemoryAsyncForLong(MongoDBAgainstMemoryAsync.TestCase):
    settings = settings(max_examples=100, stateful_step_count=25, deadline=None)

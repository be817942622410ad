"""What the tests of the MongoDB store share."""

from collections.abc import Callable, Iterator

import pymongo
import pytest

from pystator.stores.mongodb import MongoDBStateStore
from servers.line import Line
from servers.mongodb import Databases


@pytest.fixture
def store(mongodb_url: str) -> Iterator[MongoDBStateStore]:
    """A connected store."""
    with MongoDBStateStore(mongodb_url) as connected:
        yield connected


@pytest.fixture
def database(mongodb_url: str) -> Iterator[pymongo.database.Database]:
    """The same database, as somebody else sees it."""
    with pymongo.MongoClient(mongodb_url) as client:
        yield client.get_default_database()


@pytest.fixture
def line(mongodb: Databases) -> Iterator[Line]:
    """A line to the server that can be cut."""
    with Line(_port(mongodb.url)) as between:
        yield between


@pytest.fixture
def over(line: Line, mongodb_url: str) -> Iterator[Callable[..., MongoDBStateStore]]:
    """``over(**options)``: a connected store over the line, with one connection to write over."""
    made: list[MongoDBStateStore] = []

    def make(**options) -> MongoDBStateStore:
        url = mongodb_url.replace(f":{_port(mongodb_url)}", f":{line.port}")
        made.append(MongoDBStateStore(url, **options).connect())
        return made[-1]

    yield make
    for each in made:
        each.disconnect()


def _port(url: str) -> int:
    return pymongo.uri_parser.parse_uri(url)["nodelist"][0][1]

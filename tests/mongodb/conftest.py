"""What the tests of the MongoDB store share."""

import re
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
    with Line(*_hosts(mongodb.url)[0]) as between:
        yield between


@pytest.fixture
def over(line: Line, mongodb_url: str) -> Iterator[Callable[..., MongoDBStateStore]]:
    """``over(**options)``: a connected store over the line."""
    made: list[MongoDBStateStore] = []
    hosts = ",".join(f"{host}:{port}" for host, port in _hosts(mongodb_url))
    url = mongodb_url.replace(hosts, f"127.0.0.1:{line.port}")
    url = re.sub(r"replicaSet=[^&]*", "directConnection=true", url)

    def make(**options) -> MongoDBStateStore:
        made.append(MongoDBStateStore(url, **options).connect())
        return made[-1]

    yield make
    for each in made:
        each.disconnect()


def _hosts(url: str) -> list[tuple[str, int]]:
    return pymongo.uri_parser.parse_uri(url)["nodelist"]

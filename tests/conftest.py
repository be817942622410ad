"""What every test shares: outside data, real servers, and that nothing is skipped quietly."""

import gc
import os
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from servers import find
from servers import postgres as pg
from servers.cluster import Cluster, ClusterKeys
from servers.find import NoServerError, url_of
from servers.mongodb import Databases, MongoDB, is_replica_set
from servers.redis import QUICK, SAFE, Keys, Redis
from servers.shared import locked, once, run_folder, run_process

CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}

settings.register_profile(
    "default",
    max_examples=100 if os.environ.get("PYSTATOR_SOAK") else 50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=CI,
)
settings.load_profile("default")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--my-servers",
        action="store_true",
        help="only tests at the servers that PYSTATOR_TEST_..._URL name",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("my_servers"):  # the user's server may be one for tests, kept in memory
        config.addinivalue_line("filterwarnings", "ignore:.* writes nothing to a disk")


@pytest.hookimpl(tryfirst=True)  # before `-m soak` looks for the mark
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is no part of the run is neither run nor skipped.

    Tests marked ``soak`` have to be asked for. With ``--my-servers`` none is run but the contract of
    stores at the servers that the user names: it knows nothing but stores, so it harms no others.
    """
    for item in items:
        if not is_of_every_run(item):
            item.add_marker("soak")
    if not os.environ.get("PYSTATOR_SOAK"):
        keep(config, items, lambda item: item.get_closest_marker("soak") is None)
    if config.getoption("my_servers"):
        named = {f"{name}_url" for name in find.PACKAGES if url_of(name)}
        if not named:
            names = ", ".join(f"PYSTATOR_TEST_{name.upper()}_URL" for name in find.PACKAGES)
            raise pytest.UsageError(f"no server is named: set one of {names}")
        keep(config, items, lambda item: is_contract(item, named))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is there when the tests begin stays: the garbage collector does not walk it again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def is_of_every_run(item: pytest.Item) -> bool:
    """Of a contract over two faces, a class may name the one that every run takes: ``daily``.

    ``"either"`` is one of them for each test, about half of them the blocking one: always the same,
    told from the test's name.
    """
    daily = getattr(getattr(item, "cls", None), "daily", None)
    face = getattr(item, "callspec", None) and item.callspec.params.get("face")
    if daily is None or face is None:
        return True
    if daily == "either":
        daily = ("sync", "async")[zlib.crc32(item.originalname.encode()) & 1]
    return face == daily


def is_contract(item: pytest.Item, fixtures: set[str]) -> bool:
    used = getattr(item, "fixturenames", ())
    return item.path.name == "test_contract.py" and not fixtures.isdisjoint(used)


def keep(
    config: pytest.Config, items: list[pytest.Item], wanted: Callable[[pytest.Item], bool]
) -> None:
    gone = [item for item in items if not wanted(item)]
    if gone:
        items[:] = [item for item in items if wanted(item)]
        config.hook.pytest_deselected(items=gone)


def outside(variable: str) -> Path:
    """The folder a variable names; in CI it has to be there, elsewhere its tests are skipped aloud."""
    value = os.environ.get(variable, "")
    if value and Path(value).is_dir():
        return Path(value)
    reason = f"{variable} names no folder ({value!r}): run `make test`, which sets it"
    if CI:
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def needed() -> Iterator[None]:
    """A server that is not here is a failure in CI; elsewhere its tests are skipped aloud."""
    try:
        yield
    except NoServerError as error:
        (pytest.fail if CI else pytest.skip)(str(error))


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real input."""
    return outside("PYSTATOR_DATA")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the specification and the conformance suites."""
    return outside("PYSTATOR_SHARED")


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pg.Databases]:
    """The run's PostgreSQL: databases can be made in it. It loses all when it is killed.

    Each worker process has its own. Transactions are numbered for a whole server, and a feed waits
    for all that run: those of other tests would hold it up.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    with needed():
        began = once(run_folder(tmp_path_factory) / f"postgres{worker}.json", pg.begin)
    databases = pg.Databases(began["url"], began["tables"])
    yield databases
    databases.close()
    pg.end()


@pytest.fixture
def postgres_url(postgres: pg.Databases) -> Iterator[str]:
    """A PostgreSQL database with our tables, without rows."""
    url = postgres.borrow()
    yield url
    postgres.give_back(url)


@pytest.fixture
def empty_postgres_url(postgres: pg.Databases) -> Iterator[str]:
    """A PostgreSQL database in which there is nothing."""
    url = postgres.database()
    yield url
    postgres.drop(url)


@pytest.fixture
def own_postgres() -> Iterator[Callable[..., pg.Server]]:
    """``own_postgres(*settings, listen=False)``: a private server that keeps what it acknowledged."""
    servers: list[pg.Server] = []

    def begin(*settings: str, listen: bool = False) -> pg.Server:
        with needed():
            server = pg.Server(os.getpid(), *settings, listen=listen)
        servers.append(server)
        server.start()
        return server

    yield begin
    for server in servers:
        server.remove()


@pytest.fixture
def trusting_postgres_url(request: pytest.FixtureRequest) -> str:
    """An empty database of a server that asks nobody for a password."""
    if find.url_of("postgres") is None:
        url: str = request.getfixturevalue("empty_postgres_url")
        return url
    server: pg.Server = request.getfixturevalue("own_postgres")()
    return server.url


@pytest.fixture
def manual_postgres(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """What a manual's ``postgresql://user:pass@localhost/pystator`` names: an empty database.

    The URL has no port, so libpq is told: by ``PGPORT`` in the environment. One test at a time has
    the database. The value is the URL of the server's superuser.
    """
    folder = run_folder(tmp_path_factory)
    with needed():
        began = once(folder / "manual-postgres.json", pg.begin_with_password)
    with locked(folder / "manual-postgres.turn"):
        pg.remake(began["url"], "pystator", owner="user")
        monkeypatch.setenv("PGPORT", str(began["port"]))
        yield began["url"]


def mine(config: pytest.Config, name: str) -> str | None:
    """The user's server, which is only for the contract: other tests empty servers and set them up."""
    return url_of(name) if config.getoption("my_servers") else None


# Redis and Valkey ---------------------------------------------------------------------------------


@contextmanager
def keys_of(config: pytest.Config, name: str) -> Iterator[Keys]:
    """Places for keys in the user's server, or in one of this worker's own."""
    url = mine(config, name)
    if url is not None:
        yield Keys(url, ours=False)
        return
    with needed():
        server = Redis(run_process(), *QUICK, name=name)
    with server:
        yield Keys(server.url, ours=True)


@pytest.fixture(scope="session")
def redis_keys(pytestconfig: pytest.Config) -> Iterator[Keys]:
    """This worker's Redis; it keeps all in memory."""
    with keys_of(pytestconfig, "redis") as keys:
        yield keys


@pytest.fixture
def redis_url(redis_keys: Keys) -> Iterator[str]:
    """A Redis in which there is nothing; in a user's own server, a prefix with no keys."""
    url = redis_keys.borrow()
    yield url
    redis_keys.give_back(url)


@pytest.fixture(scope="session")
def valkey_keys(pytestconfig: pytest.Config) -> Iterator[Keys]:
    """This worker's Valkey."""
    with keys_of(pytestconfig, "valkey") as keys:
        yield keys


@pytest.fixture
def valkey_url(valkey_keys: Keys) -> Iterator[str]:
    """The same as `redis_url` in a Valkey."""
    url = valkey_keys.borrow()
    yield url
    valkey_keys.give_back(url)


@pytest.fixture(scope="session")
def redis_cluster_keys(pytestconfig: pytest.Config) -> Iterator[ClusterKeys]:
    """This worker's Redis Cluster of three nodes."""
    url = mine(pytestconfig, "redis_cluster")
    if url is not None:
        keys = ClusterKeys(url, ours=False)
        yield keys
        keys.close()
        return
    with needed():
        cluster = Cluster(run_process())
    with cluster:
        keys = ClusterKeys(cluster.url, ours=True)
        yield keys
        keys.close()


@pytest.fixture
def redis_cluster_url(redis_cluster_keys: ClusterKeys) -> Iterator[str]:
    """The same as `redis_url` in a cluster: the URL of one of its nodes."""
    url = redis_cluster_keys.borrow()
    yield url
    redis_cluster_keys.give_back(url)


@pytest.fixture
def own_redis() -> Iterator[Callable[..., Redis]]:
    """``own_redis(*options, name="redis", password=None)``: a private server, by default a durable one.

    Options are of its command line: ``own_redis("--maxmemory", "10mb")``. Without any it keeps
    what it acknowledged through a ``kill -9``.
    """
    servers: list[Redis] = []

    def begin(*options: str, name: str = "redis", password: str | None = None) -> Redis:
        with needed():
            server = Redis(os.getpid(), *(options or SAFE), name=name, password=password)
        servers.append(server)
        server.start()
        return server

    yield begin
    for server in servers:
        server.remove()


@pytest.fixture
def manual_redis(own_redis: Callable[..., Redis]) -> str:
    """Where a manual's ``localhost:6379`` is: a server in which there is nothing."""
    server = own_redis("--appendonly", "yes")
    return f"127.0.0.1:{server.port}"


# MongoDB ------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def mongodb(pytestconfig: pytest.Config) -> Iterator[Databases]:
    """This worker's MongoDB, a standalone server; or the user's, whatever it is."""
    url = mine(pytestconfig, "mongodb")
    if url is not None:
        yield Databases(url)
        return
    with needed():
        server = MongoDB(run_process())
    with server:
        yield Databases(server.url)


@pytest.fixture
def mongodb_url(mongodb: Databases) -> Iterator[str]:
    """A MongoDB database in which there is nothing."""
    url = mongodb.borrow()
    yield url
    mongodb.give_back(url)


@pytest.fixture(scope="session")
def mongodb_replica(pytestconfig: pytest.Config) -> Iterator[Databases]:
    """This worker's replica set; or the user's server, if it is one."""
    url = mine(pytestconfig, "mongodb")
    if url is not None and is_replica_set(url):
        yield Databases(url)
        return
    with needed():
        server = MongoDB(run_process(), replica=True)
    with server:
        yield Databases(server.replica_url)


@pytest.fixture
def mongodb_replica_url(mongodb_replica: Databases) -> Iterator[str]:
    """A database of a replica set in which there is nothing."""
    url = mongodb_replica.borrow()
    yield url
    mongodb_replica.give_back(url)


@pytest.fixture
def own_mongodb() -> Iterator[Callable[..., MongoDB]]:
    """``own_mongodb(*options, replica=False, durable=True)``: a private server."""
    servers: list[MongoDB] = []

    def begin(*options: str, replica: bool = False, durable: bool = True) -> MongoDB:
        with needed():
            server = MongoDB(os.getpid(), *options, replica=replica, durable=durable)
        servers.append(server)
        server.start()
        return server

    yield begin
    for server in servers:
        server.remove()


@pytest.fixture
def manual_mongodb(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where a manual's ``localhost:27017`` is: a server in which there is nothing.

    It is this worker's own, which takes a second to start.
    """
    if mine(request.config, "mongodb") is not None:
        server: MongoDB = request.getfixturevalue("own_mongodb")(durable=False)
        yield f"127.0.0.1:{server.port}"
        return
    databases: Databases = request.getfixturevalue("mongodb")
    databases.empty()
    yield databases.url.removeprefix("mongodb://").partition("/")[0]
    databases.empty()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skipped test is a failed run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if CI and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED

"""What every test shares: outside data, real servers, and that nothing is skipped quietly."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from servers import find
from servers import postgres as pg
from servers.find import url_of
from servers.shared import locked, once, run_folder

CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}

settings.register_profile(
    "default", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=CI
)
settings.load_profile("default")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked ``soak`` are no part of a run that does not ask for them: neither run nor skipped."""
    if os.environ.get("PYSTATOR_SOAK"):
        return
    soak = [item for item in items if item.get_closest_marker("soak")]
    if soak:
        items[:] = [item for item in items if item not in soak]
        config.hook.pytest_deselected(items=soak)


def outside(variable: str) -> Path:
    """The folder a variable names; in CI it has to be there, elsewhere its tests are skipped aloud."""
    value = os.environ.get(variable, "")
    if value and Path(value).is_dir():
        return Path(value)
    reason = f"{variable} names no folder ({value!r}): run `make test`, which sets it"
    if CI:
        pytest.fail(reason)
    pytest.skip(reason)


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
    worker = "" if url_of("postgres") else os.environ.get("PYTEST_XDIST_WORKER", "")
    try:
        began = once(run_folder(tmp_path_factory) / f"postgres{worker}.json", pg.begin)
    except pg.NoServerError as error:
        (pytest.fail if CI else pytest.skip)(str(error))
    databases = pg.Databases(began["url"])
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
        try:
            server = pg.Server(os.getpid(), *settings, listen=listen)
        except pg.NoServerError as error:
            (pytest.fail if CI else pytest.skip)(str(error))
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
    try:
        began = once(folder / "manual-postgres.json", pg.begin_with_password)
    except pg.NoServerError as error:
        (pytest.fail if CI else pytest.skip)(str(error))
    with locked(folder / "manual-postgres.turn"):
        pg.remake(began["url"], "pystator", owner="user")
        monkeypatch.setenv("PGPORT", str(began["port"]))
        yield began["url"]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skipped test is a failed run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if CI and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED

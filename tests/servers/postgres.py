"""PostgreSQL for the tests: a server, and databases in it."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote

import psycopg
from psycopg import sql

from servers import find
from servers.find import NoServerError
from servers.program import NOBODY, is_readable
from servers.shared import free_port, run_process

PREFIX: Final = "pystator_test_"
"""Databases of tests begin with it."""

QUICK: Final = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
"""Settings of a server that nobody kills."""

PATIENCE: Final = 60.0


class Server:
    """A server of our own, in a temporary folder.

    Args:
        owner: The process with which it ends.
        settings: ``name=value`` of its configuration.
        listen: Also listens on a free port of loopback; by default only on a socket in its folder.
    """

    def __init__(self, owner: int, *settings: str, listen: bool = False) -> None:
        self.owner = owner
        self.settings = settings
        self.folder = Path(tempfile.mkdtemp(prefix="pystator-pg-"))
        self.user = NOBODY if os.getuid() == 0 else None
        self.programs = _programs(self.folder, self.user)
        self.port = free_port() if listen else 5432  # a name in the folder, no port
        self.host = "127.0.0.1" if listen else str(self.folder)
        self._watch: subprocess.Popen[bytes] | None = None
        if self.user is not None:
            os.chown(self.folder, self.user, self.user)
        self._run(
            "initdb", "-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8",
            "--locale=C.UTF-8", "--no-sync",
        )  # fmt: skip

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def url(self) -> str:
        """The database that every server has."""
        return self.url_of("postgres")

    def url_of(self, database: str, *, user: str = "postgres", password: str = "") -> str:
        secret = f":{quote(password)}" if password else ""
        if self.host.startswith("/"):
            return f"postgresql://{user}{secret}@/{database}?host={quote(self.host, safe='/')}"
        return f"postgresql://{user}{secret}@{self.host}:{self.port}/{database}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def start(self) -> None:
        """Start it and wait until it answers."""
        listen = "127.0.0.1" if self.host == "127.0.0.1" else ""
        options = [f"listen_addresses={listen}", f"port={self.port}", *self.settings]
        options.append(f"unix_socket_directories={self.folder}")
        command = [str(self.programs / "postgres"), "-D", str(self.data)]
        command += [part for option in options for part in ("-c", option)]
        watch = [sys.executable, str(Path(__file__).with_name("watch.py")), str(self.owner)]
        watch += [str(self.folder), "-" if self.user is None else str(self.user)]
        watch += [str(int(signal.SIGINT)), "--", *command]
        self._watch = subprocess.Popen(
            watch, stdin=subprocess.DEVNULL, cwd="/", start_new_session=True
        )
        self._wait()

    def stop(self) -> None:
        """End it in good order; connections are cut."""
        if self._watch is not None:
            self._watch.terminate()
            self._watch.wait()
            self._watch = None

    def kill(self) -> None:
        """``kill -9`` of the server and of every process it started."""
        process = self.process
        for each in (process, *_children(process)):
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        if self._watch is not None:
            self._watch.wait()
            self._watch = None

    @contextmanager
    def hung(self) -> Iterator[None]:
        """As a machine that is frozen, or out of reach: it takes connections, and says nothing."""
        process = self.process
        frozen = (process, *_children(process))
        for each in frozen:
            os.kill(each, signal.SIGSTOP)
        try:
            yield
        finally:
            for each in frozen:
                os.kill(each, signal.SIGCONT)

    def restart(self) -> None:
        self.stop()
        self.start()

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def process(self) -> int:
        """Its process id."""
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self.programs / program), *arguments],
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            cwd="/",
            **_as(self.user),
        )
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stdout}{done.stderr}")

    def _wait(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=5).close()
            except psycopg.OperationalError as error:
                ended = self._watch is not None and self._watch.poll() is not None
                if ended or time.monotonic() > deadline:
                    log = (self.folder / "log").read_text(errors="replace")[-2_000:]
                    raise RuntimeError(f"the server did not start: {error}\n{log}") from error
                time.sleep(0.02)
            else:
                return


class Databases:
    """Databases of one server, ours or the user's; those that were made here are dropped at the end.

    Attributes:
        tables: The database that has our tables and no rows: others are copies of it.
    """

    def __init__(self, url: str, tables: str = "") -> None:
        self.url = url
        self.tables = tables or f"{PREFIX}{uuid.uuid4().hex}"
        self._free: list[str] = []

    def database(self, template: str | None = None) -> str:
        """The URL of a new database, empty or a copy of another one."""
        name = f"{PREFIX}{uuid.uuid4().hex}"
        query = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if template is not None:
            query += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
        self._execute(query)
        return url_with(self.url, name)

    def drop(self, url: str) -> None:
        """Drop a database, whoever is still connected to it."""
        name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(_identifier(name)))

    def make_tables(self) -> None:
        """Make the database of which others are copies."""
        from pystator.db.commands import init

        self._execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self.tables)))
        init(url_with(self.url, self.tables))

    def borrow(self) -> str:
        """A database with our tables, without rows."""
        return self._free.pop() if self._free else self.database(self.tables)

    def give_back(self, url: str) -> None:
        """Empty a borrowed database for the next one who wants it: a new one takes ten times as long."""
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            connection.execute(
                "DELETE FROM worker_events; DELETE FROM transition_history;"
                " DELETE FROM entity_states; DELETE FROM machines; DELETE FROM pystator_meta"
            )
        self._free.append(url)

    def close(self) -> None:
        for url in (*self._free, url_with(self.url, self.tables)):
            self.drop(url)
        self._free.clear()

    def _execute(self, query: sql.Composable) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(query)


def remake(url: str, name: str, *, owner: str) -> None:
    """An empty database of this name, whatever was in the one before."""
    database = sql.Identifier(name)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(database))
        connection.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(database, sql.Identifier(owner))
        )


def url_with(url: str, database: str) -> str:
    """The same server, another database."""
    fields = psycopg.conninfo.conninfo_to_dict(url)
    host = str(fields.get("host", ""))
    user = quote(str(fields.get("user", "postgres")), safe="")
    password = quote(str(fields.get("password", "")), safe="")
    secret = f":{password}" if password else ""
    if host.startswith("/"):
        return f"postgresql://{user}{secret}@/{database}?host={host}"
    return f"postgresql://{user}{secret}@{host}:{fields.get('port', 5432)}/{database}"


_of_the_run: Final[list[Server]] = []
"""Kept, as a process that is forgotten while it runs is warned of."""


def begin() -> dict[str, Any]:
    """The server of a test run; it ends with the run at the latest. Its URL."""
    url = find.url_of("postgres")
    if url is None:
        server = Server(run_process(), *QUICK, "max_connections=200", "autovacuum=off")
        server.start()
        _of_the_run.append(server)
        url = server.url
    databases = Databases(url)
    databases.make_tables()
    return {"url": url, "tables": databases.tables}


def begin_with_password() -> dict[str, Any]:
    """A server as manuals have it: on a port, with a role that needs its password. Its port."""
    server = Server(run_process(), *QUICK, "autovacuum=off", listen=True)
    _of_the_run.append(server)
    rules = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
    (server.data / "pg_hba.conf").write_text(rules)
    server.start()
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE ROLE \"user\" LOGIN PASSWORD 'pass'")
        connection.execute("CREATE ROLE guest LOGIN PASSWORD 'pass'")
    return {"port": server.port, "url": server.url}


def end() -> None:
    """End what this process has begun."""
    while _of_the_run:
        _of_the_run.pop().remove()


def _programs(folder: Path, user: int | None) -> Path:
    programs = find.postgres() or find.postgres_wheel()
    if programs is None:
        raise NoServerError("postgres")
    if user is None or is_readable(programs):
        return programs
    copy = folder / "programs"  # another user may not look into ours
    shutil.copytree(programs.parent, copy, symlinks=True)
    for each in (folder, copy):
        each.chmod(0o755)
    return copy / programs.name


def _as(user: int | None) -> dict[str, Any]:
    return {} if user is None else {"user": user, "group": user, "extra_groups": []}


def _identifier(name: Any) -> sql.Identifier:
    return sql.Identifier(str(name))


def _children(process: int) -> list[int]:
    """The processes that a process started (Linux)."""
    found: list[int] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == process:
                found.append(int(stat.parent.name))
    return found


__all__ = ["Databases", "Server", "begin", "begin_with_password"]

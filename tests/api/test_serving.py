"""`pystator api` as a process: what it refuses to begin with, how it ends, and what its workers do."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import httpx
import pytest

from pystator import SQLiteStateStore
from pystator.api.server.serving import Serving, listen
from pystator.api.settings import ApiSettings
from pystator.errors import ConfigurationError
from pystator.service.keyfile import create_key, revoke_key
from servers.service import start, until

CREATE = "/api/v1/entities/{}/create"


# Before it begins ---------------------------------------------------------------------------------


def serving(folder: Path, **options) -> Serving:
    settings = ApiSettings.load({}, folder, folder, **options.pop("settings", {}))
    return Serving("memory://", None, settings, **{"port": 0, **options})


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_an_open_address_without_authentication_is_refused(tmp_path, host):
    with pytest.raises(ConfigurationError, match="nobody is asked for a key"):
        listen(serving(tmp_path, host=host))


def test_an_open_address_is_served_with_a_key_or_when_it_is_said(tmp_path):
    keys = tmp_path / "k.json"
    keys.write_text('{"version": 1, "keys": []}')
    for settings in ({"keys_file": str(keys)}, {"jwt_secret": "k" * 32}, {"insecure": True}):
        _, listening = listen(serving(tmp_path, host="0.0.0.0", settings=settings))
        listening.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2"])
def test_loopback_is_served_to_this_machine_by_its_names_only(tmp_path, host):
    found, listening = listen(serving(tmp_path, host=host))
    listening.close()
    assert {"localhost", "127.0.0.1", host} <= set(found.settings.hosts)


def test_a_taken_port_is_one_sentence(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port}: another program"):
            listen(serving(tmp_path, port=port))


@pytest.mark.parametrize("host", ["", "no.such.host.invalid", "256.1.1.1", "a" * 300])
def test_a_host_that_is_none_is_one_sentence(tmp_path, host):
    with pytest.raises(ConfigurationError, match="is no address of this machine"):
        listen(serving(tmp_path, host=host))


# One process --------------------------------------------------------------------------------------


def test_a_stream_ends_with_its_key_before_the_next_row(tmp_path):
    """Another one goes on, until the server is asked to stop; it is a whole answer then."""
    keys = tmp_path / "pystator-keys.json"
    make = partial(create_key, keys, machines=None, now=1)
    (admin, _), (reader, gone) = make("a", scopes=["admin"]), make("r", scopes=["read"])
    with start(tmp_path) as server:
        came: dict[str, list[str]] = {admin: [], reader: []}

        def follow(key: str) -> None:
            url = f"{server.url}/api/v1/transitions/stream"
            with httpx.stream("GET", url, headers={"x-api-key": key}, timeout=30) as stream:
                for line in stream.iter_lines():
                    came[key].append(line)

        threads = [threading.Thread(target=follow, args=[key]) for key in came]
        for each in threads:
            each.start()
        until(lambda: all(came.values()))
        revoke_key(keys, gone.id, now=2)
        time.sleep(1)
        sent = server.post(CREATE.format("a"), {}, headers={"x-api-key": admin})
        assert sent.status_code == 201
        until(lambda: "event: transition" in came[admin])
        threads[1].join(10)
        assert "event: transition" not in came[reader]
        assert server.get("/api/v1/entities", headers={"x-api-key": reader}).status_code == 401
        assert server.stop() == 0
        threads[0].join(10)
        assert not any(each.is_alive() for each in threads)


def test_it_finishes_what_is_in_flight_and_ends_well(tmp_path):
    """To begin takes a second here; the signal comes in its middle, and nothing else is taken then."""
    with start(tmp_path) as server:
        idle = httpx.Client(base_url=server.url)
        assert idle.get("/health").status_code == 200
        answers: list[httpx.Response] = []

        def send() -> None:
            answers.append(server.post(CREATE.format("a"), {"context": {"seconds": 1}}))

        sender = threading.Thread(target=send)
        sender.start()
        time.sleep(0.4)
        asked = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        sender.join()
        assert answers[0].status_code == 201
        assert server.process.wait(10) == 0
        assert 0.2 < time.monotonic() - asked < 5
        with pytest.raises(httpx.TransportError):
            server.get("/health")
        idle.close()
    with SQLiteStateStore(f"sqlite:///{tmp_path}/pystator.db") as store:
        assert store.get_state("a") == "new", "it was committed"
    assert "Traceback" not in server.log


# Workers ------------------------------------------------------------------------------------------


def children(pid: int) -> set[int]:
    """The workers of a supervisor: processes that were spawned to run, no helpers of Python's."""
    found = set()
    for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        line = Path(f"/proc/{each}/cmdline")
        if line.exists() and b"spawn_main" in line.read_bytes():
            found.add(int(each))
    return found


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at processes in /proc")
def test_workers_are_replaced_and_end_together(tmp_path):
    with start(tmp_path, "--workers", "2") as server:
        pid = server.process.pid
        until(lambda: len(children(pid)) == 2)
        answers = [server.post(CREATE.format(n), {}).status_code for n in range(6)]
        assert answers == [201] * 6
        first = children(pid)
        os.kill(min(first), signal.SIGKILL)
        until(lambda: len(children(pid) - first) == 1)
        counted = 'pystator_events_total{machine="job",outcome="applied",reason=""} 6.0'
        assert counted in server.get("/metrics").text.splitlines()
        workers = children(pid)
        os.killpg(pid, signal.SIGINT)  # Ctrl-C, while a worker is still being imported
        assert server.process.wait(20) == 0
        assert "Traceback" not in server.log
        until(lambda: not any(Path(f"/proc/{each}").exists() for each in workers))


@pytest.mark.soak
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at processes in /proc")
def test_workers_end_when_who_watches_them_is_killed(tmp_path):
    with start(tmp_path, "--workers", "2") as server:
        workers = children(server.process.pid)
        assert workers
        server.stop(signal.SIGKILL)
        until(lambda: not any(Path(f"/proc/{each}").exists() for each in workers), 15)


def status_of(url):
    try:
        return httpx.get(url, timeout=5).status_code
    except httpx.HTTPError:
        return None


def test_more_connections_are_held_than_a_shell_allows(tmp_path):
    """The limit that a login gives a process is 1,024 files, often; a service asks for what it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = 200
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
    try:
        service = start(tmp_path)
        service.begin()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        service.wait()
        with ExitStack() as idle:
            for _ in range(2 * few):
                connection = socket.create_connection((service.host, service.port))
                idle.enter_context(closing(connection))
            assert httpx.get(f"{service.url}/health", timeout=5).status_code == 200
        assert "out of system resource" not in service.log
    finally:
        service.end()


def test_too_many_connections_hold_up_nobody_for_long(tmp_path):
    """Who says nothing is cut off soon; who is known is served, and who comes is told to come again."""
    limits = {"PYSTATOR_API_MOST_CONNECTIONS": "30", "PYSTATOR_API_REQUEST_SECONDS": "3"}
    with (
        start(tmp_path, **limits) as service,
        httpx.Client(base_url=service.url, timeout=20) as known,
        ExitStack() as idle,
    ):
        assert known.get("/health").status_code == 200
        for _ in range(60):
            connection = socket.create_connection((service.host, service.port), timeout=5)
            idle.enter_context(closing(connection))
        head, _, body = connection.recv(65_536).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1" in head
        assert json.loads(body)["code"] == "too_many_connections"
        assert connection.recv(1) == b"", "and it ends"
        answer = known.post("/api/v1/entities/j-1/events", json={"trigger": "go"})
        assert answer.status_code == 200, answer.text
        until(lambda: status_of(f"{service.url}/health") == 200)


@pytest.mark.parametrize(("files", "connections"), [(200, 72), (100, 1), (20_000, 10_000)])
def test_connections_leave_files_to_the_store(files, connections):
    """Where no more files can be had, the connections are fewer."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < files:
        files, connections = hard, min(hard - 128, connections)
    code = (
        f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({files}, {files}));"
        "from pystator.api.server.serving import allow_connections;"
        "from pystator.api.settings import ApiSettings;"
        "print(allow_connections(ApiSettings()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == connections

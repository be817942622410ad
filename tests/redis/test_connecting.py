"""Connecting: which servers are taken, and what is said of those that are not."""

import asyncio
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import warnings
from contextlib import closing

import pytest

from pystator import RedisStateStore
from pystator.db.redis_url import parse_redis
from pystator.errors import ConfigurationError, StoreUnavailableError
from pystator.testing.building import applied, change, lookup
from servers.relay import Relay


def refused(url, kind=StoreUnavailableError, **options):
    """The error of a store that cannot connect."""
    with pytest.raises(kind) as caught:
        RedisStateStore(url, **options).connect()
    assert caught.value.context.get("written") in {False, None}
    return str(caught.value)


class TestServers:
    def test_one_that_evicts_keys_is_refused(self, own_redis):
        server = own_redis("--appendonly", "yes", "--maxmemory-policy", "allkeys-lru")
        assert "noeviction" in refused(server.url, ConfigurationError)

    def test_one_that_writes_nothing_to_a_disk_is_warned_of(self, own_redis):
        server = own_redis("--appendonly", "no")
        store = RedisStateStore(server.url)
        with pytest.warns(UserWarning, match="appendonly yes") as warned:
            store.connect()
        assert [each.filename for each in warned] == [__file__]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            store.connect()
        store.disconnect()

    def test_one_that_saves_now_and_then_is_not(self, own_redis):
        server = own_redis("--appendonly", "no", "--save", "60 1")
        with RedisStateStore(server.url) as store:
            store.set_state("e", "open")

    def test_a_replica_takes_no_writes(self, own_redis):
        primary, replica = own_redis(), own_redis()
        with replica.client() as client:
            client.replicaof("127.0.0.1", primary.port)
        with (
            RedisStateStore(replica.url, timeout=0.2) as store,
            pytest.raises(StoreUnavailableError, match="replica") as caught,
        ):
            store.commit([change()])
        assert caught.value.context["written"] is False

    def test_a_database_that_is_not_there(self, own_redis):
        server = own_redis("--databases", "2", "--appendonly", "yes")
        assert "no database of this number" in refused(f"{server.url[:-1]}7")


class TestPasswords:
    @pytest.fixture
    def guarded(self, own_redis):
        """A server with a password."""
        return own_redis("--appendonly", "yes", password="pa/ss@wörd")

    def test_the_right_one(self, guarded):
        store = RedisStateStore(guarded.url)
        with store:
            store.set_state("e", "open")
        assert "rd" not in repr(store)
        assert "rd" not in store.url

    def test_a_wrong_one(self, guarded):
        url = guarded.url.replace(":pa", ":secret")
        said = refused(url)
        assert "password is wrong" in said
        assert "secret" not in said

    def test_none(self, guarded):
        assert "wants a password" in refused(f"redis://127.0.0.1:{guarded.port}/0")

    def test_one_that_is_not_wanted(self, redis_url):
        host = redis_url.partition("://")[2].partition("?")[0]
        assert "has no password" in refused(f"redis://:secret@{host}")

    def test_a_user_with_too_few_rights(self, guarded):
        with guarded.client() as client:
            client.acl_setuser("poor", enabled=True, passwords=["+p"], commands=["+info"])
        url = f"redis://poor:p@127.0.0.1:{guarded.port}/0"
        assert "too few rights" in refused(url)

    def test_a_user_with_enough_rights(self, guarded):
        """Those that an error names."""
        with guarded.client() as client:
            client.execute_command(
                "ACL", "SETUSER", "clerk", "on", ">p", "~pystator:*", "~{pystator:*",
                "+@read", "+@write", "+@scripting", "+@connection", "+info", "+config|get",
            )  # fmt: skip
        with RedisStateStore(f"redis://clerk:p@127.0.0.1:{guarded.port}/0") as store:
            store.set_state("e", "open")
            assert store.get_state("e") == "open"


class TestTLS:
    @pytest.fixture
    def certificate(self, tmp_path):
        """Of localhost, signed by nobody."""
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        command += ["-keyout", "key.pem", "-out", "cert.pem"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        return tmp_path / "cert.pem"

    @pytest.fixture
    def relay(self, redis_url, certificate):
        """The way to a server, over TLS."""
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate, certificate.with_name("key.pem"))
        with Relay(parse_redis(redis_url).port, tls) as started:
            yield started

    def test_both_faces_speak_it(self, relay, certificate):
        large = {"text": "x" * 300_000}
        names = [f"e{number}" for number in range(10)]

        async def run(store):
            outcomes = await store.acommit([change(name, after=1, context=large) for name in names])
            assert {outcome.kind for outcome in outcomes} == {"applied"}
            return await store.aload([lookup(name) for name in names])

        with RedisStateStore(f"{relay.url}?ssl_ca_certs={certificate}") as store:
            applied(store, *[change(name, context=large) for name in names])
            assert [each.entity.context for each in asyncio.run(run(store))] == [large] * 10
            assert store.load_one("e3", "m").version == 2

    def test_a_certificate_of_nobody_is_not_trusted(self, relay):
        assert "TLS failed" in refused(relay.url)
        with RedisStateStore(f"{relay.url}?ssl_cert_reqs=none&ssl_check_hostname=false") as store:
            assert store.get_state("e") is None


class TestPlaces:
    def test_a_host_that_nobody_knows(self):
        assert "nobody knows a host" in refused("redis://no-such-host.invalid/0", timeout=5)

    def test_a_port_where_nothing_is(self):
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            url = f"redis://127.0.0.1:{free.getsockname()[1]}/0"
            assert "is Redis running" in refused(url)

    def test_a_socket_that_is_not_there(self, tmp_path):
        assert "is Redis running" in refused(f"unix://{tmp_path}/none.sock")

    def test_what_is_no_redis(self):
        with listening(b"HTTP/1.1 400 Bad Request\r\n\r\n") as url:
            assert "no Redis" in refused(url)

    def test_what_never_answers(self):
        with listening(b"") as url:
            began = time.monotonic()
            assert "did not answer in time" in refused(url, timeout=0.2)
            assert time.monotonic() - began < 5

    def test_two_prefixes_share_nothing(self, redis_url):
        url = redis_url.partition("?")[0]
        with (
            RedisStateStore(url, key_prefix="pystator-test-a") as one,
            RedisStateStore(f"{url}?key_prefix=pystator-test-b") as other,
        ):
            one.set_state("e", "open")
            assert other.get_state("e") is None
            other.set_state("e", "shut")
            assert (one.get_state("e"), other.get_state("e")) == ("open", "shut")
            assert one.list_entities()[0].state == "open"

    @pytest.mark.parametrize("prefix", ["", "a{b", "a}b", "a\nb", "x" * 101, 7])
    def test_a_prefix_that_cannot_be(self, prefix):
        with pytest.raises(ConfigurationError, match="key_prefix"):
            RedisStateStore("redis://localhost", key_prefix=prefix)

    @pytest.mark.parametrize("inside", ["entity", "entity:x", "state:m", "due"])
    def test_a_prefix_that_keys_of_another_store_begin_with_is_refused(self, inside):
        with pytest.raises(ConfigurationError, match="of a store with the key_prefix 'shop'"):
            RedisStateStore("redis://localhost", key_prefix=f"shop:{inside}")
        RedisStateStore("redis://localhost", key_prefix="shop:states:entity-2")

    @pytest.mark.parametrize(
        "options", [{"pool_size": 0}, {"pool_size": "2"}, {"timeout": 0}, {"timeout": None}]
    )
    def test_options_that_cannot_be(self, options):
        with pytest.raises(ConfigurationError, match=next(iter(options))):
            RedisStateStore("redis://localhost", **options)


class TestOpening:
    def test_a_store_that_is_not_connected_says_so(self):
        store = RedisStateStore("redis://localhost:1")
        for call in (lambda: store.get_state("e"), lambda: store.commit([change()])):
            with pytest.raises(StoreUnavailableError, match=r"call store\.connect") as caught:
                call()
            assert caught.value.context["written"] is False

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
    def test_a_forked_child_has_connections_of_its_own(self, store):
        store.set_state("e", "open")
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                store.set_state("e", "shut")
                os.write(writing, (store.get_state("e") or "").encode())
            finally:
                os._exit(0)
        os.close(writing)
        assert os.read(reading, 100) == b"shut"
        os.close(reading)
        os.waitpid(child, 0)
        assert store.get_state_versioned("e") == ("shut", 2)

    def test_a_small_pool_serves_many_threads(self, redis_url):
        with RedisStateStore(redis_url, pool_size=2) as store:
            threads = [
                threading.Thread(target=store.set_state, args=(f"e{number}", "open"))
                for number in range(16)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert store.count_by_state() == {"open": 16}


def test_connections_are_retired_while_others_come_and_go(store):
    """As when a server has become a replica, or a store is closed."""
    over, failures = threading.Event(), []

    def work():
        try:
            while not over.is_set():
                store.load([lookup("a")])
        except Exception as error:
            failures.append(error)

    pool = store.parts[0].pool(None)
    threads = [threading.Thread(target=work) for _ in range(6)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            pool.retire()
    finally:
        over.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
    assert failures == []


class listening:  # noqa: N801 - used as a function
    """Something that takes connections and says one thing."""

    def __init__(self, says):
        self.says = says

    def __enter__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.open = []
        threading.Thread(target=self.serve, daemon=True).start()
        return f"redis://127.0.0.1:{self.socket.getsockname()[1]}/0"

    def serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.open.append(connection)
            connection.sendall(self.says)

    def __exit__(self, *_):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        for connection in self.open:
            connection.close()

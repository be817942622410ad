"""From a URL to a connected store, and every way in which that fails."""

import asyncio
import os
import subprocess
import sys

import pytest

from pystator import MongoDBStateStore, create_state_store
from pystator.db.mongodb_url import parse_mongodb
from pystator.errors import ConfigurationError, SchemaError, StoreUnavailableError
from pystator.stores.mongodb.documents import HISTORY, META, STATES
from pystator.stores.mongodb.indexes import INDEXES
from pystator.testing.building import applied, change, note
from servers.mongodb import url_with


def test_every_place_that_names_the_server_is_the_same_store(mongodb_url, monkeypatch) -> None:
    with create_state_store(mongodb_url, machine_name="order") as store:
        assert isinstance(store, MongoDBStateStore)
        store.set_state("e", "open")
    monkeypatch.setenv("PYSTATOR_MONGODB_URL", mongodb_url)
    with MongoDBStateStore() as store:
        assert store.get_state("e") == "open"


def test_the_database_is_the_one_that_is_asked_for(mongodb_url) -> None:
    name = parse_mongodb(mongodb_url).database
    server = url_with(mongodb_url, "")
    assert MongoDBStateStore(server).database_name == "pystator"
    assert MongoDBStateStore(mongodb_url).database_name == name
    assert MongoDBStateStore(mongodb_url, database_name="shop").database_name == "shop"
    with MongoDBStateStore(server, database_name=name) as store:
        store.set_state("e", "open")
    with MongoDBStateStore(mongodb_url) as store:
        assert store.get_state("e") == "open"


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("mongodb://user:wrong-secret@localhost:1/pystator", "no server answers there"),
        ("mongodb://user:wrong-secret@nowhere.invalid/pystator", "nobody knows a host"),
    ],
)
def test_a_store_that_cannot_connect_says_why(url, sentence) -> None:
    store = MongoDBStateStore(url, timeout=0.5)
    with pytest.raises(StoreUnavailableError, match=sentence) as caught:
        store.connect()
    assert caught.value.context["written"] is False
    assert "wrong-secret" not in f"{caught.value} {caught.value.to_dict()} {store!r} {store.url}"
    with pytest.raises(StoreUnavailableError, match=r"call store\.connect"):
        store.get_state("nobody")
    store.disconnect()


@pytest.mark.parametrize(
    "mistake",
    [
        "localhost:99999/shop",
        "localhost/shop?tls=true&tlsCAFile=/no",
        "localhost/shop?tls=1",
        "localhost/shop?tsl=true",
        "localhost/shop?wtimeoutMS=soon",
        "a,b/shop?directConnection=true",
    ],
)
def test_what_only_the_driver_knows_to_be_wrong_is_told_as_a_mistake_of_the_url(mistake) -> None:
    """It leaves out what it does not know: with ``tls=1``, the password went over an open line."""
    store = MongoDBStateStore(f"mongodb://ann:wrong-secret@{mistake}")
    with pytest.raises(ConfigurationError) as caught:
        store.connect()
    assert "wrong-secret" not in str(caught.value)


def test_a_replica_set_of_another_name_is_no_primary(mongodb_replica_url) -> None:
    url = mongodb_replica_url.partition("?")[0] + "?replicaSet=another"
    with pytest.raises(StoreUnavailableError, match="no primary"):
        MongoDBStateStore(url, timeout=0.5).connect()


def test_users_and_passwords(own_mongodb) -> None:
    """What is wrong is said without the password, and a right one is let in."""
    server = own_mongodb()
    with server.client() as client:
        client.admin.command(
            "createUser",
            "ann",
            pwd="se/cret@1",
            roles=[{"role": "readWrite", "db": "shop"}],
        )
    server.stop()
    server.options = ("--auth",)
    server.start()
    right = f"mongodb://ann:se%2Fcret%401@127.0.0.1:{server.port}/shop?authSource=admin"
    with MongoDBStateStore(right) as store:
        store.set_state("e", "open")
        assert "cret" not in f"{store!r} {store.url}"
    for url in (right.replace("%401", "%402"), right.replace("?authSource=admin", "")):
        with pytest.raises(StoreUnavailableError, match="the user or the password") as caught:
            MongoDBStateStore(url).connect()
        assert caught.value.context["written"] is False
        assert "cret" not in f"{caught.value} {caught.value.to_dict()}"
    with pytest.raises(StoreUnavailableError, match="may not do that") as caught:
        MongoDBStateStore(f"mongodb://127.0.0.1:{server.port}/shop").connect()
    assert caught.value.context["written"] is False


@pytest.mark.parametrize(
    "url",
    [
        "mongodb://ann:se@cret@host/shop",
        "mongodb://ann:se/cret@host/shop",
        "mongodb://ann:se:cret@host/shop",
        "mongodb://ann:se%cret@host/shop",
        "mongodb://ann:se?cret@host/shop",
        "mongodb:ann:secret@host/shop",
        "mongodb://ann:secret@host:port/shop",
        "mongodb://ann:secret@host/shop?journal",
        "mongodb://ann:secret@host/sh$op",
        "mysql://ann:secret@host/shop",
    ],
)
def test_a_url_that_cannot_be_read_is_refused_without_its_secret(url) -> None:
    with pytest.raises(ConfigurationError) as caught:
        MongoDBStateStore(url)
    assert "cret" not in f"{caught.value} {caught.value.to_dict()}"
    assert "mongodb" in str(caught.value).lower()


def test_several_hosts_a_socket_and_dns_seeds_are_urls() -> None:
    assert parse_mongodb("mongodb://a:1,b,[::1]:27017/?replicaSet=rs").database is None
    assert parse_mongodb("mongodb://%2Ftmp%2Fmongodb-27017.sock/shop").database == "shop"
    assert parse_mongodb("mongodb+srv://ann:x%40y@cluster.example/shop").secrets == ("x%40y", "x@y")


@pytest.mark.parametrize(
    "options",
    [{"pool_size": 0}, {"pool_size": "3"}, {"timeout": 0}, {"timeout": "1"}],
    ids=str,
)
def test_a_wrong_option_is_refused(options) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        MongoDBStateStore("mongodb://localhost/shop", **options)
    with pytest.raises(ConfigurationError, match="no name of a MongoDB database"):
        MongoDBStateStore("mongodb://localhost", database_name="a/b")


def test_options_of_the_url_win(mongodb_url) -> None:
    """Whoever asks for less safety gets it, and w=0 is refused: every write needs its answer."""
    options = "w=1&journal=false&maxPoolSize=3&socketTimeoutMS=4000"
    with MongoDBStateStore(f"{mongodb_url}&{options}") as store:
        store.set_state("e", "open")
        link = store.parts[0]
        assert link._write_concern == {"w": 1, "j": False}
        assert not {"maxPoolSize", "socketTimeoutMS"} & link.options.keys()
    with MongoDBStateStore(mongodb_url) as store:
        assert store.parts[0]._write_concern == {"w": "majority", "j": True}
    with pytest.raises(ConfigurationError, match="w=0"):
        MongoDBStateStore(f"{mongodb_url}&w=0").connect()


@pytest.mark.parametrize("library", ["pymongo", "bson"])
def test_a_missing_driver_is_answered_by_the_extra(library) -> None:
    code = (
        f"import sys; sys.modules[{library!r}] = None\n"
        "import pystator\n"
        "try: pystator.MongoDBStateStore('mongodb://localhost/shop')\n"
        "except pystator.ConfigurationError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (
        f"{library} cannot be imported: it comes with the extra 'mongodb' of PyStator, in a clone"
        " pip install '.[mongodb]'"
    ) in done.stdout


# The layout ---------------------------------------------------------------------------------------


def test_nothing_is_made_that_was_not_asked_for(mongodb_url, database) -> None:
    store = MongoDBStateStore(mongodb_url)
    with pytest.raises(SchemaError, match="auto_initialize=True"):
        store.connect(auto_initialize=False)
    assert database.list_collection_names() == []
    store.connect()
    store.connect()
    assert store.get_state("nobody") is None
    assert asyncio.run(store.aget_state("nobody")) is None
    store.disconnect()
    store.disconnect()
    with MongoDBStateStore(mongodb_url).connect(auto_initialize=False) as again:
        assert again.get_state("nobody") is None


def test_a_newer_layout_is_used_with_a_warning_and_an_older_one_is_not(mongodb_url, database):
    MongoDBStateStore(mongodb_url).connect().disconnect()
    database[META].update_one({"_id": "layout"}, {"$set": {"value": 99}})
    with pytest.warns(UserWarning, match="newer than this release"):
        MongoDBStateStore(mongodb_url).connect().disconnect()
    database[META].update_one({"_id": "layout"}, {"$set": {"value": 0}})
    with pytest.raises(SchemaError, match="stores copy"):
        MongoDBStateStore(mongodb_url).connect()
    MongoDBStateStore(mongodb_url).connect(validate_schema=False).disconnect()


def test_any_number_of_processes_may_be_the_first(mongodb_url, database) -> None:
    code = (
        "import sys\n"
        "from pystator.stores.mongodb import MongoDBStateStore\n"
        "sys.stdin.readline()\n"
        f"with MongoDBStateStore({mongodb_url!r}) as store: store.set_state(sys.argv[1], 'open')\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, f"e{n}"], stdin=subprocess.PIPE)
        for n in range(3)
    ]
    for each in processes:
        each.stdin.write(b"\n")
        each.stdin.close()
    assert [each.wait() for each in processes] == [0, 0, 0]
    for name in (STATES, HISTORY):
        found = set(database[name].index_information()) - {"_id_"}
        assert found == {index["name"] for index in INDEXES[name]}
    with MongoDBStateStore(mongodb_url) as store:
        assert store.count_by_state() == {"open": 3}


# Processes and loops ------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_connections_of_its_own(store) -> None:
    applied(store, change())
    store.append_later([note()])
    child = os.fork()
    if child == 0:
        code = 1
        try:
            applied(store, change(after=1))
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    applied(store, change(after=2))
    store.flush()
    assert [row.version for row in store.history("e").items] == [1, 1, 2, 3]


def test_every_loop_ends_without_leaving_anything_open(store, database) -> None:
    for version in range(3):
        [outcome] = asyncio.run(store.acommit([change(after=version)]))
        assert outcome.kind == "applied"
    assert len(store.parts[0]._loops._clients) <= 1


def test_who_disconnects_inside_a_loop_may_connect_again(mongodb_url) -> None:
    async def run() -> None:
        async with MongoDBStateStore(mongodb_url) as store:
            await store.aset_state("e", "open")
            store.disconnect()
            with pytest.raises(StoreUnavailableError, match="connect"):
                await store.aget_state("e")
            store.connect()
            assert await store.aget_state("e") == "open"

    asyncio.run(run())


def test_a_program_may_end_without_disconnecting(mongodb_url) -> None:
    code = (
        "from pystator.stores.mongodb import MongoDBStateStore\n"
        "from pystator.testing.building import change, note\n"
        f"store = MongoDBStateStore({mongodb_url!r}).connect()\n"
        "store.commit([change()])\n"
        "store.append_later([note()])\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    with MongoDBStateStore(mongodb_url) as store:
        assert len(store.history("e").items) == 2

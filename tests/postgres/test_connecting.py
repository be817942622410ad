"""From a URL to a connected store, and every way in which that fails."""

import asyncio
import subprocess
import sys

import pytest

from pystator import PostgresStateStore, create_state_store
from pystator.errors import ConfigurationError, SchemaError, StoreUnavailableError


@pytest.mark.parametrize(
    "scheme", ["postgresql", "postgres", "postgresql+psycopg", "postgresql+psycopg2", "PostgreSQL"]
)
def test_every_form_of_a_url_is_the_same_store(postgres_url, scheme) -> None:
    url = f"{scheme}{postgres_url.removeprefix('postgresql')}"
    with create_state_store(url, machine_name="order") as store:
        assert isinstance(store, PostgresStateStore)
        assert store.get_state("nobody") is None
        assert store.url.startswith("postgresql://***@")


def test_the_environment_names_the_server(postgres_url, monkeypatch) -> None:
    monkeypatch.setenv("PYSTATOR_DATABASE_URL", postgres_url)
    with PostgresStateStore() as store:
        assert store.get_state("nobody") is None


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("postgresql://user:wrong-secret@localhost/pystator", "the password is wrong"),
        ("postgresql://user:pass@localhost/secret", "createdb"),
        ("postgresql://user:wrong-secret@localhost:1/pystator", "no server answers there"),
        ("postgresql://user:wrong-secret@nowhere.invalid/pystator", "nobody knows a host"),
    ],
)
def test_a_store_that_cannot_connect_says_why_at_once(manual_postgres, url, sentence) -> None:
    """Not after the time it would wait for a server that starts again, and without the password."""
    store = PostgresStateStore(url)
    with pytest.raises(StoreUnavailableError, match=sentence) as caught:
        store.connect()
    assert caught.value.context["written"] is False
    assert "wrong-secret" not in f"{caught.value} {caught.value.to_dict()} {store!r} {store.url}"
    store.disconnect()


def test_a_store_that_could_not_connect_may_try_again(empty_postgres_url) -> None:
    store = PostgresStateStore(empty_postgres_url)
    with pytest.raises(SchemaError, match="run `pystator db init postgresql://"):
        store.connect(auto_initialize=False)
    with pytest.raises(StoreUnavailableError, match=r"call store\.connect"):
        store.get_state("nobody")
    store.connect()
    store.connect()
    assert store.get_state("nobody") is None
    assert asyncio.run(store.aget_state("nobody")) is None
    store.disconnect()
    store.disconnect()


def test_without_validation_only_the_first_use_fails(empty_postgres_url) -> None:
    store = PostgresStateStore(empty_postgres_url)
    store.connect(auto_initialize=False, validate_schema=False)
    with pytest.raises(SchemaError, match="pystator db init"):
        store.get_state("nobody")
    store.disconnect()


@pytest.mark.parametrize("library", ["psycopg", "psycopg_pool"])
def test_a_missing_driver_is_answered_by_the_extra(library) -> None:
    code = (
        f"import sys; sys.modules[{library!r}] = None\n"
        "import pystator\n"
        "try: pystator.PostgresStateStore('postgresql://user:pass@localhost/pystator')\n"
        "except pystator.ConfigurationError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (
        f"{library} cannot be imported: it comes with the extra 'postgres' of PyStator, in a clone pip install '.[postgres]'"
        in done.stdout
    )


def test_names_of_stores_can_be_imported_without_their_drivers() -> None:
    """A star import, a program that may use several stores: the error comes with the use."""
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from pystator import *\n"
        "with SQLiteStateStore('sqlite://') as store:\n"
        "    assert not isinstance(store, PostgresStateStore)\n"
        "try: PostgresStateStore('postgresql://user:pass@localhost/pystator', pool_size=2)\n"
        "except ConfigurationError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (
        done.stdout
        == "psycopg cannot be imported: it comes with the extra 'postgres' of PyStator, in a clone pip install '.[postgres]'\n"
    )


@pytest.mark.parametrize(
    "options",
    [{"pool_size": 0}, {"pool_size": "3"}, {"timeout": 0}, {"timeout": "1"}, {"prepare": "no"}],
    ids=str,
)
def test_a_wrong_option_is_refused(options) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        PostgresStateStore("postgresql://user:pass@localhost/pystator", **options)


def test_an_option_that_libpq_does_not_know_is_named() -> None:
    with pytest.raises(ConfigurationError, match="sslmod"):
        PostgresStateStore("postgresql://user:pass@localhost/pystator?sslmod=on").connect()

"""PostgreSQL's URLs: what libpq gets, and that nothing secret is ever shown."""

import pytest

from pystator.db.postgres_url import find_postgres, parse_postgres
from pystator.db.resolve import redact
from pystator.errors import ConfigurationError


@pytest.mark.parametrize(
    ("url", "conninfo"),
    [
        ("postgresql://u:p@host/db", "postgresql://u:p@host/db"),
        ("postgres://u:p@host:5433/db", "postgresql://u:p@host:5433/db"),
        ("postgresql+psycopg://u:p@host/db", "postgresql://u:p@host/db"),
        ("postgresql+psycopg2://u:p@host/db", "postgresql://u:p@host/db"),
        ("PostgreSQL+asyncpg://u:p@host/db", "postgresql://u:p@host/db"),
        ("postgresql://", "postgresql://"),
        ("postgresql:///db?host=/run/pg", "postgresql:///db?host=/run/pg"),
        ("postgresql://a,b:5433,[::1]:5434/db", "postgresql://a,b:5433,[::1]:5434/db"),
        ("postgresql://u:a:b%40@%2Frun%2Fpg/db", "postgresql://u:a:b%40@%2Frun%2Fpg/db"),
        ("postgresql://h/db?prepare=false&sslmode=require", "postgresql://h/db?sslmode=require"),
        ("postgresql://h/db?prepare=on", "postgresql://h/db"),
        (
            "postgresql://h/db?options=-csearch_path%3Dapp",
            "postgresql://h/db?options=-csearch_path%3Dapp",
        ),
    ],
)
def test_libpq_gets_the_url_as_it_stands_without_what_is_ours(url, conninfo) -> None:
    assert parse_postgres(url).conninfo == conninfo


@pytest.mark.parametrize(
    ("option", "prepare"),
    [("", None), ("?prepare=true", True), ("?prepare=0", False), ("?x=1&prepare=OFF", False)],
)
def test_prepare_is_ours(option, prepare) -> None:
    assert parse_postgres(f"postgresql://h/db{option}").prepare is prepare


SECRET = [
    "postgresql://me:secret@host/db",
    "postgresql://me:se%63ret@host/db",
    "postgresql://host/db?password=secret",
    "postgresql://host/db?user=me&pass%77ord=secret&sslpassword=secret",
    "postgresql://me:secret@host/db?prepare=maybe",
    "postgresql://me:secret@host/db?secret",
    "postgresql://me:se@secret@host/db",
    "postgresql://me:se/secret@host/db",
    "postgresql://me:se?secret@host/db",
    "postgresql://me:12?secret@host/db",
    "postgresql://me:secret%zz@host/db",
    "postgresql://me:secret/db",
    "postgresql://host/db?password=s@secret",
    "postgresql:me:secret@host/db",
    "postgresql+pg8000://me:secret@host/db",
]


@pytest.mark.parametrize("url", SECRET)
def test_no_part_of_a_password_is_in_a_message_or_a_representation(url) -> None:
    """A URL that can be cut in two ways is refused rather than shown in the wrong one."""
    try:
        parsed = parse_postgres(url)
    except ConfigurationError as error:
        shown = f"{error} {error.to_dict()}"
    else:
        shown = f"{parsed} {parsed!r} {parsed.shown} {parsed.scrub('FATAL: secret')}"
    assert "secret" not in shown
    assert "secret" not in redact(url)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("mysql://host/db", "is written postgresql://"),
        ("postgresql+pg8000://host/db", "the driver is psycopg, not pg8000: .* postgresql://"),
        ("postgresql:host", "two slashes"),
        ("postgresql://h:port/db", "cannot be read"),
        ("postgresql://me:p@ss@h/db", "%40 for @"),
        ("postgresql://h/db?prepare=maybe", "prepare is true or false"),
        ("postgresql://h/db?sslmode", "name=value"),
    ],
)
def test_a_wrong_url_says_what_is_right(url, sentence) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        parse_postgres(url)


def test_a_store_in_postgresql_has_no_default(tmp_path, monkeypatch) -> None:
    """Nobody's events go to a server that nobody named."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PYSTATOR_DATABASE_URL", raising=False)
    with pytest.raises(ConfigurationError, match=r'PostgresStateStore\("postgresql://') as caught:
        find_postgres()
    assert "sqlite" not in str(caught.value)
    monkeypatch.setenv("PYSTATOR_DATABASE_URL", "sqlite:///shop.db")
    with pytest.raises(ConfigurationError, match=r"PYSTATOR_DATABASE_URL: sqlite:///shop\.db"):
        find_postgres()
    monkeypatch.setenv("PYSTATOR_DATABASE_URL", "postgres://me:pw@h/db")
    assert find_postgres().conninfo == "postgresql://me:pw@h/db"
    assert find_postgres("postgresql://other/db").conninfo == "postgresql://other/db"

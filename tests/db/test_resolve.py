"""Which database: the first place that says something wins, and says it without secrets."""

from pathlib import Path

import pytest

from pystator.db.resolve import (
    MONGODB,
    REDIS,
    find,
    find_server,
    find_store,
    parse_sqlite,
    redact,
)
from pystator.errors import ConfigurationError

URL = "PYSTATOR_DATABASE_URL"
REDIS_URL = "PYSTATOR_REDIS_URL"
MONGODB_URL = "PYSTATOR_MONGODB_URL"


@pytest.fixture
def places(tmp_path: Path):
    """Folder and home of a user, and a way to look from there."""
    folder, home = tmp_path / "work", tmp_path / "home"
    (home / ".pystator").mkdir(parents=True)
    folder.mkdir()

    def look(argument=None, **environ):
        return find(argument, environ=environ, folder=folder, home=home)

    return folder, home / ".pystator", look


def write(folder: Path, text: str) -> None:
    (folder / "pystator.cfg").write_text(text)


def test_the_order_is_argument_environment_folder_home_default(places) -> None:
    folder, home, look = places
    assert look().url == f"sqlite:///{folder}/pystator.db"
    assert look().origin == "the default"
    write(home, f"[database]\n{URL} = sqlite:///home.db\n")
    assert look().url == "sqlite:///home.db"
    write(folder, f"[database]\n{URL} = sqlite:///folder.db\n")
    assert look().url == "sqlite:///folder.db"
    assert look().origin == str(folder / "pystator.cfg")
    assert look(**{URL: "sqlite:///env.db"}).url == "sqlite:///env.db"
    assert look("sqlite:///argument.db", **{URL: "sqlite:///env.db"}).url == "sqlite:///argument.db"


def test_an_argument_that_is_the_default_still_wins(places) -> None:
    """Unset is not default: what was said is said."""
    folder, _, look = places
    write(folder, f"[database]\n{URL} = sqlite:///folder.db\n")
    default = f"sqlite:///{folder}/pystator.db"
    assert look(default).url == default


@pytest.mark.parametrize("said", ["", "  "])
def test_a_variable_that_is_set_to_nothing_is_a_mistake(places, said) -> None:
    """A deployment that lost its value must not write to a file in some folder."""
    _, _, look = places
    with pytest.raises(ConfigurationError, match=f"{URL} is empty"):
        look(**{URL: said})
    with pytest.raises(ConfigurationError, match="is empty"):
        look(said)


def test_a_file_without_the_key_says_nothing(places) -> None:
    folder, home, look = places
    write(folder, "[api]\nport = 8004\n")
    write(home, f"[database]\n{URL.lower()} = sqlite:///100%.db\n")
    assert look().url == "sqlite:///100%.db"


def test_a_file_that_is_no_ini_file_is_named_with_its_line_and_without_its_text(places) -> None:
    """The line may hold a password."""
    folder, _, look = places
    write(folder, f"[database]\n{URL} postgresql://me:secret@host/db\n")
    with pytest.raises(ConfigurationError, match=r"pystator\.cfg:2") as caught:
        look()
    assert "secret" not in str(caught.value)
    write(folder, f"{URL} = sqlite:///x.db\n")
    with pytest.raises(ConfigurationError, match=r"pystator\.cfg:1"):
        look()


def test_a_key_that_means_nothing_is_named(places) -> None:
    """Ignored, it would send every event to the default."""
    folder, _, look = places
    write(folder, "[database]\nurl = sqlite:///x.db\n")
    with pytest.raises(ConfigurationError, match=f"'url'.*{URL}"):
        look()


def test_a_file_that_cannot_be_read_is_a_mistake(places) -> None:
    folder, _, look = places
    (folder / "pystator.cfg").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        look()


def test_the_other_form_of_libpq_gets_the_url_to_write_and_is_not_shown(places) -> None:
    _, _, look = places
    with pytest.raises(ConfigurationError, match="is written postgresql://") as caught:
        look("host=localhost password=secret")
    assert "secret" not in f"{caught.value.to_dict()}"


def test_a_plain_path_gets_the_url_to_write(places) -> None:
    _, _, look = places
    with pytest.raises(ConfigurationError, match=r"sqlite:///shop\.db"):
        look("shop.db")


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///shop.db", "/srv/shop.db"),
        ("sqlite:///data/../shop.db", "/srv/shop.db"),
        ("sqlite:////var/shop.db", "/var/shop.db"),
        ("SQLite+pysqlite:////var/shop.db", "/var/shop.db"),
        ("sqlite:///with space%20.db", "/srv/with space%20.db"),
        ("sqlite://", None),
        ("sqlite:///:memory:", None),
    ],
)
def test_a_sqlite_url_names_a_file_as_sqlalchemy_reads_it(url, path) -> None:
    assert parse_sqlite(url, folder=Path("/srv")).path == (path and Path(path))


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("sqlite:shop.db", "three slashes"),
        ("sqlite:/shop.db", "three slashes"),
        ("sqlite://shop.db", "three slashes"),
        ("sqlite:///", "names no file"),
        ("sqlite:///data/", "names no file"),
        ("sqlite:///x.db?mode=ro", "options"),
        ("sqlite:///file:x.db", "plain path"),
        ("postgresql://me:secret@host/db", "use PostgresStateStore"),
        ("postgres+psycopg://me:se@cret@host/db", "use PostgresStateStore"),
        ("redis://:secret@host", "use RedisStateStore"),
        ("unix://me:secret@/run/redis.sock?password=secret", "use RedisStateStore"),
        ("mongodb+srv://me:secret@host/?password=secret", "use MongoDBStateStore"),
        ("mysql://me:secret@host/db", "unknown database 'mysql'"),
        ("me:secret@host", "unknown database|not a URL"),
        ("//me:secret@host", "not a URL"),
    ],
)
def test_a_wrong_url_says_what_is_right_and_keeps_secrets(url, sentence) -> None:
    with pytest.raises(ConfigurationError, match=sentence) as caught:
        parse_sqlite(url)
    shown = f"{caught.value} {caught.value.to_dict()}"
    assert "secret" not in shown
    assert "cret@" not in shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:secret@host:5432/db?password=x", "postgresql://***@host:5432/db"),
        ("postgresql://me:p@ss@host/db", "postgresql://***@host/db"),
        ("sqlite:///shop.db", "sqlite:///shop.db"),
        ("me:secret@host", "me:***@host"),
    ],
)
def test_what_is_shown_has_no_credentials(url, shown) -> None:
    assert redact(url) == shown


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "sqlite", "postgresql+psycopg"])
def test_a_colon_that_was_lost_is_missed(places, scheme) -> None:
    _, _, look = places
    with pytest.raises(ConfigurationError, match="a colon follows") as refused:
        look(f"{scheme}//me:secret@host/shop")
    assert "secret" not in refused.value.message


@pytest.mark.parametrize("section", ["db", "Database", "DEFAULT"])
def test_a_url_in_another_section_is_not_passed_over(places, section) -> None:
    """The default would take its place: events would go to a file in some folder."""
    folder, _, look = places
    write(folder, f"[{section}]\n{URL} = postgresql://me:secret@host/shop\n")
    with pytest.raises(ConfigurationError, match=r"write it under \[database\]") as refused:
        look()
    assert f"[{section}]" in refused.value.message
    assert "secret" not in refused.value.message


def test_sections_of_others_are_theirs(places) -> None:
    folder, _, look = places
    write(folder, f"[other]\nkey = 1\n[database]\n{URL} = sqlite:///folder.db\n")
    assert look().url == "sqlite:///folder.db"


@pytest.mark.parametrize("quote", ["'", '"'])
def test_quotes_are_not_part_of_a_url(places, quote) -> None:
    """Shells take them away, files of environment variables do not."""
    _, _, look = places
    with pytest.raises(ConfigurationError, match=f"{URL} is in quotes") as refused:
        look(**{URL: f"{quote}postgresql://me:secret@host/shop{quote}"})
    assert "secret" not in refused.value.message


# Servers without tables ---------------------------------------------------------------------------


@pytest.fixture
def servers(places):
    """Folder and home of a user, and a way to look for a server from there."""
    folder, home, _ = places

    def look(server, argument=None, **environ):
        return find_server(server, argument, environ=environ, folder=folder, home=home.parent)

    return folder, home, look


@pytest.mark.parametrize(
    ("server", "variable", "scheme"),
    [(REDIS, REDIS_URL, "redis"), (MONGODB, MONGODB_URL, "mongodb")],
    ids=["redis", "mongodb"],
)
def test_a_server_is_named_by_argument_environment_folder_home(
    servers, server, variable, scheme
) -> None:
    """There is no default: no event goes to a server that nobody named."""
    folder, home, look = servers
    with pytest.raises(ConfigurationError, match=rf'{server.store}\("{scheme}://.*{variable}'):
        look(server)
    write(home, f"[database]\n{variable} = {scheme}://home\n")
    assert look(server).url == f"{scheme}://home"
    write(folder, f"[database]\n{variable.lower()} = {scheme}://folder\n")
    assert look(server).url == f"{scheme}://folder"
    assert look(server).origin == str(folder / "pystator.cfg")
    assert look(server, **{variable: f"{scheme}://env"}).url == f"{scheme}://env"
    assert look(server, f"{scheme}://argument", **{variable: "x://y"}).origin == "the argument"


def test_the_common_variable_counts_where_it_names_such_a_server(servers) -> None:
    folder, _, look = servers
    common = {URL: "redis://common"}
    assert look(REDIS, **common).url == "redis://common"
    assert look(REDIS, **common, **{REDIS_URL: "redis://own"}).url == "redis://own"
    with pytest.raises(ConfigurationError, match="MongoDBStateStore needs a connection string"):
        look(MONGODB, **common)
    write(folder, f"[database]\n{MONGODB_URL} = mongodb://folder\n")
    assert look(MONGODB, **common).url == "mongodb://folder"


def test_a_servers_variable_that_is_set_to_nothing_is_a_mistake(servers) -> None:
    _, _, look = servers
    with pytest.raises(ConfigurationError, match=f"{REDIS_URL} is empty.*redis://localhost"):
        look(REDIS, **{REDIS_URL: " "})
    with pytest.raises(ConfigurationError, match="a colon follows redis"):
        look(REDIS, "redis//:secret@host")


def test_a_command_takes_the_server_that_is_configured_before_the_default(places) -> None:
    """Events must not go to a file in some folder where a Redis is configured."""
    folder, home, _ = places

    def look(argument=None, **environ):
        return find_store(argument, environ=environ, folder=folder, home=home.parent)

    redis, mongodb = {REDIS_URL: "redis://host"}, {MONGODB_URL: "mongodb://host"}
    assert look().url == f"sqlite:///{folder}/pystator.db"
    assert look(**redis).url == "redis://host"
    assert look(**redis, **{URL: "sqlite:///a.db"}).url == "sqlite:///a.db"
    assert look("sqlite:///b.db", **redis).url == "sqlite:///b.db"
    with pytest.raises(ConfigurationError, match=f"{MONGODB_URL} and {REDIS_URL} are both"):
        look(**redis, **mongodb)
    write(home, f"[database]\n{URL} = postgresql://host/shop\n")
    assert look(**redis).url == "postgresql://host/shop"


@pytest.mark.parametrize(("name", "url"), [(REDIS_URL, "redis"), (MONGODB_URL, "mongodb")])
def test_a_server_in_another_section_is_not_passed_over(servers, name, url) -> None:
    folder, _, look = servers
    write(folder, f"[redis]\n{name} = {url}://:secret@host\n")
    with pytest.raises(ConfigurationError, match=r"write it under \[database\]") as refused:
        look(REDIS)
    assert "secret" not in refused.value.message

"""The file of API keys: what is in it, who may change it, and what a broken one says."""

import json
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pystator.errors import ConfigurationError, InvalidValueError
from pystator.service.keyfile import (
    create_key,
    digest_of,
    key_id,
    keys_path,
    read_keys,
    revoke_key,
)

NOW = 1_800_000_000_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def make(path: Path, name: str = "shop", **options) -> tuple[str, str]:
    text, key = create_key(
        path, name, **{"scopes": ["send"], "machines": None, "now": NOW, **options}
    )
    return text, key.id


def test_the_file_has_the_digest_and_never_the_key(path):
    text, identity = make(path)
    assert re.fullmatch(r"pst_[a-z0-9]{12}_[\w-]{43}", text)
    assert key_id(text) == identity
    said = path.read_text()
    assert text not in said
    assert text.rpartition("_")[2] not in said
    assert [each.digest for each in read_keys(path)] == [digest_of(text)]


def test_only_its_owner_may_read_the_file_however_often_it_is_written(path):
    make(path)
    path.chmod(0o644)
    _, identity = make(path)
    revoke_key(path, identity, now=NOW)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_everything_that_was_said_comes_back(path):
    make(path, "audit", scopes=["admin", "read"], machines=["order", "loan"], expires_at=NOW + 5)
    (key,) = read_keys(path)
    assert (key.name, key.scopes, key.machines) == ("audit", ("read", "admin"), ("order", "loan"))
    assert (key.created_at, key.expires_at, key.revoked_at) == (NOW, NOW + 5, None)


def test_a_key_is_valid_until_it_expires_or_is_revoked(path):
    _, identity = make(path, expires_at=NOW + 5)
    (key,) = read_keys(path)
    assert key.is_valid(NOW + 4)
    assert not key.is_valid(NOW + 5)
    assert revoke_key(path, identity, now=NOW)[1]
    assert not read_keys(path)[0].is_valid(NOW)
    assert not revoke_key(path, identity, now=NOW + 1)[1]
    assert read_keys(path)[0].revoked_at == NOW, "the first time counts"


def test_processes_that_make_keys_at_the_same_time_lose_none(path):
    """The lock is between processes: each reads, adds and replaces."""
    program = (
        "import sys; from pathlib import Path; from pystator.service.keyfile import create_key\n"
        "for n in range(20): create_key(Path(sys.argv[1]), sys.argv[2] + str(n), scopes=['read'],"
        " machines=None, now=1)"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(path), name]) for name in ("a", "b")
    ]
    assert [each.wait(60) for each in running] == [0, 0]
    assert {key.name for key in read_keys(path)} == {f"{a}{n}" for a in "ab" for n in range(20)}


def test_a_link_to_the_file_stays_a_link(path, tmp_path):
    link = tmp_path / "link.json"
    make(path)
    link.symlink_to(path)
    make(link)
    assert link.is_symlink()
    assert len(read_keys(path)) == 2


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"name": ""}, "the name of a key"),
        ({"name": "a\nb"}, "the name of a key"),
        ({"name": "x" * 256}, "the name of a key"),
        ({"machines": [" order"]}, "the machine of a key"),
        ({"scopes": ["write"]}, "unknown scope 'write'"),
        ({"scopes": []}, "at least one scope"),
    ],
)
def test_a_key_that_cannot_be_is_refused_and_nothing_is_written(path, wrong, why):
    with pytest.raises(InvalidValueError, match=why):
        make(path, **wrong)
    assert not path.exists()


SECRET = "s3cr3t-" * 10

BROKEN = {
    "empty": "",
    "no JSON": "{" + SECRET,
    "a list": "[]",
    "another version": '{"version": 2, "keys": []}',
    "no keys": '{"version": 1}',
    "a key that is a text": json.dumps({"version": 1, "keys": [SECRET]}),
    "too deep": "[" * 100_000,
    "not UTF-8": b'{"version": 1, "keys": "\xff"}',
}


@pytest.mark.parametrize("said", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_is_told_without_what_is_in_it(path, said):
    path.write_bytes(said if isinstance(said, bytes) else said.encode())
    with pytest.raises(ConfigurationError) as error:
        read_keys(path)
    assert str(path) in error.value.message
    assert SECRET not in error.value.message


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", 5),
        ("name", None),
        ("sha256", "abc"),
        ("scopes", "read"),
        ("scopes", ["root"]),
        ("machines", "order"),
        ("created_at", "yesterday"),
        ("created_at", "2026-01-01T00:00:00"),
        ("expires_at", 12),
    ],
)
def test_a_key_said_wrongly_makes_the_file_wrong(path, field, value):
    """Nothing is guessed: a scope or an end that is not understood opens nothing."""
    make(path)
    said = json.loads(path.read_text())
    said["keys"][0][field] = value
    path.write_text(json.dumps(said))
    with pytest.raises(ConfigurationError, match="not a keys file"):
        read_keys(path)


def test_two_keys_of_one_id_are_refused(path):
    make(path)
    said = json.loads(path.read_text())
    said["keys"] *= 2
    path.write_text(json.dumps(said))
    with pytest.raises(ConfigurationError, match="same id"):
        read_keys(path)


def test_a_file_in_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be written: no such file"):
        make(tmp_path / "nowhere" / "keys.json")


def test_the_place_is_the_argument_then_the_variable_then_the_default(monkeypatch):
    monkeypatch.delenv("PYSTATOR_KEYS_FILE", raising=False)
    assert keys_path() == Path("pystator-keys.json")
    monkeypatch.setenv("PYSTATOR_KEYS_FILE", "/etc/keys.json")
    assert keys_path() == Path("/etc/keys.json")
    assert keys_path("mine.json") == Path("mine.json")
    monkeypatch.setenv("PYSTATOR_KEYS_FILE", " ")
    with pytest.raises(ConfigurationError, match="is empty"):
        keys_path()

"""API keys of a running process: the file is read again when it changes."""

import logging
import os
from pathlib import Path

import pytest

from pystator.api.security.keys import Keys
from pystator.api.security.watched import PAUSE, Watched
from pystator.errors import ConfigurationError
from pystator.service.keyfile import create_key, revoke_key

NOW = 1_800_000_000_000_000


class Time:
    """A clock that is moved by hand, in seconds."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def make(path: Path, name: str = "shop", expires_at: int | None = None) -> tuple[str, str]:
    text, key = create_key(
        path, name, scopes=["read"], machines=None, now=NOW, expires_at=expires_at
    )
    return text, key.id


def keys(path: Path, clock: Time, monkeypatch: pytest.MonkeyPatch) -> Keys:
    made = Keys(path, now=lambda: NOW + round(clock.seconds * 1_000_000))
    monkeypatch.setattr(made._file, "_clock", clock)
    made._file._looked = clock()
    return made


def test_a_key_is_found_and_nothing_like_it_is(path, clock, monkeypatch):
    text, identity = make(path)
    other, _ = make(path)
    found = keys(path, clock, monkeypatch)
    key = found.find(text)
    assert key is not None
    assert key.id == identity
    swapped = f"pst_{identity}_{other.rpartition('_')[2]}"
    last = "A" if text[-1] != "A" else "B"
    for wrong in ("", text[:-1], text + "A", text[:-1] + last, text.upper(), swapped, identity):
        assert found.find(wrong) is None, wrong
    assert found.find("pst_\ud800") is None


def test_a_revoked_key_is_refused_at_the_next_look(path, clock, monkeypatch):
    text, identity = make(path)
    found = keys(path, clock, monkeypatch)
    assert found.find(text)
    revoke_key(path, identity, now=NOW)
    clock.seconds += PAUSE
    assert found.find(text) is None


def test_a_new_key_is_taken_at_the_next_look_and_not_before(path, clock, monkeypatch):
    make(path)
    found = keys(path, clock, monkeypatch)
    text, _ = make(path)
    clock.seconds += PAUSE - 0.1
    assert found.find(text) is None, "the file is not looked at for every request"
    clock.seconds += 0.1
    assert found.find(text)


def test_a_key_ends_at_its_moment_without_a_look(path, clock, monkeypatch):
    text, identity = make(path, expires_at=NOW + 101_000_000)
    found = keys(path, clock, monkeypatch)
    key = found.find(text)
    assert key
    assert found.is_valid(identity, key.digest)
    clock.seconds += 1
    assert found.find(text) is None
    assert not found.is_valid(identity, key.digest)


def test_a_file_that_breaks_later_leaves_the_last_good_keys(path, clock, monkeypatch, caplog):
    text, _ = make(path)
    found = keys(path, clock, monkeypatch)
    path.write_text("{")
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            clock.seconds += PAUSE
            assert found.find(text)
    assert len(caplog.records) == 1, "said once, not at every look"
    assert "not a keys file" in caplog.text


def test_no_key_of_a_file_that_is_gone_is_valid_until_it_is_back(path, clock, monkeypatch):
    text, _ = make(path)
    found = keys(path, clock, monkeypatch)
    path.rename(path.with_suffix(".away"))
    clock.seconds += PAUSE
    assert found.find(text) is None
    path.with_suffix(".away").rename(path)
    clock.seconds += PAUSE
    assert found.find(text)


@pytest.mark.parametrize("said", [None, "{", ""])
def test_a_file_that_is_missing_or_broken_at_the_start_stops_it(path, said):
    if said is not None:
        path.write_text(said)
    with pytest.raises(ConfigurationError, match=r"keys\.json"):
        Keys(path)


def test_a_file_that_cannot_be_read_for_a_while_changes_nothing(tmp_path, clock):
    """A network folder that hiccups locks nobody out."""
    path = tmp_path / "value"
    path.write_text("1")
    watched = Watched(path, lambda text, _: text, b"", clock=clock)
    clock.seconds += PAUSE
    path.unlink()
    path.mkdir()
    os.utime(path)
    assert watched.value() == b"1"


def test_a_file_that_is_finished_while_it_is_read_is_read_again(tmp_path, clock):
    """An editor writes it in two parts; the first part is no value."""
    path = tmp_path / "value"
    path.write_text("1")

    def parse(text: bytes, _: Path) -> bytes:
        if text == b"half":
            path.write_text("whole")
            raise ConfigurationError("half a file")
        return text

    watched = Watched(path, parse, b"", clock=clock)
    path.write_text("half")
    clock.seconds += PAUSE
    assert watched.value() == b"1"
    clock.seconds += PAUSE
    assert watched.value() == b"whole"

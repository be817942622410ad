"""`pystator api` and `pystator keys` at the prompt: answers in a sentence."""

import json
import re
import socket

import pytest

from pystator.service.keyfile import read_keys


def test_a_key_is_printed_once_and_alone(cli, tmp_path):
    done = cli("keys", "create", "shop", "--scope", "read,send", "--expires", "90d")
    assert re.fullmatch(r"pst_[a-z0-9]{12}_[\w-]{43}\n", done.out)
    assert "only time it is shown" in done.err
    (key,) = read_keys(tmp_path / "pystator-keys.json")
    assert (key.name, key.scopes, key.machines) == ("shop", ("read", "send"), None)
    assert key.expires_at == key.created_at + 90 * 86_400_000_000
    listed = cli("keys", "list")
    assert key.id in listed.out
    assert done.out.strip() not in listed.out
    assert key.digest not in listed.out


def test_keys_as_json(cli):
    made = cli("keys", "create", "x", "--scope", "admin", "--machine", "order", "--json").json
    assert made["machines"] == ["order"]
    assert made["valid"] is True
    listed = cli("keys", "list", "--json").json["keys"]
    assert [each["id"] for each in listed] == [made["id"]]
    assert "key" not in listed[0]
    assert cli("keys", "revoke", made["id"], "--json").json["was_valid"] is True
    assert cli("keys", "revoke", made["id"], "--json").json["was_valid"] is False
    assert cli("keys", "list", "--json").json["keys"][0]["valid"] is False


def test_a_whole_key_can_be_revoked_by_who_found_it_somewhere(cli):
    key = cli("keys", "create", "x", "--scope", "read").out.strip()
    assert "revoked" in cli("keys", "revoke", key).out


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["create", "x", "--scope", "write"], "unknown scope 'write'"),
        (["create", "", "--scope", "read"], "the name of a key"),
        (["create", "x", "--scope", "read", "--expires", "soon"], "--expires is no duration"),
        (["create", "x", "--scope", "read", "--expires", "2001-01-01T00:00:00Z"], "over already"),
        (["create", "x", "--scope", "read", "--keys", "no/where.json"], "cannot be written"),
        (["list"], "keys create NAME` makes one"),
        (["revoke", "abc"], "cannot be read"),
    ],
)
def test_mistakes_with_keys_are_sentences(cli, words, why):
    done = cli("keys", *words)
    assert done.code == 1
    assert why in done.err
    assert "Traceback" not in done.err


def test_a_key_needs_a_scope(cli):
    assert cli("keys", "create", "x").code == 2


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--host", "0.0.0.0"], "--insecure"),
        (["--keys", "none.json"], "none.json: no such file"),
        (["--app", "nowhere"], "module:factory"),
        (["--app", "nowhere:app"], "nowhere"),
        (["--rate", "fast"], "is no rate"),
        (["--log-format", "xml"], "text or json"),
        (["--store", "redis://127.0.0.1:1/0"], "127.0.0.1:1"),
        (["--store", "oracle://x"], "oracle"),
    ],
)
def test_what_cannot_be_served_is_one_sentence(cli, words, why):
    done = cli("api", "--port", "0", *words)
    assert done.code == 1
    assert why in done.err
    assert done.err.count("error:") == 1
    assert "Traceback" not in done.err


def test_a_taken_port_is_told_as_json_too(cli):
    with socket.create_server(("127.0.0.1", 0)) as other:
        done = cli("api", "--port", other.getsockname()[1], "--json")
    assert done.code == 1
    assert json.loads(done.out)["error"]["code"] == "configuration_error"


@pytest.mark.soak
def test_workers_whose_store_cannot_be_reached_are_told_by_who_watches_them(command):
    done = command("api", "--port", "0", "--workers", "2", "--store", "redis://127.0.0.1:1/0")
    assert done.code == 1
    assert "127.0.0.1:1" in done.err
    assert "Traceback" not in done.err

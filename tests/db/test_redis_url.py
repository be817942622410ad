"""Redis' URLs: what is read of them, and that no part of one is shown that may be the password."""

import pytest

from pystator.db.redis_url import parse_redis
from pystator.errors import ConfigurationError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://host", ("host", 6379, "", 0, None, None)),
        ("redis://", ("localhost", 6379, "", 0, None, None)),
        ("redis://host:7000/2", ("host", 7000, "", 2, None, None)),
        ("REDIS://host/?db=3", ("host", 6379, "", 3, None, None)),
        ("redis://:s%40cret@host", ("host", 6379, "", 0, None, "s@cret")),
        ("redis://ada:secret@[::1]:7000", ("::1", 7000, "", 0, "ada", "secret")),
        ("redis://host?username=ada&password=s%40cret", ("host", 6379, "", 0, "ada", "s@cret")),
        ("unix:///run/redis.sock", ("", 0, "/run/redis.sock", 0, None, None)),
        ("unix:///a%20b.sock?db=1", ("", 0, "/a b.sock", 1, None, None)),
        ("unix:///r.sock?db=1&password=secret", ("", 0, "/r.sock", 1, None, "secret")),
        ("unix://ada:secret@/r.sock", ("", 0, "/r.sock", 0, "ada", "secret")),
    ],
)
def test_what_a_url_says(url, expected):
    found = parse_redis(url)
    read = (found.host, found.port, found.path, found.db, found.username, found.password)
    assert read == expected
    assert found.tls is None
    for shown in (str(found), repr(found)):
        assert "cret" not in shown
        assert "ada" not in shown


def test_tls_has_its_options_and_they_go_to_the_driver():
    found = parse_redis("rediss://host?ssl_ca_certs=/ca.pem&ssl_check_hostname=false")
    assert found.tls == {"ssl_ca_certs": "/ca.pem", "ssl_check_hostname": False}


def test_a_prefix_may_stand_in_the_url():
    assert parse_redis("redis://host/0?key_prefix=shop").key_prefix == "shop"


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("redis:host", "two slashes"),
        ("redis://host/shop", "a number"),
        ("redis://host/0?decode=1", "no option 'decode'"),
        ("redis://host/0?db", "name=value"),
        ("redis://host?ssl_ca_certs=x", "rediss://"),
        ("rediss://host?ssl_cert_reqs=maybe", "none, optional or required"),
        ("rediss://host?ssl_check_hostname=maybe", "true or false"),
        ("unix://run/redis.sock", "three slashes"),
        ("unix://", "three slashes"),
        ("redis://:se@cret@host", "cannot be read"),
        ("redis://:se/cret@host", "cannot be read"),
        ("redis://:secret%@host", "cannot be read"),
        ("redis://:secret@host:port", "cannot be read"),
        ("redis://host?password=se@cret", "cannot be read"),
        ("http://:secret@host", "a Redis URL is written"),
    ],
)
def test_a_wrong_url_says_what_is_right_and_keeps_secrets(url, sentence):
    with pytest.raises(ConfigurationError, match=sentence) as caught:
        parse_redis(url)
    shown = f"{caught.value} {caught.value.to_dict()}"
    assert "secret" not in shown
    assert "cret@" not in shown


def test_secrets_are_taken_out_of_texts_of_others():
    found = parse_redis("redis://:s%40cret@host")
    assert found.scrub("AUTH s@cret or s%40cret") == "AUTH *** or ***"

"""JWT bearer tokens: which are taken, and every way in which one is not."""

import base64
import hmac
import json
import time
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from pystator.api.security.tokens import LEEWAY, JwtSettings, TokenError, Tokens
from pystator.api.security.watched import PAUSE
from pystator.errors import ConfigurationError

SECRET = "k" * 32

RSA = rsa.generate_private_key(65537, 2048)
OTHER_RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())


def pem(key) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def claims(**said) -> dict:
    made = {
        "sub": "shop",
        "exp": time.time() + 3_600,
        "iss": "me",
        "aud": "pystator",
        "scope": "read send",
    }
    return {name: value for name, value in {**made, **said}.items() if value is not ...}


def b64(said: object) -> str:
    text = said if isinstance(said, bytes) else json.dumps(said).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def hs256(secret: str = SECRET, **said) -> str:
    return jwt.encode(claims(**said), secret, "HS256")


def tokens(**settings) -> Tokens:
    settings = settings or {"secret": SECRET}
    said = JwtSettings(**{"issuer": "me", "audience": "pystator", **settings})
    return Tokens(said)


def test_tokens_that_are_signed_by_hand_can_be_good():
    """So that those below are refused for what is wrong with them."""
    assert tokens().verify(signed({"alg": "HS256"}))
    assert tokens().verify(signed({"alg": "HS256", "kid": "any"}))


def test_a_good_token_says_who_and_what():
    found = tokens().verify(hs256(machine=["order", "loan"]))
    assert (found.subject, found.scopes, found.machines) == (
        "shop",
        ("read", "send"),
        ("order", "loan"),
    )


@pytest.mark.parametrize(
    ("said", "scopes", "machines"),
    [
        ({"scope": ["read"]}, ("read",), None),
        ({"scope": ...}, (), None),
        ({"scope": "openid read"}, ("openid", "read"), None),
        ({"machine": "order"}, ("read", "send"), ("order",)),
        ({"machine": "a b"}, ("read", "send"), ("a b",)),
        ({"machine": []}, ("read", "send"), ()),
        ({"aud": ["other", "pystator"]}, ("read", "send"), None),
    ],
)
def test_claims_come_as_a_text_or_a_list(said, scopes, machines):
    found = tokens().verify(hs256(**said))
    assert (found.scopes, found.machines) == (scopes, machines)


def signed(head: object, secret: bytes = SECRET.encode()) -> str:
    """A token with any head, signed by HMAC."""
    text = f"{b64(head)}.{b64(claims())}"
    return f"{text}.{b64(hmac.digest(secret, text.encode(), 'sha256'))}"


def none_token() -> str:
    return f"{b64({'alg': 'none', 'typ': 'JWT'})}.{b64(claims())}."


def resigned() -> str:
    head, body, signature = hs256().split(".")
    said = json.loads(base64.urlsafe_b64decode(body + "=="))
    return f"{head}.{b64({**said, 'scope': 'admin'})}.{signature}"


BAD = {
    "expired": lambda: hs256(exp=time.time() - LEEWAY - 1),
    "without an end": lambda: hs256(exp=...),
    "an end that is a text": lambda: hs256(exp="tomorrow"),
    "an end that is true": lambda: hs256(exp=True),
    "an end beyond numbers": lambda: hs256(exp=10**400),
    "an end that is no number": lambda: jwt.api_jws.encode(
        json.dumps(claims(exp=float("nan"))).encode(), SECRET, "HS256"
    ),
    "not yet": lambda: hs256(nbf=time.time() + 3_600),
    "of another issuer": lambda: hs256(iss="you"),
    "of no issuer": lambda: hs256(iss=...),
    "for another audience": lambda: hs256(aud="billing"),
    "for no audience": lambda: hs256(aud=...),
    "of nobody": lambda: hs256(sub=...),
    "of an empty name": lambda: hs256(sub=""),
    "of a name with a line end": lambda: hs256(sub="a\nb"),
    "of a name without an end": lambda: hs256(sub="a" * 256),
    "forged with another secret": lambda: hs256(secret="f" * 32),
    "changed after signing": resigned,
    "alg none": none_token,
    "alg none, signed": lambda: none_token() + "AAAA",
    "alg NONE": lambda: none_token().replace(
        b64({"alg": "none", "typ": "JWT"}), b64({"alg": "NONE", "typ": "JWT"})
    ),
    "HS512": lambda: jwt.encode(claims(), SECRET * 2, "HS512"),
    "RS256 under a secret": lambda: jwt.encode(claims(), RSA, "RS256"),
    "without a signature": lambda: hs256().rpartition(".")[0] + ".",
    "two parts": lambda: hs256().rpartition(".")[0],
    "four parts": lambda: hs256() + ".x",
    "nothing": lambda: "",
    "dots": lambda: "..",
    "no base64": lambda: "a.b.c!",
    "a head that is a list": lambda: f"{b64([])}.{b64(claims())}.AA",
    "a deep head": lambda: f"{b64(b'[' * 3000)}.{b64(claims())}.AA",
    "a kid that is a list": lambda: signed({"alg": "HS256", "kid": []}),
    "a kid that is an object": lambda: signed({"alg": "HS256", "kid": {}}),
    "an alg that is a list": lambda: signed({"alg": ["HS256"]}),
    "no alg": lambda: signed({"typ": "JWT"}),
    "a critical extension": lambda: jwt.encode(claims(), SECRET, "HS256", {"crit": ["exp"]}),
    "claims that are a list": lambda: jwt.api_jws.encode(b"[]", SECRET, "HS256"),
    "a scope that is a number": lambda: hs256(scope=5),
    "a machine that is null": lambda: hs256(machine=None),
    "a machine that is an object": lambda: hs256(machine={"order": True}),
    "machines that are numbers": lambda: hs256(machine=[1]),
    "too long": lambda: hs256(more="x" * 9_000),
    "surrogates": lambda: "\ud800.\ud800.\ud800",
}


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize("made", BAD.values(), ids=BAD.keys())
def test_a_token_is_refused(made):
    text = made()
    checked = tokens()
    for _ in range(2):  # the second time, too: a refusal is not remembered as a success
        with pytest.raises(TokenError) as error:
            checked.verify(text)
        assert not text or text not in str(error.value)
        assert SECRET not in str(error.value)


def test_clocks_may_differ_by_the_leeway():
    assert tokens().verify(hs256(exp=time.time() - LEEWAY + 2))


def test_an_audience_that_is_not_expected_is_somebody_else():
    with pytest.raises(TokenError):
        tokens(secret=SECRET, audience=None).verify(hs256())
    assert tokens(secret=SECRET, audience=None).verify(hs256(aud=...))


def test_a_cached_token_ends_at_its_end():
    moment = [time.time()]
    checked = Tokens(
        JwtSettings(secret=SECRET, issuer="me", audience="pystator"), now=lambda: moment[0]
    )
    text = hs256(exp=moment[0] + 30)
    assert checked.verify(text) is checked.verify(text)
    moment[0] += 30 + LEEWAY
    with pytest.raises(TokenError, match="expired"):
        checked.verify(text)
    assert not checked.is_valid(text)


def test_the_cache_is_bounded():
    checked = tokens()
    for number in range(1_100):
        checked.verify(hs256(sub=f"shop{number}"))
    assert len(checked._cache) <= 1024


def test_a_public_key_takes_its_own_algorithm_and_no_other(tmp_path: Path):
    """The classic: a token that is signed by HMAC with the public key as its secret."""
    for key, algorithm in ((RSA, "RS256"), (EC, "ES256")):
        path = tmp_path / "public.pem"
        path.write_bytes(pem(key))
        checked = tokens(public_key_file=path)
        assert checked.verify(jwt.encode(claims(), key, algorithm))
        for wrong in (signed({"alg": "HS256"}, pem(key)), none_token(), hs256()):
            with pytest.raises(TokenError):
                checked.verify(wrong)
    with pytest.raises(TokenError):
        checked.verify(jwt.encode(claims(), OTHER_RSA, "RS256"))
    with pytest.raises(TokenError):
        checked.verify(jwt.encode(claims(), RSA, "RS512"))


def jwk(key, kid: str | None = "one", **more) -> dict:
    kind = (
        jwt.algorithms.RSAAlgorithm
        if isinstance(key, rsa.RSAPrivateKey)
        else jwt.algorithms.ECAlgorithm
    )
    made = {**json.loads(kind.to_jwk(key.public_key())), **more}
    made.pop("key_ops", None)
    return made if kid is None else {**made, "kid": kid}


def test_a_key_set_is_read_again_and_a_key_that_left_it_opens_nothing(tmp_path, monkeypatch):
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [jwk(RSA), jwk(EC, "two"), {"kty": "oct", "k": "AAAA"}]}))
    checked = tokens(jwks_file=path)
    seconds = [0.0]
    monkeypatch.setattr(checked._file, "_clock", lambda: seconds[0])
    one = jwt.encode(claims(), RSA, "RS256", {"kid": "one"})
    two = jwt.encode(claims(), EC, "ES256", {"kid": "two"})
    assert checked.verify(one)
    assert checked.verify(two)
    for wrong in (
        jwt.encode(claims(), RSA, "RS256"),
        jwt.encode(claims(), RSA, "RS256", {"kid": "two"}),
        jwt.encode(claims(), RSA, "RS256", {"kid": "three"}),
        jwt.encode(claims(), OTHER_RSA, "RS256", {"kid": "one"}),
        jwt.encode(claims(), OTHER_RSA, "RS256", {"kid": "one", "jwk": jwk(OTHER_RSA)}),
    ):
        with pytest.raises(TokenError):
            checked.verify(wrong)
    path.write_text(json.dumps({"keys": [jwk(EC, "two")]}))
    checked._file._looked = -PAUSE
    with pytest.raises(TokenError):
        checked.verify(one)
    assert checked.verify(two)


def private(key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


FILES = {
    "a short secret": ("secret_file", b"short\n", "too short"),
    "a public key as a secret": ("secret_file", pem(RSA), "no secret but a key"),
    "a private key": ("public_key_file", private(RSA), "private key"),
    "a short RSA key": ("public_key_file", pem(rsa.generate_private_key(65537, 1024)), "2048 bits"),
    "another curve": ("public_key_file", pem(ec.generate_private_key(ec.SECP384R1())), "P-256"),
    "no key at all": ("public_key_file", b"hello", "not a PEM file"),
    "no set": ("jwks_file", b"[]", "not a JSON Web Key Set"),
    "a set of nothing": ("jwks_file", b'{"keys": []}', "needs RSA or P-256"),
    "a set of secrets": ("jwks_file", b'{"keys": [{"kty": "oct", "k": "AAAA"}]}', "needs RSA"),
    "a private set": (
        "jwks_file",
        json.dumps({"keys": [json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(RSA))]}).encode(),
        "public key",
    ),
    "twice the same kid": ("jwks_file", json.dumps({"keys": [jwk(RSA), jwk(EC)]}).encode(), "kid"),
}


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize(("field", "said", "why"), FILES.values(), ids=FILES.keys())
def test_a_key_that_is_none_stops_the_start(tmp_path, field, said, why):
    path = tmp_path / "file"
    path.write_bytes(said)
    with pytest.raises(ConfigurationError, match=why):
        tokens(**{field: path})


def test_one_key_is_configured_neither_none_nor_two(tmp_path):
    with pytest.raises(ConfigurationError, match="give one key"):
        Tokens(JwtSettings(issuer="me"))
    with pytest.raises(ConfigurationError, match="give one key"):
        tokens(secret=SECRET, jwks_file=tmp_path / "x")
    with pytest.raises(ConfigurationError, match="no such file"):
        tokens(jwks_file=tmp_path / "x")
    with pytest.raises(ConfigurationError, match="too short"):
        tokens(secret="k" * 31)


def test_no_text_of_the_settings_shows_the_secret():
    assert SECRET not in repr(JwtSettings(secret=SECRET))

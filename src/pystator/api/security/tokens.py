"""JWT bearer tokens: a request's text -> verified claims, or why not.

Laws:

- The key decides the algorithm, never the token: a secret is HS256, an RSA key RS256, a P-256 key
  ES256. ``none``, and a token of one kind under a key of another, do not get as far as a signature.
- A token has an end (``exp``) and somebody it is for (``sub``). It is from the issuer and for the
  audience that are configured; one that names an audience where none is configured is for somebody
  else.
- What is cached is found by the token's SHA-256, ends with the token, and goes when a key changes.
- An answer says what is wrong in general, never what is in the token or in the key.
"""

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from time import time
from typing import Any, Final, cast

import jwt
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from pystator.api.security.watched import Watched
from pystator.errors import ConfigurationError
from pystator.records import record

__all__ = ["Claims", "JwtSettings", "TokenError", "Tokens"]

LEEWAY: Final = 10
"""Seconds by which two clocks may differ."""

SHORTEST_SECRET: Final = 32
SHORTEST_RSA: Final = 2048
_MOST_CACHED: Final = 1024
_LONGEST_NAME: Final = 255
_LONGEST_TOKEN: Final = 8_192
_LAST: Final = 1e11
"""Seconds since the epoch that nobody means: in the year 5138."""


@dataclass(frozen=True, slots=True)
class JwtSettings:
    """Whose tokens are taken: one of the four keys, and what they have to say.

    Attributes:
        secret: The secret of HS256, at least 32 bytes.
        secret_file: A file with this secret; a line end after it does not count.
        public_key_file: A PEM file with an RSA (RS256) or P-256 (ES256) public key.
        jwks_file: A JSON Web Key Set; a token names its key by ``kid``.
        issuer: What ``iss`` has to be.
        audience: What ``aud`` has to be, or to contain.
    """

    secret: str | None = field(default=None, repr=False)
    secret_file: Path | None = None
    public_key_file: Path | None = None
    jwks_file: Path | None = None
    issuer: str | None = None
    audience: str | None = None


@record
class Claims:
    """What a verified token says.

    Attributes:
        subject: Whose it is.
        scopes: What it may do; words of other services among them.
        machines: Which machines it is for; None for all.
        expires_at: When it ends, in seconds since the epoch; the leeway comes on top.
    """

    subject: str
    scopes: tuple[str, ...]
    machines: tuple[str, ...] | None
    expires_at: float


class TokenError(Exception):
    """The token is not valid; the message may be shown."""


@dataclass(frozen=True, slots=True)
class _Key:
    """A key, and the one algorithm it is for."""

    algorithm: str
    key: Any = field(repr=False)


_Keys = Mapping[str | None, _Key]
"""Keys by their ``kid``; None where there is only one and its name does not matter."""


class Tokens:
    """Verifies tokens.

    Raises:
        ConfigurationError: No key or several are configured, or it is none.
    """

    def __init__(self, settings: JwtSettings, *, now: Callable[[], float] = time) -> None:
        self._settings = settings
        self._now = now
        self._fixed, self._file = _key_of(settings)
        self._cache: OrderedDict[bytes, Claims] = OrderedDict()
        self._generation = 0

    def verify(self, token: str) -> Claims:
        """What the token says.

        Raises:
            TokenError: It is not valid, or not any more.
        """
        keys = self._keys()
        seal = sha256(token.encode("utf-8", "replace")).digest()
        claims = self._cache.get(seal)
        if claims is None:
            claims = self._verify(token, keys)
            self._cache[seal] = claims
            if len(self._cache) > _MOST_CACHED:
                self._cache.popitem(last=False)
        elif not self._is_current(claims):
            del self._cache[seal]
            raise TokenError("the token has expired")
        return claims

    def is_valid(self, token: str) -> bool:
        """A token that was verified once is still valid: for answers that take long."""
        try:
            self.verify(token)
        except TokenError:
            return False
        return True

    def _is_current(self, claims: Claims) -> bool:
        return self._now() < claims.expires_at + LEEWAY

    def _keys(self) -> _Keys:
        if self._file is None:
            return self._fixed
        keys = self._file.value()
        if self._file.generation != self._generation:
            self._generation = self._file.generation
            self._cache.clear()
        return keys

    def _verify(self, token: str, keys: _Keys) -> Claims:
        if len(token) > _LONGEST_TOKEN:
            raise TokenError(f"a token has at most {_LONGEST_TOKEN} characters")
        try:
            header = jwt.get_unverified_header(token)
            key = _choose(keys, header)
            said = self._decode(token, key)
        except TokenError:
            raise
        except jwt.ExpiredSignatureError:
            raise TokenError("the token has expired") from None
        except jwt.ImmatureSignatureError:
            raise TokenError("the token is not valid yet") from None
        except (jwt.InvalidAudienceError, jwt.InvalidIssuerError):
            raise TokenError("the token is from another issuer or for another audience") from None
        except jwt.MissingRequiredClaimError as error:
            raise TokenError(f"the token has no claim {error.claim!r}") from None
        except Exception:  # noqa: BLE001 - whatever a foreign token does to a parser, it opens nothing
            raise TokenError("the token is not valid") from None
        claims = _claims(said)
        if not self._is_current(claims):
            raise TokenError("the token has expired")
        return claims

    def _decode(self, token: str, key: _Key) -> dict[str, Any]:
        settings = self._settings
        required = ["exp", "sub"]
        required += ["iss"] if settings.issuer is not None else []
        required += ["aud"] if settings.audience is not None else []
        said: dict[str, Any] = jwt.decode(
            token,
            key.key,
            algorithms=[key.algorithm],
            issuer=settings.issuer,
            audience=settings.audience,
            leeway=LEEWAY,
            options={"require": required},
        )
        return said


def _choose(keys: _Keys, header: Mapping[str, Any]) -> _Key:
    """The key that the token's header names.

    Raises:
        TokenError: There is none, or it is for another algorithm.
    """
    key = keys.get(header.get("kid")) or keys.get(None)
    if key is None:
        raise TokenError("no key of this service signed the token")
    if header.get("alg") != key.algorithm:
        raise TokenError(f"the token has to be signed with {key.algorithm}")
    return key


def _claims(said: Mapping[str, Any]) -> Claims:
    """The claims that matter here.

    Raises:
        TokenError: One of them is of the wrong form: nothing is guessed.
    """
    subject, ends = said["sub"], said["exp"]
    if not (
        isinstance(subject, str)
        and 0 < len(subject) <= _LONGEST_NAME
        and subject.isprintable()
        and isinstance(ends, int | float)
        and not isinstance(ends, bool)
        and 0 < ends < _LAST
    ):
        raise TokenError("the token's claims 'sub' and 'exp' are a name and a number of seconds")
    machines = said.get("machine", _ALL)
    return Claims(
        subject,
        _words(said.get("scope", ""), "scope", split=True),
        None if machines is _ALL else _words(machines, "machine", split=False),
        float(ends),
    )


_ALL: Final = object()


def _words(said: object, claim: str, *, split: bool) -> tuple[str, ...]:
    """The texts of a claim that is one text or a list.

    Raises:
        TokenError: It is neither.
    """
    if isinstance(said, str):
        return tuple(said.split()) if split else (said,)
    if isinstance(said, list):
        words = cast("list[object]", said)
        if all(isinstance(word, str) for word in words):
            return tuple(cast("list[str]", words))
    raise TokenError(f"the token's claim {claim!r} is a text or a list of texts")


# Keys ---------------------------------------------------------------------------------------------


def _key_of(settings: JwtSettings) -> tuple[_Keys, Watched[_Keys] | None]:
    """The key that is configured: itself, or the file it is in.

    Raises:
        ConfigurationError: None or several are, or it is none.
    """
    ways: list[tuple[Path | None, Callable[[bytes, Path], _Keys]]] = [
        (settings.secret_file, _from_secret),
        (settings.public_key_file, _from_pem),
        (settings.jwks_file, _from_jwks),
    ]
    files = [(path, parse) for path, parse in ways if path is not None]
    if len(files) + (settings.secret is not None) != 1:
        raise ConfigurationError(
            "JWT: give one key: a secret, a secret file, a public key file or a JWKS file"
        )
    if settings.secret is not None:
        return _secret_key(settings.secret.encode(), "the JWT secret"), None
    path, parse = files[0]
    watched = Watched[_Keys](path, parse, {})
    return {}, watched


def _from_secret(text: bytes, path: Path) -> _Keys:
    return _secret_key(text.rstrip(b"\r\n"), str(path))


def _secret_key(secret: bytes, where: str) -> _Keys:
    """A secret of HS256.

    Raises:
        ConfigurationError: It can be guessed, or is a public key, which everybody has.
    """
    if len(secret) < SHORTEST_SECRET:
        raise ConfigurationError(
            f"{where} is too short: HS256 needs at least {SHORTEST_SECRET} bytes; "
            "`openssl rand -base64 48` makes one"
        )
    if secret.lstrip().startswith((b"-----BEGIN", b"ssh-", b"{")):
        raise ConfigurationError(
            f"{where} is no secret but a key of its own kind: name it as a public key file, or a"
            " JWKS file"
        )
    return {None: _Key("HS256", secret)}


def _from_pem(text: bytes, path: Path) -> _Keys:
    """A public key of a PEM file.

    Raises:
        ConfigurationError: It is none, or one that is not used here.
    """
    if b"PRIVATE KEY" in text:
        raise ConfigurationError(
            f"{path} is a private key: this service only verifies; give it the public key"
        )
    for load in (RSAAlgorithm(RSAAlgorithm.SHA256), ECAlgorithm(ECAlgorithm.SHA256)):
        try:
            return {None: _public_key(load.prepare_key(text), str(path))}
        except ConfigurationError:
            raise
        except Exception:  # noqa: BLE001, S112 - each library has its own errors for another kind
            continue
    raise ConfigurationError(f"{path}: not a PEM file with an RSA or P-256 public key")


def _from_jwks(text: bytes, path: Path) -> _Keys:
    """The public keys of a set, those of other uses left out.

    Raises:
        ConfigurationError: It is no set, or none of its keys can be used.
    """
    try:
        said: Any = json.loads(text)
        listed = cast("Sequence[dict[str, Any]]", said["keys"])
        usable = [each for each in listed if _is_for_signatures(each)]
        found = [(each.get("kid"), _public_key(jwt.PyJWK(each).key, str(path))) for each in usable]
    except ConfigurationError:
        raise
    except Exception:  # noqa: BLE001 - as above; and nothing of it may be shown
        raise ConfigurationError(f"{path}: not a JSON Web Key Set of public keys") from None
    keys = dict(found)
    if not keys or len(keys) != len(found) or (None in keys and len(keys) > 1):
        raise ConfigurationError(
            f"{path}: a JSON Web Key Set needs RSA or P-256 keys, each with a 'kid' of its own"
        )
    return keys


def _is_for_signatures(key: Mapping[str, Any]) -> bool:
    return key.get("kty") in {"RSA", "EC"} and key.get("use", "sig") == "sig"


def _public_key(key: Any, where: str) -> _Key:
    """A loaded key and its algorithm.

    Raises:
        ConfigurationError: It is private, too short or of another curve.
    """
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    if isinstance(key, RSAPublicKey) and key.key_size >= SHORTEST_RSA:
        return _Key("RS256", key)
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return _Key("ES256", key)
    raise ConfigurationError(
        f"{where}: a key of tokens is an RSA public key of at least {SHORTEST_RSA} bits, or a P-256"
        " public key"
    )

"""What the API is told: argument, then environment, then ``pystator.cfg`` under ``[api]``.

A field with a ``variable`` can be said in all three places; the first that says something wins.
"""

import configparser
import os
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from pystator.db.places import CONFIG_FILE
from pystator.errors import ConfigurationError

__all__ = ["ApiSettings", "setting"]

SECTION: Final = "api"

_LARGEST: Final = 2**53

_YES: Final = {"1": True, "true": True, "yes": True, "on": True}
_NO: Final = {"0": False, "false": False, "no": False, "off": False}


def setting(default: Any, variable: str, *, shown: bool = True) -> Any:
    """A field that the environment and the file may say, under this name."""
    return field(default=default, metadata={"variable": variable}, repr=shown)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """How the API behaves.

    Attributes:
        keys_file: The file of API keys; by default ``pystator-keys.json``, if there is one.
        jwt_secret: The secret of HS256 tokens, at least 32 bytes.
        jwt_secret_file: A file with this secret.
        jwt_public_key_file: A PEM file with the public key of RS256 or ES256 tokens.
        jwt_jwks_file: A JSON Web Key Set; it is read again when it changes.
        jwt_issuer: Who has to have made a token.
        jwt_audience: Whom a token has to be for.
        rate: How often a key may call each process, e.g. ``100/s``; None for no limit.
        max_body: Bytes of a request's body.
        request_seconds: In which the head of a request has come, and then its body.
        cors_origins: Sites whose pages may call; none by default.
        insecure: Other machines may call without authentication.
        hosts: Names under which this service is called, where nobody is asked for a key; any by
            default, those of this machine on loopback.
        most_items: The most items of a page, or of a bulk request.
        most_connections: The most connections of a process, where it may have so many open files.
        most_streams: The most streams of transitions that a process keeps open.
        most_streams_each: The most of them of one caller.
        otel: Spans are exported, as with OpenTelemetry's own variables.
    """

    keys_file: str | None = setting(None, "PYSTATOR_KEYS_FILE")
    jwt_secret: str | None = setting(None, "PYSTATOR_JWT_SECRET", shown=False)
    jwt_secret_file: str | None = setting(None, "PYSTATOR_JWT_SECRET_FILE")
    jwt_public_key_file: str | None = setting(None, "PYSTATOR_JWT_PUBLIC_KEY_FILE")
    jwt_jwks_file: str | None = setting(None, "PYSTATOR_JWT_JWKS_FILE")
    jwt_issuer: str | None = setting(None, "PYSTATOR_JWT_ISSUER")
    jwt_audience: str | None = setting(None, "PYSTATOR_JWT_AUDIENCE")
    rate: str | None = setting(None, "PYSTATOR_API_RATE")
    max_body: int = setting(1_048_576, "PYSTATOR_API_MAX_BODY")
    request_seconds: float = setting(10.0, "PYSTATOR_API_REQUEST_SECONDS")
    cors_origins: tuple[str, ...] = setting((), "PYSTATOR_API_CORS_ORIGINS")
    insecure: bool = setting(False, "PYSTATOR_API_INSECURE")
    hosts: tuple[str, ...] = setting((), "PYSTATOR_API_HOSTS")
    most_items: int = setting(1_000, "PYSTATOR_API_MOST_ITEMS")
    most_connections: int = setting(10_000, "PYSTATOR_API_MOST_CONNECTIONS")
    most_streams: int = setting(500, "PYSTATOR_API_MOST_STREAMS")
    most_streams_each: int = setting(50, "PYSTATOR_API_MOST_STREAMS_EACH")
    otel: bool = setting(default=False, variable="PYSTATOR_API_OTEL")

    @classmethod
    def load(
        cls,
        environ: Mapping[str, str] | None = None,
        folder: Path | None = None,
        home: Path | None = None,
        **given: Any,
    ) -> "ApiSettings":
        """The settings: what is given and not None, else what environment and files say.

        Raises:
            ConfigurationError: A place says something that cannot be.
        """
        values = {name: value for name, value in given.items() if value is not None}
        known = {each.metadata["variable"]: each for each in fields(cls) if each.metadata}
        for place, said in _places(environ, folder or Path.cwd(), home):
            for variable, text in said.items():
                found = known.get(variable)
                if found is not None:
                    values.setdefault(found.name, _read(found, text, f"{variable}{place}"))
        return cls(**values)


def _read(one: "Field[Any]", text: str, where: str) -> Any:
    """The text as the field's type, which is that of its default; a list is parted by commas."""
    default: Any = one.default
    if isinstance(default, bool):
        value = {**_YES, **_NO}.get(text.strip().lower())
        if value is None:
            raise ConfigurationError(f"{where} is yes or no, not {text[:40]!r}")
        return value
    if isinstance(default, tuple):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if isinstance(default, int | float):
        return _number(type(default), text, where)
    if not text.strip():
        raise ConfigurationError(f"{where} is empty: give a value, or remove it")
    return text


def _number(kind: type[float], text: str, where: str) -> float:
    try:
        number = kind(text)
    except ValueError:
        number = 0
    if not 0 < number < _LARGEST:
        raise ConfigurationError(f"{where} is a number above 0, not {text[:40]!r}")
    return number


def _places(
    environ: Mapping[str, str] | None, folder: Path, home: Path | None
) -> Iterator[tuple[str, Mapping[str, str]]]:
    yield "", os.environ if environ is None else environ
    try:
        own = Path.home() if home is None else home
    except RuntimeError:  # a user without an entry and without HOME has no file there
        own = Path("/nonexistent")
    for place in (folder / CONFIG_FILE, own / ".pystator" / CONFIG_FILE):
        yield f" in {place}", _section(place)


def _section(place: Path) -> dict[str, str]:
    """What a file says under ``[api]``; keys are named like the variables, in any case."""
    parser = configparser.RawConfigParser(delimiters=("=",))
    try:
        parser.read_string(place.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{place} cannot be read: {error}") from error
    except configparser.Error:
        raise ConfigurationError(
            f"{place} is not an INI file", context={"file": str(place)}
        ) from None
    if not parser.has_section(SECTION):
        return {}
    known = {each.metadata["variable"] for each in fields(ApiSettings) if each.metadata}
    said = {key.upper(): parser.get(SECTION, key) for key in parser.options(SECTION)}
    unknown = said.keys() - known
    if unknown:
        raise ConfigurationError(
            f"{place}: [{SECTION}] has no key {min(unknown)!r}; there are"
            f" {', '.join(sorted(known))}",
            context={"file": str(place), "key": min(unknown)},
        )
    return said

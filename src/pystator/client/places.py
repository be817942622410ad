"""Where a service is, and what is sent along with every call. Secrets are never shown.

"Unset" is not "default": argument, then environment; nothing else is looked at.
"""

import os
import ssl
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pystator._version import __version__
from pystator.errors import ConfigurationError

__all__ = ["KEY", "URL", "Place", "trust"]

URL: Final = "PYSTATOR_API_URL"
"""The variable with the service's URL."""

KEY: Final = "PYSTATOR_API_KEY"
"""The variable with the key."""

_EXAMPLE: Final = "http://localhost:8004"


class Place:
    """A service: its URL, and the headers of every call.

    Args:
        url: Its URL; None takes ``PYSTATOR_API_URL``.
        api_key: A key of ``pystator keys``, or a token; None takes ``PYSTATOR_API_KEY``.

    Raises:
        ConfigurationError: There is no URL, or URL or key cannot be right.
    """

    __slots__ = ("_key", "url")

    def __init__(self, url: str | None, api_key: str | None) -> None:
        given = os.environ.get(URL) if url is None else url
        if not given:
            raise ConfigurationError(f"give the service's URL, e.g. {_EXAMPLE!r}, or set {URL}")
        self.url = _checked(given)
        self._key = _readable(os.environ.get(KEY) if api_key is None else api_key)

    def headers(self) -> dict[str, str]:
        """What is sent with every call; an answer that is compressed could grow without a bound."""
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": f"pystator/{__version__}",
        }
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        return headers

    def scrub(self, text: str) -> str:
        """A text of the network or of a library, without the key."""
        return text.replace(self._key, "***") if self._key else text

    def __repr__(self) -> str:
        return f"Place({self.url!r})"


def _checked(url: str) -> str:
    """The URL without a slash at the end; nothing of a URL that may hold a secret is in an error.

    A URL may be that of the service or, as its documents write it, that of its routes.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise _wrong() from error
    if "@" in url:
        raise ConfigurationError(
            "the service's URL is shown in errors, so it holds no name and no password: give the"
            f" key with api_key=, or set {KEY}"
        )
    if parts.scheme not in {"http", "https"} or not host or not _is_plain(url):
        raise _wrong()
    if parts.query or parts.fragment:
        raise ConfigurationError(f"the service's URL ends with its path, e.g. {_EXAMPLE}")
    return url.rstrip("/").removesuffix("/api/v1")


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def _wrong() -> ConfigurationError:
    return ConfigurationError(f"no URL of a service: write e.g. {_EXAMPLE} or https://example.com")


def _readable(key: str | None) -> str:
    """The key as it can be a header."""
    text = "" if key is None else key.strip()
    if not _is_plain(text):
        raise ConfigurationError(
            "the key has characters that no key has (it is not shown); copy it again"
        )
    return text


def trust(url: str, verify: bool | str | Path | ssl.SSLContext) -> ssl.SSLContext | bool:
    """Whom a TLS connection trusts.

    Args:
        url: The service's. Where it speaks no TLS nobody is trusted: to read all the authorities
            takes longer than a call.
        verify: True trusts the usual authorities, a path those of this file, a context what it
            says. False trusts anybody: for a test.

    Raises:
        ConfigurationError: The file is missing, or holds no certificates.
    """
    if not isinstance(verify, str | Path):
        plain = url.startswith("http:") and verify is True
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if plain else verify
    try:
        return ssl.create_default_context(cafile=str(verify))
    except OSError as error:  # ssl.SSLError is one
        why = "no such file" if isinstance(error, FileNotFoundError) else "holds no certificates"
        raise ConfigurationError(f"verify={str(verify)!r}: {why}") from error

"""What both clients are made with."""

import random
import ssl
from pathlib import Path
from typing import Final

from pystator.client.exchange import Patience
from pystator.errors import ConfigurationError

__all__ = ["ATTEMPTS", "MOST", "TIMEOUT", "Verify", "patience_of"]

Verify = bool | str | Path | ssl.SSLContext
"""Whom a TLS connection trusts, see `pystator.client.places.trust`."""

TIMEOUT: Final = 30.0
"""Seconds for a call with all its attempts."""

ATTEMPTS: Final = 8
"""Attempts of a call."""

MOST: Final = 64 * 1024 * 1024
"""Bytes of an answer that are taken."""


def patience_of(timeout: float, attempts: int) -> Patience:
    """How long and how often a call is tried.

    Raises:
        ConfigurationError: It is no number above zero.
    """
    for name, value in (("timeout", timeout), ("attempts", attempts)):
        if not isinstance(value, int | float) or not 0 < value < float("inf"):  # pyright: ignore[reportUnnecessaryIsInstance] # callers may not check
            raise ConfigurationError(f"{name}={value!r} is no number above 0")
    return Patience(float(timeout), int(attempts), random.random)

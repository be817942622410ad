"""``replicated://?hot=...&durable=...``: two stores in one URL."""

from typing import Final
from urllib.parse import parse_qsl

from pystator.errors import ConfigurationError

__all__ = ["parse_replicated"]

EXAMPLE: Final = "replicated://?hot=redis://localhost:6379/0&durable=postgresql://user@host/shop"
_NAMES: Final = ("hot", "durable")


def parse_replicated(url: str) -> tuple[str, str]:
    """The URLs of the hot and of the durable store.

    Each may stand as it is, when it has no ``&``, or percent-encoded. The text is never shown: it
    may hold two passwords.

    Raises:
        ConfigurationError: It names something else.
    """
    scheme, _, rest = url.partition("://")
    place, mark, query = rest.partition("?")
    if scheme != "replicated" or place.strip("/") or not mark:
        raise _wrong("it begins with replicated://?")
    found: dict[str, str] = {}
    for name, value in parse_qsl(query.replace("+", "%2B"), keep_blank_values=True):
        if name not in _NAMES or name in found:
            raise _wrong("it has hot= and durable=, once each; write %26 for the & of an inner URL")
        found[name] = value
    missing = [name for name in _NAMES if not found.get(name)]
    if missing:
        raise _wrong(f"{missing[0]}= is missing")
    return found["hot"], found["durable"]


def _wrong(why: str) -> ConfigurationError:
    return ConfigurationError(
        f"the URL of a replicated store names two: {EXAMPLE}; {why}",
        context={"example": EXAMPLE},
    )

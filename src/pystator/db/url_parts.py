"""What URLs of servers have in common: how they are cut, and what of them may be shown.

Law: no part of a URL is shown before it is certain which part is the password. A URL that two
readers could cut differently (``@`` or ``/`` in a password) is refused, without its text.
"""

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote

from pystator.db.resolve import wrong
from pystator.errors import ConfigurationError
from pystator.records import record

__all__ = [
    "FLAGS",
    "Cut",
    "Secretive",
    "both_forms",
    "cut",
    "is_certain",
    "longest_first",
    "unreadable",
]

FLAGS: Final = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}
"""What an option says that is true or false, in lower case."""

_BROKEN_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ENCODE: Final = (
    "in a user's name and in a password write %40 for @, %2F for /, %3A for :, %3F for ?, %25 for %"
)


class Secretive:
    """A parsed URL that is shown without its secrets.

    Attributes:
        shown: The URL as it may be shown.
        secrets: Texts that must not be shown, wherever they come from.
    """

    __slots__ = ()

    shown: str
    secrets: tuple[str, ...]

    def __str__(self) -> str:
        return self.shown

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.shown!r})"

    def scrub(self, text: str) -> str:
        """A text of the driver or of the server, without our secrets."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


@record
class Cut:
    """The parts of a URL as they stand in it: ``scheme://userinfo@hosts/path?query``.

    Attributes:
        before: All between the slashes and the query.
        slash: ``/`` if there is a path, be it an empty one.
    """

    before: str
    userinfo: str
    hosts: str
    slash: str
    path: str
    query: str


def cut(url: str, scheme: str, example: str) -> Cut:
    """Cut a URL of this scheme, which is not certain to be right: see `is_certain`.

    Raises:
        ConfigurationError: It does not go on with two slashes.
    """
    rest = url[len(scheme) + 1 :]
    if not rest.startswith("//"):
        raise wrong(url, f"two slashes follow the colon: {example}")
    before, _, query = rest[2:].partition("?")
    authority, slash, path = before.partition("/")
    userinfo, _, hosts = authority.rpartition("@")
    return Cut(before, userinfo, hosts, slash, path, query)


def is_certain(*parts: str) -> bool:
    """Nobody could cut the URL otherwise than into these parts."""
    return not any("@" in part or _BROKEN_PERCENT.search(part) for part in parts)


def unreadable(scheme: str, example: str) -> ConfigurationError:
    """The error of a URL that can be cut in two ways; nothing of it is in the message."""
    return ConfigurationError(
        f"the {scheme}:// URL cannot be read (it is not shown, for it may hold a password):"
        f" write {example}, and {_ENCODE}",
        context={"scheme": scheme},
    )


def both_forms(secrets: Iterable[str]) -> tuple[str, ...]:
    """Secrets as they stand in a URL, and as they are meant."""
    return longest_first(form for secret in secrets for form in (secret, unquote(secret)))


def longest_first(texts: Iterable[str]) -> tuple[str, ...]:
    """Each text once, in the order to look for them: one may be a part of another."""
    return tuple(sorted({text for text in texts if text}, key=len, reverse=True))

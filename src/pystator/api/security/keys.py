"""API keys: a request's text -> the key of the file, if it is valid at this moment."""

from collections.abc import Callable, Mapping
from hmac import compare_digest
from pathlib import Path
from time import time_ns
from typing import Final

from pystator.api.security.watched import Watched
from pystator.service.keyfile import ApiKey, digest_of, key_id, parse_keys

__all__ = ["Keys"]

_NOBODY: Final = "0" * 64


def _now() -> int:
    return time_ns() // 1_000


class Keys:
    """The keys of a file, which is read again when it changes.

    Args:
        path: The file.
        now: Microseconds since the epoch.

    Raises:
        ConfigurationError: The file is missing or broken.
    """

    def __init__(self, path: Path, *, now: Callable[[], int] = _now) -> None:
        self._file: Watched[Mapping[str, ApiKey]] = Watched(path, _by_id, {})
        self._now = now

    def find(self, text: str) -> ApiKey | None:
        """The valid key that the text is; None for anything else, without saying what is wrong.

        It takes as long for an id that there is as for one that there is not.
        """
        identity = key_id(text)
        key = self._file.value().get(identity or "")
        same = compare_digest(digest_of(text), _NOBODY if key is None else key.digest)
        return key if key is not None and same and key.is_valid(self._now()) else None

    def is_valid(self, identity: str, digest: str) -> bool:
        """The key that was found once is still valid: for answers that take long."""
        key = self._file.value().get(identity)
        return key is not None and key.digest == digest and key.is_valid(self._now())


def _by_id(text: bytes, path: Path) -> Mapping[str, ApiKey]:
    return {key.id: key for key in parse_keys(text, path)}

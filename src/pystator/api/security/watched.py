"""A small file that is read again when it changes: keys, secrets, JWKS.

Laws:

- It is looked at, at most every half second, by who asks for its value; nobody runs in the
  background. A change acts within a second.
- A file that is broken leaves the last good value and one line in the log; a file that is gone
  leaves what the owner says of that: with keys, that none is valid.
"""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Final, Generic, TypeVar

from pystator.errors import ConfigurationError

__all__ = ["PAUSE", "Watched"]

T = TypeVar("T")

PAUSE: Final = 0.5
"""Seconds between two looks."""

logger = logging.getLogger("pystator.api")

_Stamp = tuple[int, int, int, int, int]


class Watched(Generic[T]):
    """The parsed content of a file.

    Args:
        path: The file.
        parse: Its content -> the value; raises ConfigurationError, without secrets in it.
        gone: The value while there is no file.
        clock: Seconds that only grow.

    Attributes:
        generation: A number that changes with the value: what was derived from it is then old.

    Raises:
        ConfigurationError: The file is missing or broken now, at the start.
    """

    def __init__(
        self,
        path: Path,
        parse: Callable[[bytes, Path], T],
        gone: T,
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.path = path.absolute()  # the working folder may change, the file does not
        self.generation = 0
        self._parse = parse
        self._gone = gone
        self._clock = clock
        self._looked = clock()
        self._stamp: _Stamp | None
        try:
            self._stamp = _stamp_of(self.path)
            self._value = parse(self.path.read_bytes(), self.path)
        except OSError as error:
            why = (error.strerror or str(error)).lower().removesuffix(" or directory")
            raise ConfigurationError(
                f"{self.path}: {why}", context={"file": str(self.path)}
            ) from error

    def value(self) -> T:
        """What the file says, as of the last half second."""
        now = self._clock()
        if now - self._looked >= PAUSE:
            self._looked = now
            self._look()
        return self._value

    def _look(self) -> None:
        """Read it again if it changed; its stamp is taken first, so that nothing is missed."""
        before = self._stamp
        try:
            self._stamp = _stamp_of(self.path)
            if self._stamp == before:
                return
            value = self._parse(self.path.read_bytes(), self.path)
        except FileNotFoundError:
            self._stamp = None
            if before is not None:
                self._take(self._gone)
                logger.error("%s is gone: what was in it is no longer valid", self.path)  # noqa: TRY400 # no traceback: the file is wrong, not we
        except ConfigurationError as error:
            logger.error("%s; going on with what it said before", error.message)  # noqa: TRY400 # no traceback: the file is wrong, not we
        except OSError as error:
            self._stamp = before  # it may be readable the next time
            logger.error("%s cannot be read: %s", self.path, error.strerror)  # noqa: TRY400 # no traceback: the file is wrong, not we
        else:
            self._take(value)
            logger.info("%s was read again", self.path)

    def _take(self, value: T) -> None:
        self._value = value
        self.generation += 1


def _stamp_of(path: Path) -> _Stamp:
    found = os.stat(path)  # noqa: PTH116 - the same, at half the cost
    return (found.st_ino, found.st_dev, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

"""The lines of an event file: plain or gzipped, a file or a pipe, however long, however damaged.

::

    file | pipe -> (gzip) -> chunks -> lines with numbers

A pipe may be slow and never end: ``drained`` tells that the line just given was the last one that
has arrived, so that a reader can work on what it has instead of waiting for more.
"""

import gzip
import os
import sys
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Any, cast

from pystator.errors import ConfigurationError

__all__ = ["STDIN", "Feed", "open_feed"]

STDIN = "-"
"""Stands for standard input."""

CHUNK = 1 << 18
"""Bytes asked for at once."""

MAX_LINE = 16 * 1024 * 1024
"""Bytes of one line. A longer one is no event: it is given cut off, and the next one is read."""

GZIP_MAGIC = b"\x1f\x8b"


class Feed:
    """Lines with their numbers, read in chunks.

    Attributes:
        name: For messages: the path, or ``standard input``.
        live: A pipe or a terminal, whose lines arrive when they arrive.
        number: The number of the line given last, from 1.
        drained: The line given last was the last one that had arrived.
        size: Bytes in the file as stored; None for a pipe.
    """

    def __init__(self, raw: "BufferedReader[Any]", name: str, *, live: bool) -> None:
        self.name = name
        self.number = 0
        self.drained = False
        self._raw = raw
        self.live = live
        self.size = None if live else os.fstat(raw.fileno()).st_size
        zipped = raw.peek(2)[:2] == GZIP_MAGIC
        self._stream: BufferedReader[Any] | gzip.GzipFile = (
            gzip.GzipFile(fileobj=raw) if zipped else raw
        )

    def position(self) -> int:
        """Bytes of the stored file that have been read; 0 for a pipe."""
        return 0 if self.live else self._raw.tell()

    def __iter__(self) -> Iterator[bytes]:
        """The lines, without their ends.

        Raises:
            ConfigurationError: A gzipped file is damaged or ends in the middle.
        """
        rest = b""
        while chunk := self._read():
            *lines, rest = (rest + chunk).split(b"\n")
            last = len(lines) - 1
            for index, line in enumerate(lines):
                self.number += 1
                self.drained = index == last
                yield line
            if len(rest) > MAX_LINE:
                self.number += 1
                yield rest
                rest = self._skip_line()
        if rest:
            self.number += 1
            self.drained = True
            yield rest

    def _read(self) -> bytes:
        try:
            return self._stream.read1(CHUNK)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ConfigurationError(
                f"{self.name}: damaged or cut off gzip after line {self.number}: "
                f"{error}. Get the whole file and run the command again."
            ) from error

    def _skip_line(self) -> bytes:
        """Read to the end of a line that is too long; what follows it."""
        while chunk := self._read():
            _, found, rest = chunk.partition(b"\n")
            if found:
                return rest
        return b""


def standard_input() -> "BufferedReader[Any]":
    """Standard input's bytes as they arrive: its own buffer would wait until it is full."""
    try:
        return open(sys.stdin.fileno(), "rb", closefd=False)
    except (OSError, ValueError):
        # A program that runs the command in its own process has put something else in its place.
        return BufferedReader(cast("FileIO", sys.stdin.buffer))


@contextmanager
def open_feed(path: str) -> Generator[Feed]:
    """The feed of a file, or of standard input for ``-``.

    Raises:
        OSError: The file cannot be opened.
    """
    if path == STDIN:
        yield Feed(standard_input(), "standard input", live=True)
        return
    with Path(path).open("rb") as raw:
        yield Feed(raw, path, live=not raw.seekable())

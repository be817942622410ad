"""The file of rejected events: JSON Lines that can be fed back.

A line is the event as it was read and, beside it, ``_rejected``: the reason, a message, the line it
stood in, the entity's state and how often it has been rejected. A damaged line is ``_raw`` with
``_rejected``.
"""

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from pystator.cli.events import Line
from pystator.service.jsons import as_plain

__all__ = ["Rejects"]


class Rejects:
    """Writes rejected lines to a file; without a path it only counts them."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.count = 0
        self._out: TextIO | None = None

    def __enter__(self) -> Self:
        """Start the file anew: a run goes over all its events, so its file is whole in the end."""
        if self.path is not None:
            self._out = self.path.open("w", encoding="utf-8")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        if self._out is not None:
            self._out.close()

    def add(self, line: Line, reason: str, message: str, state: str | None = None) -> None:
        """Keep one line."""
        self.count += 1
        if self._out is None:
            return
        mark: dict[str, Any] = {"line": line.number, "reason": reason, "message": message}
        if line.data is None:
            kept: dict[str, Any] = {"_raw": line.raw, "_rejected": mark}
        else:
            mark |= {"state": state, "attempt": line.attempt + 1}
            kept = {**line.data, "_rejected": mark}
        self._out.write(json.dumps(kept, ensure_ascii=False, default=as_plain) + "\n")

    def flush(self) -> None:
        """Give what was kept to the operating system: a kill after this loses none of it."""
        if self._out is not None:
            self._out.flush()

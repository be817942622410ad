"""A store of your own in three methods: a file for each entity.

For one machine and one writer at a time: the last write wins; there are no event ids, no history.
What was written survives a killed process and a power cut, and a reader never sees half of it.
"""

import os
import tempfile
from hashlib import blake2b
from pathlib import Path
from typing import Any

from pystator.stores.codec import decode, encode

PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
"""What stands in a file's name as it is. Capital letters do not: some disks take them for small."""

LONGEST = 200
"""Characters of a file's name, about; most disks take 255 bytes."""


class FileStore:
    """Entities as files of a folder.

    Args:
        folder: It is made when it is not there.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def get_state(self, entity_id: str) -> str | None:
        """The entity's state; None when there is no such entity."""
        state: str | None = self._read(entity_id).get("state")
        return state

    def set_state(
        self, entity_id: str, state: str, *, metadata: dict[str, Any] | None = None
    ) -> None:
        """Keep the state, and the context if there is one in ``metadata``."""
        context = (metadata or {}).get("context")
        if context is None:
            context = self.get_context(entity_id)
        # The codec keeps Decimal, datetime and bytes as they are, and refuses what it cannot keep.
        text = encode({"entity_id": entity_id, "state": state, "context": context}, name="entity")
        self._write(self._place(entity_id), text.encode())

    def get_context(self, entity_id: str) -> dict[str, Any]:
        """The stored context; empty when there is none."""
        context: dict[str, Any] = self._read(entity_id).get("context", {})
        return context

    def _place(self, entity_id: str) -> Path:
        return self.folder / f"{name_of(entity_id)}.json"

    def _read(self, entity_id: str) -> dict[str, Any]:
        try:
            text = self._place(entity_id).read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        found: dict[str, Any] = decode(text)
        return found

    def _write(self, place: Path, content: bytes) -> None:
        """Replace the file whole: on the disk under another name first, then under its own."""
        number, name = tempfile.mkstemp(dir=self.folder, suffix=".new")
        try:
            with os.fdopen(number, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(place)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)  # the new name, too
        finally:
            os.close(folder)


def name_of(entity_id: str) -> str:
    """A file's name for any id: no two ids share one, and no disk refuses it."""
    parts = (
        each if each in PLAIN else "".join(f"%{byte:02x}" for byte in each.encode())
        for each in entity_id
    )
    name = "".join(parts)
    if len(name) <= LONGEST:
        return name
    return f"{name[:150]}~{blake2b(entity_id.encode(), digest_size=16).hexdigest()}"

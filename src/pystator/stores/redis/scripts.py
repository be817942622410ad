"""The scripts: one Lua file each, behind what they share, ``lua/common.lua``.

They are called by their digest; a server that does not know one (it was restarted, or told to
forget) is given all of them, and asked again: it had done nothing.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha1
from importlib.resources import files
from typing import Final

from pystator.stores.redis.ops import pack

__all__ = ["SCRIPTS", "Script", "loads"]


class Script:
    """A script of the folder ``lua``.

    Args:
        name: Of its file.
        parts: Files that come before it.
    """

    __slots__ = ("digest", "name", "source")

    def __init__(self, name: str, *parts: str) -> None:
        folder = files("pystator.stores.redis") / "lua"
        self.name = name
        self.source = "".join(
            (folder / f"{part}.lua").read_text("utf-8") for part in ("common", *parts, name)
        )
        self.digest = sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        SCRIPTS.append(self)

    def __repr__(self) -> str:
        return f"Script({self.name!r})"

    def call(self, keys: Sequence[str], arguments: Iterable[str | bytes | int]) -> bytes:
        """The command that runs it, on the wire.

        Args:
            keys: Of one slot, and all that it touches as far as they are known. In a cluster the
                last one is `Layout.never`: see there.
            arguments: What it finds in ``ARGV``.
        """
        return pack(("EVALSHA", self.digest, len(keys), *keys, *arguments))


SCRIPTS: Final[list[Script]] = []
"""All of them."""


def loads() -> list[bytes]:
    """The commands that teach a server all of them."""
    return [pack(("SCRIPT", "LOAD", script.source)) for script in SCRIPTS]

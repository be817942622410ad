"""A real log through SQLite: the parallel loan machine beside the flat one.

Both refuse the very same events.

python benchmarks/run.py log                        # the first 20,000 events
PYSTATOR_LOG_EVENTS=262200 python benchmarks/run.py log   # all of them
"""

import gzip
import json
import os
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path

from floors import Row, table

HERE = Path(__file__).parent
PARALLEL = HERE.parent / "examples" / "loan_application.yaml"
FLAT = HERE / "loan_flat.yaml"
LOG = "loan-applications.jsonl.gz"
EVENTS = int(os.environ.get("PYSTATOR_LOG_EVENTS", "20000"))
ROUNDS = 3


def process(machine: Path, events: Path) -> float:
    """Nanoseconds an event of ``pystator process`` into a new database."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["process", "--machine", machine, "--events", events, "--event-time", "--json"]
        words += ["--db", f"sqlite:///{folder}/loans.db", "--rejects", f"{folder}/rejects.jsonl"]
        done = subprocess.run(
            [sys.executable, "-m", "pystator", *map(str, words)],
            capture_output=True,
            check=True,
            text=True,
        )
    told = json.loads(done.stdout)
    return told["seconds"] / told["events"] * 1e9


def run() -> list[Row]:
    """The rows; none without the log."""
    data = os.environ.get("PYSTATOR_DATA")
    if data is None or not (Path(data) / LOG).exists():
        print(f"no {LOG}: say where it is with PYSTATOR_DATA", file=sys.stderr)
        return []
    with tempfile.TemporaryDirectory() as folder:
        events = Path(folder) / "log.jsonl"
        with gzip.open(Path(data) / LOG, "rt", encoding="utf-8") as log:
            events.write_text("".join(islice(log, EVENTS)), encoding="utf-8")
        parallel = flat = float("inf")
        for _ in range(ROUNDS):
            parallel = min(parallel, process(PARALLEL, events))
            flat = min(flat, process(FLAT, events))
    return [
        Row(f"{EVENTS:,} loan events, parallel", parallel, flat, None, "the same log, flat machine")
    ]


if __name__ == "__main__":
    print(table(run()))

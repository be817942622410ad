"""Five thousand orders live: generate their events, stream them into SQLite, look at one of them.

Every step is the command a person would type; it is printed before it runs. Everything is written
to ``build/demo``, which is made anew.

    make demo
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from generate_orders import write

HERE = Path(__file__).resolve().parent
FOLDER = Path("build") / "demo"

ORDERS, EVENTS, SEED = 5_000, 30_000, 7

COLOR = sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def bold(text: str) -> str:
    """A headline."""
    return f"\x1b[1m{text}\x1b[0m" if COLOR else text


def say(text: str = "") -> None:
    """A line, before what the commands print."""
    print(text, flush=True)


def pystator(*words: str, into: Path | None = None) -> None:
    """Show a command and run it; what it prints may go into a file."""
    shown = " ".join(f'"{word}"' if " " in word else word for word in words)
    shown += f" > {into}" if into else ""
    say(f"{bold('$ pystator ' + shown)}\n")
    command = [sys.executable, "-m", "pystator", *words]
    if into is None:
        subprocess.run(command, check=True)  # noqa: S603 - our own
        say()
    else:
        with into.open("wb") as out:
            subprocess.run(command, check=True, stdout=out)  # noqa: S603 - our own


def most_eventful(events: Path, rejects: Path) -> str:
    """The order to look at: held back and taken up again, and not all of its events were right."""
    lives: dict[str, set[str]] = defaultdict(set)
    for event in read(events):
        lives[event["entity_id"]].add(event["trigger"])
    refused = Counter(event["entity_id"] for event in read(rejects) if "entity_id" in event)

    def richness(order: str) -> tuple[bool, bool, int]:
        life = lives[order]
        return 1 <= refused[order] <= 3, {"release", "deliver"} <= life, len(life)

    return max(sorted(lives), key=richness)


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a file that are whole."""
    for line in path.read_text(encoding="utf-8").splitlines():
        with suppress(ValueError):
            yield json.loads(line)


def main() -> None:
    """Run the demo."""
    started = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    machine = os.path.relpath(HERE / "order.yaml")
    events, rejects = FOLDER / "orders.jsonl", FOLDER / "rejects.jsonl"
    database = f"sqlite:///{FOLDER / 'orders.db'}"

    say(bold("1. A machine, and a stream of events that is not clean"))
    with events.open("w", encoding="utf-8") as out:
        write(out, orders=ORDERS, events=EVENTS, seed=SEED)
    say(f"\n{events}: {EVENTS:,} events of {ORDERS:,} orders; some come twice, late or wrong\n")
    pystator("check", machine)

    say(bold("2. Stream them through the machine into SQLite"))
    say()
    stream = ["process", "--machine", machine, "--events", str(events), "--event-time"]
    stream += ["--rejects", str(rejects), "--db", database]
    pystator(*stream)

    say(bold("3. Once more, as after a crash: nothing is applied twice"))
    say()
    pystator(*stream)

    order = most_eventful(events, rejects)
    say(bold(f"4. The life of {order}: what happened, and what was refused"))
    say()
    pystator("history", order, "--db", database)

    say(
        bold("5. Its diagram, with the way it went: as text, and as a picture to open in a browser")
    )
    say()
    graph = ["graph", machine, "--entity", order, "--brief", "--db", database]
    pystator(*graph)
    pystator(*graph, "--format", "svg", into=FOLDER / f"{order}.svg")

    say(f"Everything is in {FOLDER}; {time.monotonic() - started:.0f} seconds. Go on with:\n")
    say(f'  pystator entities --where "total > 300" --state delivered --db {database}')
    say(f"  pystator show {order} --machine {machine} --db {database}")


if __name__ == "__main__":
    main()

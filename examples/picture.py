"""Draw docs/demo.svg: what ``pystator process`` and ``pystator history`` show on a terminal.

Run it from the repository after ``make demo``, whose files it reads.

    python examples/picture.py
"""

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 120
PICTURE = Path("docs") / "demo.svg"
DEMO = Path("build") / "demo"


def seen(*words: str) -> str:
    """What a command shows on a terminal."""
    terminal, screen = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(WIDTH)}
    with subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", "pystator", *words],
        env=environment,
        stdout=screen,
        stderr=subprocess.DEVNULL,
    ):
        os.close(screen)
        parts: list[bytes] = []
        try:
            while part := os.read(terminal, 65_536):
                parts.append(part)
        except OSError:  # Linux says so when the last writer has gone
            pass
    os.close(terminal)
    return b"".join(parts).decode().replace("\r\n", "\n")


def main() -> None:
    """Run the two commands and draw them."""
    order = sys.argv[1] if len(sys.argv) > 1 else "order-01114"
    database = f"sqlite:///{DEMO / 'orders.db'}"
    (DEMO / "orders.db").unlink()
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    for shown, words in (
        (
            "pystator process --machine examples/order.yaml --events orders.jsonl --event-time",
            [
                *(
                    "process",
                    "--machine",
                    "examples/order.yaml",
                    "--events",
                    f"{DEMO}/orders.jsonl",
                ),
                *("--event-time", "--db", database, "--rejects", f"{DEMO}/rejects.jsonl"),
            ],
        ),
        (f"pystator history {order}", ["history", order, "--db", database]),
    ):
        console.print(f"[bold green]$[/] [bold]{shown}[/]\n", highlight=False)
        console.print(Text.from_ansi(seen(*words)), highlight=False, no_wrap=True, overflow="crop")
        console.print()
    picture = console.export_svg(title="pystator")
    # Fonts from elsewhere would be asked for by every reader of the page.
    picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)
    PICTURE.write_text(picture, encoding="utf-8")
    print(f"{PICTURE}: {len(picture):,} characters")


if __name__ == "__main__":
    main()

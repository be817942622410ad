"""The specification's snippets: cut out of its text, and run as they stand."""

import os
import subprocess
import sys
from pathlib import Path

__all__ = ["MACHINE", "close", "cut", "run", "shell"]

MACHINE = {
    "meta": {"machine_name": "order_management", "version": "1.0"},
    "states": [
        {"name": "open", "type": "initial"},
        {"name": "filled", "type": "terminal"},
    ],
    "transitions": [
        {
            "trigger": "fill",
            "source": "open",
            "dest": "filled",
            "guards": ["has_quantity"],
            "actions": ["report"],
        }
    ],
}


def cut(text: str, first: str, last: str) -> str:
    """The lines from ``first`` to the next ``last``, both included."""
    lines = text.splitlines()
    start = lines.index(first)
    return "\n".join(lines[start : lines.index(last, start) + 1])


def run(text: str, namespace: dict[str, object]) -> dict[str, object]:
    """Execute a snippet."""
    exec(compile(text, "state-stores.txt", "exec"), namespace)
    return namespace


def shell(text: str) -> str:
    """What the commands of a snippet print, typed one after the other."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    done = subprocess.run(
        ["bash", "-euc", text],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def close(namespace: dict[str, object]) -> None:
    """Disconnect the stores of a namespace."""
    for value in list(namespace.values()):
        if not isinstance(value, type) and hasattr(value, "disconnect"):
            value.disconnect()

"""Loading a machine, beside PyYAML's C loader that only makes plain data of it; and start-up."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from floors import Row, compare, table
from pystator import StateMachine
from pystator.definition.load import load_text

STATES = 5_000


def text(states: int) -> str:
    """A machine of so many states in a chain, each with a guard or an effect now and then."""
    lines = ["meta: {machine_name: chain, version: '1.0'}", "states:"]
    for n in range(states):
        kind = "initial" if n == 0 else "terminal" if n == states - 1 else "stable"
        lines += [f"  - name: s{n}", f"    type: {kind}", f"    description: State number {n}"]
    lines.append("transitions:")
    for n in range(states - 1):
        lines += [f"  - trigger: go_{n % 50}", f"    source: s{n}", f"    dest: s{n + 1}"]
        if n % 5 == 0:
            lines.append("    guards: [{check: {field: qty, op: gte, value: 1}}]")
        if n % 7 == 0:
            lines.append("    actions: [{increment: steps}]")
    return "\n".join(lines) + "\n"


def fresh(code: str) -> object:
    """Run the code in a new interpreter, which may cache bytecode as an installed package does."""
    environment = {
        name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    }
    return subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def run() -> list[Row]:
    """The rows."""
    big = text(STATES)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chain.yaml"
        path.write_text(text(50))
        step = (
            "import pystator\n"
            f"machine = pystator.StateMachine.from_yaml({str(path)!r})\n"
            "assert machine.process('s0', 'go_0', {'qty': 1}).success\n"
        )
        bare = f"import yaml\nyaml.load(open({str(path)!r}), Loader=yaml.CSafeLoader)\n"
        return [
            compare(
                f"build from YAML, {STATES:,} states",
                lambda: StateMachine.from_definition(load_text(big)),
                lambda: yaml.load(big, Loader=yaml.CSafeLoader),
                does="yaml.load with CSafeLoader, which checks nothing",
                goal=1 / 1.5,
                number=1,
                rounds=5,
            ),
            compare(
                "process: import",
                lambda: fresh("import pystator"),
                lambda: fresh("pass"),
                does="an interpreter that does nothing",
                number=1,
                rounds=7,
            ),
            compare(
                "process: load 50 states, step once",
                lambda: fresh(step),
                lambda: fresh(bare),
                does="an interpreter that reads the file with yaml.load",
                number=1,
                rounds=7,
            ),
        ]


if __name__ == "__main__":
    print(table(run()))

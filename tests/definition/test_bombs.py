"""Texts made to exhaust a reader are refused in bounded time and memory."""

import resource
import subprocess
import sys

import pytest

BOMBS = {
    "aliases": """
lines = ["meta:", "  a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
lines += [f"  a{n}: &a{n} [{', '.join(['*a%d' % (n - 1)] * 10)}]" for n in range(1, 30)]
text = "\\n".join([*lines, "states: *a29", "transitions: []"])
""",
    "merges": """
lines = ["meta:", "  a0: &a0 {x: 1}"]
lines += [
    f"  a{n}: &a{n} {{<<: [{', '.join(['*a%d' % (n - 1)] * 10)}], k{n}: *a{n - 1}}}"
    for n in range(1, 60)
]
text = "\\n".join([*lines, "states: []", "transitions: []"])
""",
    "depth": 'text = "[" * 9_000_000',
    "depth of mappings": 'text = "{a: " * 2_000_000',
    "depth of blocks": 'text = "\\n".join(" " * n + "a:" for n in range(3_000))',
    "dashes": 'text = "- " * 4_000_000',
    "size": 'text = "a" * 10_000_001',
    "one word": 'text = "a" * 9_999_999',
    "one number": 'text = "states: " + "9" * 9_000_000',
    "many values": 'text = "states: [" + "a," * 4_000_000 + "]"',
    "many states that are none": 'text = "states: [" + "1," * (900_000 // LESS) + "]"',
    "many unknown keys": """
text = "states:\\n- {" + ",".join(f"k{n}: 1" for n in range(400_000 // LESS)) + "}\\ntransitions: []"
""",
    "many unknown states": """
states = "".join(f"- {{name: s{n}}}\\n" for n in range(20_000 // LESS))
transitions = "".join(f"- {{trigger: t, source: s{n}, dest: x{n}}}\\n" for n in range(20_000 // LESS))
text = "initial: s0\\nstates:\\n" + states + "transitions:\\n" + transitions
""",
    "every state to every state": """
states = "".join(f"- {{name: s{n}}}\\n" for n in range(20_000 // LESS))
transitions = "".join(f'- {{trigger: t{n}, source: "*", dest: s1}}\\n' for n in range(2_000 // LESS))
text = "initial: s0\\nstates:\\n" + states + "transitions:\\n" + transitions
""",
    "many guards with mistakes": """
guards = "[" + "{expr: 'a >'}," * (100_000 // LESS) + "]"
text = "states: [{name: a, type: initial}]\\ntransitions:\\n- {trigger: t, source: a, dest: a, guards: "
text += guards + "}"
""",
    "long expression": """
text = "states: [{name: a, type: initial}]\\ntransitions:\\n- {trigger: t, source: a, dest: a, guards: "
text += "[{expr: '" + "(" * 500_000 + "'}]}"
""",
    "nested quotes": 'text = "a: " + chr(34) * 5_000_001',
    "comments": 'text = "#" * 5_000_000 + "\\n" + "# x\\n" * 1_000_000',
    "anchors": 'text = "".join(f"- &a{n} x\\n" for n in range(500_000 // LESS))',
}

PROGRAM = """
from pystator.definition.load import check_text
LESS = {less}
{bomb}
definition, issues = check_text(text)
assert definition is None
assert 1 <= len(issues) <= 500, len(issues)
print(issues[0])
"""


def limits():
    resource.setrlimit(resource.RLIMIT_AS, (1_500_000_000, 1_500_000_000))
    resource.setrlimit(resource.RLIMIT_CPU, (20, 20))


@pytest.mark.parametrize("less", [4, pytest.param(1, marks=pytest.mark.soak)])
@pytest.mark.parametrize("bomb", BOMBS, ids=lambda name: name.replace(" ", "_"))
def test_a_bomb_is_refused(bomb, less):
    """A machine may come from a stranger: loading it must not take the process down."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(bomb=BOMBS[bomb], less=less)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limits,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr[-2000:]

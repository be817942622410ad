"""Pages show what the commands print: true to the letter, times and speeds aside."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"\A(?:#|//) file: (?P<name>[\w./-]+)\n")
VARIES = (
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"), "<time>"),
    (re.compile(r"in [\d.]+ s, [\d,]+ a second"), "<speed>"),
)


def steady(text: str) -> str:
    """Without what differs from run to run."""
    for pattern, word in VARIES:
        text = pattern.sub(word, text)
    return text.strip()


def run(code: str, folder: Path) -> str:
    """What a block of the page prints, on both outputs."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "NO_COLOR": "1"}
    environment.pop("PYSTATOR_DATABASE_URL", None)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize(("page", "least"), [("command-line.md", 8), ("check.md", 16)])
def test_the_page_shows_what_the_commands_print(page: str, least: int, tmp_path: Path) -> None:
    printed: str | None = None
    compared = 0
    for block in BLOCK.finditer((DOCS / page).read_text(encoding="utf-8")):
        language, code = block["language"], block["code"]
        named = FILE.match(code)
        if named:
            kept = code if code.startswith("#") else code[named.end() :]
            (tmp_path / named["name"]).write_text(kept, encoding="utf-8")
            printed = None
        elif language == "bash":
            printed = run(code, tmp_path)
        elif language in {"text", "mermaid"} and printed is not None:
            assert steady(code) == steady(printed)
            compared += 1
    assert compared >= least

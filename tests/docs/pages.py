"""What tests of pages share: their code blocks, and a curl where there is none."""

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

__all__ = ["BLOCK", "ROOT", "blocks", "file_of", "search_path"]

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
FILE = re.compile(r"\A(?:#|//) file: (?P<name>[\w./-]+)\n")


def blocks(page: Path) -> list[tuple[int, str, str]]:
    """(line, language, code) of each block."""
    text = page.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, found.start()) + 1, found["language"], found["code"])
        for found in BLOCK.finditer(text)
    ]


def file_of(code: str) -> tuple[str, str] | None:
    """Name and content of the file that a block is."""
    named = FILE.match(code)
    if named is None:
        return None
    return named["name"], code if code.startswith("#") else code[named.end() :]


def search_path(folder: Path, *, stand_in: bool = False) -> str:
    """A ``PATH`` with this environment's commands; and with a curl, made in the folder, if there is none.

    A Debian has no curl from the start, and the tests are to run there.
    """
    places = [str(Path(sys.executable).parent), os.environ["PATH"]]
    if stand_in or shutil.which("curl") is None:
        program = folder / "curl"
        python, source = shlex.quote(sys.executable), shlex.quote(str(ROOT / "tests/docs/curl.py"))
        program.write_text(f'#!/bin/sh\nexec {python} -I {source} "$@"\n')
        program.chmod(0o755)
        places.insert(0, str(folder))
    return os.pathsep.join(places)

"""Every code block of the README and of docs/ is run as it stands.

A page is run from top to bottom in an empty folder: ``yaml`` and ``json`` blocks whose first line is ``# file: NAME``
(or ``// file: NAME``) are written there, other ``yaml`` blocks have to be well-formed, ``python`` blocks share one
namespace, ``bash`` blocks run with the installed ``pystator`` on the path. Blocks of ``text`` and ``mermaid`` show
output; in pages that say what commands print they are compared with it, times and speeds aside. Only a block that
installs is left out. Where a page names a server by its usual address it is run against one
that was started for it.
"""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from docs.pages import ROOT, blocks, file_of, search_path

ALL = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in ALL if page.name != "http-api.md"]
"""A day with curl is run by `test_http_page`, on one store after the other."""

SHOWN = {"text", "mermaid", "sql"}

TRUE = {"command-line.md": 8, "check.md": 16}
"""Pages that show what commands print, and how often at the least."""

VARIES = (
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"), "<time>"),
    (re.compile(r"in [\d.]+ s, [\d,]+ a second"), "<speed>"),
)

CHOOSING = (
    "PYSTATOR_API_KEY",
    "PYSTATOR_API_URL",
    "PYSTATOR_DATABASE_URL",
    "PYSTATOR_MONGODB_URL",
    "PYSTATOR_REDIS_URL",
)
"""Variables that would choose a store or a service."""

MANUAL = "postgresql://user:pass@localhost/pystator"
"""The server that a page may use; its database is empty at the top of the page."""

USUAL = {"localhost:6379": "manual_redis", "localhost:27017": "manual_mongodb"}
"""Addresses that a page may use, and the fixtures that say where such a server is: an empty one."""


def served(page: Path, request: pytest.FixtureRequest) -> list[tuple[int, str, str]]:
    """The blocks of a page, with the servers that they name."""
    found = blocks(page)
    run = "".join(code for _, language, code in found if language not in SHOWN)
    if MANUAL in run:
        request.getfixturevalue("manual_postgres")
    for usual, fixture in USUAL.items():
        if usual in run:
            real: str = request.getfixturevalue(fixture)
            found = [(line, language, code.replace(usual, real)) for line, language, code in found]
    return found


def steady(text: str) -> str:
    """Without what differs from run to run."""
    for pattern, word in VARIES:
        text = pattern.sub(word, text)
    return text.strip()


def run_bash(code: str, path: str) -> str:
    """Run it; what it printed on both outputs."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        env={**os.environ, "PATH": path, "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, f"{code}\n{done.stdout}"
    return done.stdout


@pytest.fixture(autouse=True)
def _no_service_is_left(tmp_path: Path) -> Iterator[None]:
    """A page ends what it starts, by the id that it kept in a file; where it fails, this does."""
    yield
    for kept in tmp_path.glob("*.pid"):
        with suppress(ValueError, ProcessLookupError):
            os.kill(int(kept.read_text()), signal.SIGTERM)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_of_the_page_runs(
    page: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """A reader who copies a block gets what the page says."""
    code_blocks = served(page, request)
    monkeypatch.chdir(tmp_path)
    for name in CHOOSING:
        monkeypatch.delenv(name, raising=False)
    namespace: dict[str, object] = {"__name__": "__main__"}
    path = search_path(tmp_path_factory.mktemp("bin"))
    printed: str | None = None
    compared = 0
    for line, language, code in code_blocks:
        where = f"{page.name}:{line}"
        file = file_of(code)
        if file is not None:
            target = tmp_path / file[0]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(file[1])
            printed = None
        elif language == "python":
            exec(compile(code, where, "exec"), namespace)
        elif language == "bash":
            if "pip install" not in code:
                printed = run_bash(code, path)
        elif language in {"yaml", "json"}:
            yaml.safe_load(code)
        else:
            assert language in SHOWN, f"{where}: a block of {language!r} is not run"
            if page.name in TRUE and printed is not None and language != "sql":
                assert steady(code) == steady(printed), where
                compared += 1
                printed = None  # a block shows what was run before it, and is shown once
    assert compared >= TRUE.get(page.name, 0)


def test_no_page_hides_a_block_from_this_test() -> None:
    """A fence the pattern does not see would be a block nobody runs."""
    for page in ALL:
        text = page.read_text(encoding="utf-8")
        fences = len(re.findall(r"^ *```", text, re.MULTILINE))
        assert fences == 2 * len(blocks(page)), page.name

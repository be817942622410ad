"""The day of docs/http-api.md, as a reader would live it: in an empty folder, with real servers.

Every block runs in one shell, from top to bottom, once for each kind of store, which only a variable
says: the answers are the page's on all of them. Its tables are those of the application.
"""

import asyncio
import os
import re
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from docs.pages import ROOT, blocks, file_of, search_path
from pystator.api import ApiSettings, create_app
from pystator.api.problems import TABLE
from pystator.service.keyfile import create_key
from servers.service import environment

PAGE = ROOT / "docs" / "http-api.md"
USUAL = "localhost:8004"

STORES = {
    "sqlite": None,
    "postgres": ("PYSTATOR_DATABASE_URL", "postgres_url"),
    "redis": ("PYSTATOR_REDIS_URL", "redis_url"),
}
"""The variable that chooses a store, and the fixture with its URL; without one it is the default."""

NAMES = {chosen[0] for chosen in STORES.values() if chosen}

VARIES = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00"), "<time>"),
    (re.compile(r'"duration_us":\d+'), '"duration_us":<us>'),
    (re.compile(r'"next":"[\w-]+"'), '"next":"<cursor>"'),
    (re.compile(r"^id: [\w-]+$", re.MULTILINE), "id: <cursor>"),
)
"""What differs from run to run, and from store to store."""

END = "\x1e"


def free_port() -> int:
    """One that no server has, below those that the system gives to whoever asks for any."""
    first = 20_000 + os.getpid() * 7 % 10_000
    for port in range(first, first + 2_000):
        with socket.socket() as tried, suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def steady(text: str) -> str:
    """Without what differs, and without the ends of lines as HTTP has them."""
    for pattern, word in VARIES:
        text = pattern.sub(word, text)
    return text.replace("\r", "").strip() + "\n"


def pattern_of(shown: str) -> re.Pattern[str]:
    """What a page shows, ``...`` standing for any part of a line, or for any lines.

    A line that is indented goes on with the one before it: answers are long.
    """
    lines = re.sub(r"\n +", "", steady(shown)).splitlines()
    return re.compile(
        "".join(
            r"(?:.*\n)*?"
            if line == "..."
            else ".*?".join(map(re.escape, line.split("..."))) + r"\n"
            for line in lines
        )
    )


def script() -> str:
    """The page's blocks as one program; each ends with a mark on the output."""
    made = ["set -eu -o pipefail"]
    for line, language, code in blocks(PAGE):
        file = file_of(code)
        if file is not None:
            made.append(f"cat > {file[0]} <<'END OF FILE'\n{file[1]}END OF FILE")
        elif language == "bash":
            made.append(f"{code}printf '{END}{line}{END}'")
    return "\n".join(made) + "\n"


@pytest.fixture(params=[*STORES, pytest.param("sqlite without curl", marks=pytest.mark.soak)])
def variables(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The environment of the shell: all that says which store it is."""
    kept = environment()
    kind, _, without_curl = request.param.partition(" ")
    chosen = STORES[kind]
    if chosen is not None:
        kept[chosen[0]] = request.getfixturevalue(chosen[1])
    (tmp_path / "bin").mkdir()
    return {
        **kept,
        "PATH": search_path(tmp_path / "bin", stand_in=bool(without_curl)),
        "NO_COLOR": "1",
    }


def live(folder: Path, variables: dict[str, str]) -> str:
    """Run the page; what it printed."""
    port = str(free_port())
    told = script().replace(USUAL, f"localhost:{port}")
    told = told.replace("pystator api >", f"pystator api --port {port} >")
    errors = folder / "errors.txt"
    with errors.open("w") as stderr:
        shell = subprocess.Popen(
            ["bash", "-c", told],
            cwd=folder,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )
    try:
        printed, _ = shell.communicate(timeout=90)
    finally:
        with suppress(ProcessLookupError):  # what a page that fails leaves behind
            os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()
    log = (folder / "api.log").read_text() if (folder / "api.log").exists() else ""
    assert shell.returncode == 0, f"{printed}\n{errors.read_text()}\n{log}"
    return printed.replace(f":{port}", ":8004")


def test_the_day_goes_as_the_page_says_on_every_store(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    """What a reader copies does what the page shows, whatever the store."""
    folder = tmp_path / "day"
    folder.mkdir()
    parts = live(folder, variables).split(END)
    printed = dict(zip(map(int, parts[1::2]), parts[0::2], strict=False))
    ran = 0
    for line, language, code in blocks(PAGE):
        if language == "bash":
            ran = line
        elif language == "text":
            said = steady(printed.pop(ran))
            if pattern_of(code).fullmatch(said) is None:
                pytest.fail(f"{PAGE.name}:{line} shows what is not so; it printed\n{said}")
    assert [line for line, said in printed.items() if said.strip()] == [], "it is not shown"
    assert (folder / "pystator.db").exists() is not bool(NAMES & variables.keys())


def test_the_request_of_the_readme_is_made_on_the_page() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8").replace("$API", f"{USUAL}/api/v1")
    shown = re.findall(r"`(curl .*?)`", readme)
    assert shown
    assert [line for line in shown if line not in page.splitlines()] == []


# Tables -------------------------------------------------------------------------------------------


def rows(first: str) -> list[list[str]]:
    """The cells of the table that begins so."""
    text = PAGE.read_text(encoding="utf-8")
    lines = text[text.index(first) :].splitlines()
    table = lines[2 : next(n for n, line in enumerate(lines) if not line.startswith("|"))]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in table]


def test_the_routes_are_those_of_the_application() -> None:
    paths = create_app(store="memory://").openapi()["paths"]
    served = {
        f"{method.upper()} {path.removeprefix('/api/v1')}"
        for path, operations in paths.items()
        for method in operations
    }
    listed = [row[0] for row in rows("| Route |")]
    assert len(listed) == len(set(listed))
    assert set(listed) == served


def test_the_scopes_are_those_that_a_key_needs(tmp_path: Path) -> None:
    """A key of each scope knocks at each door, and is let in or not."""
    file = tmp_path / "keys.json"
    keys = {
        scope: create_key(file, scope, scopes=[scope], machines=None, now=time.time_ns() // 1000)[0]
        for scope in ("read", "send", "admin")
    }
    settings = ApiSettings.load({}, tmp_path, tmp_path, keys_file=str(file))
    app = create_app(store="memory://", settings=settings)
    doors = [row for row in rows("| Route |") if not row[0].endswith("/stream")]  # it never ends

    async def refused() -> set[tuple[str, str]]:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
        ):
            found: set[tuple[str, str]] = set()
            for route, _, _ in doors:
                method, path = route.split()
                at = path if path == "/metrics" else f"/api/v1{path}"
                for scope, key in keys.items():
                    answer = await client.request(method, at, headers={"X-API-Key": key})
                    assert answer.status_code != 401
                    if answer.status_code == 403:
                        found.add((route, scope))
            return found

    assert asyncio.run(refused()) == {
        (route, has)
        for route, _, scope in doors
        for has in keys
        if scope not in {"", has} and has != "admin"
    }


def test_the_errors_are_those_of_the_table() -> None:
    said = {
        (int(status), code.strip("` "))
        for status, codes in rows("| Status |")
        for code in codes.split(",")
    }
    meant = {(status, str(code)) for code, (status, _) in TABLE.items()}
    meant -= {(409, "no_transition"), (412, "precondition_failed")}  # entries, but no codes
    assert said == meant | {(412, "stale_version")}

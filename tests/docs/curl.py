"""As much of curl as the pages use, for machines that have none: run as a program."""

import argparse
import http.client
import sys
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit


def arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="curl", allow_abbrev=False)
    for flag in ("-s", "-S", "-f", "-i", "-I", "-N"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("-H", action="append", default=[])
    parser.add_argument("-X")
    parser.add_argument("-o")
    parser.add_argument("-w", default="")
    parser.add_argument("-d", "--data-binary", "--data", dest="data")
    parser.add_argument("--json")
    parser.add_argument("url")
    return parser.parse_args(words)


def content(said: str) -> bytes:
    if not said.startswith("@"):
        return said.encode()
    return Path(said[1:]).read_bytes()


def ask(asked: argparse.Namespace) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    data = asked.data if asked.json is None else asked.json
    headers = {"Accept": "*/*"}
    if data is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    if asked.json is not None:
        headers.update({"Content-Type": "application/json", "Accept": "application/json"})
    for line in asked.H:
        name, _, value = line.partition(":")
        headers[name.title()] = value.strip()
    url = urlsplit(asked.url if "://" in asked.url else f"http://{asked.url}")
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=60)
    target = f"{url.path or '/'}{f'?{url.query}' if url.query else ''}"
    body = None if data is None else content(data)
    connection.request(
        asked.X or ("HEAD" if asked.I else "GET" if body is None else "POST"), target, body, headers
    )
    return connection, connection.getresponse()


def tell(asked: argparse.Namespace, answer: http.client.HTTPResponse, out: IO[bytes]) -> None:
    if asked.i or asked.I:
        head = [f"HTTP/1.1 {answer.status} {answer.reason}"]
        head += [f"{name}: {value}" for name, value in answer.getheaders()]
        out.write("".join(f"{line}\r\n" for line in [*head, ""]).encode())
    while part := answer.read1(65_536):
        out.write(part)
        out.flush()


def main() -> int:
    asked = arguments(sys.argv[1:])
    try:
        connection, answer = ask(asked)
    except OSError as error:
        if not asked.s:
            sys.stderr.write(f"curl: {error}\n")
        return 7
    if asked.f and answer.status >= 400:
        return 22
    if asked.o:
        with Path(asked.o).open("wb") as file:
            tell(asked, answer, file)
    else:
        tell(asked, answer, sys.stdout.buffer)
    told = asked.w.replace("%{http_code}", str(answer.status)).replace("\\n", "\n")
    sys.stdout.write(told)
    connection.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

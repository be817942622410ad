"""``pystator check``: every mistake in machine files, each at its place."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pystator.cli.machines import is_file, shown_url, stored_machines
from pystator.cli.options import JsonOption, StoreOption
from pystator.cli.output import Style, Tone, paint, say, say_json

if TYPE_CHECKING:
    from pystator.definition.issues import Issue
    from pystator.definition.model import Definition

__all__ = ["check"]

AROUND = 1
"""Lines shown before and after the one that is meant."""

WIDEST = 160
"""Characters shown of a line; of a longer one, those around the place."""

BREAKS = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""What ends a line in YAML."""

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
"""Characters that would do something to a terminal."""


def check(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|NAME",
            help="Machine files in YAML or JSON, or names of stored machines; - reads one.",
        ),
    ],
    strict: Annotated[bool, typer.Option("--strict", help="Warnings are errors.")] = False,
    notes: Annotated[bool, typer.Option("--all", help="Notes, too: what is worth a look.")] = False,
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", metavar="CODE", help="Leave out findings of a code."),
    ] = None,
    url: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Find every mistake in machine files, and what can never happen in them.

    Each is shown with file, line and column, the lines around it, and what was probably meant.
    """
    silent = known(ignore or [])
    reports = [look_at(file, silent, url, notes=notes) for file in files]
    if json:
        say_json(
            {
                "ok": all(right(report, strict) for report in reports),
                "files": list(map(facts, reports)),
            }
        )
    else:
        style = paint(sys.stdout)
        for report in reports:
            show(report, style)
    if not all(right(report, strict) for report in reports):
        raise typer.Exit(1)


class Report:
    """What is to be said about one file."""

    def __init__(
        self, file: str, text: str, definition: "Definition | None", issues: "list[Issue]"
    ) -> None:
        self.file = file
        self.lines = BREAKS.sub("\n", text).removesuffix("\n").split("\n") if text else []
        self.definition = definition
        self.issues = issues


def known(codes: list[str]) -> frozenset[str]:
    """The codes to leave out; one that does not exist is a mistake of the call."""
    from pystator.definition.analyse import unknown_code

    for code in codes:
        issue = unknown_code(code)
        if issue is not None:
            near = f": did you mean {issue.suggestion}?" if issue.suggestion else ""
            message = f"{code!r} is no code of a finding{near}"
            raise typer.BadParameter(message, param_hint="--ignore")
    return frozenset(codes)


def look_at(file: str, silent: frozenset[str], url: str | None, *, notes: bool) -> Report:
    """Check one file, standard input, or a stored machine."""
    from pystator.definition.load import check_bytes, check_file  # with the format's validator

    if file == "-" or not is_file(file):
        name, content = ("<stdin>", sys.stdin.buffer.read()) if file == "-" else stored(file, url)
        definition, issues = check_bytes(content, name)
        issues = found_in(definition, issues, silent, notes=notes)
        return Report(name, readable(content), definition, issues)
    definition, issues = check_file(file)
    issues = found_in(definition, issues, silent, notes=notes)
    shown = any(issue.line for issue in issues)
    return Report(file, readable(Path(file).read_bytes()) if shown else "", definition, issues)


def stored(name: str, url: str | None) -> tuple[str, bytes]:
    """Name and text of a stored machine, with a line for each thing in it."""
    import json as jsonlib

    from pystator.stores.named import configuration, find_machine

    with stored_machines(url) as store:
        found = find_machine(store, name, shown_url(url))
    text = jsonlib.dumps(configuration(found), indent=2, ensure_ascii=False)
    return f"{found.name}@{found.version}", text.encode()


def found_in(
    definition: "Definition | None", issues: "list[Issue]", silent: frozenset[str], *, notes: bool
) -> "list[Issue]":
    """What is to be said: of a machine that loads, what its analysis finds, too."""
    from pystator.definition.analyse import everything, ignoring

    every = ignoring(everything(definition, issues), silent)
    return [issue for issue in every if notes or issue.severity != "info"]


def readable(content: bytes) -> str:
    """The text to show lines of: none where there is hardly any."""
    if b"\0" in content:
        return ""
    return content.decode("utf-8-sig", "replace")


def right(report: Report, strict: bool) -> bool:
    """Nothing is wrong; with ``strict``, nothing is odd either."""
    wrong = {"error", "warning"} if strict else {"error"}
    return report.definition is not None and not any(
        issue.severity in wrong for issue in report.issues
    )


def facts(report: Report) -> dict[str, Any]:
    """The report as plain data."""
    from pystator.service.checking import summary  # with the format's validator

    definition = report.definition
    return {
        "file": report.file,
        "ok": right(report, strict=False),
        "machine": None if definition is None else summary(definition),
        "issues": [issue.to_dict() for issue in report.issues],
    }


def show(report: Report, style: Style) -> None:
    """The report as text."""
    for issue in report.issues:
        for line in frame(issue, report.lines, style):
            say(line)
    found = counted(report.issues)
    if report.definition is None:
        say(f"{report.file}: {style(found, 'bad')}")
        return
    definition = report.definition
    size = ", ".join(
        number_of(number, word)
        for number, word in (
            (states(definition), "state"),
            (len(definition.transitions), "transition"),
        )
    )
    ending = f"; {style(found, 'warn')}" if found else ""
    name = f"{definition.name} {definition.version}".strip()
    verdict = style("ok", "good") if right(report, strict=False) else style("wrong", "bad")
    say(f"{report.file}: {verdict}: {name}, {size}{ending}")
    hint = how_to_silence(report.issues)
    if hint:
        say(style(f"  {hint}", "dim"))
    if refs(definition):
        say(f"  requirements: {', '.join(refs(definition))}")


def counted(issues: "list[Issue]") -> str:
    """``1 error, 2 warnings``."""
    words = {"error": "error", "warning": "warning", "info": "note"}
    numbers = {
        word: sum(issue.severity == kind for issue in issues) for kind, word in words.items()
    }
    return ", ".join(number_of(number, word) for word, number in numbers.items() if number)


def how_to_silence(issues: "list[Issue]") -> str:
    """What to write where a finding is meant so; nothing where there is none."""
    from pystator.definition.analyse import CODES

    codes = dict.fromkeys(issue.code for issue in issues if issue.code in CODES)
    codes.pop("unknown_code", None)
    if not codes:
        return ""
    code = next(iter(codes))
    return f"if it is meant so: metadata: {{check: {{ignore: [{code}]}}}} there, or --ignore {code}"


def number_of(number: int, word: str) -> str:
    """``1 state``, ``2 states``."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def states(definition: "Definition") -> int:
    """How many states there are; regions are none."""
    return sum(node.kind.value != "region" for node in definition.nodes.values())


def refs(definition: "Definition") -> list[str]:
    """Every requirement a transition refers to, once, in the order of the file."""
    return list(dict.fromkeys(ref for item in definition.transitions for ref in item.refs))


def frame(issue: "Issue", lines: list[str], style: Style) -> list[str]:
    """The message, and the lines it is about with a mark below the place."""
    tone: Tone = "bad" if issue.severity == "error" else "warn"
    head, _, rest = str(issue).partition(": ")
    shown = [f"{style(head, 'strong')}: {style(rest, tone)} {style(f'[{issue.code}]', 'dim')}"]
    if not 1 <= issue.line <= len(lines):
        return shown
    width = len(str(issue.line + AROUND))
    first = max(0, issue.column - 1 - WIDEST // 2)
    start = first if len(lines[issue.line - 1]) > WIDEST else 0
    for number in range(max(1, issue.line - AROUND), min(len(lines), issue.line + AROUND) + 1):
        mark = ">" if number == issue.line else " "
        line = lines[number - 1].replace("\t", " ")
        text = CONTROL.sub("\ufffd", line[start : start + WIDEST])
        shown.append(style(f"  {mark} {number:>{width}} | ", "dim") + text)
        if number == issue.line:
            under = " " * (issue.column - 1 - start) + "^" * mark_width(issue, line)
            shown.append(style(f"    {'':>{width}} | ", "dim") + style(under, tone))
    return [*shown, ""]


def mark_width(issue: "Issue", line: str) -> int:
    """As wide as the offending text where that is what stands there, else one character."""
    text = issue.text or ""
    return len(text) if text and line.startswith(text, issue.column - 1) else 1

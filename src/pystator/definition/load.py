"""A machine from a file, a text or plain data.

::

    file -> text -> plain data -> shape -> meaning -> Definition
                 |             |        `- lower.py
                 |             `- document.py
                 `- text.py

Whatever is wrong is found at once: what has the wrong shape is reported and left out, and the rest
is still lowered.
"""

from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

from pystator.definition.data import is_map
from pystator.definition.document import mistakes
from pystator.definition.issues import Issue, Locate, Path, Report, configuration_error, show
from pystator.definition.lower import lower
from pystator.definition.mistakes import explain, sound
from pystator.definition.model import Definition
from pystator.definition.plain import copy_plain
from pystator.definition.positions import locate, written
from pystator.definition.states import Places
from pystator.definition.text import MAX_BYTES, decode, prepare, read

__all__ = [
    "check_bytes",
    "check_config",
    "check_file",
    "check_text",
    "load_config",
    "load_file",
    "load_text",
]

Checked = tuple[Definition | None, list[Issue]]


def load_file(path: str | FilePath) -> Definition:
    """Load a machine from a YAML or JSON file.

    Raises:
        ConfigurationError: The file cannot be read, or the machine has mistakes: the message lists
            every one with line and column, ``context["issues"]`` has them as plain data.
    """
    return _require(check_file(path))


def load_text(text: str, *, file: str | None = None) -> Definition:
    """Load a machine from YAML or JSON text.

    Args:
        text: The machine.
        file: Where it comes from, for messages.

    Raises:
        ConfigurationError: As `load_file`.
    """
    return _require(check_text(text, file))


def load_config(config: Mapping[str, Any], *, file: str | None = None) -> Definition:
    """Load a machine from plain data, which is copied.

    Args:
        config: Mappings with text keys, lists, text, numbers, booleans and null.
        file: Where it comes from, for messages.

    Raises:
        ConfigurationError: As `load_file`, with paths instead of lines.
    """
    return _require(check_config(config, file))


def check_file(path: str | FilePath) -> Checked:
    """The machine in a file, or None, and everything that is to be said about it."""
    name = str(path)
    try:
        with FilePath(path).open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        return None, [
            Issue("unreadable", "error", f"cannot read the file: {reason.lower()}", file=name)
        ]
    return check_bytes(content, name)


def check_bytes(content: bytes, file: str) -> Checked:
    """The machine in a file's content, or None, and everything that is to be said about it."""
    if len(content) > MAX_BYTES:
        message = (
            f"the file has more than {MAX_BYTES:,} bytes, which is more than a machine may have"
        )
        return None, [Issue("too_large", "error", message, file=file)]
    text, issue = decode(content)
    if issue is not None:
        return None, [issue.of_file(file)]
    return check_text(text, file)


def check_text(text: str, file: str | None = None) -> Checked:
    """The machine in a text, or None, and everything that is to be said about it."""
    text = prepare(text)
    reading = read(text)
    if reading.issues:
        return None, [issue.of_file(file) for issue in reading.issues]
    report = Report()
    definition = _examine(reading.data, report, reading.places, file)
    if definition is not None:
        _check_version(definition, text, report)
    return _result(definition, report, lambda findings: locate(text, findings), file)


def check_config(config: Any, file: str | None = None) -> Checked:
    """The machine in plain data, or None, and everything that is to be said about it."""
    report = Report()
    data = copy_plain(config, report)
    definition = None if report.failed else _examine(data, report, {}, file)
    return _result(definition, report, None, file)


def _examine(data: Any, report: Report, places: Places, file: str | None) -> Definition | None:
    found = mistakes(data)
    if not found:
        return lower(data, report, places=places, file=file)
    wrong: list[Path] = explain(found, report)
    if () in wrong:
        return None
    whole, damaged = sound(data, wrong)
    source: Mapping[str, Any] = data if is_map(data) else {}
    return lower(whole, report, source=source, damaged=damaged, places=places, file=file)


def _check_version(definition: Definition, text: str, report: Report) -> None:
    """A version that YAML reads as a number may not be the text that stands there: 1.10 is 1.1."""
    version: Any = definition.meta.get("version")
    path = ("meta", "version")
    if not isinstance(version, int | float):
        return
    raw = written(text, path)
    if raw is not None and raw != str(version):
        report.add(
            "version",
            path,
            f'YAML reads this as the number {version}: write "{raw}" in quotes',
            text=show(raw),
        )


def _result(
    definition: Definition | None, report: Report, locate: Locate | None, file: str | None
) -> Checked:
    return None if report.failed else definition, report.issues(locate, file)


def _require(checked: Checked) -> Definition:
    definition, issues = checked
    if definition is None:
        raise configuration_error(issues)
    return definition

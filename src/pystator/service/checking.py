"""What is to be said about a machine: every mistake with its place, and what analysis finds."""

import json
from collections.abc import Collection
from typing import Any, Final

from pystator.definition.analyse import everything
from pystator.definition.issues import Issue, configuration_error
from pystator.definition.load import check_bytes, check_config
from pystator.definition.model import Definition, Kind

__all__ = ["MOST_ISSUES", "as_yaml", "check", "prepare", "read", "right", "summary"]

MOST_ISSUES: Final = 500
"""Issues that are told; of more, the first."""


def read(content: bytes, *, plain: bool) -> tuple[Definition | None, list[Issue]]:
    """The machine in a text, or None, and everything that loading says about it.

    Args:
        content: YAML or JSON.
        plain: It is JSON whose layout is not its author's: issues have paths, and no lines.
    """
    if plain:
        return check_config(json.loads(content))
    definition, issues = check_bytes(content, "")
    return definition, [issue.of_file(None) for issue in issues]


def check(content: bytes, *, plain: bool = False, strict: bool = False) -> dict[str, Any]:
    """Everything that is to be said about a machine; nothing is raised for a wrong one.

    Args:
        content: YAML or JSON.
        plain: See `read`.
        strict: A warning makes it wrong, too.
    """
    definition, issues = read(content, plain=plain)
    found = everything(definition, issues)
    return {
        "valid": definition is not None and right(found, strict=strict),
        "machine": None if definition is None else summary(definition),
        "issues": [_told(issue) for issue in _first(found)],
        "more_issues": max(0, len(found) - MOST_ISSUES),
    }


def prepare(content: bytes, *, plain: bool = False) -> dict[str, Any]:
    """A machine as it is stored: name, version, fingerprint, description and its JSON text.

    Raises:
        ConfigurationError: It has mistakes; ``context["issues"]`` has every one with its place.
    """
    definition, issues = read(content, plain=plain)
    if definition is None:
        raise configuration_error([issue.of_file(None) for issue in issues])
    return {
        "name": definition.name,
        "version": definition.version,
        "fingerprint": definition.fingerprint,
        "description": definition.description,
        "definition": json.dumps(definition.config, ensure_ascii=False),
        "issues": [_told(issue) for issue in issues],
    }


def as_yaml(content: bytes) -> dict[str, Any]:
    """The YAML of a machine that is kept as JSON."""
    import yaml  # the loader has its own way into it

    dump: Any = vars(yaml)["safe_dump"]  # its stubs are partial
    return {"text": dump(json.loads(content), sort_keys=False, allow_unicode=True)}


def right(issues: Collection[Issue], *, strict: bool) -> bool:
    """Nothing is wrong; where one is strict, nothing is odd either."""
    wrong = {"error", "warning"} if strict else {"error"}
    return not any(issue.severity in wrong for issue in issues)


def summary(definition: Definition) -> dict[str, Any]:
    """A machine in a few facts."""
    return {
        "name": definition.name,
        "version": definition.version,
        "states": sum(node.kind is not Kind.REGION for node in definition.nodes.values()),
        "transitions": len(definition.transitions),
        "triggers": list(definition.triggers),
        "refs": list(dict.fromkeys(ref for way in definition.transitions for ref in way.refs)),
        "fingerprint": definition.fingerprint,
    }


def _first(issues: list[Issue]) -> list[Issue]:
    """As many as are told; of too many, no error is left out for something milder."""
    if len(issues) <= MOST_ISSUES:
        return issues
    grave = [issue for issue in issues if issue.severity == "error"][:MOST_ISSUES]
    mild = [issue for issue in issues if issue.severity != "error"]
    return [*grave, *mild[: MOST_ISSUES - len(grave)]]


def _told(issue: Issue) -> dict[str, Any]:
    """An issue as plain data; it comes from no file."""
    told = issue.to_dict()
    del told["file"]
    return told

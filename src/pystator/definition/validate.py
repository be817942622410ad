"""Checks of a machine that raise nothing: what is wrong comes back as text."""

from typing import Any

from pystator.definition.analyse import everything
from pystator.definition.load import check_config, check_file, check_text

__all__ = ["check_config", "check_file", "check_text", "validate_config"]


def validate_config(config: Any, strict: bool = False) -> list[str]:
    """Every mistake of a machine; an empty list when it is right.

    Args:
        config: The machine as plain data, or as YAML or JSON text.
        strict: Count warnings too, and analyse the machine: what is legal and was probably not
            meant. `pystator.definition.analyse.analyse` gives the findings themselves.
    """
    definition, issues = check_text(config) if isinstance(config, str) else check_config(config)
    if strict:
        return [str(each) for each in everything(definition, issues) if each.severity != "info"]
    return [str(issue) for issue in issues if issue.severity == "error"]

"""Machines that tests store, check and try."""

from pathlib import Path
from typing import Any, Final

__all__ = ["ORDER", "YAML", "small"]

YAML: Final = {"content-type": "application/yaml"}
"""The header of a body that is one."""

ORDER: Final = (Path(__file__).parents[2] / "examples" / "order.yaml").read_text(encoding="utf-8")
"""The text of the order machine."""


def small(version: str = "1", name: str = "small", dest: str = "b", **more: Any) -> dict[str, Any]:
    """A machine of one event."""
    return {
        "meta": {"machine_name": name, "version": version},
        "states": [{"name": "a", "type": "initial"}, {"name": "b"}, {"name": "c"}],
        "transitions": [{"trigger": "go", "source": "a", "dest": dest}],
        **more,
    }

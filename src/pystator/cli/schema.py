"""``pystator schema``: the JSON Schema of a machine file."""

import json as jsonlib
from typing import Annotated

import typer

from pystator.cli.output import say

__all__ = ["schema"]


def schema(
    json: Annotated[bool, typer.Option("--json", help="On one line.")] = False,
) -> None:
    """Print the JSON Schema of machine files.

    An editor that knows it checks and completes a machine while you type.
    """
    from pystator.definition.schema import json_schema  # the format's validator comes with it

    say(jsonlib.dumps(json_schema(), ensure_ascii=False, indent=None if json else 2))

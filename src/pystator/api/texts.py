"""Bodies that are machines: JSON or YAML, read by the machine's own reader, which knows lines."""

from typing import Any, Final

from fastapi import Request

from pystator.api.bodies import parsed
from pystator.api.models.machines import SMALL
from pystator.api.problems import Problem

__all__ = ["BODY", "YAML", "machine_text"]

YAML: Final = "application/yaml"

_YAML: Final = frozenset({YAML, "application/x-yaml", "text/yaml", "text/x-yaml", "text/vnd.yaml"})

_TEXT: Final = """\
meta: {machine_name: shop_order, version: "2.1"}
states:
  - {name: draft, type: initial, description: A basket}
  - {name: placed, description: Bought}
  - {name: cancelled, type: terminal, description: Called off}
transitions:
  - {trigger: place, source: draft, dest: placed, guards: [{expr: total > 0}]}
  - {trigger: cancel, source: [draft, placed], dest: cancelled}
"""


async def machine_text(request: Request) -> bytes:
    """The body: a machine in YAML or JSON.

    Raises:
        Problem: It says that it is something else; or that it is JSON, and is none.
    """
    body = await request.body()
    said = request.headers.get("content-type", "")
    kind = said.partition(";")[0].strip().lower()
    if kind in _YAML or (kind.startswith("application/") and kind.endswith("+yaml")):
        return body
    if kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json")):
        parsed(body)
        return body
    raise Problem(
        "unsupported_media_type",
        f"the body's media type is {said[:60] or 'not given'}; a machine is YAML or JSON: send the"
        " header Content-Type: application/yaml or application/json",
    )


BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "A machine, as its file has it.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["states", "transitions"],
                    "properties": {
                        "meta": {"type": "object", "description": "Name, version and modes."},
                        "states": {"description": "Its states."},
                        "transitions": {"description": "Its transitions."},
                    },
                    "description": "`pystator schema` prints the whole JSON Schema.",
                },
                "example": SMALL,
            },
            YAML: {"schema": {"type": "string"}, "example": _TEXT},
        },
    }
}
"""The declaration of such a body, for ``openapi_extra``."""

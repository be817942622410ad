"""Bodies that are machines: JSON or YAML, read by the machine's own reader, which knows lines."""

from typing import Any, Final

from fastapi import Request

from pystator.api.bodies import parsed
from pystator.api.models.machines import SMALL
from pystator.api.problems import Problem

__all__ = ["MACHINE_BODY", "TEXT_BODY", "YAML", "machine_text"]

JSON: Final = "application/json"
YAML: Final = "application/yaml"

_YAML: Final = frozenset({YAML, "application/x-yaml", "text/yaml", "text/x-yaml", "text/vnd.yaml"})


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
    if kind == JSON or (kind.startswith("application/") and kind.endswith("+json")):
        parsed(body, once=False)  # its reader says where
        return body
    raise Problem(
        "unsupported_media_type",
        f"the body's media type is {said[:60] or 'not given'}; a machine is YAML or JSON: send the"
        " header Content-Type: application/yaml or application/json",
    )


_MACHINE: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["states", "transitions"],
    "properties": {
        "meta": {"type": ["object", "null"], "description": "Name, version and modes."},
        "states": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "object"},
            "description": "Its states.",
        },
        "transitions": {
            "type": "array",
            "items": {"type": "object"},
            "description": "Its transitions.",
        },
    },
    "description": "`pystator schema` prints the whole JSON Schema.",
}
_ANYTHING: Final[dict[str, Any]] = {"description": "A machine, or what is to become one."}


def _declared(schema: dict[str, Any]) -> dict[str, Any]:
    """The declaration of such a body, for ``openapi_extra``."""
    return {
        "requestBody": {
            "required": True,
            "description": "A machine, as its file has it.",
            "content": {kind: {"schema": schema, "example": SMALL} for kind in (JSON, YAML)},
        }
    }


MACHINE_BODY: Final = _declared(_MACHINE)
"""A body that has to be a machine."""

TEXT_BODY: Final = _declared(_ANYTHING)
"""A body about which something is to be said."""

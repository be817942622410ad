"""The JSON Schema of a machine file, for completion and checks in editors.

With yaml-language-server, put this on the first line of a machine::

    # yaml-language-server: $schema=machine.schema.json

It is made from the same table that machines are checked with.
"""

from typing import Any

from pystator.definition.format import (
    ACTION,
    DOCUMENT,
    GUARD,
    STATE,
    Anything,
    Choice,
    Flag,
    Forms,
    Integer,
    Key,
    Kinds,
    ListOf,
    MapOf,
    Number,
    Object,
    Ref,
    Shape,
    Text,
)

__all__ = ["json_schema"]

Schema = dict[str, Any]


def json_schema() -> Schema:
    """The JSON Schema (2020-12) of a machine file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "PyStator machine",
        **_object(DOCUMENT),
        "$defs": {
            "guard": _forms(GUARD, "A guard"),
            "action": _forms(ACTION, "An action"),
            "state": _object(STATE),
        },
    }


def _schema(shape: Shape) -> Schema:  # noqa: C901, PLR0911 - one case for each shape
    match shape:
        case Text(pattern):
            return {"type": "string"} if pattern is None else {"type": "string", "pattern": pattern}
        case Choice(words):
            return {"enum": list(words)}
        case Flag():
            return {"type": "boolean"}
        case Integer(least, most):
            return _bounds("integer", minimum=least, maximum=most)
        case Number(above, least, most):
            return _bounds("number", exclusiveMinimum=above, minimum=least, maximum=most)
        case Anything():
            return {}
        case ListOf(item, least):
            return _bounds("array", minItems=least or None) | {"items": _schema(item)}
        case MapOf(value, least, bare):
            inner = {"anyOf": [_schema(value), {"type": "null"}]} if bare else _schema(value)
            limit = _bounds("object", minProperties=least or None)
            return limit | {"additionalProperties": inner}
        case Object():
            return {"$ref": "#/$defs/state"} if shape is STATE else _object(shape)
        case Kinds(by):
            found = [_schema(inner) for inner in by.values()]
            return {"anyOf": [one for n, one in enumerate(found) if one not in found[:n]]}
        case Ref(name):
            return {"$ref": f"#/$defs/{name}"}
        case Forms():
            raise TypeError("a union that contains itself is defined once and referred to")


def _bounds(kind: str, **limits: int | None) -> Schema:
    return {"type": kind, **{name: limit for name, limit in limits.items() if limit is not None}}


def _object(shape: Object) -> Schema:
    found: Schema = {
        "type": "object",
        "description": shape.says,
        "properties": {name: _key(key) for name, key in shape.keys.items()},
        "additionalProperties": shape.free,
    }
    required = [name for name, key in shape.keys.items() if key.required]
    if required:
        found["required"] = required
    return found


def _key(key: Key) -> Schema:
    """A key's own sentence goes before the general one of its shape."""
    inner = _schema(key.shape)
    if "$ref" in inner:
        return {"description": key.says, "allOf": [inner]}
    return inner | {"description": key.says}


def _forms(forms: Forms, says: str) -> Schema:
    name = {"type": "string", "description": f"{says} registered under this name."}
    return {"description": f"{says}.", "anyOf": [name, *map(_object, forms.by.values())]}

"""Editors get a JSON Schema that agrees with the checks."""

import json
from pathlib import Path

import pytest

from pystator.definition.format import DOCUMENT, MapOf, Object
from pystator.definition.schema import json_schema
from pystator.definition.text import read

HERE = Path(__file__).parent
TYPES = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None),
    "number": (int, float), "integer": int,
}  # fmt: skip


def fits(value, schema, top):
    """As much of JSON Schema as ours uses."""
    if "$ref" in schema:
        return fits(value, top["$defs"][schema["$ref"].removeprefix("#/$defs/")], top)
    if not all(fits(value, part, top) for part in schema.get("allOf", [])):
        return False
    if "anyOf" in schema and not any(fits(value, part, top) for part in schema["anyOf"]):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if "type" in schema and not isinstance(value, TYPES[schema["type"]]):
        return False
    if isinstance(value, list):
        return all(fits(item, schema.get("items", {}), top) for item in value)
    if not isinstance(value, dict) or "properties" not in schema | {"properties": 0}:
        return True
    known = schema.get("properties", {})
    rest = schema.get("additionalProperties", True)
    if not set(schema.get("required", ())) <= set(value):
        return False
    return all(
        fits(item, known[key], top)
        if key in known
        else rest is not False and (rest is True or fits(item, rest, top))
        for key, item in value.items()
    )


def test_the_schema_is_plain_json():
    """It is written to a file."""
    schema = json_schema()
    assert schema == json.loads(json.dumps(schema))
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("file", sorted((HERE / "good").glob("*.yaml")), ids=lambda f: f.stem)
def test_good_machines_fit_the_schema(file):
    """An editor that underlines a right machine is switched off."""
    schema = json_schema()
    assert fits(read(file.read_text(encoding="utf-8")).data, schema, schema)


@pytest.mark.parametrize(
    "name",
    [
        "no_states", "unknown_section", "unknown_key_in_state", "unknown_key_in_transition", "unknown_type",
        "state_without_name", "name_is_number", "guards_as_text", "actions_as_mapping", "flag_as_word",
        "timeout_incomplete", "guard_unknown_form", "guard_two_forms", "guard_check_operator",
        "action_unknown_form", "action_two_forms", "action_append_incomplete", "states_as_mapping", "region_shapes", "on_done_wrong", "when_wrong",
    ],
)  # fmt: skip
def test_machines_of_the_wrong_shape_do_not_fit_it(name):
    """What the schema can say, it says while typing."""
    schema = json_schema()
    data = read((HERE / "broken" / f"{name}.yaml").read_text(encoding="utf-8")).data
    assert not fits(data, schema, schema)


def test_every_key_has_a_sentence_for_its_tooltip():
    """Completion without explanation is a list of riddles."""

    def walk(shape, path):
        if isinstance(shape, Object):
            for name, key in shape.keys.items():
                assert key.says.endswith("."), f"{path}.{name}"
                walk(key.shape, f"{path}.{name}")
        elif hasattr(shape, "item"):
            walk(shape.item, path)
        elif isinstance(shape, MapOf):
            walk(shape.value, path)
        elif isinstance(getattr(shape, "by", None), dict):
            for inner in shape.by.values():
                walk(inner, path)

    walk(DOCUMENT, "machine")

"""Checks plain data against the format (`pystator.definition.format`), with Pydantic's core.

A value that can take several forms is a union with a callable discriminator: what is there decides
the form, so a mistake inside an entry is one message and not one per form. Tags start with ``<``,
which no key of the format does: that is how a message's path is told from the data's.

The validator is put together from the table with `pydantic_core` itself: importing Pydantic's model
classes and building forty of them takes five times as long as loading a machine. This is the only
module that imports it, and it is imported when a machine is loaded.
"""

from collections.abc import Callable, Mapping
from functools import cache
from itertools import islice
from typing import Any, Final

from pydantic_core import PydanticCustomError, SchemaValidator, ValidationError
from pydantic_core import core_schema as core

from pystator.definition.data import is_map
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
    Kinds,
    ListOf,
    MapOf,
    Number,
    Object,
    Ref,
    Shape,
    Text,
)
from pystator.definition.issues import closest, show

__all__ = ["mistakes"]

Schema = core.CoreSchema


MAX_MISTAKES: Final = 5_000


def mistakes(data: Any) -> list[Any]:
    """Every deviation from the format, as Pydantic's error details; empty when there is none.

    Data with more than `MAX_MISTAKES` is not of the format at all, and that is all that is said.
    """
    try:
        _validator().validate_python(data, strict=True)
    except ValidationError as error:
        if error.error_count() > MAX_MISTAKES:
            said = f"this is no machine: it has {error.error_count():,} mistakes"
            return [{"type": "entry_type", "loc": (), "msg": said, "input": "", "ctx": {}}]
        return error.errors(include_url=False)
    return []


@cache
def _validator() -> SchemaValidator:
    definitions = [
        _forms(GUARD, "guard", "a guard"),
        _forms(ACTION, "action", "an action"),
        _object(STATE, ref="state"),
    ]
    return SchemaValidator(core.definitions_schema(_schema(DOCUMENT), definitions))


def _schema(shape: Shape) -> Schema:  # noqa: C901, PLR0911 - one case for each shape
    match shape:
        case Text(pattern):
            return core.str_schema(pattern=pattern)
        case Choice(words):
            return core.literal_schema(list(words))
        case Flag():
            return core.bool_schema()
        case Integer(least, most):
            return core.int_schema(ge=least, le=most)
        case Number(above, least, most):
            return core.float_schema(gt=above, ge=least, le=most, allow_inf_nan=False)
        case Anything():
            return core.any_schema()
        case ListOf(item, least):
            return core.list_schema(_schema(item), min_length=least or None)
        case MapOf(value, least, bare):
            inner = core.nullable_schema(_schema(value)) if bare else _schema(value)
            return core.dict_schema(core.str_schema(), inner, min_length=least or None)
        case Object():
            return _object(shape)
        case Kinds(by, otherwise):
            return core.tagged_union_schema(
                {f"<{kind}>": _schema(inner) for kind, inner in by.items()},
                _kind_of(frozenset(by), otherwise),
            )
        case Ref(name):
            return core.definition_reference_schema(name)
        case Forms():
            raise TypeError("a union that contains itself is defined once and referred to")


def _object(shape: Object, ref: str | None = None) -> Schema:
    """Null is the same as absent, for a key that may be absent."""
    fields: dict[str, core.TypedDictField] = {}
    for name, key in shape.keys.items():
        inner = _schema(key.shape)
        if key.required:
            fields[name] = core.typed_dict_field(inner, required=True)
        else:
            fields[name] = core.typed_dict_field(core.nullable_schema(inner), required=False)
    return core.typed_dict_schema(
        fields, extra_behavior="allow" if shape.free else "forbid", ref=ref
    )


def _kind_of(kinds: frozenset[str], otherwise: str) -> Callable[[Any], str]:
    """Tells the kind of a value; one that is not among the kinds is judged as ``otherwise``."""
    tags: dict[Any, str] = {
        kind: f"<{name if name in kinds else otherwise}>"
        for kind, name in (
            (str, "text"),
            (list, "list"),
            (dict, "map"),
            (int, "number"),
            (float, "number"),
        )
    }
    rest = f"<{otherwise}>"

    def kind_of(value: Any) -> str:
        return tags.get(type(value), rest)

    return kind_of


def _forms(forms: Forms, name: str, noun: str) -> Schema:
    """The union of a name, each form, and the entry that is neither and says why."""
    tags = {form: f"<{form}>" for form in forms.by}
    known = frozenset(tags)

    def form_of(value: Any) -> str:
        if type(value) is str:
            return "<text>"
        if is_map(value):
            found = known.intersection(value)
            if len(found) == 1:
                return tags[next(iter(found))]
        return "<unknown>"

    def refuse(value: Any) -> Any:
        raise _entry_error(noun, tags, value)

    choices: dict[Any, Schema] = {tags[form]: _object(shape) for form, shape in forms.by.items()}
    choices["<text>"] = core.str_schema()
    choices["<unknown>"] = core.no_info_plain_validator_function(refuse)
    return core.tagged_union_schema(choices, form_of, ref=name)


def _entry_error(noun: str, forms: Mapping[str, str], value: Any) -> PydanticCustomError:
    """Says what is wrong with an entry of no known form."""
    listed = ", ".join(forms)
    if not is_map(value) or not value:
        return PydanticCustomError(
            "entry_type",
            "{noun} is a name, or a mapping with one of: {listed}",
            {"noun": noun, "listed": listed},
        )
    found = [key for key in value if key in forms]
    if found:
        return PydanticCustomError(
            "entry_forms",
            "{noun} has one form, and this has {found}: make each an entry of its own",
            {"noun": noun, "found": " and ".join(repr(key) for key in found), "key": found[1]},
        )
    if "check" in forms and {"field", "op"} <= set(value):
        return PydanticCustomError(
            "entry_check",
            "{noun} that compares a field is written {form}",
            {"noun": noun, "form": "{check: {field: ..., op: ..., value: ...}}"},
        )
    near = {word: closest(word, forms) for word in islice(value, 10)}
    word = next((word for word in near if near[word]), next(iter(value)))
    return PydanticCustomError(
        "entry_unknown",
        "{noun} has no form {shown}: use a name, or one of: {listed}",
        {
            "noun": noun,
            "shown": repr(show(word)),
            "key": word,
            "listed": listed,
            "near": near[word],
        },
    )

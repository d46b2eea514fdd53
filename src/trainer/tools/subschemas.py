"""Find the schemas inside a schema. Resolves no reference, but follows those that are resolved."""

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

# Where JSON Schema (all drafts since 4) has further schemas. The value is a schema, a list of them, or a mapping to
# them; "in place" are those that judge the same value as the schema that they are in.
_IN_PLACE = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies")
_INSIDE = (
    "$defs", "definitions", "properties", "patternProperties", "additionalProperties", "unevaluatedProperties",
    "propertyNames", "items", "prefixItems", "additionalItems", "unevaluatedItems", "contains", "contentSchema",
)  # fmt: skip
_MAPPINGS = {"$defs", "definitions", "properties", "patternProperties", "dependentSchemas", "dependencies"}


class Reference(str):
    """The value of a resolved `$ref`: a JSON pointer from the top of the schema, and the schema that it points to."""

    target: Any


def subschemas(schema: Schema) -> Iterator[Any]:
    """The schemas directly inside a schema, including those that are true or false."""
    for keyword in (*_IN_PLACE, *_INSIDE):
        if keyword in schema:
            yield from _schemas_at(schema, keyword)


def in_place(schema: Schema) -> Iterator[Any]:
    """The schemas that judge the same value: what it refers to, its alternatives, its conditions."""
    reference = schema.get("$ref")
    if isinstance(reference, Reference):
        yield reference.target
    for keyword in _IN_PLACE:
        if keyword in schema:
            yield from _schemas_at(schema, keyword)


def _schemas_at(schema: Schema, keyword: str) -> Iterator[Any]:
    value = schema[keyword]
    if keyword in _MAPPINGS:
        values = list(value.values()) if isinstance(value, dict) else []
    else:
        values = value if isinstance(value, list) else [value]
    return (inner for inner in values if isinstance(inner, dict | bool))

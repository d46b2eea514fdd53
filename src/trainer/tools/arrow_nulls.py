"""Undo the nulls that table formats fill in, by the tools' schemas. Reads no row.

Arrow gives every struct of a column the same keys, so in Parquet a call's arguments have the keys of all other tools,
and a tool's schema has the arguments of all other tools, with null as their value.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from trainer.tools.parameters import read_parameters
from trainer.tools.schema import SchemaNode
from trainer.tools.subschemas import Reference
from trainer.types import Call
from trainer.values.places import fail, is_too_deep

_NAMED = {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"}
_VALUES = {"enum", "examples"}  # lists of values, in which null is a value


def restore_arguments(call: Call, schema: object, *, where: str = "") -> Call:
    """The call without the nulls that Arrow filled in; `schema` are the parameters of its tool.

    A null is dropped if the schema does not declare its argument, or declares it without allowing null and does not
    require it. It is kept if the schema allows null. Only for arguments that came as a struct: in JSON text a null is
    the author's.

    Raises:
        DataError: null for an argument that is required and cannot be null, so the value is lost.
    """
    if is_too_deep(call.arguments):
        fail(where, f'arguments of the call to "{call.name:.60}" are nested too deeply; make them flatter')
    node = read_parameters(schema).node
    return Call(
        call.name, _restored(call.arguments, node, f'{where + ": " if where else ""}the call to "{call.name:.60}"')
    )


def clean_schema(schema: Any) -> Any:
    """A JSON Schema that came as a struct, without the keywords and members that Arrow filled in with null."""
    if isinstance(schema, list | tuple):
        return [clean_schema(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    clean = {}
    for keyword, value in schema.items():
        if value is None:
            continue
        if keyword in _NAMED and isinstance(value, Mapping):
            clean[keyword] = {name: clean_schema(inner) for name, inner in value.items() if inner is not None}
        else:
            clean[keyword] = value if keyword in _VALUES else clean_schema(value)
    return clean


def _restored(value: Mapping[str, Any], node: SchemaNode, place: str) -> dict[str, Any]:
    schemas = list(_alternatives(node.schema))
    declared = {name for schema in schemas for name in _mapping(schema.get("properties"))}
    required = {name for schema in _certain(node.schema) for name in schema.get("required") or ()}
    kept = {}
    for key, inner in value.items():
        if inner is not None:
            kept[key] = _inside(inner, node.property(key), f"{place}, {key:.60}")
        elif key in declared and _allows_null(node.property(key)):
            kept[key] = None
        elif key in required:
            fail(
                place,
                f'argument "{key:.60}" is null, but its tool requires it and does not allow null; write its value',
            )
    return kept


def _inside(value: Any, node: SchemaNode, place: str) -> Any:
    if isinstance(value, Mapping):
        return _restored(value, node, place)
    if isinstance(value, list | tuple):
        return [_inside(item, node.item(), f"{place}[{index}]") for index, item in enumerate(value)]
    return value


def _allows_null(node: SchemaNode) -> bool:
    if node.types:
        return "null" in node.types
    schemas = list(_alternatives(node.schema))
    enums = [schema["enum"] for schema in schemas if isinstance(schema.get("enum"), list)]
    enums += [[schema["const"]] for schema in schemas if "const" in schema]
    return not enums or any(None in enum for enum in enums)


def _alternatives(schema: Any) -> Iterator[Mapping[str, Any]]:
    """The schema, what it refers to, and what it combines."""
    return _branches(schema, ("allOf", "anyOf", "oneOf"))


def _certain(schema: Any) -> Iterator[Mapping[str, Any]]:
    """The same without alternatives, of which a value needs to satisfy only one."""
    return _branches(schema, ("allOf",))


def _branches(schema: Any, keywords: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
    pending, seen = [schema], set()
    while pending:
        branch = pending.pop()
        if not isinstance(branch, Mapping) or id(branch) in seen:
            continue
        seen.add(id(branch))
        yield branch
        for keyword in keywords:
            pending += branch.get(keyword) or ()
        reference = branch.get("$ref")
        if isinstance(reference, Reference):
            pending.append(reference.target)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}

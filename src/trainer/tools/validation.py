"""Tool specifications, checked and ready to judge calls by. Compares no values; see `trainer.tools.equality`."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import jsonschema
import referencing
import referencing.exceptions
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import validator_for
from referencing.jsonschema import DRAFT202012

from trainer.errors import DataError
from trainer.tools.schema import ANYTHING, Comparator, SchemaNode, schema_nodes
from trainer.types import Call, Tool

SchemaProblem = Literal["missing_required", "unknown_argument", "wrong_type", "not_in_enum", "other"]

_PROBLEM_OF_KEYWORD: Mapping[str, SchemaProblem] = {
    "required": "missing_required",
    "additionalProperties": "unknown_argument",
    "unevaluatedProperties": "unknown_argument",
    "type": "wrong_type",
    "enum": "not_in_enum",
    "const": "not_in_enum",
}
# Keywords with which an author says that arguments outside `properties` have a meaning.
_OPENING = {"additionalProperties", "unevaluatedProperties", "patternProperties", "$ref"} | {
    "allOf", "anyOf", "oneOf"
}  # fmt: skip


class ToolSpecs:
    """The parameter schemas of the tools, ready to be asked.

    Raises DataError where a tool has no name, its schema is not a JSON Schema or refers to what is not in it, or
    `x-compare` is unknown.
    """

    def __init__(self, tools: Sequence[Tool]) -> None:
        self._nodes = schema_nodes(tools)
        self._validators = {name: _validator(node.schema, name) for name, node in self._nodes.items()}
        for name, node in self._nodes.items():
            _check_extras(node.schema, node.root, name)

    def __contains__(self, name: object) -> bool:
        return name in self._nodes

    def node(self, name: str) -> SchemaNode:
        """The place of the arguments object of the tool `name`; ANYTHING where the tool is not specified."""
        return self._nodes.get(name, ANYTHING)

    def problems(self, call: Call) -> frozenset[SchemaProblem]:
        """How `call` breaks its tool's schema; empty when it is valid. The tool must be specified.

        Beyond JSON Schema, an argument that the tool does not declare is an `unknown_argument`, unless the
        schema says `additionalProperties` or the like: the function behind it would refuse it.
        """
        return frozenset(map(_problem, self._validators[call.name].iter_errors(call.arguments)))


def _validator(schema: Mapping[str, Any], name: str) -> Any:
    kind = validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(dict(schema))
    except SchemaError as error:
        where = "/".join(map(str, error.absolute_path)) or "the top"
        raise DataError(f'tool "{name}": parameters are not a JSON Schema: {error.message} (at {where})') from None
    if not _OPENING & schema.keys():
        schema = {**schema, "additionalProperties": False}
    return kind(schema, registry=referencing.Registry())


def _check_extras(schema: Any, root: Mapping[str, Any], name: str) -> None:
    """Check what JSON Schema itself leaves open until a value is judged: comparators and references."""
    if isinstance(schema, Mapping):
        comparator, reference = schema.get("x-compare"), schema.get("$ref")
        if comparator is not None and comparator not in get_args(Comparator):
            allowed = ", ".join(get_args(Comparator))
            raise DataError(f'tool "{name}": unknown x-compare {comparator!r}; allowed: {allowed}')
        if isinstance(reference, str) and not _is_resolvable(reference, root):
            raise DataError(f'tool "{name}": parameters refer to {reference!r}, which is not in them')
        for value in schema.values():
            _check_extras(value, root, name)
    elif isinstance(schema, list):
        for value in schema:
            _check_extras(value, root, name)


def _is_resolvable(reference: str, root: Mapping[str, Any]) -> bool:
    # An empty registry: a reference to an address is an error, never a download.
    resolver = referencing.Registry().resolver_with_root(DRAFT202012.create_resource(dict(root)))
    try:
        resolver.lookup(reference)
    except referencing.exceptions.Unresolvable:
        return False
    return True


def _problem(error: ValidationError) -> SchemaProblem:
    if error.validator in ("anyOf", "oneOf"):
        # An optional number written as a string fails every alternative on its type: that is the reason.
        reasons = {_problem(inner) for inner in error.context or ()}
        return reasons.pop() if len(reasons) == 1 else "other"
    return _PROBLEM_OF_KEYWORD.get(str(error.validator), "other")

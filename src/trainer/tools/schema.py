"""Walk through a tool's parameter schema: members, items, defaults, comparators. Validates nothing."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from trainer.errors import DataError
from trainer.types import Tool

Comparator = Literal["casefold", "date", "number", "set", "text"]
"""How a tool spec may ask, with `"x-compare"` beside an argument's type, for its values to be compared."""

MISSING: Final = object()
"""Stands for an argument that is absent and has no default; no JSON value equals it."""

NO_PARAMETERS: Final[Mapping[str, Any]] = {"type": "object", "properties": {}}


class SchemaNode(NamedTuple):
    """A place in a tool's parameter schema, and the whole schema that local references point into."""

    schema: Mapping[str, Any]
    root: Mapping[str, Any]

    @property
    def comparator(self) -> Comparator | None:
        """What `x-compare` asks for at this place."""
        comparator: Comparator | None = self._first("x-compare")
        return comparator

    @property
    def types(self) -> frozenset[str]:
        """The JSON types that the place allows; empty where the schema does not say."""
        named = [schema["type"] for schema in self._branches() if "type" in schema]
        return frozenset(name for names in named for name in (names if isinstance(names, list) else [names]))

    def property(self, key: str) -> "SchemaNode":
        """The place of an object's member."""
        for schema in self._branches():
            properties = schema.get("properties")
            if isinstance(properties, Mapping) and key in properties:
                return self._at(properties[key])
        return self._at(self._first("additionalProperties"))

    def item(self) -> "SchemaNode":
        """The place of an array's elements."""
        return self._at(self._first("items"))

    def default(self, key: str) -> Any:
        """The value that an object's member has when it is omitted; MISSING where the schema names none."""
        return self.property(key)._first("default", MISSING)

    def _at(self, schema: object) -> "SchemaNode":
        return SchemaNode(schema if isinstance(schema, Mapping) else {}, self.root)

    def _first(self, keyword: str, default: Any = None) -> Any:
        return next((schema[keyword] for schema in self._branches() if keyword in schema), default)

    def _branches(self) -> Iterator[Mapping[str, Any]]:
        """The schema, what it refers to, and its alternatives (an optional object is `anyOf` it or null)."""
        schema = _resolve(self.schema, self.root)
        yield self.schema
        if schema is not self.schema:
            yield schema
        for keyword in ("allOf", "anyOf", "oneOf"):
            for branch in schema.get(keyword) or ():
                yield _resolve(branch, self.root)


ANYTHING: Final = SchemaNode({}, {})
"""The place of a value that no schema describes."""


def schema_nodes(tools: Sequence[Tool]) -> dict[str, SchemaNode]:
    """The place of every tool's arguments object, by tool name. Raises DataError where a tool has no name."""
    nodes = {}
    for index, tool in enumerate(tools):
        function = tool.get("function", tool)
        name = function.get("name") if isinstance(function, Mapping) else None
        if not isinstance(name, str) or not name:
            raise DataError(f'tool {index}: no function name; expected {{"function": {{"name": …}}}}')
        schema = function.get("parameters") or NO_PARAMETERS
        if not isinstance(schema, Mapping):
            raise DataError(f'tool "{name}": parameters are {schema!r:.80}; expected a JSON Schema object')
        nodes[name] = SchemaNode(schema, schema)
    return nodes


def _resolve(schema: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    for _ in range(8):  # a chain of references longer than this goes in circles
        if not isinstance(schema, Mapping):
            return {}
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return schema
        target: Any = root
        for part in reference[2:].split("/"):
            target = target.get(part) if isinstance(target, Mapping) else None
        schema = target
    return {}

"""Walk through a tool's parameter schema: members, items, defaults, comparators. Validates nothing.

The schema is one whose references are resolved; `trainer.tools.parameters` resolves them.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from trainer.tools.subschemas import Reference

Comparator = Literal["casefold", "date", "number", "set", "text"]
"""How a tool file may ask, with `"x-compare"` beside an argument's type, for its values to be compared."""

MISSING: Final = object()
"""Marks an argument that is absent and has no default; no JSON value equals it."""

MAX_DEPTH: Final = 64
"""How many objects and arrays may be nested in a schema or in a call's arguments.

Real ones have fewer than twenty. The limit keeps every recursive walk far from Python's own limit, so a verdict does
not depend on how deep the caller's stack already is.
"""


class SchemaNode(NamedTuple):
    """A place in a tool's parameter schema."""

    schema: Mapping[str, Any]

    @property
    def comparator(self) -> Comparator | None:
        """What `x-compare` asks for at this place."""
        comparator: Comparator | None = self._first("x-compare")
        return comparator

    @property
    def types(self) -> frozenset[str]:
        """The JSON types that the place allows; empty if the schema does not say."""
        named = [schema["type"] for schema in self._branches() if "type" in schema]
        return frozenset(name for names in named for name in (names if isinstance(names, list) else [names]))

    def property(self, key: str) -> "SchemaNode":
        """The place of an object's member."""
        for schema in self._branches():
            properties = schema.get("properties")
            if isinstance(properties, Mapping) and key in properties:
                return _node(properties[key])
        return _node(self._first("additionalProperties"))

    def item(self) -> "SchemaNode":
        """The place of an array's elements."""
        return _node(self._first("items"))

    def default(self, key: str) -> Any:
        """The value that an object's member has when it is omitted; MISSING if it has none.

        The schema of the member itself must name it: a default in something that it refers to or combines describes
        that. A member that is required, also if only an alternative requires it, has no default.
        """
        if any(key in _listed(schema.get("required")) for schema in self._branches()):
            return MISSING
        return self.property(key).schema.get("default", MISSING)

    def _first(self, keyword: str) -> Any:
        return next((schema[keyword] for schema in self._branches() if keyword in schema), None)

    def _branches(self) -> Iterator[Mapping[str, Any]]:
        """The schema, what it refers to, and its alternatives (an optional object is `anyOf` it or null)."""
        pending: list[Any] = [self.schema]
        seen: set[int] = set()
        while pending:
            schema = pending.pop()
            if not isinstance(schema, Mapping) or id(schema) in seen:
                continue
            seen.add(id(schema))
            yield schema
            for keyword in ("oneOf", "anyOf", "allOf"):
                pending += reversed(schema.get(keyword) or ())
            reference = schema.get("$ref")
            if isinstance(reference, Reference):
                pending.append(reference.target)


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _node(schema: object) -> SchemaNode:
    return SchemaNode(schema if isinstance(schema, Mapping) else {})


ANYTHING: Final = SchemaNode({})
"""The place of a value that no schema describes."""


def is_too_deep(value: Any) -> bool:
    """Whether more than MAX_DEPTH objects and arrays are nested in a JSON value."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        containers = [inner for inner in level if isinstance(inner, Mapping | list)]
        if not containers:
            return False
        level = [inner for outer in containers for inner in (outer.values() if isinstance(outer, Mapping) else outer)]
    return True

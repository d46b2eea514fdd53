"""Resolve the references of a JSON Schema within the schema itself. Fetches nothing, from no address and no file.

The `referencing` package does the resolving, with an empty registry, so a schema finds only what it contains. Each
reference is resolved once, when the schema is read; walking and validating follow the result.
"""

import re
from collections import Counter
from collections.abc import Callable, Container
from typing import Any, NamedTuple

import referencing
import referencing.exceptions

from trainer.tools.subschemas import Reference, Schema, in_place, subschemas

# The keywords that refer, and the one that can redirect each of them while a value is judged.
_ANCHORS = {"$ref": None, "$dynamicRef": "$dynamicAnchor", "$recursiveRef": "$recursiveAnchor"}

_MOST_IN_A_ROW = 64  # a longer chain would end in Python's own recursion limit


class _Found(NamedTuple):
    schema: Schema
    resolver: Any  # for the references in it: it knows the $id that they are relative to


class _Link(NamedTuple):
    schema: Schema
    keyword: str
    target: Any


def resolve_references(
    root: Schema, specification: Any, *, keywords: Container[str], check: Callable[[Schema], list[str]]
) -> tuple[list[Schema], list[str]]:
    """Put a `Reference` in place of every reference, and drop the names that only references use.

    Changes `root`, which must conform to its meta-schema. `keywords` are those of its draft; `check` says what is
    wrong with a schema that is below a keyword unknown to JSON Schema, where only references find it. Returns all the
    schemas of the document, and what is wrong, in words. Raises ValueError for a `$id` that is not an address.
    """
    resolver = referencing.Registry().resolver_with_root(specification.create_resource(root))
    known: dict[int, _Found] = {}
    pending = _walk(_Found(root, resolver), specification, known)
    links: list[_Link] = []
    problems: list[str] = []
    while pending:
        schema, resolver = pending.pop()
        for keyword in (name for name in _ANCHORS if name in schema and name in keywords):
            target = _look_up(resolver, schema[keyword])
            if isinstance(target, str):
                problems.append(target)
                continue
            links.append(_Link(schema, keyword, target.contents))
            if isinstance(target.contents, dict) and id(target.contents) not in known:
                problems += (wrong := check(target.contents))
                pending += [] if wrong else _walk(_Found(target.contents, target.resolver), specification, known)
    schemas = [schema for schema, _ in known.values()]
    problems += _ambiguous(links, schemas)
    if not problems:
        _put_in(links, _pointers(root))
        problems += _circles(schemas)
    for schema in schemas:
        for name in ("$schema", "$id", "$anchor", "$dynamicAnchor", "$recursiveAnchor"):
            schema.pop(name, None)
        if isinstance(schema.get("id"), str):
            del schema["id"]  # draft 4's name for $id
    return schemas, list(dict.fromkeys(problems))


def _walk(top: _Found, specification: Any, known: dict[int, _Found]) -> list[_Found]:
    """Add every schema from `top` down to `known`, by its id; return the new ones."""
    new: dict[int, _Found] = {}
    pending = [top]
    while pending:
        schema, resolver = found = pending.pop()
        if id(schema) not in known and id(schema) not in new:
            new[id(schema)] = found
            inner = [one for one in subschemas(schema) if isinstance(one, dict)]
            pending += [_Found(one, resolver.in_subresource(specification.create_resource(one))) for one in inner]
    known |= new
    return list(new.values())


def _look_up(resolver: Any, reference: str) -> Any:
    """What a reference points to, or what is wrong with it."""
    try:
        found = resolver.lookup(reference)
    except (referencing.exceptions.Unresolvable, LookupError, TypeError, ValueError, AttributeError):
        return f"parameters refer to {reference!r:.200}, {_reason(reference)}"
    if isinstance(found.contents, dict | bool):
        return found
    return f"parameters refer to {reference!r:.200}, which is not a schema; point to an object"


def _reason(reference: str) -> str:
    if reference.startswith("#"):
        return 'which is not in them; define it under "$defs", or correct the reference'
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):|//", reference)
    kind = "an address" if scheme and scheme[1] != "file" else "a file"
    return f'which is {kind}; nothing is fetched: copy that schema into "$defs" and refer to "#/$defs/…"'


def _ambiguous(links: list[_Link], schemas: list[Schema]) -> list[str]:
    """References whose target depends on the way by which a value reached them."""
    problems = []
    for keyword, anchor in _ANCHORS.items():
        names = Counter(str(schema[anchor]) for schema in schemas if anchor in schema)
        repeated = {name for name, n in names.items() if n > 1}
        for schema in (link.schema for link in links if link.keyword == keyword):
            name = schema[keyword].rpartition("#")[2] or "True"
            if name in repeated:
                problems.append(
                    f"parameters refer to {schema[keyword]!r:.200} ({keyword}), which is in them more than once; "
                    "use $ref with a pointer"
                )
    return problems


def _pointers(root: Schema) -> dict[int, str]:
    """The JSON pointer of every object in a document, by the object's id."""
    pointers = {}
    pending: list[tuple[Any, str]] = [(root, "#")]
    while pending:
        value, pointer = pending.pop()
        if isinstance(value, dict):
            pointers[id(value)] = pointer
        members = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in members:
            if isinstance(inner, dict | list):
                step = str(key).replace("~", "~0").replace("/", "~1").replace("%", "%25")
                pending.append((inner, f"{pointer}/{step}"))
    return pointers


def _put_in(links: list[_Link], pointers: dict[int, str]) -> None:
    for schema, keyword, target in links:
        if isinstance(target, bool):
            del schema[keyword]
            schema["allOf"] = [*schema.get("allOf", ()), target]
            continue
        reference = Reference(pointers[id(target)])
        reference.target = target
        if keyword == "$ref":
            schema["$ref"] = reference
        else:
            del schema[keyword]
            schema["allOf"] = [*schema.get("allOf", ()), {"$ref": reference}]


def _circles(schemas: list[Schema]) -> list[str]:
    """References that lead back to themselves before any part of a value is used up: no value can be judged."""
    problems = []
    heights: dict[int, int] = {}  # of finished schemas: the longest way on that stays at the same value
    for start in schemas:
        if id(start) in heights:
            continue
        path = [(start, iter(list(in_place(start))))]
        open_ids = {id(start)}
        while path:
            schema, rest = path[-1]
            inner = next((one for one in rest if isinstance(one, dict)), None)
            if inner is None:
                path.pop()
                open_ids.discard(id(schema))
                below = [heights.get(id(one), 0) for one in in_place(schema) if isinstance(one, dict)]
                heights[id(schema)] = 1 + max(below, default=0)
            elif id(inner) in open_ids:
                first = next(index for index, (one, _) in enumerate(path) if one is inner)
                names = [str(one["$ref"]) for one, _ in path[first:] if "$ref" in one]
                problems.append(
                    f"parameters refer to {names[0]!r:.200} in a circle ({' → '.join([*names, names[0]]):.200}); "
                    "a recursive schema must go through properties or items"
                )
            elif id(inner) not in heights:
                path.append((inner, iter(list(in_place(inner)))))
                open_ids.add(id(inner))
    if any(height > _MOST_IN_A_ROW for height in heights.values()):
        problems.append(f"parameters have more than {_MOST_IN_A_ROW} references or alternatives in a row")
    return problems

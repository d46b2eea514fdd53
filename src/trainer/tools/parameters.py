"""Check the `parameters` of a tool and make them ready for judging calls. Reads no file and judges no call."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, get_args

import referencing

from trainer.tools.keywords import Draft, find_draft
from trainer.tools.patterns import pattern_problem
from trainer.tools.references import resolve_references
from trainer.tools.schema import ANYTHING, MAX_DEPTH, Comparator, SchemaNode, is_too_deep
from trainer.tools.subschemas import in_place, subschemas
from trainer.types import Tool

_NO_PARAMETERS: Mapping[str, Any] = {"type": "object", "properties": {}}

# Keywords by which an author says what arguments outside `properties` mean.
_OPENING = {"additionalProperties", "unevaluatedProperties", "patternProperties"}

_MOST_PROBLEMS = 5  # of one schema against its meta-schema; the first ones explain the others


class Parameters(NamedTuple):
    """The parameters of one tool: their schema with resolved references, and what is wrong with it.

    `declared` are the arguments that the schema names; None if it says itself what others mean. With problems,
    `validator` is None and `node` is ANYTHING.
    """

    node: SchemaNode
    validator: Any
    declared: frozenset[str] | None
    problems: tuple[str, ...]


def read_parameters(parameters: object) -> Parameters:
    """Check the parameters of a tool. A tool without parameters takes no arguments.

    The same text is checked once, however many sessions carry it.
    """
    if parameters is None:
        parameters = _NO_PARAMETERS
    if not isinstance(parameters, Mapping):
        return _broken(f"parameters are {parameters!r:.80}; must be a JSON Schema of an object, or left out")
    try:
        text = json.dumps(parameters, default=_plain)
    except RecursionError:
        return _broken(_TOO_DEEP)
    except (TypeError, ValueError) as error:
        return _broken(f"parameters are not JSON: {error}")
    return _checked(text)


def function_of(tool: Tool) -> Mapping[str, Any]:
    """The function of a tool in OpenAI form, or of one that is a bare function."""
    function = tool.get("function", tool) if isinstance(tool, Mapping) else None
    return function if isinstance(function, Mapping) else {}


class _Nodes(Mapping[str, SchemaNode]):
    """Checks a tool's parameters when they are asked for: reading a model's text needs those of the called tool."""

    def __init__(self, tools: Sequence[Tool]) -> None:
        functions = map(function_of, tools)
        self._functions = {str(function["name"]): function for function in functions if function.get("name")}

    def __getitem__(self, name: str) -> SchemaNode:
        return read_parameters(self._functions[name].get("parameters")).node

    def __iter__(self) -> Iterator[str]:
        return iter(self._functions)

    def __len__(self) -> int:
        return len(self._functions)


def schema_nodes(tools: Sequence[Tool]) -> Mapping[str, SchemaNode]:
    """The place of every tool's arguments object, by tool name; ANYTHING for parameters that are not right."""
    return _Nodes(tools)


_TOO_DEEP = f"parameters are nested more than {MAX_DEPTH} levels deep; make them flatter"


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"they hold a {type(value).__name__}")


def _broken(*problems: str) -> Parameters:
    return Parameters(ANYTHING, None, None, problems)


@lru_cache(maxsize=1024)
def _checked(text: str) -> Parameters:
    schema = json.loads(text)  # a copy of our own, to resolve references in
    if is_too_deep(schema):
        return _broken(_TOO_DEEP)
    draft = find_draft(schema.get("$schema"))
    if draft is None:
        return _broken(
            f"parameters name the unknown $schema {schema['$schema']!r:.200}; leave it out, "
            "or name a draft of json-schema.org from draft-04 to 2020-12"
        )
    if problems := _against_meta_schema(schema, draft):
        return _broken(*problems)
    if any("$schema" in inner for inner in _below(schema)):
        return _broken("parameters name a $schema inside; only the top may name one")
    schema.pop("$schema", None)
    try:
        schemas, problems = resolve_references(
            schema,
            draft.specification,
            keywords=draft.plain.VALIDATORS,
            check=lambda inner: _against_meta_schema(inner, draft),
        )
    except ValueError as error:
        return _broken(f"parameters have a $id that is not an address: {error}")
    problems += [problem for inner in schemas for problem in _own_problems(inner)]
    if not problems and not _takes_objects(schema):
        found = f" (type is {schema['type']!r:.80})" if "type" in schema else ""
        problems = [f'parameters are not the schema of an object{found}; make them {{"type": "object", …}}']
    if problems:
        return _broken(*dict.fromkeys(problems))
    validator = draft.bounded(schema, registry=referencing.Registry())
    return Parameters(SchemaNode(schema), validator, _declared(schema), ())


def _against_meta_schema(schema: Any, draft: Draft) -> list[str]:
    # Without a format checker: patterns are checked by the engine that will search them.
    meta = draft.plain(draft.plain.META_SCHEMA, registry=referencing.Registry())
    errors = []
    for error in meta.iter_errors(schema):
        where = "/".join(map(str, error.absolute_path)) or "the top"
        errors.append(f"parameters are not a JSON Schema: {error.message:.300} (at {where})")
    return list(dict.fromkeys(errors))[:_MOST_PROBLEMS]


def _below(top: dict[str, Any]) -> Iterator[dict[str, Any]]:
    pending = list(subschemas(top))
    while pending:
        schema = pending.pop()
        if isinstance(schema, dict):
            yield schema
            pending += subschemas(schema)


def _own_problems(schema: dict[str, Any]) -> Iterator[str]:
    """What JSON Schema itself leaves open until a value is judged: comparators and patterns."""
    comparator = schema.get("x-compare")
    if comparator is not None and comparator not in get_args(Comparator):
        yield f"unknown x-compare {comparator!r:.80}; allowed: {', '.join(get_args(Comparator))}"
    patterns = [schema["pattern"]] if isinstance(schema.get("pattern"), str) else []
    named = schema.get("patternProperties")
    patterns += named if isinstance(named, dict) else []
    yield from (problem for problem in map(pattern_problem, patterns) if problem is not None)


def _takes_objects(schema: dict[str, Any]) -> bool:
    """Whether the types let some object pass: all that must hold, and one of each set of alternatives."""
    seen: set[int] = set()
    pending: list[Any] = [schema]
    while pending:
        one = pending.pop()
        if one is False:
            return False
        if one is True or id(one) in seen:
            continue
        seen.add(id(one))
        if "object" not in _types(one):
            return False
        for keyword in ("anyOf", "oneOf"):
            branches = one.get(keyword, (True,))
            if not any(branch is True or (branch is not False and "object" in _types(branch)) for branch in branches):
                return False
        pending += one.get("allOf", ())
        if "$ref" in one:
            pending.append(one["$ref"].target)
    return True


def _types(schema: dict[str, Any]) -> Sequence[str]:
    types = schema.get("type", "object")
    return types if isinstance(types, list) else (types,)


def _declared(schema: dict[str, Any]) -> frozenset[str] | None:
    """The arguments that a schema names, by itself or through references, alternatives and conditions."""
    names: set[str] = set()
    seen: set[int] = set()
    pending: list[Any] = [schema]
    while pending:
        one = pending.pop()
        if not isinstance(one, dict) or id(one) in seen:
            continue
        seen.add(id(one))
        if one.keys() & _OPENING:
            return None
        names |= one.get("properties", {}).keys()
        forbidden = one.get("not")  # what it names is not declared
        pending += [inner for inner in in_place(one) if inner is not forbidden]
    return frozenset(names)

"""Whether a call is valid for its tool: one answer, in bounded time, wherever it is asked."""

import pickle
import re
import time
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
import referencing
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.scoring import call, tool, turn
from tests.support.tools import CATASTROPHIC, ENDLESS, function_tool, object_schema
from trainer.data.rows import schema_violations
from trainer.errors import DataError
from trainer.eval_metrics import score
from trainer.tools import SchemaNode, ToolSpecs, equal
from trainer.tools.equality import count_paths, n_paths
from trainer.tools.patterns import BUDGET, Budget, TooMuchWork, search
from trainer.types import Call, ParsedCall, Session

NAMES = st.sampled_from(["a", "b", "c", "ab"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.sampled_from(["", "a", "ab", "7"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
REFERENCES = st.sampled_from(["#/$defs/a", "#/$defs/b", "#/$defs/tree"]).map(lambda text: {"$ref": text})
PLAIN = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["string", "integer", "number", "object", "array", ["boolean", "null"]]),
        "enum": st.lists(VALUES, min_size=1, max_size=2),
        "const": VALUES,
        "pattern": st.sampled_from(["^a", "b$", "[0-9]"]),
        "multipleOf": st.sampled_from([2, 0.5]),
        "minimum": st.integers(-1, 1),
    },
)


def combined(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    members = st.dictionaries(NAMES, inner, max_size=2)
    some = st.lists(inner, min_size=1, max_size=2)
    return st.fixed_dictionaries(
        {},
        optional={
            "properties": members,
            "patternProperties": st.dictionaries(st.sampled_from(["^a", "b"]), inner, max_size=1),
            "additionalProperties": inner | st.booleans(),
            "unevaluatedProperties": inner | st.booleans(),
            "required": st.lists(NAMES, max_size=1),
            "items": inner,
            "contains": inner,
            "propertyNames": inner,
            "allOf": some,
            "anyOf": some,
            "oneOf": some,
            "not": inner,
            "if": inner,
            "then": inner,
            "else": inner,
            "dependentSchemas": members,
            "unevaluatedItems": inner | st.booleans(),
        },
    )


SCHEMAS = st.recursive(PLAIN | REFERENCES | st.booleans(), combined, max_leaves=5)


@st.composite
def parameters(draw: st.DrawFn) -> dict[str, Any]:
    top: dict[str, Any] = draw(combined(SCHEMAS))
    tree = {"properties": {"a": {"$ref": "#/$defs/tree"}}, "additionalProperties": draw(PLAIN)}
    return {**top, "$defs": {"a": draw(PLAIN), "b": draw(PLAIN), "tree": tree}}


def session_of(calls: list[Call], *tools: Any) -> Session:
    asked: Any = [{"function": {"name": call.name, "arguments": call.arguments}} for call in calls]
    return Session("s", ({"role": "assistant", "tool_calls": asked},), tools)


def scored_kinds(asked: Call, tools: list[Any]) -> set[str]:
    """The kinds that the scorer counts for one call that a model made."""
    made = ParsedCall("ok", "", 0, 0, name=asked.name, arguments=asked.arguments)
    scores = score([replace(turn([], "Hello!"), calls=(made,))], tools)
    prefix = "n_schema_"
    return {name.removeprefix(prefix) for name, n in scores.metrics.items() if name.startswith(prefix) and n}


@given(schema=parameters(), arguments=st.dictionaries(NAMES, VALUES, max_size=3))
@settings(max_examples=100, deadline=None)
def test_preparation_and_scorer_agree_on_every_call(schema: dict[str, Any], arguments: dict[str, Any]) -> None:
    asked = Call("f", arguments)
    tools = [function_tool("f", schema)]
    try:
        specs = ToolSpecs(tools)
    except DataError:
        return
    violations = specs.violations(asked)
    assert {violation.kind for violation in violations} == specs.problems(asked)
    lines = schema_violations(session_of([asked], *tools))
    assert lines == [f"turn 0: f: {violation.message}" for violation in violations]
    assert scored_kinds(asked, tools) == specs.problems(asked)


@given(schema=parameters(), arguments=st.dictionaries(NAMES, VALUES, max_size=3))
@settings(max_examples=200, deadline=None)
def test_beyond_json_schema_only_undeclared_arguments_count(schema: dict[str, Any], arguments: dict[str, Any]) -> None:
    try:
        violations = ToolSpecs([function_tool("f", schema)]).violations(Call("f", arguments))
        plain = jsonschema.Draft202012Validator(schema, registry=referencing.Registry())
        is_valid = plain.is_valid(arguments)
    except (DataError, ValueError, ArithmeticError):  # the last two: the library on NaN
        return
    beyond = [violation for violation in violations if "undeclared argument" not in violation.message]
    assert (not beyond) == is_valid


def test_undeclared_arguments_are_a_problem_unless_the_schema_allows_them() -> None:
    closed = ToolSpecs([tool("f", a={"type": "integer"})])
    assert closed.problems(call("f", z=1)) == {"unknown_argument"}
    open_schema = {"type": "object", "properties": {}, "additionalProperties": True}
    opened = ToolSpecs([function_tool("f", open_schema)])
    assert opened.problems(call("f", z=1)) == frozenset()
    assert ToolSpecs([{"function": {"name": "f"}}]).problems(call("f", z=1)) == {"unknown_argument"}


DECLARED = {"properties": {"a": {"type": "integer"}}}


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/x"},
        {"allOf": [{"$ref": "#/$defs/x"}]},
        {"anyOf": [DECLARED, {"properties": {"b": {}}}]},
        {"oneOf": [{"required": ["a"]}, {"required": ["b"]}], "properties": {"a": {"type": "integer"}, "b": {}}},
        {"if": {"required": ["a"]}, "then": DECLARED},
    ],
)
def test_arguments_are_declared_wherever_the_schema_combines(schema: dict[str, Any]) -> None:
    specs = ToolSpecs([function_tool("f", {**schema, "$defs": {"x": DECLARED}})])
    assert specs.problems(call("f", a=1)) == frozenset()
    assert specs.problems(call("f", a=1, z=1)) == {"unknown_argument"}


@pytest.mark.parametrize("keyword", ["additionalProperties", "unevaluatedProperties", "patternProperties"])
def test_a_combined_schema_may_open_the_arguments(keyword: str) -> None:
    inner = {**DECLARED, keyword: {"z": {"type": "integer"}} if keyword == "patternProperties" else {"type": "integer"}}
    specs = ToolSpecs([function_tool("f", {"allOf": [{"$ref": "#/$defs/x"}], "$defs": {"x": inner}})])
    assert specs.problems(call("f", a=1, z=1)) == frozenset()
    assert specs.problems(call("f", a=1, z="1")) == {"wrong_type"}


@pytest.mark.parametrize(
    ("schema", "value", "found"),
    [
        ({"$ref": "#/$defs/a%2525", "unevaluatedProperties": False}, {"a": 1}, set()),
        ({"$ref": "#/$defs/a%2525", "unevaluatedProperties": False}, {"a": 1, "b": 1}, {"unknown_argument"}),
        (
            {"anyOf": [DECLARED, {"properties": {"b": {}}}], "unevaluatedProperties": False},
            {"a": ""},
            {"unknown_argument"},
        ),
        ({"if": DECLARED, "then": {"properties": {"b": {}}}, "unevaluatedProperties": False}, {"a": 1, "b": 1}, set()),
        ({"if": DECLARED, "else": {"properties": {"a": {}}}, "unevaluatedProperties": False}, {"a": ""}, set()),
        ({"dependentSchemas": {"a": DECLARED}, "unevaluatedProperties": False}, {"a": 1}, set()),
        ({"unevaluatedProperties": {"type": "string"}, **DECLARED}, {"a": 1, "b": 1}, {"wrong_type"}),
        ({"$ref": "#/$defs/b%2525", "unevaluatedItems": False}, [1], set()),
        ({"$ref": "#/$defs/b%2525", "unevaluatedItems": False}, [1, 2], {"other"}),
    ],
)
def test_what_a_schema_leaves_unevaluated_is_found(schema: dict[str, Any], value: object, found: set[str]) -> None:
    top = object_schema(x=schema) | {"$defs": {"a%25": DECLARED, "b%25": {"prefixItems": [{}]}}}
    specs = ToolSpecs([function_tool("f", top)])
    assert specs.problems(call("f", x=value)) == found


def test_only_the_top_level_is_closed_by_itself() -> None:
    specs = ToolSpecs(
        [tool("f", a=object_schema(b={})), tool("g", a={**object_schema(), "additionalProperties": False})]
    )
    assert specs.problems(call("f", a={"z": 1})) == frozenset()
    assert specs.problems(call("g", a={"z": 1})) == {"unknown_argument"}


def test_an_optional_argument_of_the_wrong_type_is_a_wrong_type() -> None:
    optional = tool("f", a={"anyOf": [{"type": "integer"}, {"type": "null"}]}, b={"type": "integer", "minimum": 3})
    specs = ToolSpecs([optional])
    assert specs.problems(call("f", a="1")) == {"wrong_type"}
    assert specs.problems(call("f", a=None, b=1)) == {"other"}


def test_a_violation_says_where_and_what() -> None:
    specs = ToolSpecs([tool("f", ["a"], a=object_schema(b={"type": "array", "items": {"enum": [1, 2]}}))])
    assert specs.violations(call("f", a={"b": [1, "x"]})) == [("not_in_enum", "$.a.b[1]: 'x' is not one of [1, 2]")]
    assert specs.violations(call("f", c=1)) == [
        ("unknown_argument", "$: undeclared argument 'c'; declared: a"),
        ("missing_required", "$: 'a' is a required property"),
    ]
    assert all(len(message) < 320 for _, message in specs.violations(call("f", a="x" * 10_000, **{"y" * 5_000: 1})))


def test_a_message_shows_references_as_written() -> None:
    schema = object_schema(a={"not": {"$ref": "#/$defs/x"}}) | {"$defs": {"x": {"type": "integer"}}}
    (violation,) = ToolSpecs([function_tool("f", schema)]).violations(call("f", a=5))
    assert violation.message == "$.a: 5 should not be valid under {'$ref': '#/$defs/x'}"


def test_specifications_travel_to_worker_processes() -> None:
    schema = object_schema(a={"$ref": "#"})
    specs = pickle.loads(pickle.dumps(ToolSpecs([function_tool("f", schema)])))
    assert specs.problems(call("f", a={"a": {}})) == frozenset()
    assert "f" in specs
    assert "g" not in specs
    assert specs.node("g") == SchemaNode({})


def test_a_tool_is_checked_once_for_all_sessions() -> None:
    tools = [tool(f"t{index}", a={"type": "string"}) for index in range(20)]
    ToolSpecs(tools)
    start = time.process_time()
    for _ in range(200):
        ToolSpecs(tools[::-1])
    assert time.process_time() - start < 1


BY_PATTERN: list[dict[str, Any]] = [
    object_schema(a={"type": "string", "pattern": CATASTROPHIC}),
    {"patternProperties": {CATASTROPHIC: {"type": "string"}}},
    {"additionalProperties": False, "patternProperties": {CATASTROPHIC: {}}},
    {"additionalProperties": {"type": "string"}, "patternProperties": {CATASTROPHIC: {}}},
    {"unevaluatedProperties": False, "patternProperties": {CATASTROPHIC: {}}},
    {"additionalProperties": True, "propertyNames": {"pattern": CATASTROPHIC}},
    object_schema(a={"type": "array", "items": {"pattern": CATASTROPHIC}}),
    {"$schema": "http://json-schema.org/draft-07/schema#", "patternProperties": {CATASTROPHIC: {}}},
    {"$schema": "https://json-schema.org/draft/2019-09/schema", **object_schema(a={"not": {"pattern": CATASTROPHIC}})},
]


@pytest.mark.parametrize("schema", BY_PATTERN)
def test_a_catastrophic_pattern_is_answered_in_preparation_and_scoring(schema: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"a": [ENDLESS] * 1000 if "array" in str(schema) else ENDLESS}
    if "Properties" in str(schema):
        arguments = {ENDLESS: 1}
    asked, tools = Call("f", arguments), [function_tool("f", schema)]
    start = time.monotonic()
    (line,) = schema_violations(session_of([asked], *tools))
    scored = scored_kinds(asked, tools)
    assert time.monotonic() - start < 2
    assert line == f"turn 0: f: $: cannot be judged: pattern '{CATASTROPHIC}' takes too long on it"
    assert scored == {"other"}


@given(text=st.text("ab-1é\n", max_size=8))
def test_plain_patterns_mean_what_they_mean_to_python(text: str) -> None:
    for pattern in ("^[a-z]+(-[a-z]+)*$", r"\d", "^(?=.*1)(?!.*b)", "[^a]$", r"\w\b", "(a|b){2,3}"):
        BUDGET.set(Budget())
        assert search(pattern, text) == bool(re.search(pattern, text))


def test_the_time_for_patterns_is_shared_by_the_whole_call() -> None:
    budget = Budget()
    BUDGET.set(budget)
    before = budget.search_s
    search("b", "a" * 100_000)
    assert budget.search_s < before
    budget.search_s = -1.0
    with pytest.raises(TooMuchWork):
        search(CATASTROPHIC, ENDLESS)


def doubling(n: int) -> dict[str, Any]:
    """A schema that asks for 2 to the power of n judgements of one value."""
    defs: dict[str, Any] = {f"x{i}": {"allOf": [{"$ref": f"#/$defs/x{i + 1}"}] * 2} for i in range(n)}
    return object_schema(a={"$ref": "#/$defs/x0"}) | {"$defs": {**defs, f"x{n}": {}}}


def unevaluated(n: int, keyword: str) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(n):
        schema = {"allOf": [schema], keyword: True}
    return object_schema(a=schema)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (doubling(18), 1),
        (unevaluated(18, "unevaluatedProperties"), {"b": 1}),
        (unevaluated(18, "unevaluatedItems"), [1]),
    ],
)
def test_a_schema_that_multiplies_work_is_answered(schema: dict[str, Any], value: object) -> None:
    start = time.monotonic()
    (violation,) = ToolSpecs([function_tool("f", schema)]).violations(call("f", a=value))
    assert time.monotonic() - start < 2
    assert violation.kind == "other"
    assert "takes more than 10000 references or alternatives" in violation.message


def nested(depth: int, kind: str) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value} if kind == "object" else [value]
    return value


@pytest.mark.parametrize("kind", ["object", "array"])
@pytest.mark.parametrize(
    "schema", [{}, object_schema(a={"$ref": "#"}), object_schema(a={"anyOf": [{"$ref": "#"}, {"type": "array"}]})]
)
def test_deep_arguments_are_judged_without_a_traceback(kind: str, schema: dict[str, Any]) -> None:
    specs = ToolSpecs([function_tool("f", {**schema, "additionalProperties": True})])
    (violation,) = specs.violations(call("f", a=nested(400, kind)))
    assert violation == ("other", "$: arguments are nested more than 64 levels deep")
    assert "nested more" not in str(specs.violations(call("f", a=nested(60, kind))))


@pytest.mark.parametrize("kind", ["object", "array"])
def test_deep_arguments_are_compared_without_a_traceback(kind: str) -> None:
    schema = object_schema(a={"$ref": "#/$defs/x"}) | {
        "$defs": {"x": {"x-compare": "set", "items": {"$ref": "#/$defs/x"}, "properties": {"a": {"$ref": "#/$defs/x"}}}}
    }
    for node in (SchemaNode({}), ToolSpecs([function_tool("f", schema)]).node("f")):
        same, other = {"a": nested(400, kind)}, {"a": [nested(400, kind)]}
        assert equal(same, {"a": nested(400, kind)}, node)
        assert not equal(same, other, node)
        assert count_paths(same, {"a": nested(400, kind)}, node) == (1, 1, 1, 1)
        assert n_paths(same, node) == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400])
def test_numbers_that_the_library_cannot_divide_are_no_crash(value: float) -> None:
    specs = ToolSpecs([tool("f", a={"multipleOf": 0.5})])
    assert specs.problems(call("f", a=value)) <= {"other"}


KEYWORDS = st.sampled_from(
    [
        "$ref", "$dynamicRef", "$recursiveRef", "$id", "id", "$anchor", "$dynamicAnchor", "$schema", "$defs",
        "definitions", "allOf", "anyOf", "not", "if", "items", "prefixItems", "dependencies", "dependentSchemas",
        "unevaluatedItems", "unevaluatedProperties", "additionalProperties", "properties", "patternProperties",
        "pattern", "x-compare", "type", "x", "enum", "const", "contains", "propertyNames",
    ]
)  # fmt: skip
TEXTS = st.sampled_from(
    [
        "#", "#a", "#/$defs/x", "#/x", "#/x/0", "#/%zz", "x", "a", "http://[", "http://e.invalid/a#b", "object", "(",
        "^a", "", "https://json-schema.org/draft/2019-09/schema", "http://json-schema.org/draft-07/schema#",
        "set", "/", "?",
    ]
)  # fmt: skip
ANY_PARAMETERS = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYWORDS, inner, max_size=4),
    max_leaves=12,
)


@given(parameters=st.dictionaries(KEYWORDS, ANY_PARAMETERS, max_size=5), arguments=st.dictionaries(NAMES, VALUES))
@settings(max_examples=300, deadline=None)
def test_any_parameters_are_refused_or_judge_every_call(parameters: Any, arguments: dict[str, Any]) -> None:
    try:
        specs = ToolSpecs([function_tool("f", parameters)])
    except DataError:
        return
    specs.violations(Call("f", arguments))
    assert equal(arguments, arguments, specs.node("f")) or "nan" in str(arguments)


def test_an_argument_that_is_only_forbidden_is_not_declared() -> None:
    schema = {"type": "object", "properties": {"a": {}}, "not": {"properties": {"z": {}}, "required": ["z"]}}
    found = ToolSpecs([{"name": "f", "parameters": schema}]).problems(Call("f", {"a": 1, "z": 2}))
    assert "unknown_argument" in found


@pytest.mark.parametrize("pattern", ["(?:foo){e<=5}", "(?R)", "(*FAIL)"])
def test_a_pattern_in_a_language_of_its_own_is_refused(pattern: str) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": pattern}}}
    with pytest.raises(DataError, match="which JSON Schema does not have; write it without"):
        ToolSpecs([{"name": "f", "parameters": schema}])


@pytest.mark.parametrize("pattern", [r"^a{2,3}$", r"\{e\}", r"^\d{4}-\d{2}$", r"(?=x)x", r"^[^{e}]+$"])
def test_a_usual_pattern_is_accepted(pattern: str) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": pattern}}}
    assert "f" in ToolSpecs([{"name": "f", "parameters": schema}])

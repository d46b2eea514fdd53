"""A tool file is read whole, or refused with everything that is wrong with it. Nothing is fetched."""

import json
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.support.tools import (
    CATASTROPHIC,
    ENDLESS,
    function_tool,
    listener,
    object_schema,
    was_called,
    write_tools,
)
from trainer.errors import DataError
from trainer.eval_metrics import read_tools as read_tools_to_score
from trainer.tools import ToolSpecs, read_tools
from trainer.types import Call


def refusal(folder: Path, *tools: object) -> str:
    with pytest.raises(DataError) as error:
        read_tools(write_tools(folder, *tools))
    return str(error.value)


def test_one_reader_serves_preparation_and_scoring() -> None:
    assert read_tools_to_score is read_tools


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "tool schemas are not valid JSON"),
        ("{}", "must hold a non-empty list of tools"),
        ("[]", "must hold a non-empty list of tools"),
        ("\udcff", "tool schemas are not valid JSON"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_file_that_holds_no_tools_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "tools.json"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(DataError, match=rf"tools\.json: .*{said}"):
        read_tools(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.json: tool schemas cannot be read: No such file.*; see data\.tools_path"):
        read_tools(str(tmp_path / "no.json"))


def test_all_the_problems_of_a_file_are_reported_at_once(tmp_path: Path) -> None:
    message = refusal(
        tmp_path,
        function_tool("f", object_schema(a={"type": "objekt"}, b={"type": "nothing"})),
        {"type": "function", "function": {}},
        function_tool("g", object_schema(a={"x-compare": "fuzzy", "pattern": "("})),
        function_tool("g", {"$ref": "#/$defs/missing"}),
    )
    first, *lines = message.splitlines()
    assert first.endswith("tools.json: 7 problems")
    assert [line.split(":")[0].strip() for line in lines] == [
        "tool 1 (f)", "tool 1 (f)", "tool 2", "tool 3 (g)", "tool 3 (g)", "tool 4 (g)", "tool 4 (g)"
    ]  # fmt: skip


def test_two_tools_of_one_name_are_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, *(function_tool(name, {}) for name in ("f", "g", "f")))
    assert message.endswith("tools.json: tool 3 (f): tool 1 has the same name; rename or remove one of them")


@pytest.mark.parametrize("name", ["", " \n", None, 5])
def test_a_tool_without_a_name_is_refused(tmp_path: Path, name: object) -> None:
    assert "tool 1: " in refusal(tmp_path, function_tool(name, {}))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="tool 1: no function name; give it one"):
        ToolSpecs([{"function": {"name": name, "parameters": {}}}])


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"type": "string"}, "parameters are not the schema of an object (type is 'string'); make them {"),
        ({"type": ["array", "null"]}, "are not the schema of an object"),
        ({"allOf": [{"type": "object"}, {"type": "string"}]}, "are not the schema of an object"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "are not the schema of an object"),
        ({"$ref": "#/$defs/x", "$defs": {"x": {"type": "string"}}}, "are not the schema of an object"),
        ({"$ref": "#/$defs/x", "$defs": {"x": False}}, "are not the schema of an object"),
        ([], "must be a JSON Schema"),
        (True, "must be a JSON Schema"),
        ({"type": "objekt"}, "parameters are not a JSON Schema: 'objekt' is not .* (at type)"),
        (object_schema(a={"x-compare": "fuzzy"}), "unknown x-compare 'fuzzy'; allowed: casefold, date, number"),
        (object_schema(a={"x-compare": ["set"]}), "unknown x-compare ['set']; allowed: casefold"),
        (object_schema(a={"pattern": "(x"}), "pattern '(x' is not a regular expression"),
        ({"patternProperties": {"[": {}}}, "pattern '[' is not a regular expression"),
        (object_schema(a={"pattern": "(?:a{1000}){1000}"}), "repeats too much"),
        (object_schema(a={"pattern": "a{99999999}"}), "repeats too much"),
        (object_schema(a={"pattern": "a" * 10_001}), "has 10001 characters; at most 10000 are allowed"),
        (object_schema(a={"pattern": "(" * 3000 + ")" * 3000}), "is not a regular expression"),
        (
            {"$id": "http://a.invalid", "$defs": {"x": {"$id": "http://[x"}}},
            "have a $id that is not an address: Invalid IPv6",
        ),
        ({"$schema": "https://example.invalid/draft"}, "unknown $schema 'https://example.invalid/draft'; leave it out"),
        (object_schema(a={"$schema": "http://json-schema.org/draft-07/schema#"}), "name a $schema inside"),
    ],
)
def test_parameters_that_cannot_judge_a_call_are_refused(tmp_path: Path, parameters: object, said: str) -> None:
    message = refusal(tmp_path, function_tool("g", None), function_tool("f", parameters))
    assert "tools.json: tool 2 (f): " in message
    for part in said.split(".*"):
        assert part in message


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("#/$defs/missing", "which is not in them"),
        ("#missing", "which is not in them"),
        ("#/properties/a/title", "which is not a schema"),
        ("#/properties/a/title/0", "which is not"),
        ("#/required/x", "which is not in them"),
        ("other.json", "which is a file; nothing is fetched"),
        ("../other.json#/$defs/a", "which is a file"),
        ("/etc/passwd", "which is a file"),
        ("file:///etc/passwd", "which is a file"),
        ("https://example.invalid/schema.json", "which is an address; nothing is fetched"),
        ("//example.invalid/schema.json", "which is an address"),
        ("urn:example:schema", "which is an address"),
        ("https://json-schema.org/draft/2020-12/schema", "which is an address"),
        ("http://[::1", "which is an address"),
    ],
)
@pytest.mark.parametrize("keyword", ["$ref", "$dynamicRef"])
def test_a_reference_out_of_the_schema_is_refused(tmp_path: Path, keyword: str, reference: str, said: str) -> None:
    schema = object_schema(a={"title": "T"}, b={"type": "array", "items": {keyword: reference}})
    message = refusal(tmp_path, function_tool("f", {**schema, "required": ["a"]}))
    assert f"tools.json: tool 1 (f): parameters refer to {reference!r}" in message
    assert said in message


CIRCLES: list[dict[str, Any]] = [
    {"$ref": "#"},
    {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
    object_schema(a={"$ref": "#/properties/a"}),
    object_schema(a={"$ref": "#x"}) | {"$defs": {"x": {"$anchor": "x", "allOf": [{"$ref": "#x"}]}}},
    object_schema(a={"$ref": "#/$defs/x"}) | {"$defs": {"x": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/x"}]}}},
    object_schema() | {"$defs": {"x": {"not": {"$dynamicRef": "#d"}, "$dynamicAnchor": "d"}}},
    object_schema() | {"if": {"$ref": "#"}},
    object_schema() | {"dependentSchemas": {"a": {"$ref": "#"}}},
]


@pytest.mark.parametrize("parameters", CIRCLES)
def test_a_circle_that_uses_up_nothing_is_refused(tmp_path: Path, parameters: dict[str, Any]) -> None:
    message = refusal(tmp_path, function_tool("f", parameters))
    assert "tool 1 (f): parameters refer to '#" in message
    assert "in a circle (#" in message


TREE = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}


@pytest.mark.parametrize(
    ("reference", "beside"),
    [
        ("#/$defs/node", {"$defs": {"node": TREE}}),
        ("#/definitions/node", {"definitions": {"node": TREE}}),
        ("#/$defs/a~1b~0c%25%20d", {"$defs": {"a/b~c% d": TREE}}),
        ("#/$defs/list/oneOf/1", {"$defs": {"list": {"oneOf": [True, TREE]}}}),
        ("#node", {"$defs": {"x": {**TREE, "$anchor": "node"}}}),
        ("tree", {"$defs": {"x": {**TREE, "$id": "tree"}}}),
        (
            "http://example.invalid/t/tree#",
            {"$id": "http://example.invalid/t/f", "$defs": {"x": {**TREE, "$id": "tree"}}},
        ),
        ("#/components/schemas/node", {"components": {"schemas": {"node": TREE}}}),
        ("#/$defs/again", {"$defs": {"again": {"$ref": "#/$defs/node"}, "node": TREE}}),
    ],
)
def test_every_local_form_of_reference_resolves(tmp_path: Path, reference: str, beside: dict[str, Any]) -> None:
    schema = {**object_schema(a={"$ref": reference}), **beside}
    specs = ToolSpecs(read_tools(write_tools(tmp_path, function_tool("f", schema))))
    assert specs.problems(Call("f", {"a": {"name": "x"}})) == frozenset()
    assert specs.problems(Call("f", {"a": {"name": 5}})) == {"wrong_type"}
    assert specs.problems(Call("f", {"a": {}})) == {"missing_required"}
    assert specs.node("f").property("a").property("name").types == {"string"}


@pytest.mark.parametrize(
    ("draft", "reference"),
    [
        ("https://json-schema.org/draft/2020-12/schema", {"$ref": "#/$defs/node"}),
        ("https://json-schema.org/draft/2020-12/schema", {"$dynamicRef": "#node"}),
        ("https://json-schema.org/draft/2019-09/schema#", {"$ref": "#/$defs/node"}),
        ("http://json-schema.org/draft-07/schema#", {"$ref": "#/$defs/node"}),
        ("http://json-schema.org/draft-04/schema#", {"$ref": "#/$defs/node"}),
    ],
)
def test_a_recursive_schema_judges_at_every_depth(tmp_path: Path, draft: str, reference: dict[str, str]) -> None:
    node = {
        "$dynamicAnchor": "node",
        "type": "object",
        "properties": {
            "name": {"type": "string", "x-compare": "casefold"},
            "children": {"type": "array", "items": reference},
        },
    }
    schema = object_schema(tree=reference) | {"$schema": draft, "$defs": {"node": node}, "definitions": {}}
    specs = ToolSpecs(read_tools(write_tools(tmp_path, function_tool("f", schema))))
    tree: dict[str, Any] = {"name": "leaf"}
    place = specs.node("f").property("tree")
    for _ in range(20):
        tree = {"name": "n", "children": [tree]}
        place = place.property("children").item()
    assert specs.problems(Call("f", {"tree": tree})) == frozenset()
    assert place.property("name").comparator == "casefold"
    inner = tree
    while "children" in inner:
        inner = inner["children"][0]
    inner["name"] = 5
    (violation,) = specs.violations(Call("f", {"tree": tree}))
    assert violation.kind == "wrong_type"
    assert violation.message.startswith("$.tree.children[0].children[0]")


def test_a_dynamic_reference_with_several_targets_is_refused(tmp_path: Path) -> None:
    defs = {name: {"$id": name, "$dynamicAnchor": "d"} for name in ("x", "y")}
    schema = object_schema() | {
        "$defs": {**defs, "z": {"$id": "x2", "$dynamicAnchor": "d", "items": {"$dynamicRef": "#d"}}}
    }
    assert "refer to '#d' ($dynamicRef), which is in them more than once" in refusal(
        tmp_path, function_tool("f", schema)
    )


def test_names_and_data_that_look_like_keywords_are_left_alone(tmp_path: Path) -> None:
    data = {"$ref": "http://example.invalid/", "x-compare": "fuzzy", "pattern": "(", "$id": 5}
    schema = object_schema(
        **{"$ref": {"type": "string"}, "x-compare": {}, "$id": {}, "a": {"enum": [data], "default": data}}
    )
    specs = ToolSpecs(read_tools(write_tools(tmp_path, function_tool("f", schema))))
    assert specs.problems(Call("f", {"$ref": "x", "$id": 1, "x-compare": 2, "a": data})) == frozenset()
    assert specs.problems(Call("f", {"$ref": 5, "a": {}})) == {"wrong_type", "not_in_enum"}


@pytest.mark.parametrize("keyword", ["$ref", "$id", "$schema", "$dynamicRef", "$dynamicAnchor", "$anchor"])
@pytest.mark.parametrize("at_top", [True, False])
def test_nothing_is_fetched(tmp_path: Path, keyword: str, at_top: bool) -> None:
    with listener() as (address, server):
        schema = object_schema(a={"type": "string"}) | ({keyword: address} if at_top else {})
        if not at_top:
            schema["properties"]["a"] = {"type": "string", keyword: address}
        path = write_tools(tmp_path, function_tool("f", schema))
        if keyword == "$id":  # a name, not a request
            assert ToolSpecs(read_tools(path)).problems(Call("f", {"a": 5})) == {"wrong_type"}
        else:
            with pytest.raises(DataError, match=r"tool 1 \(f\)"):
                read_tools(path)
            with pytest.raises(DataError, match=r"tool 1 \(f\)"):
                ToolSpecs([function_tool("f", schema)])
        assert not was_called(server)


def test_the_listener_hears_a_request() -> None:
    with listener() as (address, server):
        with pytest.raises(OSError, match="timed out"):
            urllib.request.urlopen(address, timeout=0.1)
        assert was_called(server)


def test_a_schema_that_nests_too_deeply_is_refused(tmp_path: Path) -> None:
    nested: dict[str, Any] = {}
    for _ in range(400):
        nested = {"properties": {"a": nested}}
    assert "tool 1 (f): parameters are nested more than 64 levels deep" in refusal(tmp_path, function_tool("f", nested))


def test_a_long_chain_of_references_is_refused(tmp_path: Path) -> None:
    defs = {f"x{index}": {"$ref": f"#/$defs/x{index + 1}"} for index in range(500)} | {"x500": {}}
    message = refusal(tmp_path, function_tool("f", object_schema(a={"$ref": "#/$defs/x0"}) | {"$defs": defs}))
    assert "more than 64 references or alternatives in a row" in message


def test_a_catastrophic_pattern_does_not_hold_up_reading(tmp_path: Path) -> None:
    schema = object_schema(a={"pattern": CATASTROPHIC, "default": ENDLESS}) | {"patternProperties": {CATASTROPHIC: {}}}
    start = time.monotonic()
    read_tools(write_tools(tmp_path, function_tool("f", schema)))
    assert time.monotonic() - start < 2


def test_the_shipped_tools_are_read_as_they_are_written() -> None:
    path = Path("data/tool_calls.json")
    assert json.dumps(read_tools(path)) == json.dumps(json.loads(path.read_text(encoding="utf-8")))


FIND = {"type": "object", "properties": {"q": {"type": "string"}}}
BARE = {"name": "find", "description": "Find.", "parameters": FIND}
OPENAI = {"type": "function", "function": BARE}
ANTHROPIC = {"name": "find", "description": "Find.", "input_schema": FIND}
MCP = {"name": "find", "title": "Find", "description": "Find.", "inputSchema": FIND}


@pytest.mark.parametrize(
    "content",
    [
        [OPENAI], [BARE], [ANTHROPIC], [{**ANTHROPIC, "type": "custom"}], [MCP], {"tools": [MCP]},
        {"jsonrpc": "2.0", "id": 1, "result": {"tools": [MCP], "nextCursor": None}},
        [{**BARE, "parameters": {"q": {"type": "str", "required": False}}}],
    ],
)  # fmt: skip
def test_a_tool_file_may_have_any_known_form(content: Any, tmp_path: Path) -> None:
    path = tmp_path / "tools.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    assert [dict(tool) for tool in read_tools(path)] == [OPENAI]


def test_a_list_of_tools_that_continues_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tools.json"
    path.write_text(json.dumps({"tools": [MCP], "nextCursor": "p2"}), encoding="utf-8")
    with pytest.raises(DataError, match=r"tools\.json: the list of tools continues after nextCursor"):
        read_tools(path)

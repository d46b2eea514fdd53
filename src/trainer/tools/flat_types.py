"""Turn parameters that are described by Python types into JSON Schema: xLAM's flat lists, ToolACE's type words."""

import re
from collections.abc import Mapping
from typing import Any

from trainer.values.json_reader import MAX_DEPTH, read_json
from trainer.values.literals import skip_blank
from trainer.values.places import check_keys, described, fail, whole_literal

_TYPES = {
    "str": "string", "string": "string", "int": "integer", "integer": "integer", "float": "number", "number": "number",
    "bool": "boolean", "boolean": "boolean", "dict": "object", "object": "object", "list": "array", "array": "array",
    "tuple": "array", "set": "array", "none": "null", "null": "null",
}  # fmt: skip
_ANYTHING = {"any"}
_JSON_TYPES = {"string", "integer", "number", "boolean", "object", "array", "null"}
_FLAT_KEYS = ("type", "description", "default", "required", "enum")
_NAMED = {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"}
_VALUES = {"enum", "const", "default", "examples"}
_LONGEST_TYPE = 400  # characters
_OPTIONAL = re.compile(r"\s*+,\s*+optional\b.*+", re.IGNORECASE | re.DOTALL)
_FLAT_KEYS_ALWAYS = {"type", "description"}
_KEYWORDS = {
    "properties", "patternProperties", "additionalProperties", "unevaluatedProperties", "propertyNames", "$defs",
    "definitions", "dependentSchemas", "dependentRequired", "not", "if", "then", "else",
}  # fmt: skip
_NAME = re.compile(r"(?:typing\.)?([A-Za-z]\w*+)\s*+")


def is_flat(parameters: Mapping[str, Any]) -> bool:
    """Whether parameters list arguments directly, `{"city": {"type": "str", …}}`, and are no JSON Schema."""
    if not parameters or isinstance(parameters.get("type"), str | list):
        return False
    if not all(isinstance(inner, Mapping) for inner in parameters.values()):
        return False
    if parameters.keys() <= _KEYWORDS and not any(_FLAT_KEYS_ALWAYS & inner.keys() for inner in parameters.values()):
        return False  # for example a schema that has only patternProperties
    properties = parameters.get("properties")
    return not (isinstance(properties, Mapping) and all(isinstance(inner, Mapping) for inner in properties.values()))


def flat_parameters(parameters: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The JSON Schema of a flat list of arguments.

    An argument is required unless its type says `optional`, it has a default, or it says `required: false`.
    """
    properties, required = {}, []
    for name, argument in parameters.items():
        place = f'{where}, parameter "{name:.60}"'
        check_keys(argument, _FLAT_KEYS, place)
        schema, is_optional = _argument(argument, place)
        properties[name] = schema
        wanted = argument.get("required")
        if wanted is not None and not isinstance(wanted, bool):
            fail(place, f"required is {described(wanted)}; allowed: true, false")
        if wanted is True or (wanted is None and not is_optional and argument.get("default") is None):
            required.append(name)
    return {"type": "object", "properties": properties, **({"required": required} if required else {})}


def standard_types(schema: Any) -> Any:
    """The same schema with Python's type words (`dict`, `float`, `str` …) replaced by those of JSON Schema."""
    if isinstance(schema, list | tuple):
        return [standard_types(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    clean: dict[str, Any] = {}
    for keyword, value in schema.items():
        if keyword in _NAMED and isinstance(value, Mapping):
            clean[keyword] = {name: standard_types(inner) for name, inner in value.items()}
        elif keyword == "type" and isinstance(value, str) and value not in _JSON_TYPES:
            clean |= _standard_word(value)
        else:
            clean[keyword] = value if keyword in _VALUES else standard_types(value)
    return clean


def _standard_word(word: str) -> dict[str, Any]:
    """The keywords that a type word stands for. An unknown word stays, and is refused when the schema is checked."""
    read = _read_type(word, 0, 0) if len(word) <= _LONGEST_TYPE else None
    return read[0] if read is not None and read[1] == len(word) else {"type": word}


def _argument(argument: Mapping[str, Any], where: str) -> tuple[dict[str, Any], bool]:
    text = argument.get("type")
    if text is not None and (not isinstance(text, str) or len(text) > _LONGEST_TYPE):
        fail(where, f"type is {described(text)}; it must be short text such as str, int or List[str]")
    plain = _OPTIONAL.sub("", text or "Any").strip()
    is_optional = plain != (text or "Any").strip() or plain.lower().startswith("optional[")
    read = _read_type(plain, 0, 0)
    if read is None or read[1] != len(plain):
        fail(where, f"type is {described(text)}; known: str, int, float, bool, list, dict, List[…], Dict[…], Union[…]")
    schema = dict(read[0])
    if argument.get("description") is not None:
        schema["description"] = argument["description"]
    if argument.get("enum") is not None:
        schema["enum"] = argument["enum"]
    if argument.get("default") is not None:
        default = _default(argument["default"], schema.get("type"))
        if default is not None:
            schema["default"] = default
    return schema, is_optional


def _default(value: Any, kind: Any) -> Any:
    """A default as its argument's type writes it: `"5"` is the number 5 for an integer, and "" is none at all."""
    if not isinstance(value, str) or kind in (None, "string"):
        return value
    read = read_json(value, 0)
    if read.failure is None and read.end == len(value.rstrip()):
        return read.value
    literal = whole_literal(value)
    return literal if literal is not None or not value.strip() else value


def _read_type(text: str, position: int, depth: int) -> tuple[dict[str, Any], int] | None:
    """The schema of a Python type at a position, and where the type ends; None if it is not known."""
    name = _NAME.match(text, position)
    if name is None or depth > MAX_DEPTH:
        return None
    word, end = name[1].lower(), name.end()
    inner: list[dict[str, Any]] = []
    if text.startswith("[", end):
        while text[end : end + 1] in ("[", ","):
            start = skip_blank(text, end + 1)
            if text.startswith("...", start):  # Tuple[int, ...]
                end = start + 3
                continue
            read = _read_type(text, start, depth + 1)
            if read is None:
                return None
            inner.append(read[0])
            end = read[1]
        if not text.startswith("]", end):
            return None
        end += 1
    return (schema, end) if (schema := _schema(word, inner)) is not None else None


def _schema(word: str, inner: list[dict[str, Any]]) -> dict[str, Any] | None:
    if word in ("optional", "union"):
        choices = [one for one in inner if one != {"type": "null"}]
        return choices[0] if len(choices) == 1 else {"anyOf": choices} if choices else None
    if word in _ANYTHING and not inner:
        return {}
    kind = _TYPES.get(word)
    if kind is None or (inner and kind not in ("array", "object")):
        return None
    if kind == "array" and inner:
        return {"type": "array", "items": inner[0] if all(one == inner[0] for one in inner) else {"anyOf": inner}}
    if kind == "object" and len(inner) == 2 and inner[1]:
        return {"type": "object", "additionalProperties": inner[1]}
    return {"type": kind}

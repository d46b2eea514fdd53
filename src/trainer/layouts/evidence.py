"""Collect from a sample of rows what tells one layout from another. Decides nothing; see `trainer.layouts.detect`."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trainer.layouts.readers.anthropic import BLOCK_TYPES
from trainer.layouts.readers.glaive import TURN
from trainer.layouts.readers.sharegpt import CALL_ROLES
from trainer.layouts.readers.toolace import CALLS_AT_START
from trainer.values.json_reader import read_json

_STRUCTURED = ("tool_calls", "function_call", "tool_call_id")
_LIST_OF_TOOLS = re.compile(r"\S\s*+\[\s*+\{\s*+\"(?:name|type|function|description|parameters)\"")


@dataclass
class Evidence:
    """What the messages of one column look like: the words for roles, the key that has them, and signs of layouts."""

    column: str
    roles: Counter[str] = field(default_factory=Counter)
    role_keys: Counter[str] = field(default_factory=Counter)
    signs: Counter[str] = field(default_factory=Counter)


def message_columns(rows: Sequence[Mapping[str, Any]], names: Iterable[str]) -> list[Evidence]:
    """The evidence of each column of `names` that holds lists of messages, or the JSON text of them."""
    found = []
    for name in names:
        evidence = Evidence(name)
        for row in rows:
            messages = _list(row.get(name))
            if messages:
                _look_at_system(row.get("system"), evidence)
            for message in messages:
                if isinstance(message, Mapping):
                    _look_at(message, evidence)
        if evidence.role_keys:
            found.append(evidence)
    return found


def glaive_roles(rows: Sequence[Mapping[str, Any]], column: str) -> Counter[str]:
    """How often each of Glaive's words begins a turn in a column of texts; empty if it is another kind of column."""
    texts = [row.get(column) for row in rows]
    return Counter(match[1] for text in texts if isinstance(text, str) for match in TURN.finditer(text))


def has_input_schema(rows: Sequence[Mapping[str, Any]], column: str) -> bool:
    """Whether the tools of a column have Anthropic's `input_schema`."""
    tools = (tool for row in rows for tool in _list(row.get(column)))
    return any(isinstance(tool, Mapping) and tool.get("input_schema") is not None for tool in tools)


def _list(value: Any) -> Sequence[Any]:
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = read_json(value, 0).value
    return value if isinstance(value, list | tuple) else ()


def _look_at(message: Mapping[str, Any], evidence: Evidence) -> None:
    role_key = "from" if message.get("from") is not None else "role"
    word = message.get(role_key)
    if not isinstance(word, str):
        return
    evidence.role_keys[role_key] += 1
    evidence.roles[word[:40]] += 1
    if any(message.get(key) for key in _STRUCTURED) or word == "function":
        evidence.signs["structured"] += 1
    if word in CALL_ROLES:
        evidence.signs["call_turns"] += 1
    content = message.get("value" if role_key == "from" else "content")
    if word == "system":
        _look_at_system(content, evidence)
    elif isinstance(content, str) and word in ("assistant", "gpt"):
        evidence.signs["tags"] += "<tool_call>" in content
        evidence.signs["pythonic"] += CALLS_AT_START.match(content) is not None
    elif isinstance(content, list | tuple):
        kinds = (block.get("type") for block in content if isinstance(block, Mapping))
        evidence.signs["blocks"] += any(kind in BLOCK_TYPES for kind in kinds)


def _look_at_system(text: Any, evidence: Evidence) -> None:
    if isinstance(text, str):
        evidence.signs["tags"] += "<tools>" in text
        evidence.signs["listed"] += "<tools>" not in text and _LIST_OF_TOOLS.search(text) is not None

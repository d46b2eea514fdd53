"""Find out which layout the rows have, and say in sentences what was taken for what. Reads no conversation."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from trainer.errors import DataError
from trainer.layouts.evidence import Evidence, glaive_roles, has_input_schema, message_columns
from trainer.layouts.layout import Layout
from trainer.layouts.registry import get_layout, layouts
from trainer.messages.message import OPENAI_ROLES
from trainer.values.places import names

SAMPLE_ROWS = 200
_MESSAGES = ("messages", "conversations", "conversation", "dialogue", "dialog", "chat")
_OTHER_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "system": ("system", "system_prompt"),
    "tools": ("tools", "tools_json", "available_tools"),
    "session_id": ("session_id", "conversation_id", "id", "uuid"),
    "date": ("inferred_date", "date", "timestamp"),
}
_PARTS = {
    "messages": "the conversation", "system": "the system prompt", "tools": "the tools", "session_id": "the session id",
    "date": "the date", "query": "the user's question", "answers": "the calls that answer it",
    "functions": "the tools in their older form",
}  # fmt: skip
_TOOLS_IN_SYSTEM = ("hermes", "toolace", "glaive")


class Detected(NamedTuple):
    """The layout of some rows, and sentences that say what its columns and role words were taken for."""

    layout: Layout
    explanation: tuple[str, ...]


class _Candidate(NamedTuple):
    name: str
    columns: Mapping[str, str]
    roles: Counter[str]


def detect_layout(rows: Sequence[Mapping[str, Any]]) -> Detected:
    """The layout of `rows`, judged by the first 200.

    Raises:
        DataError: no layout fits, or more than one does; the text has the candidates and how to choose one.
    """
    sample = [row for row in list(rows[:SAMPLE_ROWS]) if isinstance(row, Mapping)]
    if not sample:
        raise DataError("there are no rows to tell a layout by; check the file, or set data.layout")
    filled = Counter(str(key) for row in sample for key, value in row.items() if value is not None)
    candidates = list(_candidates(sample, filled))
    if not candidates:
        raise DataError(
            f"no layout fits the columns {names(sorted(filled)) or '(none has a value)'}; known layouts: "
            f"{', '.join(layouts())}. Rename the columns, or set data.layout to the layout that they have"
        )
    if len(candidates) > 1:
        shown = " or ".join(f"{one.name} (column {next(iter(one.columns.values()))})" for one in candidates)
        options = " or ".join(f"`data.layout: {name}`" for name in dict.fromkeys(one.name for one in candidates))
        raise DataError(f"the rows may have the layout {shown}; say which with {options}")
    found = candidates[0]
    known = {part: _present(part, found.columns, filled) for part in get_layout(found.name).columns}
    layout = get_layout(found.name, **{part: column for part, column in known.items() if column is not None})
    return Detected(layout, tuple(_explain(layout, found.roles, filled, len(sample))))


def _candidates(rows: Sequence[Mapping[str, Any]], filled: Counter[str]) -> Iterator[_Candidate]:
    if filled["query"] and filled["answers"]:
        yield _Candidate("xlam", {"query": "query", "answers": "answers"}, Counter())
    for column in ("chat", "conversation", "text"):
        roles = glaive_roles(rows, column)
        if "USER" in roles and "ASSISTANT" in roles:
            yield _Candidate("glaive", {"messages": column}, roles)
    for evidence in message_columns(rows, [name for name in _MESSAGES if filled[name]]):
        for name in _names_of(evidence, rows, filled):
            yield _Candidate(name, {"messages": evidence.column}, evidence.roles)


def _names_of(evidence: Evidence, rows: Sequence[Mapping[str, Any]], filled: Counter[str]) -> list[str]:
    """The layouts that signs in a column of messages speak for; the plain ones if there is no sign."""
    signs = evidence.signs
    own = "project" if evidence.column == "conversation" and filled["session_id"] else "openai"
    multi_turn = "apigen_mt" if filled["tools"] and filled["system"] else "sharegpt"
    found = []
    if signs["blocks"] or any(has_input_schema(rows, column) for column in _OTHER_COLUMNS["tools"]):
        found.append("anthropic")
    if signs["structured"] or filled["functions"]:
        found.append(own)
    if signs["tags"]:
        found.append("hermes")
    if signs["call_turns"]:
        found.append(multi_turn)
    if signs["listed"] and not signs["tags"]:
        found.append("toolace")
    if found:
        return found
    is_openai = "from" not in evidence.role_keys and set(evidence.roles) <= set(OPENAI_ROLES)
    return [own if is_openai else "sharegpt"]


def _present(part: str, given: Mapping[str, str], filled: Counter[str]) -> str | None:
    """The column that holds a part: the one that detection used, else the first of its usual names."""
    return given.get(part) or next((name for name in _OTHER_COLUMNS.get(part, ()) if filled[name]), None)


def _explain(layout: Layout, roles: Counter[str], filled: Counter[str], n_rows: int) -> Iterator[str]:
    yield f"The rows have the layout {layout.name} (looked at: {n_rows})."
    used = {part: column for part, column in layout.columns.items() if filled[column]}
    for part, column in used.items():
        yield f"Column {column} holds {_PARTS[part]} ({filled[column]} of {n_rows} rows have it)."
    if "tools" not in used and "functions" not in used:
        in_system = layout.name in _TOOLS_IN_SYSTEM
        yield f"No column holds tools; {'the system prompt may' if in_system else 'the rows have none'}."
    for word, n in roles.most_common():
        turns = f"{n} turn{'s' if n > 1 else ''}"
        if word in layout.roles:
            yield f'Role "{word}" means {layout.roles[word]} ({turns}).'
        else:
            yield f'Role "{word}" is not known ({turns}); its rows will be refused.'
    unused = sorted(set(filled) - set(used.values()))
    if unused:
        yield f"Not used: {len(unused)} column{'s' if len(unused) > 1 else ''} ({names(unused)})."

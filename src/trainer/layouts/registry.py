"""The layouts that are known, by name. Looks at no row; see `trainer.layouts.detect`."""

from collections.abc import Mapping
from typing import NamedTuple

from trainer.errors import DataError
from trainer.layouts.layout import Layout, Reader
from trainer.layouts.readers.anthropic import ANTHROPIC_ROLES, read_anthropic
from trainer.layouts.readers.glaive import GLAIVE_ROLES, read_glaive
from trainer.layouts.readers.hermes import HERMES_ROLES, read_hermes
from trainer.layouts.readers.openai import read_openai
from trainer.layouts.readers.sharegpt import SHAREGPT_ROLES, read_sharegpt
from trainer.layouts.readers.toolace import TOOLACE_ROLES, read_toolace
from trainer.layouts.readers.xlam import read_xlam
from trainer.messages.message import OPENAI_ROLES
from trainer.values.places import nearest


class _Kind(NamedTuple):
    reader: Reader
    columns: Mapping[str, str]
    roles: Mapping[str, str]
    required: tuple[str, ...] = ("messages",)


_ABOUT = {"session_id": "id", "date": "date"}
_CONVERSATIONS = {"messages": "conversations", "system": "system", "tools": "tools", **_ABOUT}
_MESSAGES = {"messages": "messages", "system": "system", "tools": "tools", **_ABOUT}
_KINDS: Mapping[str, _Kind] = {
    "project": _Kind(
        read_openai,
        {"messages": "conversation", "tools": "tools", "session_id": "session_id", "date": "inferred_date"},
        OPENAI_ROLES,
    ),
    "openai": _Kind(read_openai, {**_MESSAGES, "functions": "functions"}, OPENAI_ROLES),
    "sharegpt": _Kind(read_sharegpt, _CONVERSATIONS, SHAREGPT_ROLES),
    "xlam": _Kind(
        read_xlam,
        {"query": "query", "tools": "tools", "answers": "answers", "system": "system", **_ABOUT},
        {},
        ("query", "answers"),
    ),
    "apigen_mt": _Kind(read_sharegpt, _CONVERSATIONS, SHAREGPT_ROLES),
    "toolace": _Kind(read_toolace, _CONVERSATIONS, TOOLACE_ROLES),
    "hermes": _Kind(read_hermes, _CONVERSATIONS, HERMES_ROLES),
    "glaive": _Kind(read_glaive, {"messages": "chat", "system": "system", "tools": "tools", **_ABOUT}, GLAIVE_ROLES),
    "anthropic": _Kind(read_anthropic, _MESSAGES, ANTHROPIC_ROLES),
}


def layouts() -> tuple[str, ...]:
    """The names of all the layouts."""
    return tuple(_KINDS)


def get_layout(name: str, **columns: str | None) -> Layout:
    """The layout called `name`. A keyword names the column of a part; None leaves the part out.

    Raises DataError for an unknown name or part.

    >>> get_layout("xlam", session_id="row").columns["session_id"]
    'row'
    """
    if name not in _KINDS:
        raise DataError(f'unknown layout "{name:.60}"; {nearest(name, layouts())}')
    kind = _KINDS[name]
    for part, column in columns.items():
        if part not in kind.columns:
            raise DataError(f'layout {name} has no part "{part:.60}"; {nearest(part, tuple(kind.columns))}')
        if column is not None and (not isinstance(column, str) or not column):
            raise DataError(f"layout {name}: the column of {part} must be the name of a column, or null for none")
    chosen = {**kind.columns, **columns}
    used = {part: column for part, column in chosen.items() if column is not None}
    missing = [part for part in kind.required if part not in used]
    if missing:
        raise DataError(f"layout {name} needs a column for {', '.join(missing)}; name it")
    return Layout(name, used, kind.reader, kind.required, kind.roles)

"""Read a domain's raw rows as sessions, choose sessions to judge, and list their turns. Knows no tokens, no model."""

import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from trainer.config import Config, as_config
from trainer.data.opening import OpenRows, ReadRow, open_sources
from trainer.data.row_files import row_value
from trainer.data.sources import read_text
from trainer.errors import DataError, ToolSftError
from trainer.messages import CanonicalMessages, is_trained, read_messages
from trainer.messages.alternatives import accepted_answers
from trainer.tools import ToolSpecs, read_tools, rendered_tool
from trainer.tools.forms import tools_of
from trainer.types import Call, EvalTurn, Message, Session, Tool
from trainer.util.clock import known_day
from trainer.util.ordering import shuffled
from trainer.values.places import HALF_CHARACTER, described, fail, half_character, names, take_list


class SessionToMessages(Protocol):
    """The one function that a domain must define: it turns a raw row into chat messages, system message first."""

    def __call__(self, row: Mapping[str, Any], /, *, sysprompt: str, timezone: str) -> Sequence[Message]: ...


def session_tools(tools: Sequence[Tool], session_id: str) -> tuple[Tool, ...]:
    """Return the domain's tools in this session's own order, so the model does not learn a tool by its position."""
    return shuffled(tools, key=f"tools\0{session_id}")


def gold_calls(message: Message) -> tuple[Call, ...]:
    """Return the calls of a canonical assistant message."""
    calls = message.get("tool_calls") or ()
    return tuple(Call(call["function"]["name"], dict(call["function"]["arguments"])) for call in calls)


def messages_of(row: Mapping[str, Any], column: str = "conversation") -> list[Any]:
    """Return the list of messages in a column, also if it is written as JSON text. Raises `DataError`."""
    return list(take_list(row.get(column), f"column {column}", "the conversation"))


@dataclass(frozen=True, slots=True)
class SessionReader:
    """Reads a raw row as a session, with the domain's function.

    A row with its own `tools`, in any form that `trainer.tools.forms` reads, has those instead of the domain's.
    """

    to_messages: SessionToMessages
    id_column: str
    columns: tuple[str, ...]
    sysprompt: str
    timezone: str
    tools: tuple[Tool, ...]
    makes_ids: bool = False

    def row_id(self, row: Mapping[str, Any]) -> object:
        """Return the value of the row's id column."""
        try:
            value = row_value(dict(row))
        except DataError:
            return None
        return _as_written(value.get(self.id_column)) if isinstance(value, Mapping) else None

    def read(self, row: Mapping[str, Any], *, session_id: str | None = None) -> ReadRow:
        """Return the session of a raw row. Raises `DataError`, which names the turn or the column."""
        value = row_value(dict(row))
        if not isinstance(value, Mapping):
            raise DataError(f"the row is {described(value)}; it must be an object with {self.id_column}")
        value = {name: _as_written(inner) for name, inner in value.items()}
        missing = [name for name in (self.id_column, *self.columns) if name not in value]
        if missing:
            raise DataError(f"column {', '.join(missing)} is missing; the row has {names(value)}")
        if problem := id_problem(value[self.id_column], column=self.id_column):
            raise DataError(problem)
        own = row_tools(value.get("tools"))
        name = session_id or value[self.id_column]
        conversation = read_messages(self._messages(value), self.tools if own is None else own)
        messages = CanonicalMessages(conversation.messages)
        day = known_day(value.get("inferred_date"), value[self.id_column])
        session = Session(name, messages, session_tools(conversation.tools or (), name), day)
        refuse_unknown_tools(session)
        refuse_half_characters(session)
        return ReadRow(session, conversation.converted)

    def _messages(self, row: Mapping[str, Any]) -> Sequence[Message]:
        try:
            return self.to_messages(row, sysprompt=self.sysprompt, timezone=self.timezone)
        except ToolSftError:
            raise
        except Exception as error:  # the domain's own code, which can fail in any way on a row
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(place.filename).name}:{place.lineno}"
            raise DataError(f"session_to_messages failed at {where}: {type(error).__name__}: {error}") from error


def row_tools(value: Any) -> tuple[Tool, ...] | None:
    """Return a row's own tools as servers render them; None if it has none. Raises `DataError`."""
    if value is None or value == "":
        return None
    return rendered_tools(tools_of(value, "column tools").tools)


def rendered_tools(tools: Iterable[Tool]) -> tuple[Tool, ...]:
    """Return tools as servers render them. Raises `DataError`."""
    numbered = enumerate(tools, start=1)
    return tuple(rendered_tool(tool, where=f"tool {position}").tool for position, tool in numbered)


def refuse_unknown_tools(session: Session) -> None:
    """Raise `DataError` if a gold call names a tool that the session does not have."""
    specs = ToolSpecs(session.tools)  # cheap: each tool is checked once per process
    for turn, message in enumerate(session.messages):
        for call in (*gold_calls(message), *chain.from_iterable(accepted_answers(message))):
            if call.name not in specs:
                raise DataError(f'turn {turn} calls unknown tool "{call.name}"; known: {names(specs.names) or "none"}')


def refuse_half_characters(session: Session) -> None:
    """Raise `DataError` if the id or a message has half a surrogate pair. Tools were checked when they were read."""
    parts: dict[str, Any] = {"the session id": session.session_id}
    parts |= {f"turn {turn}": message for turn, message in enumerate(session.messages)}
    for where, part in parts.items():
        if (half := half_character(part)) is not None:
            fail(where, f"{half} is {HALF_CHARACTER}")


def _as_written(value: Any) -> Any:
    """Return a date as text again: Arrow's JSON reader turns a column of dates into datetimes."""
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat()
    return value


def open_table(
    cfg: Config | Mapping[str, Any],
    session_to_messages: SessionToMessages,
    *,
    columns: Sequence[str],
    id_column: str = "session_id",
    train: bool = True,
) -> OpenRows:
    """Open the configured datasets of a domain whose `session_to_messages` reads the given `columns`.

    Without `train`, only the rows to evaluate on. Raises `DataError`.
    """
    cfg = as_config(cfg)
    for key in ("sysprompt_path", "tools_path"):
        if cfg.data[key] is None:
            raise DataError(f"data.{key}: not set; the domain {cfg.data.load_module} needs it")
    assert cfg.data.tools_path is not None
    assert cfg.data.sysprompt_path is not None
    tools = read_tools(cfg.data.tools_path)
    sysprompt = read_text(cfg.data.sysprompt_path, key="data.sysprompt_path")
    reader = SessionReader(session_to_messages, id_column, tuple(columns), sysprompt, cfg.data.timezone, tools)
    return open_sources(cfg, lambda source, rows: reader, train=train)


def judged(ids: Iterable[str], *, n: int) -> list[str]:
    """Return `n` session ids to judge, sorted, or all if there are fewer. The choice depends only on the ids."""
    return sorted(shuffled(sorted(set(ids)), key="tool-eval")[:n])


def eval_turns(session: Session) -> Iterator[EvalTurn]:
    """Yield every assistant turn of a session that carries loss, with its gold history."""
    for turn, message in enumerate(session.messages):
        if is_trained(message):
            yield EvalTurn(
                session_id=session.session_id,
                turn=turn,
                messages=session.messages[:turn],
                tools=session.tools,
                gold_content=message.get("content") or "",
                gold_calls=gold_calls(message),
                day=session.day,
                alternatives=accepted_answers(message),
            )


def id_problem(session_id: object, *, column: str) -> str | None:
    """Return why a value is not a session id; None if it is one."""
    if isinstance(session_id, str) and session_id:
        return None
    return f"{column} is {session_id!r:.80}; must be a non-empty string"

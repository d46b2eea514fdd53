"""Read raw rows as sessions, choose the sessions to judge, and list their turns. Knows no tokens and no model."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any, Protocol

import datasets

from trainer.config import Config, as_config
from trainer.data.sources import load_split, read_text, row_name
from trainer.errors import DataError
from trainer.messages.canonical import canonical_messages, is_trained
from trainer.tools import ToolSpecs, read_tools
from trainer.types import Call, EvalTurn, Message, Session, Tool
from trainer.util.ordering import shuffled


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


class RowReader(Protocol):
    """Reads raw rows as sessions. `makes_ids` says that rows have no ids, so the reader derives them from content.

    `tools` are those of sessions whose rows have none of their own.
    """

    @property
    def makes_ids(self) -> bool: ...
    @property
    def tools(self) -> tuple[Tool, ...]: ...
    def row_id(self, row: Mapping[str, Any]) -> object:
        """The row's own id, whatever it is, to name a row that cannot be read."""

    def place(self, row: Mapping[str, Any]) -> str | None:
        """Where the row is in its file; None if the row does not know."""

    def read(self, row: Mapping[str, Any], *, session_id: str | None = None) -> Session:
        """The session of a row, under its own id or the given one. Raises `DataError`, which names the turn."""


@dataclass(frozen=True, slots=True)
class SessionReader:
    """Reads a raw row as a session, with the domain's function."""

    to_messages: SessionToMessages
    id_column: str
    sysprompt: str
    timezone: str
    tools: tuple[Tool, ...]
    makes_ids: bool = False

    def row_id(self, row: Mapping[str, Any]) -> object:
        """Return the value of the row's id column."""
        return _as_written(row.get(self.id_column))

    def place(self, row: Mapping[str, Any]) -> str | None:
        """Return None: the rows of a dataset do not know where they are."""
        return None

    def read(self, row: Mapping[str, Any], *, session_id: str | None = None) -> Session:
        """Return the session of a raw row. Raises `DataError`, which names the turn."""
        row = {name: _as_written(value) for name, value in row.items()}
        session_id = row[self.id_column]  # rows of a domain have ids of their own
        if problem := id_problem(session_id, column=self.id_column):
            raise DataError(problem)
        assert isinstance(session_id, str)
        messages = self.to_messages(row, sysprompt=self.sysprompt, timezone=self.timezone)
        session = Session(session_id, canonical_messages(messages), session_tools(self.tools, session_id))
        refuse_unknown_tools(session)
        return session


def refuse_unknown_tools(session: Session) -> None:
    """Raise `DataError` if a gold call names a tool that the session does not have."""
    specs = ToolSpecs(session.tools)  # cheap: each tool is checked once per process
    for turn, message in enumerate(session.messages):
        for call in gold_calls(message):
            if call.name not in specs:
                names = ", ".join(specs.names) or "none"
                raise DataError(f'turn {turn} calls unknown tool "{call.name}"; known: {names}')


def _as_written(value: Any) -> Any:
    """Return a date as text again: Arrow's JSON reader turns a column of dates into datetimes."""
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat()
    return value


def make_reader(cfg: Config, session_to_messages: SessionToMessages, *, id_column: str) -> SessionReader:
    """Return a reader with the configured prompt template and tools. Raises `DataError`."""
    for key in ("sysprompt_path", "tools_path"):
        if cfg.data[key] is None:
            raise DataError(f"data.{key}: not set; the domain {cfg.data.load_module} needs it")
    assert cfg.data.tools_path is not None
    assert cfg.data.sysprompt_path is not None
    tools = read_tools(cfg.data.tools_path)
    sysprompt = read_text(cfg.data.sysprompt_path, key="data.sysprompt_path")
    return SessionReader(session_to_messages, id_column, sysprompt, cfg.data.timezone, tools)


def read_eval_turns(
    cfg: Config | Mapping[str, Any],
    session_to_messages: SessionToMessages,
    *,
    columns: Sequence[str],
    id_column: str = "session_id",
) -> list[EvalTurn]:
    """Return the turns that a run judges, without tokens: the same sessions, turns and tool orders.

    Needs neither a tokenizer nor torch. `session_to_messages` reads the given `columns`. Raises `DataError`.
    """
    cfg = as_config(cfg)
    reader = make_reader(cfg, session_to_messages, id_column=id_column)
    split = cfg.data.eval_split
    raw = load_split(cfg.data, split, columns=[id_column, *columns])
    for index, session_id in enumerate(raw[id_column]):
        if problem := id_problem(_as_written(session_id), column=id_column):
            raise DataError(f"{row_name(cfg.data, split, index)}: {problem}")
    refuse_repeated_ids(raw[id_column], where=f"{cfg.data.dataset_name}, split {split}")
    return read_turns(cfg, reader, raw, ids=list(raw[id_column]), split=split)


def read_turns(
    cfg: Config, reader: RowReader, raw: datasets.Dataset, *, ids: Sequence[str], split: str
) -> list[EvalTurn]:
    """Return the turns of the judged sessions of a split, sorted. Raises `DataError`, which names the row."""
    turns: list[EvalTurn] = []
    for index in judged_rows(ids, n=cfg.data.n_tool_sessions_eval):
        try:
            session = reader.read(raw[index], session_id=ids[index])
        except DataError as error:
            where = reader.place(raw[index]) or row_name(cfg.data, split, index)
            raise DataError(f"{where}: session {ids[index]}: {error}") from error
        turns += eval_turns(session)
    return sorted(turns, key=lambda turn: (turn.session_id, turn.turn))


def judged_rows(ids: Iterable[str], *, n: int) -> list[int]:
    """Return the positions of `n` sessions to judge, or of all if there are fewer. The choice depends only on ids."""
    by_id = {session_id: index for index, session_id in enumerate(ids)}
    return sorted(by_id[session_id] for session_id in shuffled(sorted(by_id), key="tool-eval")[:n])


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
            )


def id_problem(session_id: object, *, column: str) -> str | None:
    """Return why a value is not a session id; None if it is one."""
    if isinstance(session_id, str) and session_id:
        return None
    return f"{column} is {session_id!r:.80}; must be a non-empty string"


def refuse_repeated_ids(ids: Iterable[Any], *, where: str) -> None:
    """Raise `DataError` if two rows have the same id. Rows without an id are reported elsewhere."""
    counted = Counter(session_id for session_id in ids if isinstance(session_id, str) and session_id)
    name, n = max(counted.items(), key=lambda item: item[1], default=("", 0))
    if n > 1:
        raise DataError(f"{where}: session {name} appears {n} times; give every session its own id")

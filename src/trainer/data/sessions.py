"""Read raw rows as sessions, choose those that are judged, and list their turns. Knows no tokens and no model."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any, Protocol

from trainer.chat.canonical import canonical_messages, is_trained
from trainer.config import Config, as_config
from trainer.data.sources import load_split, read_text, row_name
from trainer.errors import DataError
from trainer.tools import ToolSpecs, read_tools
from trainer.types import Call, EvalTurn, Message, Session, Tool
from trainer.util.ordering import shuffled


class SessionToMessages(Protocol):
    """The one function that a domain has to write: a raw row becomes chat messages, system message first."""

    def __call__(self, row: Mapping[str, Any], /, *, sysprompt: str, timezone: str) -> Sequence[Message]: ...


def session_tools(tools: Sequence[Tool], session_id: str) -> tuple[Tool, ...]:
    """The domain's tools in this session's own order, so that no model learns a tool by its place."""
    return shuffled(tools, key=f"tools\0{session_id}")


def gold_calls(message: Message) -> tuple[Call, ...]:
    """The calls of a canonical assistant message."""
    calls = message.get("tool_calls") or ()
    return tuple(Call(call["function"]["name"], dict(call["function"]["arguments"])) for call in calls)


@dataclass(frozen=True, slots=True)
class SessionReader:
    """Reads a raw row as a session, with the domain's function."""

    to_messages: SessionToMessages
    id_column: str
    sysprompt: str
    timezone: str
    tools: tuple[Tool, ...]

    def read(self, row: Mapping[str, Any]) -> Session:
        """The session of a raw row. Raises `DataError` naming the turn."""
        row = {name: _as_written(value) for name, value in row.items()}
        session_id = row[self.id_column]
        if problem := id_problem(session_id, column=self.id_column):
            raise DataError(problem)
        assert isinstance(session_id, str)
        messages = self.to_messages(row, sysprompt=self.sysprompt, timezone=self.timezone)
        session = Session(session_id, canonical_messages(messages), session_tools(self.tools, session_id))
        specs = ToolSpecs(self.tools)
        for turn, message in enumerate(session.messages):
            for call in gold_calls(message):
                if call.name not in specs:
                    names = ", ".join(specs.names)
                    raise DataError(f'turn {turn} calls unknown tool "{call.name}"; known: {names}')
        return session


def _as_written(value: Any) -> Any:
    """Undo the guess of Arrow's JSON reader that a column of dates is a column of points in time."""
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat()
    return value


def make_reader(cfg: Config, session_to_messages: SessionToMessages, *, id_column: str) -> SessionReader:
    """The reader with the prompt template and the tools that the configuration names. Raises `DataError`."""
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
    """The turns that a run judges, without their tokens: the same sessions, turns and tool orders.

    Needs neither tokenizer nor torch. `columns` are those that the function reads. Raises `DataError`.
    """
    cfg = as_config(cfg)
    reader = make_reader(cfg, session_to_messages, id_column=id_column)
    split = cfg.data.eval_split
    raw = load_split(cfg.data, split, columns=[id_column, *columns])
    for index, session_id in enumerate(raw[id_column]):
        if problem := id_problem(_as_written(session_id), column=id_column):
            raise DataError(f"{row_name(cfg.data, split, index)}: {problem}")
    refuse_repeated_ids(raw[id_column], where=f"{cfg.data.dataset_name}, split {split}")
    turns: list[EvalTurn] = []
    for index in judged_rows(raw[id_column], n=cfg.data.n_tool_sessions_eval):
        try:
            session = reader.read(raw[index])
        except DataError as error:
            name = f"session {raw[index][id_column]}"
            raise DataError(f"{row_name(cfg.data, split, index)}: {name}: {error}") from error
        turns += eval_turns(session)
    return sorted(turns, key=lambda turn: (turn.session_id, turn.turn))


def judged_rows(ids: Iterable[str], *, n: int) -> list[int]:
    """The positions of `n` sessions to judge: all when there are fewer, else a choice that depends on ids alone."""
    by_id = {session_id: index for index, session_id in enumerate(ids)}
    return sorted(by_id[session_id] for session_id in shuffled(sorted(by_id), key="tool-eval")[:n])


def eval_turns(session: Session) -> Iterator[EvalTurn]:
    """Every assistant turn of a session that carries loss, on its true history."""
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
    """Why a value names no session; None where it names one."""
    if isinstance(session_id, str) and session_id:
        return None
    return f"{column} is {session_id!r:.80}; must be a non-empty string"


def refuse_repeated_ids(ids: Iterable[Any], *, where: str) -> None:
    """Raise `DataError` where two rows have the same id; a row without one is reported by itself."""
    counted = Counter(session_id for session_id in ids if isinstance(session_id, str) and session_id)
    name, n = max(counted.items(), key=lambda item: item[1], default=("", 0))
    if n > 1:
        raise DataError(f"{where}: session {name} stands {n} times; give every session an id of its own")

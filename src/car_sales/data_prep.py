"""Turn car-sales rows into chat messages. Everything that is not about car sales is in `trainer.data`."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from trainer.config import Config
from trainer.data import (
    DatasetBundle,
    OpenRows,
    assemble_datasets,
    messages_of,
    open_table,
    read_eval_turns,
    tokenize_session,
)
from trainer.types import EvalTurn, Message
from trainer.util.session_prompt import build_system_prompt, live_system_prompt

COLUMNS = ("inferred_date", "conversation")

# The general function under the name that callers of a domain use.
tokenize_with_role_spans = tokenize_session


def session_to_messages(row: Mapping[str, Any], /, *, sysprompt: str, timezone: str) -> list[Message]:
    """The messages of a dataset row: the session's own system prompt, then the conversation."""
    system = build_system_prompt(
        sysprompt, session_id=row["session_id"], inferred_date=row["inferred_date"], timezone=timezone
    )
    return [{"role": "system", "content": system}, *messages_of(row)]


def build_datasets(cfg: Config | Mapping[str, Any]) -> DatasetBundle:
    """The datasets, evaluation turns and tools of the car-sales domain. See `trainer.data.assemble_datasets`."""
    return assemble_datasets(cfg, session_to_messages, columns=COLUMNS)


def read_turns(cfg: Config | Mapping[str, Any]) -> list[EvalTurn]:
    """The same evaluation turns without tokens, for scoring a served model. See `trainer.data.read_eval_turns`."""
    return read_eval_turns(cfg, session_to_messages, columns=COLUMNS)


def open_rows(cfg: Config | Mapping[str, Any]) -> OpenRows:
    """The raw rows of both splits and how to read them, for previews and checks. See `trainer.data.open_table`."""
    return open_table(cfg, session_to_messages, columns=COLUMNS)


def system_prompt_now(cfg: Config, *, sysprompt: str, now: datetime) -> str:
    """The system prompt of an application at the moment `now`. See `trainer.data.live_prompt`."""
    return live_system_prompt(sysprompt, now=now, timezone=cfg.data.timezone)

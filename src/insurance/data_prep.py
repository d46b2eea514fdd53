"""Turn insurance rows into chat messages. `trainer.data` does everything else."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from trainer.config import Config
from trainer.data import DatasetBundle, OpenRows, assemble_datasets, messages_of, open_table, read_eval_turns
from trainer.types import EvalTurn, Message
from trainer.util.session_prompt import build_system_prompt, live_system_prompt

COLUMNS = ("inferred_date", "conversation")


def session_to_messages(row: Mapping[str, Any], /, *, sysprompt: str, timezone: str) -> list[Message]:
    """Return the messages of a row in OpenAI form, with the session's system prompt first."""
    system = build_system_prompt(
        sysprompt, session_id=row["session_id"], inferred_date=row["inferred_date"], timezone=timezone
    )
    return [{"role": "system", "content": system}, *messages_of(row)]


def build_datasets(cfg: Config | Mapping[str, Any]) -> DatasetBundle:
    """Return the datasets, judged turns and tools of a run."""
    return assemble_datasets(cfg, session_to_messages, columns=COLUMNS)


def read_turns(cfg: Config | Mapping[str, Any]) -> list[EvalTurn]:
    """Return the same judged turns without tokens, for scoring a served model."""
    return read_eval_turns(cfg, session_to_messages, columns=COLUMNS)


def open_rows(cfg: Config | Mapping[str, Any]) -> OpenRows:
    """Return the raw rows of both splits and how to read them, for previews and checks."""
    return open_table(cfg, session_to_messages, columns=COLUMNS)


def system_prompt_now(cfg: Config, *, sysprompt: str, now: datetime) -> str:
    """Return the system prompt of a live application at the moment `now`."""
    return live_system_prompt(sysprompt, now=now, timezone=cfg.data.timezone)

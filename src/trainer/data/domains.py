"""Find the configured domain, and ask it for datasets, turns or single sessions. Knows no particular domain."""

import importlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from trainer.config import Config
from trainer.config.domain_package import import_domain
from trainer.data.bundle import DatasetBundle, as_bundle
from trainer.data.opening import OpenRows
from trainer.data.sessions import open_table, row_tools
from trainer.data.sources import read_text
from trainer.data.survey import survey_sessions
from trainer.errors import ConfigError, DataError
from trainer.tools import read_tools
from trainer.tools.wire import wire_tool
from trainer.types import EvalTurn, Message, Session
from trainer.util.clock import local_time


def load_domain(cfg: Config) -> Any:
    """Return the package that `data.load_module` names. Raises `ConfigError` if it has no `build_datasets(cfg)`."""
    module = import_domain(cfg)
    if not callable(getattr(module, "build_datasets", None)):
        where = f" ({module.__file__})" if module.__file__ else ""
        raise ConfigError(f"data.load_module: {cfg.data.load_module}{where} has no build_datasets(cfg)")
    return module


def domain_datasets(domain: Any, cfg: Config) -> DatasetBundle:
    """Return the datasets that a domain builds. Raises `DataError` if a run cannot use them."""
    return as_bundle(domain.build_datasets(cfg), cfg, domain=domain.__name__)


def domain_turns(domain: Any, cfg: Config) -> Sequence[EvalTurn]:
    """Return the turns to judge: from the domain's `read_turns(cfg)`, or else from its datasets.

    Raises `ConfigError` if building the datasets needs a package, such as torch, that is not installed here.
    """
    read_turns = getattr(domain, "read_turns", None)
    turns: Sequence[EvalTurn]
    if callable(read_turns):
        turns = read_turns(cfg)
        return turns
    try:
        turns = domain_datasets(domain, cfg).tool_eval_examples
    except ImportError as error:
        raise ConfigError(
            f"data.load_module: {domain.__name__} has no read_turns(cfg), and its build_datasets(cfg) needs "
            f"{error.name or error}, which is not installed here; add read_turns (one line with "
            "trainer.data.read_eval_turns), or use the environment that trains"
        ) from error
    return turns


def domain_rows(domain: Any, cfg: Config) -> OpenRows:
    """Return the raw rows of both splits and how to read them: from the domain's `open_rows(cfg)`.

    A domain without it needs the functions of the example domain: `data_prep.session_to_messages` and `COLUMNS`.
    Raises `ConfigError` if it has neither, `DataError` if the data cannot be opened.
    """
    opened: OpenRows
    if callable(getattr(domain, "open_rows", None)):
        opened = domain.open_rows(cfg)
        return opened
    name = f"{domain.__name__}.data_prep"
    try:
        module: Any = importlib.import_module(name)
        to_messages, columns = module.session_to_messages, module.COLUMNS
    except (ModuleNotFoundError, AttributeError) as error:
        raise ConfigError(
            f"data.load_module: {domain.__name__} has no open_rows(cfg), and {name} has no session_to_messages and "
            f"COLUMNS; add open_rows (one line with trainer.data.open_table): {error}"
        ) from error
    return open_table(cfg, to_messages, columns=columns)


class LivePrompt(NamedTuple):
    """How an application begins a request: the system message, or none, and the tools as a request carries them."""

    messages: list[Message]
    tools: list[dict[str, Any]]


def live_prompt(
    cfg: Config, *, now: datetime | None = None, row_prompt: str | None = None, tools: Any = None
) -> LivePrompt:
    """Return the trained system prompt and tools for now, without a session: what a live application sends.

    `now` is the moment (default: the clock's), in any time zone, or without one in `data.timezone`. `tools` are those
    of this request in any form that `data.tools_path` takes; by default those of `data.tools_path`. `row_prompt` is
    the system prompt that this conversation brings, for `chat_rows` trained on rows that have one.

    Raises `ConfigError` if the domain has no `system_prompt_now`, `DataError` if a file or the tools cannot be read.
    """
    domain = load_domain(cfg)
    if not callable(getattr(domain, "system_prompt_now", None)):
        raise ConfigError(f"data.load_module: {domain.__name__} has no system_prompt_now(cfg, sysprompt=…, now=…)")
    now = local_time(datetime.now(UTC) if now is None else now, timezone=cfg.data.timezone)
    path = cfg.data.sysprompt_path
    sysprompt = None if path is None else read_text(path, key="data.sysprompt_path")
    given = {} if row_prompt is None else {"row_prompt": row_prompt}
    text = domain.system_prompt_now(cfg, sysprompt=sysprompt, now=now, **given)
    chosen = row_tools(tools)
    if chosen is None:
        chosen = () if cfg.data.tools_path is None else read_tools(cfg.data.tools_path)
    return LivePrompt([Message(role="system", content=text)] if text else [], [wire_tool(tool) for tool in chosen])


def find_session(cfg: Config, split: str, *, session_id: str | None = None, row: int = 0) -> Session:
    """Return the session with this id, or else the one at `row` (from 0).

    Raises `ConfigError` for a domain that does not say how it reads rows, `DataError` if the session is not there.
    """
    if split not in (cfg.data.train_split, cfg.data.eval_split):
        cfg = cfg.model_copy(update={"data": cfg.data.model_copy(update={"train_split": split})})
    opened = domain_rows(load_domain(cfg), cfg)
    parts = opened.evaluation if split == cfg.data.eval_split else opened.train
    n_before = 0
    first_ids: list[str] = []
    for part in parts:
        if session_id is None and row < n_before + len(part.rows) and row >= 0:
            found = part.rows[row - n_before]
            return part.reader.read(found, session_id=part.full_id(part.reader.row_id(found))).session
        if session_id is not None:
            ids = survey_sessions(part, split=split).ids
            if session_id in ids:
                return part.reader.read(part.rows[ids.index(session_id)], session_id=session_id).session
            first_ids += ids[:5]
        n_before += len(part.rows)
    if session_id is not None:
        raise DataError(f"split {split} has no session {session_id!r}; its first ones: {', '.join(first_ids[:5])}")
    raise DataError(f"split {split} has no row {row}; it has rows 0 to {n_before - 1}")

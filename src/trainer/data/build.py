"""Build a domain's datasets: raw rows → sessions → proven rows of tokens → training rows and judged turns.

Everything that domains share is here. A domain only turns one raw row into messages. Knows no model.
"""

import dataclasses
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from trainer.chat import ChatEncoder
from trainer.config import Config, as_config
from trainer.data.bundle import DatasetBundle
from trainer.data.chat_setup import make_chat_setup
from trainer.data.report import DataReport, SplitReport
from trainer.data.rows import OUTPUT_COLUMNS, RowEncoder
from trainer.data.sessions import (
    RowReader,
    SessionToMessages,
    eval_turns,
    judged_rows,
    make_reader,
    refuse_repeated_ids,
    session_tools,
)
from trainer.data.sources import load_split
from trainer.data.survey import cache_key, survey_sessions
from trainer.errors import DataError, TemplateError
from trainer.tools.wire import rendered_tool, unique_tools
from trainer.types import EvalTurn, Message, Session, Tool, ToolEvalExample

_N_PROBLEMS_SHOWN = 10


def assemble_datasets(
    cfg: Config | Mapping[str, Any],
    session_to_messages: SessionToMessages,
    *,
    columns: Sequence[str],
    id_column: str = "session_id",
) -> DatasetBundle:
    """Build everything that a run needs from its domain.

    `session_to_messages` reads the given `columns`. Worker processes prepare the rows, and `datasets` caches them on
    disk; `trainer.data.survey` lists what a cached row depends on.
    Raises `DataError`, which names each row that cannot be used, `TemplateError`, `FormatError`, `ModelError`.
    """
    cfg = as_config(cfg)
    reader = make_reader(cfg, session_to_messages, id_column=id_column)
    raw = {split: load_split(cfg.data, split, columns=[id_column, *columns]) for split in _splits(cfg)}
    return build_bundle(cfg, reader, raw)


def build_bundle(cfg: Config, reader: RowReader, raw: Mapping[str, datasets.Dataset]) -> DatasetBundle:
    """Build the same from the raw rows of both configured splits and their reader."""
    chat = make_chat_setup(cfg)
    rows, keys, ids = {}, {}, {}
    for split, dataset in raw.items():
        name = f"{cfg.data.dataset_name}, split {split}"
        survey = survey_sessions(dataset, reader, name=split)
        refuse_repeated_ids(survey.ids, where=name)
        keys[split], ids[split] = cache_key(survey, chat, name=name), survey.ids
        row_encoder = RowEncoder(reader, chat, ids=survey.ids, data=cfg.data, split=split)
        rows[split] = _encode_split(dataset, row_encoder, key=keys[split], num_proc=cfg.data.num_proc, split=split)
    _refuse_problems(list(rows.values()))
    train, judged = cfg.data.train_split, cfg.data.eval_split
    train_rows, train_report = _select_rows(cfg, raw[train], rows[train])
    eval_rows, eval_report = _select_rows(cfg, raw[judged], rows[judged])
    if not len(train_rows):
        raise DataError(f"{cfg.data.dataset_name}: no row of split {train} is left to train on")

    chosen = judged_rows(ids[judged], n=cfg.data.n_tool_sessions_eval)
    sessions = [reader.read(raw[judged][index], session_id=ids[judged][index]) for index in chosen]
    return DatasetBundle(
        train_rows,
        eval_rows,
        _eval_examples(sessions, rows[judged]),
        unique_tools((*reader.tools, *(tool for session in sessions for tool in session.tools))),
        cfg.data.max_context_length,
        report=DataReport(train_report, eval_report, chat.fmt.name, _joined(keys.values())),
        chat=chat,
    )


def tokenize_session(
    messages: Sequence[Message], session_id: str, tokenizer: Any, global_tools: Sequence[Tool]
) -> dict[str, list[int]]:
    """Return one session as `input_ids`, `labels` and `attention_mask`, each with one integer per token.

    Labels are `IGNORE_INDEX` outside the assistant's supervised spans. Raises `TemplateError` for a session that needs
    several rows, for example because its template rewrites history.
    """
    named = enumerate(global_tools, start=1)
    tools = [rendered_tool(tool, where=f"tool {position}").tool for position, tool in named]
    encoded = ChatEncoder(tokenizer).encode(messages, session_tools(tools, session_id), session_id=session_id)
    if len(encoded.rows) != 1:
        raise TemplateError(
            f"session {session_id}: one row cannot hold every prompt as a server would build it, because the template "
            "rewrites history or an answer's first characters merge with the prompt's last. The session needs "
            f"{len(encoded.rows)} rows; use ChatEncoder.encode"
        )
    row = encoded.rows[0]
    return {"input_ids": row.input_ids, "labels": row.labels(), "attention_mask": [1] * len(row.input_ids)}


def _splits(cfg: Config) -> tuple[str, ...]:
    return tuple(dict.fromkeys((cfg.data.train_split, cfg.data.eval_split)))


def _joined(keys: Iterable[str]) -> str:
    """Return one fingerprint for all splits together."""
    return hashlib.sha256("\0".join(keys).encode()).hexdigest()[:32]


def _encode_split(
    raw: datasets.Dataset, row_encoder: RowEncoder, *, key: str, num_proc: int | None, split: str
) -> datasets.Dataset:
    """Return every row of a split as rows of tokens; a row that cannot be used has a `problem` and no tokens."""
    ints = datasets.List(datasets.Value("int32"))
    kinds: dict[str, Any] = dict.fromkeys(OUTPUT_COLUMNS, ints)
    kinds |= {"session_id": datasets.Value("string"), "length": datasets.Value("int32")}
    kinds |= {"problem": datasets.Value("string"), "attention_mask": datasets.List(datasets.Value("int8"))}
    kinds |= dict.fromkeys(("literals", "violations"), datasets.List(datasets.Value("string")))
    return raw.map(
        row_encoder,
        batched=True,
        batch_size=100,
        with_indices=True,
        num_proc=num_proc,
        remove_columns=raw.column_names,
        features=datasets.Features(kinds),
        new_fingerprint=key,
        desc=f"Preparing {split}",
    )


def _refuse_problems(splits: Sequence[datasets.Dataset]) -> None:
    """Raise `DataError` that lists the rows of all splits that cannot be used."""
    problems = [problem for rows in splits for problem in rows["problem"] if problem is not None]
    if problems:
        for file in [file for rows in splits for file in rows.cache_files]:
            Path(file["filename"]).unlink(missing_ok=True)  # the next run judges the rows again
        shown = "\n".join(f"  {problem}" for problem in problems[:_N_PROBLEMS_SHOWN])
        more = f"\n  … and {len(problems) - _N_PROBLEMS_SHOWN} more" if len(problems) > _N_PROBLEMS_SHOWN else ""
        raise DataError(f"{len(problems)} row{'s' * (len(problems) > 1)} cannot be used\n{shown}{more}")


def _select_rows(cfg: Config, raw: datasets.Dataset, rows: datasets.Dataset) -> tuple[datasets.Dataset, SplitReport]:
    """Drop over-long rows if that is configured, and report which rows are too long."""
    lengths = np.asarray(rows["length"], dtype=np.int64)
    n_supervised = np.asarray(
        [sum(ends) - sum(starts) for starts, ends in zip(rows["starts"], rows["ends"], strict=True)],
        dtype=np.int64,
    )
    oversized = lengths > cfg.data.max_context_length
    keep = ~oversized if cfg.data.drop_oversized else np.ones_like(oversized)
    names = rows["session_id"]
    report = SplitReport(
        n_sessions=len(raw),
        n_rows=int(keep.sum()),
        n_tokens=int(lengths[keep].sum()),
        n_supervised_tokens=int(n_supervised[keep].sum()),
        n_unsupervised_sessions=len(raw) - len(set(names)),
        oversized={names[i]: int(lengths[i]) for i in np.flatnonzero(oversized)},
        dropped_oversized=cfg.data.drop_oversized,
        literals=_flat(rows["literals"]),
        violations=_flat(rows["violations"]),
    )
    return rows.select(np.flatnonzero(keep)).remove_columns(["problem", "literals", "violations"]), report


def _flat(lists: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(item for items in lists for item in items)


def _eval_examples(sessions: Sequence[Session], rows: datasets.Dataset) -> list[ToolEvalExample]:
    """Return one example per supervised assistant turn, with the tokens that training would use."""
    indices = defaultdict(list)
    for index, session_id in enumerate(rows["session_id"]):
        indices[session_id].append(index)
    examples = []
    for session in sessions:
        turns = {turn.turn: turn for turn in eval_turns(session)}
        for row in rows.select(indices[session.session_id]):
            ids = row["input_ids"]
            for turn, start, end in zip(row["turns"], row["starts"], row["ends"], strict=True):
                example = _with_tokens(turns[turn], prompt_ids=ids[:start], target_ids=ids[start:end])
                examples.append(example)
    return sorted(examples, key=lambda example: (example.session_id, example.turn))


def _with_tokens(turn: EvalTurn, *, prompt_ids: Sequence[int], target_ids: Sequence[int]) -> ToolEvalExample:
    known = {field.name: getattr(turn, field.name) for field in dataclasses.fields(turn)}
    return ToolEvalExample(**known, prompt_ids=tuple(prompt_ids), target_ids=tuple(target_ids))

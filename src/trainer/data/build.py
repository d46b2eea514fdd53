"""Build a domain's datasets: raw rows → sessions → proven rows of tokens → training rows and judged turns.

Everything that domains share is here. A domain only turns one raw row into messages. Knows no model.
"""

import dataclasses
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import datasets
import numpy as np

from trainer.chat import ChatEncoder
from trainer.config import Config, as_config
from trainer.data.bundle import DatasetBundle
from trainer.data.chat_setup import make_chat_setup
from trainer.data.findings import CALL_REMEDY, Finding, errors_of, summary_lines
from trainer.data.held_out.rows import row_sizes, split_off, split_report
from trainer.data.held_out.sessions import selection_sessions
from trainer.data.opening import OpenRows, n_copies
from trainer.data.prepare import Prepared, PreparedSplit, prepare
from trainer.data.report import DataReport, SourceReport, SplitReport, count_lengths
from trainer.data.rows import schema_violations
from trainer.data.sessions import SessionToMessages, eval_turns, judged, open_table, rendered_tools, session_tools
from trainer.data.survey import survey_sessions
from trainer.errors import DataError, TemplateError
from trainer.tools.wire import unique_tools
from trainer.types import EvalTurn, Message, Session, Tool, ToolEvalExample

_N_PROBLEMS_SHOWN = 10
_FOR_FINDINGS = ("row", "problem", "literals", "violations")  # columns that no training row needs


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
    return build_bundle(cfg, open_table(cfg, session_to_messages, columns=columns, id_column=id_column))


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
    opened = open_table(cfg, session_to_messages, columns=columns, id_column=id_column, train=False)
    return judged_turns(cfg, opened)


def judged_turns(cfg: Config, opened: OpenRows) -> list[EvalTurn]:
    """Return the same turns from opened rows. Raises `DataError` for rows with errors, unless those are dropped."""
    sessions: list[Session] = []
    problems = []
    split = cfg.data.eval_split
    surveys = [survey_sessions(part, split=split) for part in opened.evaluation]
    chosen = set(judged((name for survey in surveys for name in survey.ids), n=cfg.data.n_tool_sessions_eval))
    for part, survey in zip(opened.evaluation, surveys, strict=True):
        problems += [finding.line() for finding in survey.errors.values()]
        for row, session_id in enumerate(survey.ids):
            if session_id not in chosen or row in survey.errors:
                continue
            session = part.reader.read(part.rows[row], session_id=session_id).session
            violations = [f"{one}; {CALL_REMEDY}" for one in schema_violations(session)]
            place = part.place(row)
            problems += [Finding("error", "invalid_call", split, one, place, session_id).line() for one in violations]
            sessions += [] if violations else [session]
    if problems and cfg.data.on_bad_row == "error":
        raise DataError(_listed(problems))
    turns = [turn for session in sessions for turn in eval_turns(session)]
    return sorted(turns, key=lambda turn: (turn.session_id, turn.turn))


def build_bundle(cfg: Config, opened: OpenRows) -> DatasetBundle:
    """Build everything that a run needs from opened rows. Raises `DataError` for the errors that `prepare` finds."""
    chat = make_chat_setup(cfg)
    prepared = prepare(cfg, opened, chat)
    train, evaluation = prepared.train, prepared.evaluation
    problems = [finding.line() for finding in errors_of(prepared.findings)]
    if problems:
        train.forget()
        evaluation.forget()
        raise DataError(_listed(problems))
    usable, report_with_held = _select_rows(cfg, train)
    held = selection_sessions(cfg, usable["session_id"])
    train_rows, held_rows = split_off(usable, held)
    train_report, held_report = split_report(report_with_held, train_rows, held_rows, n_held=len(held))
    eval_rows, eval_report = _select_rows(cfg, evaluation)
    copies = _copies(train, train_rows)
    chosen = judged((place.session_id for place in evaluation.sessions()), n=cfg.data.n_tool_sessions_eval)
    sessions = list(_read_sessions(evaluation, chosen))
    tools = (tool for part in train.parts for tool in part.part.reader.tools)
    examples = _eval_examples(sessions, evaluation.rows())
    report = _report(prepared, train_report, eval_report, held_report, copies=copies, format_name=chat.fmt.name)
    if held:  # other rows are trained on if others are held out
        report = dataclasses.replace(report, fingerprint=_joined((report.fingerprint or "", *held)))
    prompts = count_lengths(len(example.prompt_ids) for example in examples)
    return DatasetBundle(
        _repeated(train_rows, copies).remove_columns(_FOR_FINDINGS),
        eval_rows.remove_columns(_FOR_FINDINGS),
        examples,
        unique_tools((*tools, *(tool for session in sessions for tool in session.tools))),
        cfg.data.max_context_length,
        report=dataclasses.replace(report, prompt_lengths=prompts),
        chat=chat,
        selection_examples=_eval_examples(list(_read_sessions(train, held)), held_rows),
    )


def tokenize_session(
    messages: Sequence[Message], session_id: str, tokenizer: Any, global_tools: Sequence[Tool]
) -> dict[str, list[int]]:
    """Return one session as `input_ids`, `labels` and `attention_mask`, each with one integer per token.

    Labels are `IGNORE_INDEX` outside the assistant's supervised spans. Raises `TemplateError` for a session that needs
    several rows, for example because its template rewrites history.
    """
    tools = session_tools(rendered_tools(global_tools), session_id)
    encoded = ChatEncoder(tokenizer).encode(messages, tools, session_id=session_id)
    if len(encoded.rows) != 1:
        raise TemplateError(
            f"session {session_id}: one row cannot hold every prompt as a server would build it, because the template "
            "rewrites history or an answer's first characters merge with the prompt's last. The session needs "
            f"{len(encoded.rows)} rows; use ChatEncoder.encode"
        )
    row = encoded.rows[0]
    return {"input_ids": row.input_ids, "labels": row.labels(), "attention_mask": [1] * len(row.input_ids)}


def _listed(problems: Sequence[str]) -> str:
    """Return the message for rows with errors."""
    shown = "\n".join(f"  {problem}" for problem in problems[:_N_PROBLEMS_SHOWN])
    more = f"\n  … and {len(problems) - _N_PROBLEMS_SHOWN} more" if len(problems) > _N_PROBLEMS_SHOWN else ""
    return (
        f"{len(problems)} error{'s' * (len(problems) > 1)} in the data\n{shown}{more}\n`tool-sft check` lists all of "
        "them; data.on_bad_row: drop leaves such rows out and counts them"
    )


def _select_rows(cfg: Config, split: PreparedSplit) -> tuple[datasets.Dataset, SplitReport]:
    """Drop over-long rows if that is configured, and report which rows are too long."""
    rows = split.rows()
    lengths = np.asarray(rows["length"], dtype=np.int64)
    oversized = lengths > cfg.data.max_context_length
    keep = ~oversized if cfg.data.drop_oversized else np.ones_like(oversized)
    names = rows["session_id"]
    kept = rows.select(np.flatnonzero(keep))
    report = SplitReport(
        split.n_sessions,
        *row_sizes(kept),
        n_dropped_sessions=len(split.dropped),
        oversized={names[i]: int(lengths[i]) for i in np.flatnonzero(oversized)},
        dropped_oversized=cfg.data.drop_oversized,
        converted=dict(split.counts.converted),
        n_trained_turns=split.counts.n_call_turns + split.counts.n_no_call_turns,
        n_reasoning_turns=split.counts.n_reasoning_turns,
        token_factor=split.token_factor(),
        lengths=count_lengths(lengths.tolist()),
    )
    return kept, report


def _copies(split: PreparedSplit, rows: datasets.Dataset) -> dict[str, int]:
    """Return how often training uses each session that has rows: once, unless its source has a weight above 1."""
    copies = dict.fromkeys(rows["session_id"], 1)
    for found in split.parts:
        part = found.part
        if part.source.weight > 1:
            named = zip(found.survey.ids, part.rows, strict=True)
            copies |= {name: n_copies(part.source, part.reader.row_id(raw)) for name, raw in named if name in copies}
    return copies


def _repeated(rows: datasets.Dataset, copies: Mapping[str, int]) -> datasets.Dataset:
    """Repeat the rows of sessions that are used several times."""
    if set(copies.values()) <= {1}:
        return rows
    return rows.select([index for index, name in enumerate(rows["session_id"]) for _ in range(copies[name])])


def _read_sessions(split: PreparedSplit, session_ids: Iterable[str]) -> Iterator[Session]:
    """Yield the sessions with these ids, without those that were dropped."""
    usable = {place.session_id: place for place in split.sessions() if (place.part, place.row) not in split.dropped}
    for session_id in session_ids:
        if session_id in usable:
            yield split.read(usable[session_id])


def _report(
    prepared: Prepared,
    train: SplitReport,
    evaluation: SplitReport,
    selection: SplitReport | None,
    *,
    copies: Mapping[str, int],
    format_name: str,
) -> DataReport:
    keys = (*prepared.train.keys, *prepared.evaluation.keys)
    n_judged = {found.part.label: len(found.part.rows) for found in prepared.evaluation.parts}
    sources = tuple(
        SourceReport(
            name=found.part.source.dataset_name,
            weight=found.part.source.weight,
            n_train_sessions=len(found.part.rows),
            n_eval_sessions=n_judged.get(found.part.label, 0),
            n_train_uses=sum(copies.get(name, 0) for name in set(found.survey.ids)),
        )
        for found in prepared.train.parts
    )
    notes = (*summary_lines(prepared.findings, "dropped"), *summary_lines(prepared.findings, "warning"))
    warnings = dict(Counter(str(finding.kind) for finding in prepared.findings if finding.level == "warning"))
    return DataReport(
        train,
        evaluation,
        format_name,
        _joined(keys),
        sources=sources,
        notes=notes,
        warnings=warnings,
        selection=selection,
    )


def _joined(keys: Iterable[str]) -> str:
    """Return one fingerprint for all splits together."""
    return hashlib.sha256("\0".join(keys).encode()).hexdigest()[:32]


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
                example = with_tokens(turns[turn], prompt_ids=ids[:start], target_ids=ids[start:end])
                examples.append(example)
    return sorted(examples, key=lambda example: (example.session_id, example.turn))


def with_tokens(turn: EvalTurn, *, prompt_ids: Sequence[int], target_ids: Sequence[int]) -> ToolEvalExample:
    """Return a turn to judge with the tokens of its prompt and of its gold answer."""
    known = {field.name: getattr(turn, field.name) for field in dataclasses.fields(turn)}
    return ToolEvalExample(**known, prompt_ids=tuple(prompt_ids), target_ids=tuple(target_ids))

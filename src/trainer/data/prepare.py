"""Prepare both splits: read and check every row, tokenize, and collect everything that is wrong. Raises nothing for it.

Training stops at the errors that this module collects, and `tool-sft check` prints them: both see the same rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import datasets

from trainer.config import Config
from trainer.data.chat_setup import ChatSetup
from trainer.data.findings import Finding
from trainer.data.inspection import PartRows, compare_splits, nothing_left, row_errors, row_warnings
from trainer.data.opening import OpenRows, Part
from trainer.data.rows import OUTPUT_COLUMNS, RowEncoder
from trainer.data.survey import SessionCounts, cache_key, survey_sessions
from trainer.types import Session
from trainer.util.library_bars import dataset_bars


class SessionPlace(NamedTuple):
    """Where a session is: the number of its part, its row there, and its id."""

    part: int
    row: int
    session_id: str


@dataclass(frozen=True)
class PreparedSplit:
    """One split as rows of tokens, by source, and what was found in it.

    `dropped` are the rows that have errors, as (part, row); with `data.on_bad_row: error` they stop the training.
    """

    name: str
    parts: tuple[PartRows, ...]
    keys: tuple[str, ...]
    dropped: frozenset[tuple[int, int]]
    findings: tuple[Finding, ...]

    @property
    def n_sessions(self) -> int:
        """The number of raw rows."""
        return sum(len(part.survey.ids) for part in self.parts)

    @property
    def counts(self) -> SessionCounts:
        """The counts of all parts together."""
        total = SessionCounts()
        for part in self.parts:
            total.merge(part.survey.counts)
        return total

    def rows(self) -> datasets.Dataset:
        """Return the usable rows of tokens of all parts."""
        usable = []
        for number, part in enumerate(self.parts):
            keep = [i for i, row in enumerate(part.tokens["row"]) if (number, row) not in self.dropped]
            usable.append(part.tokens.select(keep))
        return datasets.concatenate_datasets(usable)

    def token_factor(self) -> float:
        """Return the tokens of all usable rows, over those of each session's longest row: 1 if each has one row."""
        longest: dict[str, int] = {}
        total = 0
        rows = self.rows()
        for name, length in zip(rows["session_id"], rows["length"], strict=True):
            total += length
            longest[name] = max(length, longest.get(name, 0))
        return total / sum(longest.values()) if total else 1.0

    def forget(self) -> None:
        """Delete the cached rows of tokens, so the next run judges the rows again."""
        for part in self.parts:
            for file in part.tokens.cache_files:
                Path(file["filename"]).unlink(missing_ok=True)

    def sessions(self) -> Iterator[SessionPlace]:
        """Yield the place of every session, dropped ones as well."""
        for number, part in enumerate(self.parts):
            for row, session_id in enumerate(part.survey.ids):
                yield SessionPlace(number, row, session_id)

    def read(self, place: SessionPlace) -> Session:
        """Read a session again. Raises `DataError` if its row cannot be read."""
        part = self.parts[place.part].part
        return part.reader.read(part.rows[place.row], session_id=place.session_id).session


@dataclass(frozen=True)
class Prepared:
    """Both splits, and the findings of each and of both together."""

    train: PreparedSplit
    evaluation: PreparedSplit
    findings: tuple[Finding, ...]


def prepare(cfg: Config, opened: OpenRows, chat: ChatSetup) -> Prepared:
    """Prepare the rows of both splits. Raises `ToolSftError` only for what prevents the preparation as a whole."""
    train = _prepare_split(cfg, cfg.data.train_split, opened.train, chat, is_judged=False)
    evaluation = _prepare_split(cfg, cfg.data.eval_split, opened.evaluation, chat, is_judged=True)
    left = nothing_left(cfg, train.name, train.parts, train.dropped, purpose="train")
    left += nothing_left(cfg, evaluation.name, evaluation.parts, evaluation.dropped, purpose="evaluate")
    both = compare_splits(train.name, train.parts, evaluation.name, evaluation.parts)
    return Prepared(train, evaluation, (*train.findings, *evaluation.findings, *left, *both))


def _prepare_split(cfg: Config, name: str, parts: Sequence[Part], chat: ChatSetup, *, is_judged: bool) -> PreparedSplit:
    findings: list[Finding] = []
    dropped: set[tuple[int, int]] = set()
    prepared, keys = [], []
    for number, part in enumerate(parts):
        survey = survey_sessions(part, split=name, fingerprints=True)
        key = cache_key(survey, chat, split=name)
        tokens = _encode(part, RowEncoder(part.reader, chat, ids=survey.ids), key=key, cfg=cfg, name=name)
        found = PartRows(part, survey, tokens)
        for row, errors in row_errors(name, found).items():
            dropped.add((number, row))
            findings += [replace(e, level="dropped") for e in errors] if cfg.data.on_bad_row == "drop" else errors
        findings += row_warnings(cfg, name, found, is_judged=is_judged)
        prepared.append(found)
        keys.append(key)
    return PreparedSplit(name, tuple(prepared), tuple(keys), frozenset(dropped), tuple(findings))


def _encode(part: Part, row_encoder: RowEncoder, *, key: str, cfg: Config, name: str) -> datasets.Dataset:
    """Return the sessions of a part as rows of tokens; a session that cannot be used has a `problem` and no tokens."""
    ints = datasets.List(datasets.Value("int32"))
    kinds: dict[str, Any] = dict.fromkeys(OUTPUT_COLUMNS, ints)
    kinds |= {"session_id": datasets.Value("string")} | dict.fromkeys(("row", "length"), datasets.Value("int32"))
    kinds |= {"problem": datasets.Value("string"), "attention_mask": datasets.List(datasets.Value("int8"))}
    kinds |= dict.fromkeys(("literals", "violations"), datasets.List(datasets.Value("string")))
    features = datasets.Features(kinds)
    if not len(part.rows):  # of those, `map` would return the raw columns
        return datasets.Dataset.from_dict({column: [] for column in kinds}, features=features)
    with dataset_bars(f"Preparing {name}", unit="sessions"):
        prepared: datasets.Dataset = part.rows.map(
            row_encoder,
            batched=True,
            batch_size=100,
            with_indices=True,
            num_proc=cfg.data.num_proc,
            remove_columns=part.rows.column_names,
            features=features,
            new_fingerprint=key,
        )
    return prepared

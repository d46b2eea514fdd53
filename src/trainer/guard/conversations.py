"""Read the conversations of the guard: any chat file, or the built-in set. Knows no tokens and no model."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any

import datasets

from trainer.config import Config
from trainer.config.schema import BUILTIN_GUARD, SourceConfig
from trainer.data.layout_reader import LayoutReader, lacks_ids
from trainer.data.opening import Part, ReadRow
from trainer.data.row_files import has_split, load_rows, refuse_without_objects, row_value, sample_rows
from trainer.data.sessions import judged
from trainer.data.survey import survey_sessions
from trainer.errors import DataError
from trainer.hub import DATASET, is_local, resolve_dataset
from trainer.layouts.detect import SAMPLE_ROWS, detect_layout
from trainer.messages import is_trained
from trainer.types import Message, Session

KEY = "eval.guard_dataset"
MOST_CONVERSATIONS = 64
"""The most conversations that are judged, so a large file costs no more than a small one."""

_GUARD = replace(DATASET, key=KEY)
_SHAPE = '{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}'
_N_SHOWN = 5


@dataclass(frozen=True, slots=True)
class GuardConversations:
    """The conversations that are judged, in the order of their ids.

    `dataset` is the configured name and `commit` that of a hub dataset. `n_not_chosen` conversations are in the file
    and not judged, because there are more than `MOST_CONVERSATIONS`.
    """

    dataset: str
    commit: str | None
    sessions: tuple[Session, ...]
    n_not_chosen: int = 0


def check_place(cfg: Config) -> None:
    """Raise `DataError` if the guard is a local file or folder that does not exist. Asks no hub and reads nothing."""
    name = cfg.eval.guard_dataset
    if name not in (None, BUILTIN_GUARD):
        with _key_named():
            is_local(name, _GUARD)


def read_guard(cfg: Config) -> GuardConversations | None:
    """Return the conversations of the guard; None if it is turned off.

    A folder or a hub dataset is read from its split `test`, or from `train` if it has none. Which conversations are
    chosen from many depends on their ids only. Raises `DataError`, which names every row that has tools or calls, has
    nothing to judge or cannot be read.
    """
    name = cfg.eval.guard_dataset
    if name is None:
        return None
    is_builtin = name == BUILTIN_GUARD
    source = SourceConfig(dataset_name=str(files("trainer").joinpath("guard", "builtin.jsonl")) if is_builtin else name)
    with _key_named():
        commit = resolve_dataset(source.dataset_name).commit
        split = "test" if has_split(source, "test") else "train"
        rows = load_rows(source, split)
        part = Part(source, "", _make_reader(name, rows), rows)
        survey = survey_sessions(part, split="guard")
        if survey.errors:
            raise DataError(_listed([finding.line() for finding in survey.errors.values()]))
        chosen = judged(survey.ids, n=MOST_CONVERSATIONS)
        index = {session_id: row for row, session_id in enumerate(survey.ids)}
        sessions = tuple(part.reader.read(rows[index[one]], session_id=one).session for one in chosen)
    return GuardConversations(name, commit, sessions, len(survey.ids) - len(sessions))


class _GuardReader(LayoutReader):
    """Reads rows of a layout, and refuses those in which a call is possible."""

    def read(self, row: Mapping[str, Any], *, session_id: str | None = None) -> ReadRow:
        """Return the session of a row. Raises `DataError` as the layout's reader does, and for tools and calls."""
        conversation = self.layout.read(row_value(dict(row)))
        if conversation.tools:
            raise DataError("the row has tools; the guard has conversations without any, so remove them or the row")
        _refuse_calls(conversation.messages)
        if not any(map(is_trained, conversation.messages)):
            raise DataError("no answer to judge; end the conversation with the answer that a good assistant gives")
        return super().read(row, session_id=session_id)


def _refuse_calls(messages: Sequence[Message]) -> None:
    for turn, message in enumerate(messages):
        if message.get("tool_calls"):
            raise DataError(f"turn {turn} calls a tool; no answer of the guard may, so remove the row")
        if message["role"] == "tool":
            raise DataError(f"turn {turn} is the result of a tool; the guard has no tools, so remove the row")


def _make_reader(name: str, rows: datasets.Dataset) -> LayoutReader:
    sample = sample_rows(rows, SAMPLE_ROWS)
    if not sample:
        refuse_without_objects(rows, source=name)
    try:
        layout = detect_layout(sample).layout
    except DataError as error:
        reason = str(error).partition("; ")[0]  # what follows names keys of data
        raise DataError(f"{name}: {reason}; write every row as {_SHAPE}") from error
    return _GuardReader(layout, (), None, None, "UTC", lacks_ids(layout, sample))


def _listed(problems: Sequence[str]) -> str:
    shown = "".join(f"\n  {problem}" for problem in problems[:_N_SHOWN])
    more = f"\n  … and {len(problems) - _N_SHOWN} more" if len(problems) > _N_SHOWN else ""
    return f"{len(problems)} rows cannot be used{shown}{more}"


@contextmanager
def _key_named() -> Iterator[None]:
    """Inside the block, an error names the key of the guard instead of the one of the training data."""
    try:
        yield
    except DataError as error:
        reason = str(error).removeprefix(f"{DATASET.key}: ").removeprefix(f"{KEY}: ")
        raise DataError(f"{KEY}: {reason.partition('; if ')[0]}") from error  # the rest names data.revision

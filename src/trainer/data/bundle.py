"""Hold what `build_datasets(cfg)` returns, and check it if a domain returns a plain tuple. Reads no raw data."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.config import Config
from trainer.data.chat_setup import ChatSetup
from trainer.data.report import DataReport, SplitReport, count_lengths
from trainer.errors import DataError
from trainer.tools.wire import rendered_tool
from trainer.types import IGNORE_INDEX, Tool, ToolEvalExample

_FIELDS = ("train_dataset", "eval_dataset", "tool_eval_examples", "global_tools", "max_ctx")
_TOKEN_COLUMNS = ("input_ids", "labels", "attention_mask")


@dataclass(frozen=True)
class DatasetBundle:
    """Everything that a run needs from its domain. Unpacks into its first five values.

    `train_dataset` and `eval_dataset` have one row of tokens each: `input_ids`, `labels` and `attention_mask`.
    `tool_eval_examples` are the judged turns, `selection_examples` those of the training sessions that are held out to
    choose a checkpoint, `global_tools` the domain's tool schemas, and `max_ctx` is the longest
    row in tokens. `report` counts what was read and left out. `chat` is the set-up that made the rows, so the run does
    not load it again; None if a domain made its rows without it.
    """

    train_dataset: Any
    eval_dataset: Any
    tool_eval_examples: Sequence[ToolEvalExample]
    global_tools: Sequence[Tool]
    max_ctx: int
    report: DataReport
    chat: ChatSetup | None = None
    selection_examples: Sequence[ToolEvalExample] = ()

    def __iter__(self) -> Iterator[Any]:
        return (getattr(self, name) for name in _FIELDS)

    def __len__(self) -> int:
        return len(_FIELDS)


def as_bundle(value: Any, cfg: Config, *, domain: str) -> DatasetBundle:
    """Return a domain's result as a bundle. `domain` names the domain in errors.

    Raises `DataError` if the result is not five values, if a row has no tokens, if an example is not a
    `ToolEvalExample`, if the tools are not valid, or if `max_ctx` is not the configured length.
    """
    if isinstance(value, DatasetBundle):
        return value
    where = f"{domain}.build_datasets(cfg)"
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != len(_FIELDS):
        found = f"{len(value)} values" if isinstance(value, tuple | list) else f"a {type(value).__name__}"
        raise DataError(f"{where} returned {found}; it must return {', '.join(_FIELDS)}")
    train, judged, examples, tools, max_ctx = value
    report = DataReport(_count(train, where=f"{where}: train_dataset"), _count(judged, where=f"{where}: eval_dataset"))
    if not report.train.n_rows:
        raise DataError(f"{where}: train_dataset has no row to train on")
    for name, values in (("tool_eval_examples", examples), ("global_tools", tools)):
        if not isinstance(values, Sequence) or isinstance(values, str):
            raise DataError(f"{where}: {name} is a {type(values).__name__}; it must be a list or a tuple")
    for example in examples:
        if not isinstance(example, ToolEvalExample):
            raise DataError(
                f"{where}: tool_eval_examples holds a {type(example).__name__}; it must hold ToolEvalExample values "
                "(trainer.types), as trainer.data.assemble_datasets makes them"
            )
    for position, tool in enumerate(tools, start=1):
        rendered_tool(tool, where=f"{where}: global_tools, tool {position}")
    if max_ctx != cfg.data.max_context_length:
        raise DataError(
            f"{where}: max_ctx is {max_ctx!r}, but data.max_context_length is {cfg.data.max_context_length}; return "
            "the configured length"
        )
    return DatasetBundle(train, judged, examples, tools, max_ctx, report)


def _count(rows: Any, *, where: str) -> SplitReport:
    """Check every row of a dataset that came without a report, and return what can be counted."""
    try:
        n_rows = len(rows)
    except TypeError:
        raise DataError(f"{where} is a {type(rows).__name__}; it must be a dataset with a length and rows") from None
    tokens: list[int] = []
    n_supervised = 0
    sessions = set()
    for index in range(n_rows):
        row = rows[index]
        missing = [name for name in _TOKEN_COLUMNS if not isinstance(row, Mapping) or name not in row]
        if missing:
            needed = ", ".join(_TOKEN_COLUMNS)
            raise DataError(f"{where}: row {index} has no {', '.join(missing)}; each row needs {needed}")
        lengths = {name: len(row[name]) for name in _TOKEN_COLUMNS}
        if len(set(lengths.values())) > 1:
            raise DataError(f"{where}: row {index} has columns of different lengths: {lengths}")
        tokens.append(lengths["input_ids"])
        n_supervised += int(sum(label != IGNORE_INDEX for label in row["labels"]))
        sessions.add(row.get("session_id", index))
    return SplitReport(
        n_sessions=len(sessions),
        n_rows=n_rows,
        n_tokens=sum(tokens),
        n_supervised_tokens=n_supervised,
        n_dropped_sessions=0,
        oversized={},
        dropped_oversized=False,
        lengths=count_lengths(tokens),
    )

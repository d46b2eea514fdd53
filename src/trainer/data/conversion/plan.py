"""Settle where rows come from, which layout they have and where they go, before any is converted. Writes nothing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from trainer.config.yaml_file import parse_yaml
from trainer.data.conversion.sources import Source, open_sources
from trainer.data.conversion.target import Target, check_splits, claim_target
from trainer.data.row_files import refuse_without_objects, sample_rows
from trainer.errors import DataError
from trainer.layouts import Layout, detect_layout, get_layout
from trainer.layouts.detect import SAMPLE_ROWS
from trainer.tools import read_tools
from trainer.types import Tool
from trainer.values.places import names


@dataclass(frozen=True)
class Plan:
    """Everything that is known before the first row is converted. `explanation` are sentences about the columns."""

    sources: Sequence[Source]
    target: Target
    layout: Layout
    explanation: Sequence[str]
    tools: Sequence[Tool]
    report: Path | None


def plan_conversion(
    source: str,
    out: Path,
    *,
    split: str | None = None,
    layout: str | None = None,
    tools_path: Path | None = None,
    report: Path | None = None,
    overwrite: bool = False,
) -> Plan:
    """Open the rows, settle their layout, and refuse whatever cannot work.

    `layout` is a name, or the text of a mapping with `name` and columns; without it, the layout is recognized. Rows
    without a place for tools get those of `tools_path`. Raises `DataError` or `OutputError`.
    """
    target = claim_target(source, out, overwrite=overwrite, report=report)
    given = None if layout is None else read_layout(layout)
    tools = () if tools_path is None else read_tools(tools_path)
    sources = open_sources(source, split)
    check_splits(target, [one.name for one in sources])
    n_rows = max(1, SAMPLE_ROWS // len(sources))
    sample = [row for one in sources for row in sample_rows(one.rows, n_rows)]
    if not sample:
        refuse_without_objects(sources[0].rows, source=str(source))
    if given is not None:
        return Plan(sources, target, given, tuple(_explain(given, sample)), tools, report)
    try:
        found = detect_layout(sample)
    except DataError as error:
        reason = str(error).replace("data.layout: ", "--layout ").replace("data.layout", "--layout")
        raise DataError(f"{source}: {reason}") from error
    return Plan(sources, target, found.layout, found.explanation, tools, report)


def read_layout(text: str) -> Layout:
    """Return the layout with this name, or of this text of a mapping with its `name` and columns.

    Raises `DataError`.

    >>> read_layout('{"name": "openai", "messages": "chat"}').columns["messages"]
    'chat'
    """
    if not text.lstrip().startswith("{"):
        return get_layout(text.strip())
    try:
        columns = parse_yaml(text)
    except yaml.YAMLError:
        columns = None
    if not isinstance(columns, dict) or not all(isinstance(part, str) for part in columns):
        raise DataError(f'--layout: {text} is not a mapping; write it like {{"name": "openai", "messages": "chat"}}')
    name = columns.pop("name", None)
    if not isinstance(name, str):
        raise DataError(f'--layout: {text} has no name; give the layout\'s name, e.g. "name": "openai"')
    return get_layout(name, **columns)


def _explain(layout: Layout, sample: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    filled = {str(column) for row in sample for column, value in row.items() if value is not None}
    yield f"The rows are read with the layout {layout.name}, as given (looked at: {len(sample)})."
    for part, column in layout.columns.items():
        if column in filled:
            yield f"Column {column} is read as {part}."
    unused = sorted(filled - set(layout.columns.values()))
    if unused:
        yield f"Not used: {len(unused)} column{'s' if len(unused) > 1 else ''} ({names(unused)})."

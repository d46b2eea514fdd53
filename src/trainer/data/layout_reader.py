"""Read rows of a public layout as sessions: their own tools, their own system prompt, no code. Knows no tokens."""

import contextlib
import dataclasses
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import datasets

from trainer.config import Config
from trainer.config.schema import SourceConfig
from trainer.data.opening import OpenRows, ReadRow, open_sources
from trainer.data.row_files import PLACE, refuse_without_objects, row_value, sample_rows
from trainer.data.sessions import refuse_half_characters, refuse_unknown_tools, rendered_tools, session_tools
from trainer.data.sources import read_text
from trainer.errors import DataError, ToolSftError
from trainer.layouts import Layout, detect_layout, get_layout
from trainer.layouts.detect import SAMPLE_ROWS
from trainer.messages import Conversation, canonical_messages, with_tools
from trainer.tools import read_tools
from trainer.types import Message, Session, Tool
from trainer.util.clock import PLACEHOLDER, UNKNOWN_DATE, datetime_line, known_day, session_datetime

logger = logging.getLogger(__name__)

_FEWEST_ALIKE = 2  # rows with the same tools, from which the order of the tools counts as the application's own


@dataclasses.dataclass(frozen=True)
class LayoutReader:
    """Reads rows of a layout as sessions.

    `template` is the text of the system prompt file, or None; `parts` are the parts of the system prompt in order.
    `makes_ids` says that rows have no ids of their own. `common_tools` are those that all of the first 200 rows have:
    a server is sent the same list, so they stay in that order. Other tools are in an order of the session's own.
    """

    layout: Layout
    tools: tuple[Tool, ...]
    template: str | None
    parts: Sequence[str] | None
    timezone: str
    makes_ids: bool
    common_tools: tuple[Tool, ...] | None = None

    def row_id(self, row: Mapping[str, Any]) -> object:
        """Return the row's id, or one made of its content."""
        try:
            value = row_value(dict(row))
        except DataError:
            value = {name: inner for name, inner in row.items() if name != PLACE}
        own = value.get(self.layout.columns.get("session_id", "")) if isinstance(value, Mapping) else None
        if own is None or own == "":
            return content_id(value)
        return str(own) if isinstance(own, int) else own

    def read(self, row: Mapping[str, Any], *, session_id: str | None = None) -> ReadRow:
        """Return the session of a row. Raises `DataError`, which names the turn, the tool or the column."""
        value = row_value(dict(row))
        conversation = self.layout.read(value)
        if conversation.tools is None:
            conversation = with_tools(conversation, self.tools)
        name = session_id or conversation.session_id or content_id(value)
        messages = canonical_messages(self._with_system(conversation, name))
        day = known_day(conversation.date, name)
        tools = rendered_tools(conversation.tools or ())
        session = Session(name, messages, tools if tools == self.common_tools else session_tools(tools, name), day)
        refuse_unknown_tools(session)
        refuse_half_characters(session)
        return ReadRow(session, conversation.converted)

    def _with_system(self, conversation: Conversation, session_id: str) -> list[Message]:
        own = [message for message in conversation.messages[:1] if message["role"] == "system"]
        from_row = own[0].get("content") if own else None
        text = join_prompts(self.parts, row=from_row, file=self._from_file(conversation, session_id))
        rest = list(conversation.messages[len(own) :])
        return [Message(role="system", content=text), *rest] if text else rest

    def _from_file(self, conversation: Conversation, session_id: str) -> str | None:
        if self.template is None or PLACEHOLDER not in self.template:
            return self.template
        day = conversation.date or UNKNOWN_DATE
        moment = session_datetime(session_id, inferred_date=day, timezone=self.timezone)
        return file_prompt(self.template, moment, timezone=self.timezone)


def join_prompts(parts: Sequence[str] | None, *, row: str | None, file: str | None) -> str:
    """Return the system prompt: its parts in order, by default the row's or else the file's; empty if there is none."""
    texts = {"row": row, "file": file}
    chosen = parts or (["row"] if row else ["file"])
    return "\n\n".join(text for name in chosen if (text := texts[name]))


def file_prompt(template: str, moment: datetime, *, timezone: str) -> str:
    """Return the text of the system prompt file at a moment, in local time of `timezone`."""
    return template.replace(PLACEHOLDER, datetime_line(moment, timezone=timezone))


def open_rows(cfg: Config) -> OpenRows:
    """Open the configured datasets, settle the layout of each and log what its columns were taken for.

    Raises `DataError`.
    """
    data = cfg.data
    tools = () if data.tools_path is None else read_tools(data.tools_path)
    template = None if data.sysprompt_path is None else read_text(data.sysprompt_path, key="data.sysprompt_path")

    def make_reader(source: SourceConfig, rows: datasets.Dataset) -> LayoutReader:
        sample = sample_rows(rows, SAMPLE_ROWS)
        layout = _layout(source, rows, sample)
        makes_ids, common = lacks_ids(layout, sample), common_tools(layout, sample, tools)
        return LayoutReader(layout, tools, template, data.system_prompt, data.timezone, makes_ids, common)

    return open_sources(cfg, make_reader)


def lacks_ids(layout: Layout, sample: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether no row of a sample has an id of its own."""
    ids = (row.get(layout.columns.get("session_id", "")) for row in sample)
    return all(own is None or own == "" for own in ids)


def common_tools(
    layout: Layout, sample: Sequence[Mapping[str, Any]], tools: Sequence[Tool] = ()
) -> tuple[Tool, ...] | None:
    """Return the tools that all rows of a sample have, in the same order; None if they differ, or in a single row.

    `tools` are those of rows that bring none. If lists differ, the called tool may always be the first in them, and a
    model would learn its place. Rows that cannot be read are reported where they are used.
    """
    lists = []
    for row in sample:
        with contextlib.suppress(ToolSftError):
            own = layout.read(row_value(dict(row))).tools
            lists.append(rendered_tools(tools if own is None else own))
        if lists and lists[-1] != lists[0]:
            return None
    if len(lists) < _FEWEST_ALIKE or not lists[0]:
        return None
    logger.info("tools: the same %d in all of the first %d rows, so they keep their order", len(lists[0]), len(lists))
    return lists[0]


def _layout(source: SourceConfig, rows: datasets.Dataset, sample: Sequence[Mapping[str, Any]]) -> Layout:
    given = source.layout
    if isinstance(given, str):
        return get_layout(given)
    if given is not None:
        columns = dict(given)
        name = columns.pop("name", None)
        if name is None:
            raise DataError("data.layout: has no name; give the layout's name, e.g. {name: openai, messages: chat}")
        return get_layout(name, **columns)
    if not sample:
        refuse_without_objects(rows, source=source.dataset_name)
    try:
        found = detect_layout(sample)
    except DataError as error:
        raise DataError(f"{source.dataset_name}: {error}") from error
    for sentence in found.explanation:
        logger.info("%s", sentence)
    return found.layout


def content_id(value: Any) -> str:
    """Return a session id that is made of a row's content."""
    text = json.dumps(value, sort_keys=True, default=repr)
    return f"row-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

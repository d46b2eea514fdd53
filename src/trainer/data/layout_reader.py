"""Read rows of a public layout as sessions: their own tools, their own system prompt, no code. Knows no tokens."""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import datasets

from trainer.chat.canonical import canonical_messages
from trainer.config import Config
from trainer.data.row_files import PLACE, has_split, load_rows, row_value
from trainer.data.sessions import refuse_unknown_tools, session_tools
from trainer.data.sources import read_text
from trainer.errors import DataError
from trainer.layouts import Conversation, Layout, detect_layout, get_layout, with_tools
from trainer.layouts.detect import SAMPLE_ROWS
from trainer.tools import read_tools, rendered_tool
from trainer.types import Message, Session, Tool
from trainer.util.clock import PLACEHOLDER, UNKNOWN_DATE, datetime_line, session_datetime
from trainer.util.ordering import digest_number

logger = logging.getLogger(__name__)

_BUCKETS = 10_000


class OpenRows(NamedTuple):
    """The raw rows of both configured splits, and their reader."""

    reader: "LayoutReader"
    raw: Mapping[str, datasets.Dataset]


@dataclasses.dataclass(frozen=True)
class LayoutReader:
    """Reads rows of a layout as sessions.

    `template` is the text of the system prompt file, or None; `parts` are the parts of the system prompt in order.
    `makes_ids` says that rows have no ids of their own.
    """

    layout: Layout
    tools: tuple[Tool, ...]
    template: str | None
    parts: Sequence[str] | None
    timezone: str
    makes_ids: bool

    def row_id(self, row: Mapping[str, Any]) -> object:
        """Return the row's id, or one made of its content."""
        try:
            value = row_value(dict(row))
        except DataError:
            value = dict(row)
        column = self.layout.columns.get("session_id", "")
        own = value.get(column) if isinstance(value, Mapping) else None
        return own if own else content_id(value)

    def place(self, row: Mapping[str, Any]) -> str | None:
        """Return the file and line of a row of a JSON file."""
        place = row.get(PLACE)
        return None if place is None else str(place)

    def read(self, row: Mapping[str, Any], *, session_id: str | None = None) -> Session:
        """Return the session of a row. Raises `DataError`, which names the turn, the tool or the column."""
        value = row_value(dict(row))
        conversation = self.layout.read(value)
        if conversation.tools is None:
            conversation = with_tools(conversation, self.tools)
        name = session_id or conversation.session_id or content_id(value)
        tools = [
            rendered_tool(tool, where=f"tool {position}").tool
            for position, tool in enumerate(conversation.tools or (), start=1)
        ]
        messages = canonical_messages(self._with_system(conversation, name))
        session = Session(name, messages, session_tools(tools, name))
        refuse_unknown_tools(session)
        return session

    def _with_system(self, conversation: Conversation, session_id: str) -> list[Message]:
        own = [message for message in conversation.messages[:1] if message["role"] == "system"]
        texts = {
            "row": own[0].get("content") if own else None,
            "file": self._from_file(conversation, session_id),
        }
        parts = self.parts or (["row"] if texts["row"] else ["file"])
        text = "\n\n".join(part for name in parts if (part := texts[name]))
        rest = list(conversation.messages[len(own) :])
        return [Message(role="system", content=text), *rest] if text else rest

    def _from_file(self, conversation: Conversation, session_id: str) -> str | None:
        if self.template is None or PLACEHOLDER not in self.template:
            return self.template
        day = conversation.date or UNKNOWN_DATE
        moment = session_datetime(session_id, inferred_date=day, timezone=self.timezone)
        return self.template.replace(PLACEHOLDER, datetime_line(moment, timezone=self.timezone))


def open_rows(cfg: Config) -> OpenRows:
    """Open both configured splits and settle the layout of their rows; log what each column was taken for.

    If local data has no evaluation split, a share of the sessions (`data.holdout`) is held out, chosen by their ids.
    Raises `DataError`.
    """
    data = cfg.data
    train = load_rows(data, data.train_split)
    sample = _sample(train)
    layout = _layout(cfg, sample)
    reader = LayoutReader(
        layout=layout,
        tools=() if data.tools_path is None else read_tools(data.tools_path),
        template=None if data.sysprompt_path is None else read_text(data.sysprompt_path, key="data.sysprompt_path"),
        parts=data.system_prompt,
        timezone=data.timezone,
        makes_ids=not any(row.get(layout.columns.get("session_id", "")) for row in sample),
    )
    if has_split(data, data.eval_split):
        return OpenRows(reader, {data.train_split: train, data.eval_split: load_rows(data, data.eval_split)})
    return OpenRows(reader, dict(zip((data.train_split, data.eval_split), _held_out(cfg, train, reader), strict=True)))


def _sample(rows: datasets.Dataset) -> list[Mapping[str, Any]]:
    """The first rows, without those that cannot be read: every row is read later, and those are refused by name."""
    sample = []
    for row in rows.select(range(min(SAMPLE_ROWS, len(rows)))):
        try:
            value = row_value(row)
        except DataError:
            continue
        if isinstance(value, Mapping):
            sample.append(value)
    return sample


def _layout(cfg: Config, sample: Sequence[Mapping[str, Any]]) -> Layout:
    given = cfg.data.layout
    if isinstance(given, str):
        return get_layout(given)
    if given is not None:
        columns = dict(given)
        name = columns.pop("name", None)
        if name is None:
            raise DataError("data.layout: has no name; give the layout's name, e.g. {name: openai, messages: chat}")
        return get_layout(name, **columns)
    if not sample:
        raise DataError(f"{cfg.data.dataset_name}: none of the first rows is a JSON object; each row must be one")
    found = detect_layout(sample)
    for sentence in found.explanation:
        logger.info("%s", sentence)
    return found.layout


def _held_out(cfg: Config, rows: datasets.Dataset, reader: LayoutReader) -> tuple[datasets.Dataset, datasets.Dataset]:
    """Split rows by a hash of their ids. At least one session is held out, and at least one is left to train on."""
    if cfg.data.holdout == 0 or len(rows) < 2:
        raise DataError(
            f"{cfg.data.dataset_name}: has no split {cfg.data.eval_split} and nothing to hold out from; add one, set "
            "data.eval_split, or give at least two sessions and data.holdout above 0"
        )
    numbers = [digest_number(f"holdout\0{reader.row_id(row)}") % _BUCKETS for row in rows]
    limit = max(cfg.data.holdout * _BUCKETS, min(numbers) + 1)
    held = [index for index, number in enumerate(numbers) if number < limit][: len(rows) - 1]
    kept = sorted(set(range(len(rows))) - set(held))
    name = cfg.data.eval_split
    logger.info("No split %s: %s of %s sessions are held out for evaluation", name, len(held), len(rows))
    return rows.select(kept), rows.select(held)


def content_id(value: Any) -> str:
    """Return the id of a row that has none: a hash of what it holds."""
    text = json.dumps(value, sort_keys=True, default=repr)
    return f"row-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

"""What vLLM's own tool-call parsers lose or change, as measured by running them. Runs nothing.

`scripts/dev/vllm_parsers.py` writes the table; docs/vllm-parsers.md is the same for people.
"""

import json
from functools import cache
from pathlib import Path
from typing import TypedDict

from trainer.tool_calls.base import ToolCallFormat

TABLE = Path(__file__).with_name("vllm_losses.json")


class LossTable(TypedDict):
    """vLLM's version, and what its parser does to a format, for each format of which something is lost or changed."""

    vllm: str
    formats: dict[str, str]


@cache
def loss_table() -> LossTable:
    """Return the table in this package."""
    table: LossTable = json.loads(TABLE.read_text(encoding="utf-8"))
    return table


def known_loss(fmt: ToolCallFormat) -> str | None:
    """Return a warning about vLLM's own parser of a format; None if it has none or loses nothing that is known."""
    table = loss_table()
    found = table["formats"].get(fmt.name)
    if found is None or fmt.vllm_parser is None:
        return None
    return f"vLLM {table['vllm']}'s own parser {fmt.vllm_parser} {found}; see docs/vllm-parsers.md"

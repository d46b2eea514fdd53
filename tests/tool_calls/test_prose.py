"""No format finds a call in an answer that calls nothing, whatever the answer quotes, lists or mentions."""

import os
from itertools import islice

import pytest

from tests.support.prose import markers_of, prose
from trainer.tool_calls import aliases, formats, get_format
from trainer.types import Tool

# The full run has 50,000 per format: TOOL_CALL_PROSE=50000 pytest tests/tool_calls/test_prose.py
N_TEXTS = int(os.environ.get("TOOL_CALL_PROSE", "300"))
FOREIGN = [marker for name in formats() for marker in markers_of(get_format(name))]
TOOLS: tuple[Tool, ...] = tuple(
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
    for name in ("search_inventory", "book_test_drive")
)


@pytest.mark.parametrize("name", [*formats(), *aliases()])
def test_no_call_is_invented_from_prose(name: str) -> None:
    fmt = get_format(name)
    own = markers_of(fmt)
    markers = [*FOREIGN, *own * (len(FOREIGN) // max(1, len(own)))]  # about half of them its own
    for text in islice(prose(0, markers), N_TEXTS):
        assert fmt.parse(text, tools=TOOLS).calls == (), text

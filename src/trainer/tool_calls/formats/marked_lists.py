"""Formats with all the calls of a turn as one JSON list between two markers: Hunyuan and Jamba, Cohere, Apertus."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from trainer.tool_calls.base import ToolCallFormat
from trainer.tool_calls.formats.json_lists import _Marker, _scan_marked_lists, _write_list
from trainer.tool_calls.readers import CallParts, named_parts
from trainer.types import Call
from trainer.values.json_reader import to_json


def _cohere_parts(value: Any) -> CallParts:
    """Check a decoded `{"tool_call_id": "0", "tool_name": …, "parameters": {…}}`."""
    name = value.get("tool_name") if isinstance(value, dict) else None
    if not isinstance(name, str):
        return CallParts("missing_name")
    return named_parts(name, value.get("parameters"))


def _apertus_parts(value: Any) -> CallParts:
    """Check a decoded `{"f": {…}}`: the only key is the name, its value the arguments."""
    if not isinstance(value, dict) or len(value) != 1:
        return CallParts("missing_name")
    return named_parts(*next(iter(value.items())))


_HUNYUAN = _Marker("<tool_calls>", closing="</tool_calls>")
_COHERE = _Marker("<|START_ACTION|>", closing="<|END_ACTION|>", parts=_cohere_parts)
_APERTUS = _Marker("<|tools_prefix|>", closing="<|tools_suffix|>", parts=_apertus_parts)
_COHERE_WRAPPERS = ("<|START_RESPONSE|>", "<|END_RESPONSE|>", "<|START_TEXT|>", "<|END_TEXT|>")


def _write_cohere(calls: Sequence[Call]) -> str:
    items = [
        to_json({"tool_call_id": str(index), "tool_name": call.name, "parameters": call.arguments})
        for index, call in enumerate(calls)
    ]
    return f"{_COHERE.opening}[\n    " + ",\n    ".join(items) + f"\n]{_COHERE.closing}"


def _write_apertus(calls: Sequence[Call]) -> str:
    items = ", ".join(to_json({call.name: call.arguments}) for call in calls)
    return f"{_APERTUS.opening}[{items}]{_APERTUS.closing}"


HUNYUAN_A13B = ToolCallFormat(
    "hunyuan_a13b",
    "hunyuan_a13b",
    partial(_scan_marked_lists, markers=(_HUNYUAN,)),
    partial(_write_list, before=_HUNYUAN.opening, after=_HUNYUAN.closing),
)
COHERE_COMMAND = ToolCallFormat(
    "cohere_command",
    "cohere_command3",
    partial(_scan_marked_lists, markers=(_COHERE,)),
    _write_cohere,
    wrappers=_COHERE_WRAPPERS,
)
APERTUS = ToolCallFormat("apertus", "apertus", partial(_scan_marked_lists, markers=(_APERTUS,)), _write_apertus)

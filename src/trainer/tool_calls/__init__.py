"""Tool-call formats: read the calls in model text, write calls as text, and detect a template's format."""

from trainer.tool_calls.base import ToolCallFormat
from trainer.tool_calls.detect import detect_format
from trainer.tool_calls.registry import aliases, formats, get_format, register_format
from trainer.tool_calls.round_trip import RenderedTurn, check_round_trip

__all__ = [
    "RenderedTurn",
    "ToolCallFormat",
    "aliases",
    "check_round_trip",
    "detect_format",
    "formats",
    "get_format",
    "register_format",
]

"""Make a tool parser of vLLM from a tool-call format. Runs inside vLLM.

Imports only what reads calls (`trainer.tool_calls` and below). Written for vLLM 0.32. vLLM takes the reasoning out of
an answer first if it has a reasoning parser; without one, it is left out as `ToolCallFormat.parse` does.
"""

import secrets
import string
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from trainer.serving.vllm_parser.forced import forced_calls, forced_tool
from trainer.serving.vllm_parser.own_formats import FormatHome, load_format
from trainer.tool_calls import ToolCallFormat
from trainer.tool_calls.served import ServedCall, served_call
from trainer.tool_calls.streaming import AnswerStream, parse_for_client
from trainer.types import ParsedText

_BASE = "vllm.tool_parsers.abstract_tool_parser"
_ID_CHARACTERS = string.ascii_letters + string.digits
_N_ID_CHARACTERS = 9  # Mistral's templates accept no other length, and the others accept any


def register_parser(name: str, format_name: str, home: tuple[str, str, tuple[str, ...]] | None = None) -> None:
    """Register a parser called `name` that reads the format. `home` has the fields of `FormatHome`.

    Raises `FormatError` if there is no such format.
    """
    fmt = load_format(format_name, None if home is None else FormatHome(*home))
    base = import_module(_BASE)
    parser = type("ToolSftParser", (FormatParser, base.ToolParser), {"fmt": fmt})
    base.ToolParserManager.register_module(name=name, force=True, module=parser)


class FormatParser:
    """The methods that vLLM calls, for a class that also derives from vLLM's `ToolParser`. One object per answer."""

    fmt: ToolCallFormat
    # vLLM then calls `finish_streaming` after the last piece of an answer.
    engine_based_streaming = True
    # Then `required` and a named tool also come here. vLLM's own reading of them needs the text so far.
    supports_required_and_named = False

    tools: Sequence[Any]
    _stream: AnswerStream | None = None
    _forced: Any = None

    def adjust_request(self, request: Any) -> Any:
        """Constrain the answer to `required` or a named tool as vLLM does, and keep the markers in the text."""
        base: Any = super()
        self.supports_required_and_named = True
        request = base.adjust_request(request)
        self.supports_required_and_named = False
        if request.tools and request.tool_choice != "none":
            request.skip_special_tokens = False
        return request

    def extract_tool_calls(self, model_output: str, request: Any) -> Any:
        """Return the prose and the calls of a whole answer."""
        if request.tool_choice == "none":
            return self._whole(ParsedText(model_output, ()), ())
        if (tool := forced_tool(request.tool_choice)) is not None:
            return self._whole(ParsedText("", ()), forced_calls(model_output, tool))
        parsed = parse_for_client(self.fmt, model_output, tools=self._tools())
        return self._whole(parsed, [served_call(call) for call in parsed.calls])

    def extract_tool_calls_streaming(
        self,
        previous_text: str,
        current_text: str,
        delta_text: str,
        previous_token_ids: Sequence[int],
        current_token_ids: Sequence[int],
        delta_token_ids: Sequence[int],
        request: Any,
    ) -> Any:
        """Return the prose that is certain now, or None."""
        if request.tool_choice == "none":
            return self._delta(delta_text)
        if self._stream is None:
            self._stream, self._forced = AnswerStream(self.fmt), forced_tool(request.tool_choice)
        prose = self._stream.feed(delta_text)
        return self._delta("" if self._forced is not None else prose)

    def finish_streaming(self) -> Any:
        """Return the rest of the prose and the calls, or None."""
        stream, self._stream = self._stream, None
        if stream is None:
            return None
        if self._forced is not None:
            return self._delta("", forced_calls(stream.text, self._forced))
        parsed = stream.finish(tools=self._tools())
        return self._delta(parsed.content, [served_call(call) for call in parsed.calls])

    def _tools(self) -> list[Mapping[str, Any]]:
        return [tool.model_dump() for tool in self.tools]

    def _whole(self, parsed: ParsedText, calls: Sequence[ServedCall]) -> Any:
        entries = [_entry(call) for call in calls]
        found = {"tools_called": bool(entries), "tool_calls": entries, "content": parsed.content or None}
        return import_module(_BASE).ExtractedToolCallInformation.model_validate(found)

    def _delta(self, content: str, calls: Sequence[ServedCall] = ()) -> Any:
        if not content and not calls:
            return None
        message: dict[str, Any] = {"content": content} if content else {}
        if calls:
            message["tool_calls"] = [{"index": index, **_entry(call)} for index, call in enumerate(calls)]
        return import_module(_BASE).DeltaMessage.model_validate(message)


def _entry(call: ServedCall) -> dict[str, Any]:
    call_id = "".join(secrets.choice(_ID_CHARACTERS) for _ in range(_N_ID_CHARACTERS))
    return {"id": call_id, "type": "function", "function": call._asdict()}

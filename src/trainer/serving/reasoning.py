"""Choose the reasoning parser of vLLM that takes the reasoning out of a run's answers and loses no answer.

Every entry was checked with vLLM 0.32's own parsers, on whole and on streamed answers: with reasoning, with an empty
block and with none, each with text or a tool call after it. Starts no server.
"""

from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, Field

from trainer.chat import ChatEncoder
from trainer.errors import DataError, TemplateError
from trainer.types import Message, Tool
from trainer.util.records import read_record


class _Reader(NamedTuple):
    """What a parser of vLLM reads correctly.

    `needs_block`: it takes an answer without the end marker wholly as reasoning. `reads_opened`: it also reads answers
    whose block the generation prompt has opened. `call_parser` is the only tool-call parser that it works with when an
    answer is streamed; None means any.
    """

    parser: str
    needs_block: bool
    reads_opened: bool
    call_parser: str | None = None


_READERS = {
    ("<think>", "</think>"): _Reader("qwen3", needs_block=True, reads_opened=True),
    ("<seed:think>", "</seed:think>"): _Reader("seed_oss", needs_block=True, reads_opened=True),
    ("[THINK]", "[/THINK]"): _Reader("mistral", needs_block=False, reads_opened=False, call_parser="mistral"),
    ("<|channel>thought", "<channel|>"): _Reader("gemma4", needs_block=False, reads_opened=False, call_parser="gemma4"),
    ("to=self<|message|>", "<|eom|><|start|>assistant to=user<|message|>"): _Reader(
        "muse_glimmer", needs_block=False, reads_opened=False, call_parser="muse_glimmer"
    ),
}


def reasoning_parser(
    markers: tuple[str, str], generation_prompt: str, *, every_answer: bool = False, call_parser: str | None = None
) -> str | None:
    """Return the value of `--reasoning-parser` for reasoning between these markers, or None if no parser is safe.

    `every_answer` means that each answer has the block, even if it is empty. Many parsers take an answer without end
    marker wholly as reasoning, so `message.content` would be empty and calls would be lost. `call_parser` is the value
    of `--tool-call-parser`.

    >>> reasoning_parser(("<think>", "</think>"), "<|im_start|>assistant\\n<think>\\n")
    'qwen3'
    >>> reasoning_parser(("<think>", "</think>"), "<|im_start|>assistant\\n")
    """
    reader = _READERS.get(markers)
    start, end = markers
    if reader is None or end in generation_prompt:  # the prompt has closed the block: no answer has reasoning
        return None
    if reader.call_parser is not None and reader.call_parser != call_parser:
        return None
    opened = generation_prompt.rstrip().endswith(start)
    safe = reader.reads_opened if opened else every_answer or not reader.needs_block
    return reader.parser if safe else None


class ReasoningTurns(NamedTuple):
    """How many turns a run trained, and how many of them had reasoning."""

    n_trained: int
    n_reasoning: int

    @property
    def every_turn(self) -> bool:
        """Whether every trained turn had reasoning."""
        return 0 < self.n_trained <= self.n_reasoning


class _Split(BaseModel):
    n_trained_turns: int = Field(default=0, ge=0)
    n_reasoning_turns: int = Field(default=0, ge=0)


class _Data(BaseModel):
    train: _Split = _Split()


class _Metrics(BaseModel):
    data: _Data = _Data()


def reasoning_turns(metrics: Path) -> ReasoningTurns:
    """Return the counts in a run's `metrics.json`; 0 for a run that did not count them."""
    try:
        train = read_record(_Metrics, metrics.read_bytes()).data.train
    except (OSError, DataError):
        return ReasoningTurns(0, 0)
    return ReasoningTurns(train.n_trained_turns, train.n_reasoning_turns)


_QUESTION: Message = {"role": "user", "content": "Hello"}
_TEXT: Message = {"role": "assistant", "content": "Hello."}
_CALL: Message = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"id": "call00001", "type": "function", "function": {"name": "greet", "arguments": "{}"}}],
}
_TOOL: Tool = {
    "type": "function",
    "function": {"name": "greet", "description": "Greet.", "parameters": {"type": "object", "properties": {}}},
}


def writes_empty_block(encoder: ChatEncoder, markers: tuple[str, str]) -> bool:
    """Return whether a trained turn without reasoning also has the markers, so that the model always writes them."""
    answers = [_TEXT, _CALL] if "tool calls" in encoder.profile.renders else [_TEXT]
    try:
        turns = [turn for answer in answers for turn in encoder.turn_texts([_QUESTION, answer], [_TOOL])]
    except (DataError, TemplateError):
        return False
    return all(turn.target.lstrip().startswith(markers[0]) and markers[1] in turn.target for turn in turns)

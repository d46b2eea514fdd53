"""Short ways to write predictions and tools in scoring tests."""

from collections.abc import Sequence
from typing import Any

from trainer.tool_calls import get_format
from trainer.types import Call, FinishReason, ParsedCall, Prediction, Tool

HERMES = get_format("hermes")


def call(name: str, /, **arguments: Any) -> Call:
    return Call(name, arguments)


def tool(name: str, /, required: Sequence[str] = (), **properties: dict[str, Any]) -> Tool:
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return {"type": "function", "function": {"name": name, "description": "", "parameters": parameters}}


def turn(
    gold: Sequence[Call],
    said: str | Sequence[Call | str],
    *,
    session: str = "s",
    index: int = 0,
    finish: FinishReason = "stop",
    offered: Sequence[str] = ("f", "g", "h"),
    context: str = "c",
) -> Prediction:
    """Return a prediction for a turn with the gold calls `gold`. It wrote `said`: text, or calls and raw attempts."""
    text = said
    if not isinstance(said, str):
        text = "\n".join(HERMES.render([part]) if isinstance(part, Call) else part for part in said)
    assert isinstance(text, str)
    parsed = HERMES.parse(text, finished=finish != "length")
    return Prediction(
        session_id=session,
        turn=index,
        context_hash=context,
        tool_names=tuple(offered),
        gold_content="" if gold else "Hello!",
        gold_calls=tuple(gold),
        text=text,
        content=parsed.content,
        calls=parsed.calls,
        finish_reason=finish,
    )


def number_turns(predictions: Sequence[Prediction], *, per_session: int = 1) -> list[Prediction]:
    """Number the turns, with `per_session` turns in each session."""
    from dataclasses import replace

    return [
        replace(prediction, session_id=f"s{index // per_session:04}", turn=index % per_session)
        for index, prediction in enumerate(predictions)
    ]


GARBLED = '<tool_call>{"name": "f", "arguments": {</tool_call>'


def garbled() -> tuple[ParsedCall, ...]:
    return HERMES.parse(GARBLED).calls

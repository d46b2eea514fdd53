"""Small conversations for probing a template. Every part of a message holds a word that occurs nowhere else."""

from trainer.types import Message, Tool, ToolCallJson

SYSTEM, QUESTION, ANSWER, REASONING = "qxsystem", "qxask", "qxanswer", "qxreason"
VALUE, OTHER_VALUE, RESULT = "qxvalue", "qxother", "qxresult"


def _tool(name: str) -> Tool:
    schema = {"type": "object", "properties": {"place": {"type": "string", "description": "qxplace"}}}
    return {"type": "function", "function": {"name": name, "description": "qxtool", "parameters": schema}}


def _call(name: str, value: str, call_id: str) -> ToolCallJson:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": {"place": value}}}


TOOLS = (_tool("qxfind"), _tool("qxbook"))
# Ids have nine letters and digits, the only form that every model family accepts.
FIND, BOOK = _call("qxfind", VALUE, "qxcallid1"), _call("qxbook", OTHER_VALUE, "qxcallid2")
SYSTEM_TURN: Message = {"role": "system", "content": SYSTEM}
USER_TURN: Message = {"role": "user", "content": QUESTION}
TEXT_TURN: Message = {"role": "assistant", "content": ANSWER}
CALL_TURN: Message = {"role": "assistant", "content": "", "tool_calls": [FIND]}
PARALLEL_CALLS_TURN: Message = {"role": "assistant", "content": "", "tool_calls": [FIND, BOOK]}
CALL_WITH_TEXT_TURN: Message = {"role": "assistant", "content": ANSWER, "tool_calls": [FIND]}
RESULT_TURN: Message = {"role": "tool", "content": RESULT, "tool_call_id": "qxcallid1"}
